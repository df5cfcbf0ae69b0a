"""Reads the `NAME=value` lines of `.env`, as they are written.

Belongs here: the lines, with their numbers, and faults for what is no such line. Does
not belong here: which names there are (`flows.settings`). The usual readers expand
`${…}`, which changes passwords, and skip a line that they can't parse.
"""

from __future__ import annotations

import io
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from transforms.errors import Fault

# Name to value and row; the row is None where the environment itself holds the name.
Lines = dict[str, tuple[str, int | None]]


def env_lines(path: Path | None) -> tuple[Lines, list[Fault]]:
    """Return value and row of each name, and a fault for each line that is wrong.

    A file that isn't there has no lines.
    """
    found: Lines = {}
    faults: list[Fault] = []
    if path is None or not path.exists():
        return found, faults
    file = path.name
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        message = f"can't be read ({reason}): mend the file or its permissions"
        return found, [Fault(code="env_unreadable", message=message, file=file)]
    for line in parse_stream(io.StringIO(text)):
        name, row = line.key, _row(line)
        if line.error or (name is not None and line.value is None):
            message = "is not NAME=value: mend the line, or put # before it"
            faults.append(Fault(code="env_line", message=message, file=file, row=row))
        elif name is not None and name in found:
            message = f"{name} stands here a second time: remove one of the two"
            faults.append(Fault(code="env_twice", message=message, file=file, row=row))
        elif name is not None:
            found[name] = (line.value or "", row)
    return found, faults


def _row(line: Binding) -> int:
    """Return the row of the name: to the parser blank lines before it belong to it."""
    written = line.original.string
    blank = written[: len(written) - len(written.lstrip())]
    return line.original.line + blank.count("\n")
