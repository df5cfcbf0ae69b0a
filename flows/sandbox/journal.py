"""An append-only file of JSON lines; what the lines mean is not decided here."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from transforms.errors import Fault, SettingsRefused


class Journal:
    """One change a line, handed to the operating system before `write` returns.

    A last line without its end was being written when the sandbox was killed; nobody
    was answered about it, and it is cut off.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._lock(path)
            _cut_off_unfinished(path)

    def _lock(self, path: Path) -> None:
        """Hold the file for as long as it is open: two writers would mix lines."""
        assert self._file is not None  # noqa: S101  for the types
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            message = (
                "another sandbox has this memory open: end it, or name another file"
            )
            raise SettingsRefused(
                Fault(code="memory_in_use", file=str(path), message=message)
            ) from error

    def replayed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return the changes that the file holds, oldest first."""
        if self._path is None:
            return
        with self._path.open("rb") as lines:
            for line in lines:
                fields = orjson.loads(line)
                yield fields.pop("what"), fields

    def write(self, what: str, fields: Mapping[str, Any]) -> None:
        """Append one change."""
        if self._file is not None:
            line = orjson.dumps(
                {"what": what, **fields}, option=orjson.OPT_APPEND_NEWLINE
            )
            self._file.write(line)

    def close(self) -> None:
        """Close the file; writing again is an error."""
        if self._file is not None:
            self._file.close()


def _cut_off_unfinished(path: Path) -> None:
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole != len(text):
        with path.open("r+b") as file:
            file.truncate(whole)
