"""How the platform reads and writes instants.

Belongs here: instants as whole microseconds since 1970, and their texts. Does not
belong here: what an instant is compared with.

The platform's numbers are epoch seconds, whatever its pages say, and 13 digits are
never refused: they are read as the year 57906 (contract 2.9). `datetime` ends with the
year 9999, so instants are plain integers here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
# Seconds of the year 100, and of one far beyond the milliseconds of today.
_FIRST = -59_000_000_000
_FARTHEST = 10**15
# The Gregorian calendar repeats itself every 400 years.
_CYCLE_DAYS = 146_097
_CYCLE_YEARS = 400


def moment(at: datetime) -> int:
    """Return an aware instant as microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    """Return microseconds since 1970 as UTC; the year 9999 stands for what is later."""
    try:
        return _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return _LAST


def read_moment(value: object, zone: ZoneInfo) -> int | None:
    """Return what the platform takes a date for; None if it can't read it.

    Numbers, and texts of digits, are seconds. A text without an offset is taken in the
    server's zone.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if not (text.isdecimal() and len(text) > len("20231103")):
            return _read_text(text, zone)
        value = int(text)
    if not isinstance(value, int | float) or not _FIRST <= value <= _FARTHEST:
        return None
    return round(value * SECOND)


def _read_text(text: str, zone: ZoneInfo) -> int | None:
    try:
        parsed = datetime.fromisoformat(text)
        at = moment(parsed if parsed.tzinfo else parsed.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        return None
    return at if at >= _FIRST * SECOND else None


def seconds(at: int) -> orjson.Fragment:
    """Return a JSON number of epoch seconds with nine decimals."""
    sign = "-" if at < 0 else ""
    whole, part = divmod(abs(at), SECOND)
    return orjson.Fragment(f"{sign}{whole}.{part:06d}000")


def iso(at: int, zone: ZoneInfo) -> str:
    """Return the ISO text in the server's zone, for years beyond 9999 too."""
    cycles = max(0, at // DAY // _CYCLE_DAYS - 15)
    near = instant(at - cycles * _CYCLE_DAYS * DAY).astimezone(zone)
    precision = "milliseconds" if at % SECOND else "seconds"
    text = near.isoformat(timespec=precision).replace("+00:00", "Z")
    if not cycles:
        return text
    return f"+{near.year + cycles * _CYCLE_YEARS}{text[4:]}"


def start_of_day(at: int, zone: ZoneInfo) -> int:
    """Return the start of the local day that an instant lies in."""
    local = instant(at).astimezone(zone)
    return moment(local.replace(hour=0, minute=0, second=0, microsecond=0))
