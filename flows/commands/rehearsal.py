"""The command `sandbox`: the badge API in the foreground, for rehearsal by hand.

Belongs here: what the command's options mean. Does not belong here: the sandbox itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from flows.sandbox.preparing import (
    badges_from_file,
    badges_of,
    switches_described,
    switches_from,
)
from flows.sandbox.records import Badge
from flows.sandbox.running import serve
from transforms.errors import SettingsRefused


def serve_sandbox(
    *, port: int, badges: Path | None, memory: Path | None, switches: Sequence[str]
) -> None:
    """Serve until Ctrl-C; `switches` are texts NAME=VALUE, or the one word `list`."""
    if list(switches) == ["list"]:
        for name, default, meaning in switches_described():
            sys.stdout.write(f"{name}={default}\n    {meaning}\n")
        return
    chosen = switches_from(switches)
    try:
        serve(port=port, switches=chosen, badges=_badges(badges), memory=memory)
    except OSError as error:
        raise SettingsRefused.of(
            "port_taken",
            f"can't listen on port {port} ({error.strerror}): name another with --port",
        ) from error


def _badges(path: Path | None) -> list[Badge]:
    """Return the badges of a definition, or of a JSON file that says more of them."""
    if path is None:
        return []
    if path.suffix == ".json":
        return badges_from_file(path)
    from flows.files.finding import read_definition  # noqa: PLC0415  heavy

    return badges_of(read_definition(path))
