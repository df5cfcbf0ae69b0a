"""The commands `init`, `approve`, `apply` and `report`.

Belongs here: their options and exit statuses. Does not belong here: the work itself
(`flows.commands.drafting`, `flows.plans.approving`, `flows.pipeline`,
`flows.pages.run_page`), and how it looks (`flows.screens.terminal`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command import (
    AsJson,
    StopAt,
    Wait,
    awaited,
    chosen_home,
    chosen_settings,
    heavy_imports,
    imported,
    instant,
    reported,
)
from transforms.errors import PlanRefused, Refused, RetrobadgeError

if TYPE_CHECKING:
    from flows.home import Home

PlanName = Annotated[
    str,
    typer.Argument(
        metavar="PLAN",
        help="A plan's id, the beginning of one, its folder, or `latest`.",
        show_default=False,
    ),
]


def init(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="Activity files of one kind.", show_default=False
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write it there, not to stdout."),
    ] = None,
) -> None:
    """Write a commented definition from a file's columns; guesses say so."""
    from flows.commands.drafting import drafted, write_draft  # noqa: PLC0415

    text = drafted(files, beside=output.absolute().parent if output else Path.cwd())
    if output is None:
        sys.stdout.write(text)
        return
    write_draft(text, output)
    sys.stdout.write(
        f"{output}: look at every GUESS, replace every CHANGE ME, then "
        f"retrobadge check {output}\n"
    )


def approve(
    plan: PlanName,
    *,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who approves it.")],
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Why, or what for.")
    ] = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Record the approval that a guard wants; look at plan.html before."""
    from flows.plans.approving import approve as record  # noqa: PLC0415
    from flows.plans.folder import found_plan  # noqa: PLC0415
    from flows.platform.capillary import utc_now  # noqa: PLC0415
    from flows.screens import terminal  # noqa: PLC0415

    try:
        home = chosen_home(chosen_settings(needs_platform=False))
        saved = found_plan(home, plan)
        now = utc_now()
        record(home, saved, by_name=by, note=note, now=now, wait_seconds=wait)
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        told = {"plan_id": saved.plan_id, "digest": saved.digest, "decided_at": now}
        terminal.print_json({**told, "decision": "approved", "by_name": by.strip()})
        return
    sys.stdout.write(
        f"plan {saved.plan_id} with {saved.awards_planned:,} awards is approved by "
        f"{terminal.printable(by.strip())}: retrobadge apply {saved.plan_id}\n"
    )


def apply(
    plan: PlanName,
    *,
    stop_at: StopAt = None,
    wait: Wait = 0.0,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Changes nothing: to name the plan is the yes."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Carry out exactly one plan, or refuse and say what has moved since."""
    with heavy_imports():
        from flows.pipeline import Work  # noqa: PLC0415
        from flows.plans.approving import job_of  # noqa: PLC0415
        from flows.plans.folder import found_plan  # noqa: PLC0415
        from flows.runs.job import Job  # noqa: PLC0415
        from flows.screens import terminal  # noqa: PLC0415

    del yes
    asked = Job(stop_at=instant(stop_at, "--stop-at"), wait_seconds=wait)
    try:
        settings = chosen_settings(needs_platform=True)
        home = chosen_home(settings)
        saved = found_plan(home, plan)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(job_of(saved, asked), settings, home, live, wanted=saved)
            report = awaited(imported(work))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    terminal.show_report(report, as_json=as_json)
    raise typer.Exit(report.exit_status)


def report(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|PLAN",
            help="A run or a plan: its id, the beginning of one, a plan's folder; "
            "`latest` is the latest run.",
        ),
    ] = "latest",
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write it there instead."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file with figures and plots, which needs nothing else."""
    from flows.screens import terminal  # noqa: PLC0415

    try:
        home = chosen_home(chosen_settings(needs_platform=False))
        path = _written(home, name, output)
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json({"report": str(path)})
    else:
        sys.stdout.write(f"{path}\n")


def _written(home: Home, name: str, output: Path | None) -> Path:
    """Write the page of the run, else of the plan, that was asked for."""
    from flows.commands.chosen import run_asked_for  # noqa: PLC0415
    from flows.pages.pages import write_page  # noqa: PLC0415
    from flows.pages.run_page import write_run_page  # noqa: PLC0415
    from flows.plans.folder import found_plan, plan_page_of  # noqa: PLC0415
    from flows.platform.capillary import utc_now  # noqa: PLC0415

    unknown: Refused | None = None
    if home.audit.exists():
        try:
            run_id = run_asked_for(home, name)
        except Refused as error:
            unknown = error
        else:
            path = output or home.reports / f"{run_id}.html"
            write_run_page(home.audit, run_id, path, utc_now())
            return path
    try:
        saved = found_plan(home, name)
    except PlanRefused as no_plan:
        raise Refused(*(unknown.faults if unknown else ()), *no_plan.faults) from None
    path = output or home.reports / f"{saved.plan_id}.html"
    write_page(path, plan_page_of(saved))
    return path
