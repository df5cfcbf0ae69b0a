"""The journal: what people see, what programs read, and what is never in either."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flows.journal import escaped, journal

log = logging.getLogger("flows.sending.dispatch")


def records(path) -> list[dict]:
    """Return the objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_people_and_programs(tmp_path):
    """A record is a short line for people, and a JSON object with its numbers."""
    stderr = io.StringIO()
    with journal(tmp_path, "run-1", stderr=stderr) as path:
        log.info("%d requests reserved", 12, extra={"requests": 12, "badge": "regular"})
        log.warning("the platform asks for a pause", extra={"seconds": 2.5})

    first, second = records(path)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d 12 requests reserved\n"
        r"\d\d:\d\d:\d\d warning: the platform asks for a pause\n",
        stderr.getvalue(),
    )
    assert path == tmp_path / "run-1.jsonl"
    assert (first["run_id"], first["logger"]) == ("run-1", "flows.sending.dispatch")
    assert (first["requests"], first["badge"]) == (12, "regular")
    assert first["at"].endswith("+00:00")
    assert (second["level"], second["seconds"]) == ("warning", 2.5)


def test_file_is_private(tmp_path):
    """The file is readable for its owner alone."""
    with journal(tmp_path, "run-1", stderr=io.StringIO()) as path:
        assert path.stat().st_mode & 0o777 == 0o600


def test_no_customer_gets_in(tmp_path):
    """Ids of customers and texts of the platform are left out of the file."""
    given = {
        "customer_id": 553162563,
        "customer_ids": [553162563],
        "earned_badge_id": 7,
        "mobile": "+15550100",
        "body": {"customerId": 553162563},
        "code": "1040",
        "customers": 100,
    }
    with journal(tmp_path, "run-1", stderr=io.StringIO()) as path:
        log.info("an answer", extra=given)

    (record,) = records(path)
    assert (record["code"], record["customers"]) == ("1040", 100)
    assert "553162563" not in path.read_text()
    assert not {"mobile", "body", "earned_badge_id"} & set(record)


def test_exception_without_its_text(tmp_path):
    """An exception leaves class and way in the file, but not its text."""
    with journal(tmp_path, "run-1", stderr=io.StringIO()) as path:
        try:
            {}["customer 553162563"]
        except KeyError:
            log.exception("sending stopped")

    (record,) = records(path)
    assert record["error"]["class"] == "KeyError"
    assert "test_exception_without_its_text" in record["error"]["lines"][0]
    assert "553162563" not in path.read_text()


@contextmanager
def unreported() -> Iterator[None]:
    """Keep records out of pytest's report, which can't carry a lone surrogate."""
    logging.getLogger("flows").propagate = False
    try:
        yield
    finally:
        logging.getLogger("flows").propagate = True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich, 你好", "Zürich, 你好"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc\r\0", r"a\nb\tc\r\x00"),
        ("\x9b\x7f", r"\x9b\x7f"),
        ("\u202egnp", r"\u202egnp"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters(tmp_path, text, shown):
    """What a terminal might obey is spelled out; everything else stays as it is."""
    stderr = io.StringIO()
    with unreported(), journal(tmp_path, "run-1", stderr=stderr):
        log.info("%s", text)

    assert escaped(text) == shown
    assert stderr.getvalue()[9:] == f"{shown}\n"


def test_http_clients_are_silent(tmp_path):
    """The clients' own records, which hold customers' ids in addresses, are dropped."""
    with journal(tmp_path, "run-1", stderr=io.StringIO()):
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
        assert not logging.getLogger("httpcore").isEnabledFor(logging.INFO)


def test_people_may_want_less(tmp_path):
    """A level for people changes nothing in the file."""
    stderr = io.StringIO()
    with journal(tmp_path, "run-1", stderr=stderr, level=logging.WARNING) as path:
        log.info("a detail")

    assert stderr.getvalue() == ""
    assert [record["message"] for record in records(path)] == ["a detail"]


def test_nothing_is_left_behind(tmp_path):
    """After a run the loggers are as they were before it."""
    ours = logging.getLogger("flows")
    before = (ours.level, list(ours.handlers))
    with journal(tmp_path, "run-1", stderr=io.StringIO()):
        assert len(ours.handlers) == len(before[1]) + 2

    assert (ours.level, list(ours.handlers)) == before


def test_full_disk(tmp_path, capsys):
    """A disk that takes no more is told once; the run goes on, its lines too."""
    (tmp_path / "run-1.jsonl").symlink_to("/dev/full")
    stderr = io.StringIO()
    with journal(tmp_path, "run-1", stderr=stderr):
        for number in range(3):
            log.info("line %d", number)

    told = capsys.readouterr().err
    assert told == "the journal can't be written: No space left on device\n"
    assert len(stderr.getvalue().splitlines()) == 3


def test_no_place_for_the_file(tmp_path, capsys):
    """Where no file can be made people still see what happens."""
    stderr = io.StringIO()
    with journal(tmp_path / "gone", "run-1", stderr=stderr):
        log.info("a line")

    assert "No such file" in capsys.readouterr().err
    assert stderr.getvalue()[9:] == "a line\n"
