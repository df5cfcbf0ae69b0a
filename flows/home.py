"""A home: the one folder in which everything that Retrobadge keeps is found.

Belongs here: the names of its files, its permissions, and the lock that lets one run at
a time work in it. Does not belong here: what is in the files, and which folder it is
(`flows.settings`, or `--home`).

The lock is the operating system's (`flock`) and is held by an open descriptor: however
the holder ends, it is free at that moment. What stands in the file is for people only,
and tells nothing about whether the lock is held.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from transforms.errors import HomeRefused, RetrobadgeError

# How long a waiting run sleeps between two looks at the lock.
_LOOK_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Home:
    """The named paths of a home. `open_home` makes its folders."""

    root: Path

    @property
    def ledger(self) -> Path:
        """The authority on every award; nothing but DuckDB may touch it."""
        return self.root / "ledger.duckdb"

    @property
    def audit(self) -> Path:
        """What people read; published, never written in place."""
        return self.root / "audit.duckdb"

    @property
    def note(self) -> Path:
        """Says which ledger this home has, and where the home lay."""
        return self.root / "home.json"

    @property
    def run_lock(self) -> Path:
        """Held by the run that works in this home."""
        return self.root / "run.lock"

    @property
    def pace(self) -> Path:
        """When the platform was last called, for all commands that use this home."""
        return self.root / "pace.json"

    @property
    def plans(self) -> Path:
        """A folder per plan."""
        return self.root / "plans"

    @property
    def reports(self) -> Path:
        """HTML files for people."""
        return self.root / "reports"

    @property
    def backups(self) -> Path:
        """The ledger as it was after the latest runs."""
        return self.root / "backups"

    @property
    def logs(self) -> Path:
        """A file of JSON lines per run."""
        return self.root / "logs"

    @property
    def accepted(self) -> Path:
        """Accepted activity by the fingerprint of its file."""
        return self.root / "accepted"

    @contextmanager
    def lock(self, wait_seconds: float, holder: str) -> Iterator[None]:
        """Hold the home for one run; `holder` tells others who that is.

        Another holder is waited for up to `wait_seconds` (0: not at all, `math.inf`:
        for as long as it takes); then `HomeRefused` names it.
        """
        descriptor = _open_lock(self.run_lock)
        # DuckDB makes its files itself, write-ahead logs and exports too.
        umask = os.umask(0o077)
        try:
            _acquire(descriptor, self.run_lock, wait_seconds)
            _sign(descriptor, holder)
            try:
                yield
            finally:
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
        finally:
            os.umask(umask)
            os.close(descriptor)  # and with it the lock


def open_home(root: Path) -> Home:
    """Return the home in a folder, making what is missing with access for us alone.

    Raises `HomeRefused` for a place where no folder can be made or written to.
    """
    home = Home(root.absolute())
    folders = (home.plans, home.reports, home.backups, home.logs, home.accepted)
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(home.root, error) from error
    if not os.access(home.root, os.W_OK | os.X_OK):
        raise _unusable(home.root, PermissionError(errno.EACCES, "not writable"))
    return home


def open_private(path: Path | str, flags: int) -> int:
    """Open a file for its owner alone: an `opener` for `open`, mode 0600."""
    return os.open(path, flags, 0o600)


def _open_lock(path: Path) -> int:
    try:
        return open_private(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _unusable(path, error) from error


def _acquire(descriptor: int, path: Path, wait_seconds: float) -> None:
    give_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                raise _held(descriptor, path) from None
            time.sleep(_LOOK_AGAIN_SECONDS)
        except OSError as error:
            raise HomeRefused.of(
                "home_without_locks",
                f"locks don't work here ({error.strerror}): a home must be on a disk "
                "of this machine; name another with --home or RETROBADGE_HOME",
                file=str(path),
            ) from error
        else:
            return


def _sign(descriptor: int, holder: str) -> None:
    """Say in the file who holds the lock. Nothing depends on it, so it may fail."""
    told = {
        "pid": os.getpid(),
        "command": holder,
        "started_at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(told).encode(), 0)


def _held(descriptor: int, path: Path) -> RetrobadgeError:
    """Name the holder, as far as the file tells it: it may just be being written."""
    who = "another run"
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(os.pread(descriptor, 4096, 0))
        who = f"`{told['command']}` (process {told['pid']}, since {told['started_at']})"
    return HomeRefused.of(
        "home_held",
        f"{who} is working in this home: let it end, or say with --wait how many "
        "seconds to wait for it",
        file=str(path),
    )


def _unusable(path: Path, error: OSError) -> RetrobadgeError:
    return HomeRefused.of(
        "home_unusable",
        f"can't be used as a home ({error.strerror}): mend its permissions, or name "
        "another with --home or RETROBADGE_HOME",
        file=str(path),
    )
