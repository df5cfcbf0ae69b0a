"""Says whether a path fits a pattern of `files`, on a disk as in object storage.

Belongs here: `*`, `?`, `[…]` within a name and `**` for any folders. Does not belong
here: looking which files there are (`finding`, `object_storage`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence


def fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether the parts of a path are what the parts of a pattern ask for."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(fits(names[at:], patterns[1:]) for at in range(len(names) + 1))
    if not names or not fnmatch.fnmatchcase(names[0], patterns[0]):
        return False
    return fits(names[1:], patterns[1:])
