"""Remembers the digests of files that have not been touched since.

Belongs here: when a file is surely the one whose digest is known. Does not belong here:
the digest itself (`file_bytes`), and what is kept under it (`activity_files`).

A night that stands on a year of files would read all of them only to find that they are
the same. A file that has the inode, the size and both times that it had is the same, as
`git` and `rsync` take it to be; the time of its last change of state (`ctime`) can't be
set by a program. A file touched a moment ago is never remembered: within one step of
the file system's clock it might change again without a sign.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from flows.files.file_bytes import content_digest

# Twice the step of the coarsest clock that a file system has (FAT), and some slack.
_SETTLED_SECONDS = 10


def known_digest(
    path: Path, home_accepted: Path, read: Callable[[], str] | None = None
) -> str:
    """Return the SHA-256 of a file, in hex; read only if it may have changed.

    Raises OSError for a file that can't be read. What is remembered lies under
    `home_accepted`; whatever is wrong with it, the file is read, by `read` if given.
    """
    memory, state = _memory(path, home_accepted), _state(path)
    if (known := _remembered(memory, state)) is not None:
        return known
    digest = content_digest(path) if read is None else read()
    if _state(path) == state and _is_settled(path):
        _remember(memory, state, digest)
    return digest


def is_remembered(path: Path, home_accepted: Path) -> bool:
    """Tell whether the digest of a file is known without reading it."""
    return _remembered(_memory(path, home_accepted), _state(path)) is not None


def _memory(path: Path, home_accepted: Path) -> Path:
    place = os.path.realpath(path)
    name = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()
    return home_accepted / "digests" / f"{name}.json"


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    ]


def _is_settled(path: Path) -> bool:
    found = path.stat()
    age = time.time() - max(found.st_mtime, found.st_ctime)
    return age > _SETTLED_SECONDS


def _remembered(memory: Path, state: list[int]) -> str | None:
    try:
        found = orjson.loads(memory.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(found, dict) or found.get("state") != state:
        return None
    digest = found.get("content")
    return digest if isinstance(digest, str) else None


def _remember(memory: Path, state: list[int], digest: str) -> None:
    """Write it down, whole or not at all; a full disk only costs the next reading."""
    draft = memory.with_name(f".{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_bytes(orjson.dumps({"state": state, "content": digest}))
        draft.chmod(0o600)
        draft.replace(memory)
    except OSError:
        draft.unlink(missing_ok=True)
