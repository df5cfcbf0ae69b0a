"""What all commands share: settings and home, words typed, how a refusal is printed.

Belongs here: what `flows.cli.main` and its parts need alike. Does not belong here: any
command, and what is heavy to import: help and a typing error are instant.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tomllib
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from transforms.errors import Fault, RetrobadgeError, StoppedPartWay

if TYPE_CHECKING:
    from flows.home import Home
    from flows.pipeline import Work
    from flows.runs.report import Report
    from flows.settings import Settings

T = TypeVar("T")

DefinitionPath = Annotated[
    Path, typer.Argument(help="The import definition, a TOML file.", show_default=False)
]
AsOf = Annotated[
    str | None,
    typer.Option(metavar="T", help="The instant taken for now, with offset."),
]
StopAt = Annotated[
    str | None, typer.Option(metavar="T", help="Send nothing after this instant.")
]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", help="Wait for another run to end.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import without looking for garbage: half a second is 0.3 s then.

    Nor is it looked for later among what was imported, which stays for good.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work comes to; Ctrl-C is an end that can be gone on from."""
    try:
        return asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise StoppedPartWay.of(
            "interrupted", "stopped at once: run again, and what was out is settled"
        ) from None


def chosen_settings(*, needs_platform: bool) -> Settings:
    """Return the settings of the environment and of `.env`."""
    from flows.settings import PROJECT, settings  # noqa: PLC0415

    return settings(
        os.environ, env_file=PROJECT / ".env", needs_platform=needs_platform
    )


def chosen_home(settings: Settings) -> Home:
    """Return the home that the settings name."""
    from flows.home import open_home  # noqa: PLC0415

    return open_home(settings.retrobadge_home)


async def imported(work: Work) -> Report:
    """Run an import, as a flow run where a Prefect server is configured."""
    from flows.pipeline import import_badges  # noqa: PLC0415

    if not has_prefect_server(os.environ):
        return await import_badges(work)
    # No telemetry, and none of Prefect's own lines between ours, unless asked for.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from flows.import_badges import import_here  # noqa: PLC0415

    return await import_here(work)


def has_prefect_server(environ: Mapping[str, str]) -> bool:
    """Tell whether an API is configured, without paying for Prefect's import."""
    if environ.get("PREFECT_API_URL"):
        return True
    home = environ.get("PREFECT_HOME") or "~/.prefect"
    profiles = environ.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml"
    try:
        told = tomllib.loads(Path(profiles).expanduser().read_text("utf-8"))
    except (OSError, ValueError):
        return False
    # A profile that is not in use names a server that is not meant.
    active = environ.get("PREFECT_PROFILE") or told.get("active")
    return "PREFECT_API_URL" in told.get("profiles", {}).get(active, {})


def day(text: str | None, option: str) -> date | None:
    """Return a local day as it was typed."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} {text!r} is no day: write 2017-03-31"
        ) from None


def instant(text: str | None, option: str) -> datetime | None:
    """Return an instant as it was typed, refusing one without an offset."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(
            f"{option} {text!r} is no instant with an offset: write "
            "2017-03-31T18:00:00-05:00"
        )
    return found


def reported(error: RetrobadgeError, *, as_json: bool) -> typer.Exit:
    """Print a refusal as the report that `--json` promises, or as lines."""
    from flows.runs.report import refused_report  # noqa: PLC0415
    from flows.screens import terminal  # noqa: PLC0415

    if as_json:
        terminal.print_json(refused_report(error).as_json())
    else:
        print_faults(error.faults)
    return typer.Exit(error.exit_status)


def print_faults(faults: Sequence[Fault]) -> None:
    """Print a line for each fault on stderr; what is said of several things, once."""
    for told in dict.fromkeys(map(str, faults)):
        sys.stderr.write(f"retrobadge: {printable(told)}\n")


def printable(text: str) -> str:
    """Return a text whose control characters are shown and do nothing."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )
