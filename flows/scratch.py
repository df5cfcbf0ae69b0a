"""Folders for what waits while a command goes on, and is nobody's afterwards.

Belongs here: making one, and removing those that killed processes left. Does not belong
here: what lies in them (`flows.partitions`, `flows.records.known`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".partitions-"
_FORGOTTEN_SECONDS = 24 * 3600


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Give a folder of our own in another; it goes when the block ends."""
    _remove_forgotten(folder)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as scratch:
        yield Path(scratch)


def _remove_forgotten(folder: Path) -> None:
    """Remove what a killed process left behind; a day later nobody reads it."""
    for left in folder.glob(f"{_PREFIX}*"):
        if time.time() - left.stat().st_mtime > _FORGOTTEN_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
