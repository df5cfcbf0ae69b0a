"""The command `retrobadge`: what is typed, and what comes of it.

Belongs here: commands, options, exit statuses. Does not belong here: the work itself
(`flows.pipeline`), and how it looks on a screen (`flows.screens.terminal`). Heavy
imports happen inside the command that needs them: help and a typing error are instant.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from flows.cli.answers import compare, explain, reconcile
from flows.cli.claim import badges, claim
from flows.cli.command import (
    AsJson,
    AsOf,
    DefinitionPath,
    StopAt,
    Wait,
    heavy_imports,
)
from flows.cli.command import awaited as _awaited
from flows.cli.command import chosen_home as _home
from flows.cli.command import chosen_settings as _settings
from flows.cli.command import day as _day
from flows.cli.command import imported as _imported
from flows.cli.command import instant as _instant
from flows.cli.command import reported as _reported
from flows.cli.plans import apply, approve, init, report
from flows.cli.repair import recover, restore
from flows.cli.undo import release, retry, revoke
from transforms.errors import RetrobadgeError

T = TypeVar("T")

app = typer.Typer(
    name="retrobadge",
    help="Awards badges for past activity: derives, issues, settles and audits them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How the answer of a query is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


EarnedFrom = Annotated[
    str | None,
    typer.Option(metavar="D", help="Awards earned on this local day or later."),
]
EarnedUntil = Annotated[
    str | None,
    typer.Option(metavar="D", help="Awards earned before this local day."),
]
BadgeNames = Annotated[
    list[str] | None,
    typer.Option("--badge", metavar="NAME", help="Only this badge; may be repeated."),
]
CustomersFile = Annotated[
    Path | None,
    typer.Option("--customers", metavar="FILE", help="Only these: header customer_id."),
]
AwardsFile = Annotated[
    Path | None,
    typer.Option("--awards", metavar="FILE", help="Only these: header award_id."),
]


@app.callback()
def every_command(
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where state lives; may stand anywhere in the command."
        ),
    ] = None,
) -> None:
    """Awards badges for past activity: derives, issues, settles and audits them."""
    if home is not None:
        os.environ["RETROBADGE_HOME"] = str(home.absolute())


@app.command()
def demo(
    *,
    port: Annotated[
        int | None, typer.Option(help="The sandbox's port; else a free one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do the whole job on the sample activity against the sandbox; show the audit."""
    from flows.commands.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(_awaited(run_demo(port=port, as_json=as_json)))


