"""A home: permissions, and one run at a time, however the last one ended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from flows.home import Home, open_home
from transforms.errors import HomeRefused

HOLDER = """
import sys
from pathlib import Path
from flows.home import Home
with Home(Path(sys.argv[1])).lock(0, "retrobadge apply latest"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(home: Home):
    """Another process that holds the home until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(home.root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def mode(path) -> int:
    """Return the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_ours_alone(tmp_path):
    """Folders are made with access for their owner alone, and again without harm."""
    home = open_home(tmp_path / "deep" / "state")
    again = open_home(tmp_path / "deep" / "state")

    assert home == again
    folders = [home.plans, home.reports, home.backups, home.logs, home.accepted]
    assert {mode(path) for path in [home.root, *folders]} == {0o700}


def test_files_have_names(tmp_path):
    """Every file of a home is under its root."""
    home = Home(tmp_path)

    assert home.ledger == tmp_path / "ledger.duckdb"
    assert home.audit == tmp_path / "audit.duckdb"
    assert home.run_lock == tmp_path / "run.lock"
    assert home.pace.parent == tmp_path


def test_home_is_a_file(tmp_path):
    """A place where no folder can be is refused by name."""
    place = tmp_path / "state"
    place.write_text("")

    with pytest.raises(HomeRefused, match="can't be used as a home") as refusal:
        open_home(place)
    assert refusal.value.faults[0].file == str(place)


def test_lock_says_who_holds_it(tmp_path):
    """While the lock is held its file names process and command, and is private."""
    home = open_home(tmp_path)
    with home.lock(0, "retrobadge run a.toml"):
        told = json.loads(home.run_lock.read_text())
        assert mode(home.run_lock) == 0o600

    assert (told["pid"], told["command"]) == (os.getpid(), "retrobadge run a.toml")
    assert told["started_at"].endswith("+00:00")
    assert home.run_lock.read_text() == ""


def test_second_process_is_refused(tmp_path):
    """A second run is refused at once and told who holds the home."""
    home = open_home(tmp_path)
    with (
        holder(home) as process,
        pytest.raises(HomeRefused) as refusal,
        home.lock(0, "retrobadge resume"),
    ):
        pass

    (fault,) = refusal.value.faults
    assert fault.code == "home_held"
    assert "`retrobadge apply latest`" in fault.message
    assert f"process {process.pid}" in fault.message


def test_holder_that_was_killed(tmp_path):
    """A holder that was killed leaves its text behind and the lock free at once."""
    home = open_home(tmp_path)
    with holder(home) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert "retrobadge apply latest" in home.run_lock.read_text()
    with home.lock(0, "retrobadge resume"):
        assert "retrobadge resume" in home.run_lock.read_text()


def test_waiting_for_the_holder(tmp_path):
    """A run that may wait goes on when the holder has ended."""
    home = open_home(tmp_path)
    went_on = threading.Event()

    def wait():
        with home.lock(30, "retrobadge resume"):
            went_on.set()

    with holder(home) as process:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not went_on.is_set()
        process.stdin.close()
        waiting.join(30)

    assert went_on.is_set()


def test_wait_has_an_end(tmp_path):
    """A run that has waited long enough is refused."""
    home = open_home(tmp_path)
    with (
        home.lock(0, "first"),
        pytest.raises(HomeRefused, match="`first`"),
        home.lock(0.15, "second"),
    ):
        pass


def test_error_frees_the_lock(tmp_path):
    """A run that fails leaves the home free."""
    home = open_home(tmp_path)
    with pytest.raises(RuntimeError), home.lock(0, "first"):
        raise RuntimeError

    with home.lock(0, "second"):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_text_of_the_holder_is_only_told(tmp_path, text):
    """Whatever stands in the file, only the lock itself decides."""
    home = open_home(tmp_path)
    home.run_lock.write_text(text)
    with home.lock(0, "first"):
        home.run_lock.write_text(text)
        with (
            pytest.raises(HomeRefused, match="another run is working"),
            home.lock(0, "second"),
        ):
            pass
