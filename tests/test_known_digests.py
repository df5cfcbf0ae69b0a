"""A file is read again whenever it may have changed, and else its digest is known."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from flows.files.known_digests import known_digest

AGO = 1_700_000_000


def digest(text: str) -> str:
    """Return what a file with this text is known by."""
    return hashlib.sha256(text.encode()).hexdigest()


def memories(home: Path) -> list[Path]:
    """Return what is remembered in a home."""
    return list(home.rglob("*.json"))


def test_a_file_written_just_now_is_not_remembered(tmp_path):
    """It might change again within one step of the clock, old as it may say it is."""
    file, home = tmp_path / "a.csv", tmp_path / "accepted"
    file.write_text("one")
    os.utime(file, (AGO, AGO))

    assert known_digest(file, home) == digest("one")
    assert memories(home) == []


@pytest.mark.parametrize(
    "memory",
    [
        "no JSON",
        "[]",
        '{"state": [], "content": "0"}',
        '{"state": STATE, "content": null}',
    ],
)
def test_a_memory_that_is_wrong_is_not_believed(tmp_path, memory):
    """A file is read where nothing sure is known of it."""
    file, home = tmp_path / "a.csv", tmp_path / "accepted"
    file.write_text("one")
    remember(file, home, memory)

    assert known_digest(file, home) == digest("one")


def test_a_file_that_nobody_touched_is_not_read_again(tmp_path):
    """What is remembered is believed as long as the file is as it was."""
    file, home = tmp_path / "a.csv", tmp_path / "accepted"
    file.write_text("one")
    remember(file, home, '{"state": STATE, "content": "known"}')

    assert known_digest(file, home) == "known"


@pytest.mark.parametrize("change", ["text", "times", "other file"])
def test_a_file_that_was_touched_is_read_again(tmp_path, change):
    """Also where size and time of writing are put back to what they were."""
    file, home = tmp_path / "a.csv", tmp_path / "accepted"
    file.write_text("one")
    os.utime(file, (AGO, AGO))
    remember(file, home, '{"state": STATE, "content": "known"}')
    remembered = file.stat().st_ctime_ns
    if change == "other file":
        (tmp_path / "b.csv").write_text("two")
        (tmp_path / "b.csv").replace(file)
    else:
        file.write_text("two" if change == "text" else "one")
    # The clock of the file system moves in steps.
    while file.stat().st_ctime_ns == remembered:
        os.utime(file, (AGO, AGO))
    os.utime(file, (AGO, AGO))

    assert known_digest(file, home) == digest(file.read_text())


def remember(file: Path, home: Path, memory: str) -> None:
    """Put a memory of a file into a home; STATE stands for how the file is now."""
    is_at = file.stat()
    state = [
        is_at.st_dev,
        is_at.st_ino,
        is_at.st_size,
        is_at.st_mtime_ns,
        is_at.st_ctime_ns,
    ]
    name = hashlib.sha256(os.path.realpath(file).encode()).hexdigest()
    folder = home / "digests"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(memory.replace("STATE", str(state)))