@app.command()
def check(
    definition: DefinitionPath,
    *,
    online: Annotated[
        bool, typer.Option("--online", help="Also log in and read the badges.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a definition and its files; send nothing."""
    from flows.commands.checking import checked  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs.job import Job  # noqa: PLC0415
    from flows.screens import terminal  # noqa: PLC0415

    settings = _settings(needs_platform=online)
    with terminal.Live(is_quiet=as_json) as live:
        work = Work(Job(definition=definition), settings, _home(settings), live)
        found = _awaited(checked(work, is_online=online))
    terminal.show_check(found, as_json=as_json)


@app.command()
def plan(
    definition: DefinitionPath,
    *,
    earned_from: EarnedFrom = None,
    earned_until: EarnedUntil = None,
    badge: BadgeNames = None,
    customers: CustomersFile = None,
    awards: AwardsFile = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run would do, and write it into a folder for review."""
    from flows.pages.drawing import DRAWING  # noqa: PLC0415

    DRAWING.start()  # before anything heavy: it is the last that a plan waits for
    with heavy_imports():
        from flows.pipeline import Work, plan_badges  # noqa: PLC0415
        from flows.plans.folder import plan_json  # noqa: PLC0415
        from flows.screens import terminal  # noqa: PLC0415

    settings = _settings(needs_platform=True)
    job = _job(
        definition,
        earned_from=earned_from,
        earned_until=earned_until,
        badges=badge,
        customers=customers,
        awards=awards,
        as_of=as_of,
    )
    with terminal.Live(is_quiet=as_json) as live:
        made, folder = _awaited(plan_badges(Work(job, settings, _home(settings), live)))
    if as_json:
        terminal.print_json(plan_json(made, folder))
    else:
        terminal.show_plan(made, folder)
    raise typer.Exit(1 if made.refused_by else 0)


@app.command()
def run(
    definition: DefinitionPath,
    *,
    earned_from: EarnedFrom = None,
    earned_until: EarnedUntil = None,
    badge: BadgeNames = None,
    customers: CustomersFile = None,
    awards: AwardsFile = None,
    as_of: AsOf = None,
    stop_at: StopAt = None,
    wait: Wait = 0.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send without asking. No guard is passed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Plan, send, settle and publish; first settle what earlier runs left."""
    from dataclasses import replace  # noqa: PLC0415

    with heavy_imports():
        from flows.pipeline import Work  # noqa: PLC0415
        from flows.screens import terminal  # noqa: PLC0415

    job = _job(
        definition,
        earned_from=earned_from,
        earned_until=earned_until,
        badges=badge,
        customers=customers,
        awards=awards,
        as_of=as_of,
        stop_at=stop_at,
    )
    job = replace(job, is_confirmed=yes, wait_seconds=wait)
    try:
        settings = _settings(needs_platform=True)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(job, settings, _home(settings), live)
            report = _awaited(_imported(work))
    except RetrobadgeError as error:
        raise _reported(error, as_json=as_json) from None
    terminal.show_report(report, as_json=as_json)
    raise typer.Exit(report.exit_status)


@app.command()
def resume(
    *,
    stop_at: StopAt = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Settle, and send what earlier runs reserved and never sent, as it stands."""
    with heavy_imports():
        from flows.pipeline import Work, resume_badges  # noqa: PLC0415
        from flows.runs.job import Job  # noqa: PLC0415
        from flows.screens import terminal  # noqa: PLC0415

    job = Job(stop_at=_instant(stop_at, "--stop-at"), wait_seconds=wait)
    try:
        settings = _settings(needs_platform=True)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(job, settings, _home(settings), live)
            report = _awaited(resume_badges(work))
    except RetrobadgeError as error:
        raise _reported(error, as_json=as_json) from None
    terminal.show_report(report, as_json=as_json)
    raise typer.Exit(report.exit_status)


@app.command()
def runs(*, as_json: AsJson = False) -> None:
    """List the runs of this home, newest first."""
    from flows.records.audit import listed_runs  # noqa: PLC0415
    from flows.screens import terminal  # noqa: PLC0415

    settings = _settings(needs_platform=False)
    terminal.show_runs(listed_runs(_home(settings).audit), as_json=as_json)


@app.command()
def audit(
    query: Annotated[str, typer.Argument(metavar="SQL", show_default=False)],
    *,
    output: Annotated[
        Format, typer.Option("--format", help="How to print the answer.")
    ] = Format.TABLE,
) -> None:
    """Ask the audit a question in SQL."""
    from flows.records.audit import queried  # noqa: PLC0415
    from flows.screens import terminal  # noqa: PLC0415

    settings = _settings(needs_platform=False)
    terminal.show_answer(queried(_home(settings).audit, query), str(output))


@app.command()
def sandbox(
    *,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0: any.")] = 8765,
    badges: Annotated[
        Path | None,
        typer.Option(metavar="DEFINITION", help="Have the badges of a definition."),
    ] = None,
    memory: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Remember there what was issued."),
    ] = None,
    switch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A behaviour; `list` names them all."),
    ] = None,
) -> None:
    """Play the badge API on loopback, for rehearsal: it is not the platform."""
    from flows.commands.rehearsal import serve_sandbox  # noqa: PLC0415

    serve_sandbox(port=port, badges=badges, memory=memory, switches=switch or [])


def main() -> None:
    """Run the command; known errors print a line each, others keep their traceback."""
    os.umask(0o077)
    arguments = _home_first(sys.argv[1:])
    try:
        app(args=arguments, prog_name="retrobadge")
    except RetrobadgeError as error:
        sys.exit(_reported(error, as_json="--json" in arguments).exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(4)
    finally:
        gc.freeze()  # an interpreter that ends looks for garbage among all it has


def _home_first(arguments: Sequence[str]) -> list[str]:
    """Move `--home` to the front, where it is read for every command."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--home":
            first += [argument, *[value for value in [next(waiting, None)] if value]]
        elif argument.startswith("--home="):
            first.append(argument)
        else:
            rest.append(argument)
    return first + rest


def _job(
    definition: Path,
    *,
    earned_from: str | None,
    earned_until: str | None,
    badges: list[str] | None,
    customers: Path | None,
    awards: Path | None,
    as_of: str | None,
    stop_at: str | None = None,
) -> Any:
    from flows.runs.job import Job  # noqa: PLC0415

    job = Job(
        definition=definition,
        earned_from=_day(earned_from, "--earned-from"),
        earned_until=_day(earned_until, "--earned-until"),
        badges=tuple(badges or ()),
        customers_file=customers,
        awards_file=awards,
        as_of=_instant(as_of, "--as-of"),
        stop_at=_instant(stop_at, "--stop-at"),
    )
    if job.earned_from and job.earned_until and job.earned_from >= job.earned_until:
        raise typer.BadParameter(
            f"--earned-from {job.earned_from} must lie before --earned-until "
            f"{job.earned_until}, which is exclusive"
        )
    return job


for _command in (
    *(init, approve, apply, report, explain, compare, reconcile, badges, claim),
    *(retry, revoke, release, restore, recover),
):
    app.command()(_command)

# As people come to need them; help lists them so.
_ORDER = (
    *("demo", "init", "badges", "claim", "check", "plan", "approve", "apply", "run"),
    *("resume", "retry", "reconcile", "explain", "compare", "report", "runs", "audit"),
    *("revoke", "release", "restore", "recover", "sandbox"),
)
app.registered_commands.sort(
    key=lambda one: _ORDER.index(getattr(one.callback, "__name__", ""))
)
