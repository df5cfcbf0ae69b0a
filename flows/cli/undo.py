"""The commands `retry`, `revoke` and `release`: what is typed, and what comes of it.

Belongs here: their options and exit statuses. Does not belong here: the work itself
(`flows.commands.retrying`, `flows.commands.undo`), and how it looks
(`flows.screens.results`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command import (
    AsJson,
    Wait,
    awaited,
    chosen_home,
    chosen_settings,
    reported,
)
from transforms.errors import PlanRefused, RetrobadgeError

if TYPE_CHECKING:
    from flows.commands.undo import Preview
    from flows.runs.job import Job
    from flows.screens.terminal import Live

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, the beginning of one, or `latest`.",
        show_default=False,
    ),
]
BadgeNames = Annotated[
    list[str] | None,
    typer.Option("--badge", metavar="NAME", help="Only this badge; may be repeated."),
]
CustomersFile = Annotated[
    Path | None,
    typer.Option(
        "--customers",
        metavar="FILE",
        help="Only these: header customer_id; - is stdin.",
    ),
]
AwardsFile = Annotated[
    Path | None,
    typer.Option(
        "--awards", metavar="FILE", help="Only these: header award_id; - is stdin."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it, without asking.")]


def retry(
    run: RunName,
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="S",
            help="blocked (default) or failed; may be repeated.",
        ),
    ] = None,
    code: Annotated[
        list[int] | None,
        typer.Option("--code", metavar="N", help="Only refused by this code."),
    ] = None,
    awards: AwardsFile = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Send again what was refused and can succeed now, and what is still reserved."""
    from flows.commands.retrying import RETRIED, retry_awards  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.screens import results, terminal  # noqa: PLC0415

    statuses = _statuses(status) or RETRIED
    try:
        settings = chosen_settings(needs_platform=True)
        job = _job(None, None, awards, wait)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(job, settings, chosen_home(settings), live)
            report = awaited(
                retry_awards(work, run, statuses=statuses, codes=tuple(code or ()))
            )
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(report.as_json())
    else:
        results.show_retried(report)
    raise typer.Exit(report.exit_status)


def _statuses(asked: list[str] | None) -> tuple[str, ...]:
    from flows.commands.retrying import MAY_BE_RETRIED  # noqa: PLC0415

    for status in asked or ():
        if status == "unknown":
            raise typer.BadParameter(
                "--status unknown: such awards may have been issued and are never sent "
                "again without a proof; `retrobadge resume` settles them"
            )
        if status not in MAY_BE_RETRIED:
            raise typer.BadParameter(
                f"--status {status!r}: what can be retried is "
                f"{' or '.join(MAY_BE_RETRIED)}"
            )
    return tuple(asked or ())


def revoke(
    run: RunName,
    *,
    badge: BadgeNames = None,
    awards: AwardsFile = None,
    customers: CustomersFile = None,
    yes: Yes = False,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Take back what a run issued, one call per award; without --yes, say what."""
    from flows.commands.undo import preview, revoke_awards  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.screens import results, terminal  # noqa: PLC0415
    from transforms.statuses import AwardStatus  # noqa: PLC0415

    job = _job(badge, customers, awards, wait)
    try:
        settings = chosen_settings(needs_platform=yes)
        home = chosen_home(settings)
        if not yes:
            found = preview(home, settings, job, run, taken=AwardStatus.ISSUED)
            if as_json:
                terminal.print_json(found.as_json())
            else:
                results.show_preview(found, verb="revoke")
            return
        with terminal.Live(is_quiet=as_json) as live:
            report = awaited(revoke_awards(Work(job, settings, home, live), run))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(report.as_json())
    else:
        results.show_undone(report)
    raise typer.Exit(report.exit_status)


def release(
    run: RunName,
    *,
    badge: BadgeNames = None,
    awards: AwardsFile = None,
    customers: CustomersFile = None,
    yes: Yes = False,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Free revoked awards: the next run may plan them again, as new awards."""
    from flows.commands.undo import preview, release_awards  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.screens import results, terminal  # noqa: PLC0415
    from transforms.statuses import AwardStatus  # noqa: PLC0415

    job = _job(badge, customers, awards, wait)
    try:
        settings = chosen_settings(needs_platform=True)
        home = chosen_home(settings)
        with terminal.Live(is_quiet=as_json) as live:
            if not yes:
                found = preview(home, settings, job, run, taken=AwardStatus.REVOKED)
                _refuse_unconfirmed(found, live)
            report = release_awards(Work(job, settings, home, live), run)
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(report.as_json())
    else:
        results.show_undone(report)
    raise typer.Exit(report.exit_status)


def _refuse_unconfirmed(found: Preview, live: Live) -> None:
    """Show what would be released and ask, where somebody can answer."""
    from flows.screens import results  # noqa: PLC0415

    def show() -> None:
        results.show_preview(found, verb="release")

    if found.awards and not live.ask("Release?", show):
        raise PlanRefused.of(
            "not_confirmed",
            f"nobody said yes to releasing {found.awards:,} awards of run "
            f"{found.run_id}: run with --yes",
        )


def _job(
    badges: list[str] | None, customers: Path | None, awards: Path | None, wait: float
) -> Job:
    from flows.runs.job import Job  # noqa: PLC0415

    if customers == awards == Path("-"):
        raise typer.BadParameter(
            "--awards - and --customers -: only one of them can be standard input"
        )
    return Job(
        badges=tuple(badges or ()),
        customers_file=customers,
        awards_file=awards,
        wait_seconds=wait,
        is_confirmed=True,
    )
