"""The commands `explain`, `compare` and `reconcile`: they answer, and award nothing.

Belongs here: their options and exit statuses. Does not belong here: the work itself
(`flows.commands.explaining`, `flows.commands.comparing`, `flows.commands.reconciling`),
and how it looks (`flows.screens.answers`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command import (
    AsJson,
    AsOf,
    DefinitionPath,
    Wait,
    awaited,
    chosen_home,
    chosen_settings,
    instant,
    reported,
)
from transforms.errors import RetrobadgeError

if TYPE_CHECKING:
    from flows.commands.asked_customer import Identifier


def explain(
    definition: DefinitionPath,
    *,
    badge: Annotated[
        str, typer.Option("--badge", metavar="NAME", help="A badge of the definition.")
    ],
    customer: Annotated[
        str,
        typer.Option(
            "--customer",
            metavar="ID",
            help="Capillary's numeric id, or mobile:…, email:…, external_id:…, "
            "card_number:….",
        ),
    ],
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the platform what there is now.")
    ] = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Say why a customer has a badge, when, or how far it is from that."""
    from flows.commands.explaining import as_json as told_as_json  # noqa: PLC0415
    from flows.commands.explaining import explain as explained  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs.job import Job  # noqa: PLC0415
    from flows.screens import answers, terminal  # noqa: PLC0415

    job = Job(definition=definition, as_of=instant(as_of, "--as-of"))
    try:
        asked = _customer(customer)
        settings = chosen_settings(needs_platform=online)
        with terminal.Live(is_quiet=True) as live:
            work = Work(job, settings, chosen_home(settings), live)
            answer = awaited(explained(work, badge, asked, is_online=online))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(told_as_json(answer))
    else:
        answers.show_explanation(answer)


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="A definition.", show_default=False)
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="B", help="The one to take its place.", show_default=False
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write all differences: CSV."),
    ] = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Say who gains, who loses and whose date moves between two definitions."""
    from flows.commands.comparing import compared  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs.job import Job  # noqa: PLC0415
    from flows.screens import answers, terminal  # noqa: PLC0415

    job = Job(definition=first, as_of=instant(as_of, "--as-of"))
    try:
        settings = chosen_settings(needs_platform=False)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(job, settings, chosen_home(settings), live)
            found = awaited(compared(work, second, output))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(found.as_json())
    else:
        answers.show_comparison(found)


def reconcile(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="Only what this run awarded; else all there is."
        ),
    ] = None,
    *,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help='The platform\'s export "Badges Earn", instead of reading back.',
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="OURS=THEIRS",
            help="A column of the export; may be repeated.",
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="The zone of its dates without offset."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Only N customers."),
    ] = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Compare the audit with the platform; exit with 3 where they differ."""
    from flows.commands.reconciling import Wanted, reconcile_badges  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs.job import Job  # noqa: PLC0415
    from flows.screens import answers, terminal  # noqa: PLC0415

    wanted = Wanted(
        run=run,
        sample=sample,
        export=export,
        columns=_named_columns(column, export),
        timezone=_zone(timezone),
    )
    try:
        settings = chosen_settings(needs_platform=True)
        home = chosen_home(settings)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(Job(wait_seconds=wait), settings, home, live)
            report = awaited(reconcile_badges(work, wanted))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(report.as_json())
    else:
        answers.show_reconciled(report, home)
    raise typer.Exit(report.exit_status)


def _named_columns(texts: list[str] | None, export: Path | None) -> dict[str, str]:
    if texts and export is None:
        raise typer.BadParameter("--column is about an export: give --export FILE")
    named = {}
    for text in texts or []:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise typer.BadParameter(f"--column {text!r} is not OURS=THEIRS")
        named[ours] = theirs
    return named


def _zone(name: str | None) -> str | None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    try:
        return name if name is None else ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"--timezone {name!r} is no zone") from None


def _customer(text: str) -> int | Identifier:
    from flows.commands.asked_customer import IDENTIFIERS, Identifier  # noqa: PLC0415

    identifier = Identifier.read(text)
    if identifier is not None:
        return identifier
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) < 2**63:
        kinds = ", ".join(f"{kind}:…" for kind in IDENTIFIERS)
        raise typer.BadParameter(
            f"--customer {text!r} is no customer id: a number, or {kinds}"
        )
    return int(text)
