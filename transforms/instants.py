"""Reads the platform's instants; nothing else.

The platform gives a time twice: as epoch seconds with a fraction (never milliseconds,
whatever its pages say) and, in newer answers, as an ISO 8601 twin under the same name
with `ISO` behind it (contract 2.9).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

# How far the platform's clock may be from ours.
CLOCK_TOLERANCE = timedelta(minutes=1)


def instant_of(record: Mapping[str, Any], *names: str) -> datetime | None:
    """Return the first instant found under `names`, each name's ISO twin first."""
    for name in names:
        for key in (f"{name}ISO", name):
            found = instant(record.get(key))
            if found is not None:
                return found
    return None


def instant(value: object) -> datetime | None:
    """Return an ISO text or epoch seconds as an aware UTC instant, else None."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _from_epoch(float(value))
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.strip())
    except ValueError:
        return _from_text(value)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _from_text(value: str) -> datetime | None:
    try:
        return _from_epoch(float(value))
    except ValueError:
        return None


def _from_epoch(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None  # the year 57906 of a number that was milliseconds


def made_at(object_id: str | None) -> datetime | None:
    """Return the second in which an id was made: its first eight hex digits.

    Ids are 24 hex digits that open with the creation time (contract 2.9).
    """
    if object_id is None or len(object_id) != 24:
        return None
    try:
        return _from_epoch(int(object_id[:8], 16))
    except ValueError:
        return None
