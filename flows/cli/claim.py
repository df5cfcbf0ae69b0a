"""The commands `badges` and `claim`: what is typed, and what comes of it.

Belongs here: their options and exit statuses. Does not belong here: the work itself
(`flows.commands.claiming`), and how it looks (`flows.screens.results`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command import (
    AsJson,
    DefinitionPath,
    awaited,
    chosen_home,
    chosen_settings,
    reported,
)
from transforms.errors import RetrobadgeError

if TYPE_CHECKING:
    from flows.commands.claiming import Claims
    from flows.screens.terminal import Live


def badges(
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="Whose name holds this.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the platform's badges: ids, windows, owners, claims."""
    from flows.commands.claiming import listed_badges  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs.job import Job  # noqa: PLC0415
    from flows.screens import results, terminal  # noqa: PLC0415

    try:
        settings = chosen_settings(needs_platform=True)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(Job(), settings, chosen_home(settings), live)
            found = awaited(listed_badges(work, name))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(found.as_json())
    else:
        results.show_badges(found)


def claim(
    definition: DefinitionPath,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Claim without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Claim a definition's badges for Historical_Import and their reference ids."""
    from flows.cli.command import print_faults  # noqa: PLC0415
    from flows.commands.claiming import claim_badges  # noqa: PLC0415
    from flows.pipeline import Work  # noqa: PLC0415
    from flows.runs.job import Job  # noqa: PLC0415
    from flows.screens import results, terminal  # noqa: PLC0415

    try:
        settings = chosen_settings(needs_platform=True)
        job = Job(definition=definition, is_confirmed=yes)
        with terminal.Live(is_quiet=as_json) as live:
            work = Work(job, settings, chosen_home(settings), live)
            found = awaited(claim_badges(work, lambda one: _asked(one, live)))
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    if as_json:
        terminal.print_json(found.as_json())
    else:
        results.show_claims(found)
        print_faults(found.errors)
    raise typer.Exit(found.exit_status)


def _asked(found: Claims, live: Live) -> bool:
    """Show the claims and ask, where somebody can answer."""
    from flows.screens import results  # noqa: PLC0415

    if not (live.console.is_terminal or live.console.quiet):
        results.show_claims(found)
    return live.ask("Claim?", lambda: results.show_claims(found))
