"""The commands `restore` and `recover`: what is typed, and what comes of it.

Belongs here: their options and exit statuses. Does not belong here: the work itself
(`flows.repair.repair`), and how it looks (`flows.screens.results`).
"""

from __future__ import annotations

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
from transforms.errors import RetrobadgeError

if TYPE_CHECKING:
    from flows.repair.rebuilt import Repaired


def restore(
    backup: Annotated[
        str,
        typer.Argument(
            metavar="BACKUP",
            help="A folder of backups/, how its name begins, a path, or `latest`.",
            show_default=False,
        ),
    ],
    *,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Bring a lost or damaged ledger back, with all that the audit knows."""
    from flows.repair.repair import restore as restored  # noqa: PLC0415

    try:
        settings = chosen_settings(needs_platform=False)
        home = chosen_home(settings)
        repaired = restored(home, backup, settings, wait_seconds=wait)
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    _show(repaired, as_json=as_json)


def recover(
    *,
    online: Annotated[
        bool,
        typer.Option("--online", help="Also read back what is open; nothing is sent."),
    ] = False,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Rebuild a lost or damaged ledger from the audit."""
    from flows.repair.repair import recover as recovered  # noqa: PLC0415
    from flows.screens import terminal  # noqa: PLC0415

    try:
        settings = chosen_settings(needs_platform=online)
        home = chosen_home(settings)
        with terminal.Live(is_quiet=as_json) as live:
            repaired = awaited(
                recovered(
                    home, settings, is_online=online, wait_seconds=wait, screen=live
                )
            )
    except RetrobadgeError as error:
        raise reported(error, as_json=as_json) from None
    _show(repaired, as_json=as_json)


def _show(repaired: Repaired, *, as_json: bool) -> None:
    from flows.screens import results, terminal  # noqa: PLC0415

    if as_json:
        terminal.print_json(repaired.as_json())
    else:
        results.show_repaired(repaired)
    raise typer.Exit(repaired.exit_status)
