"""The journal of a run: short lines on stderr for people, JSON lines in the home.

Belongs here: where log records go and what of them is let through. Does not belong
here: what became of awards (`flows.records.ledger`), and a command's result
(`flows.cli.main`).

Modules log as usual (`logging.getLogger(__name__)`), with what a program may want to
read in `extra`. A journal holds counts and the ids of runs and requests, never a
customer and never what the platform answered. So of `extra` only numbers and what
stands under the names in `WORDS` are let through, and of an exception its class and
the way it came.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from flows.home import open_private

# The names whose text may stand in a journal. Numbers may under other names too, unless
# they are ids.
WORDS: Final = frozenset(
    {
        "run_id",
        "request_id",
        "plan_id",
        "badge",
        "badge_meta_id",
        "import_name",
        "kind",
        "status",
        "code",
        "path",
    }
)
# They log every address that they call, and customers' ids are part of addresses.
_TALKATIVE: Final = ("httpx", "httpcore")
_USUAL: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


@contextmanager
def journal(
    logs: Path, run_id: str, *, stderr: TextIO | None = None, level: int = logging.INFO
) -> Iterator[Path]:
    """Keep a journal while a run lasts; gives the path of its JSON lines.

    `level` is what people see; the file has everything from INFO. A disk that is full
    is told once and never stops a run.
    """
    path = logs / f"{run_id}.jsonl"
    ours = logging.getLogger("flows")
    with ExitStack() as stack:
        to_people = _Handler(stderr or sys.stderr, _Lines())
        to_people.setLevel(level)
        for handler in (to_people, _file_handler(path, run_id, stack)):
            ours.addHandler(handler)
            stack.callback(ours.removeHandler, handler)
        stack.callback(ours.setLevel, ours.level)
        ours.setLevel(min(level, logging.INFO))
        for name in _TALKATIVE:
            talkative = logging.getLogger(name)
            stack.callback(talkative.setLevel, talkative.level)
            talkative.setLevel(logging.WARNING)
        yield path


def escaped(text: str) -> str:
    r"""Return the text with what a terminal might obey spelled out (`\x1b`, `\n`).

    Text from files and from the platform must not move the cursor of who reads it.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _file_handler(path: Path, run_id: str, stack: ExitStack) -> logging.Handler:
    """Open the file; where it can't be, people are told and records go nowhere."""
    try:
        file = open(path, "a", encoding="utf-8", opener=open_private)  # noqa: SIM115 - `stack` closes it
    except OSError as error:
        _tell(error)
        return logging.NullHandler()
    stack.callback(_close, file)
    return _Handler(file, _JsonLines(run_id))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a stream until that fails; says so once, and the run goes on."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._is_broken = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless an earlier one couldn't be."""
        if not self._is_broken:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Give up a stream that can't be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._is_broken = True
        _tell(error)


def _tell(error: OSError) -> None:
    with suppress(OSError):
        sys.stderr.write(f"the journal can't be written: {error.strerror}\n")


def _close(file: TextIO) -> None:
    # What a full disk didn't take is still in its buffer, and is tried again.
    with suppress(OSError):
        file.close()


class _Lines(logging.Formatter):
    """A short line for people: time, text, and a word where it isn't good news."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, whatever is in the text."""
        at = datetime.fromtimestamp(record.created, tz=UTC).astimezone()
        alarm = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        return f"{at:%H:%M:%S} {alarm}{escaped(record.getMessage())}"


class _JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with what of its `extra` may stand in a journal."""
        at = datetime.fromtimestamp(record.created, tz=UTC)
        told = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "run_id": self._run_id,
            "message": record.getMessage(),
        }
        return json.dumps(told | _facts(record) | _error(record))


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was handed over in `extra`, less what a journal doesn't hold."""
    given = {k: v for k, v in record.__dict__.items() if k not in _USUAL}
    return {name: value for name, value in given.items() if _may_stand(name, value)}


def _may_stand(name: str, value: Any) -> bool:
    if name in WORDS:
        return value is None or isinstance(value, str | int)
    is_number = value is None or isinstance(value, int | float)
    return is_number and not name.endswith(("_id", "_ids"))


def _error(record: logging.LogRecord) -> dict[str, Any]:
    """Return class and stack of an exception; its text may name a customer."""
    if not record.exc_info or record.exc_info[1] is None:
        return {}
    error = record.exc_info[1]
    lines = [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return {"error": {"class": type(error).__name__, "lines": lines}}
