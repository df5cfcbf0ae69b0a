"""The spans of time the platform reckons with: expiry of earns, windows of limits."""

from __future__ import annotations

import calendar
from datetime import timedelta
from zoneinfo import ZoneInfo

from flows.sandbox.moments import DAY, instant, moment, start_of_day
from flows.sandbox.records import Badge, Expiry, Limit

# An earn that never expires is given a hundred years (contract 7).
_NEVER_MONTHS = 1200


def shifted(at: int, unit: str, value: int, zone: ZoneInfo) -> int:
    """Return an instant moved by days, weeks or the server's calendar months."""
    if unit != "MONTHS":
        return at + value * DAY * (7 if unit == "WEEKS" else 1)
    local = instant(at).astimezone(zone)
    year, month = divmod(local.year * 12 + local.month - 1 + value, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    day = min(local.day, last_day)
    return moment(local.replace(year=year, month=month + 1, day=day))


def expires_at(expiry: Expiry, badge: Badge, now: int, zone: ZoneInfo) -> int:
    """Return when something earned or enrolled now expires.

    A relative expiry counts from the processing, whatever the earn date (contract 7).
    """
    if expiry.kind == "relative":
        return shifted(now, expiry.unit, expiry.value, zone)
    if expiry.kind == "with_badge":
        return moment(badge.expires_at)
    if expiry.kind == "fixed_date" and expiry.expires_at is not None:
        return moment(expiry.expires_at)
    return shifted(now, "MONTHS", _NEVER_MONTHS, zone)


def limit_window(
    limit: Limit, badge: Badge, *, now: int, earn_event_at: int, zone: ZoneInfo
) -> tuple[int, int] | None:
    """Return the window a limit counts in, end exclusive; None is all time.

    A fixed window holds the earn date; a rolling one ends now (contract 7).
    """
    if limit.kind == "total":
        return None
    if limit.kind == "rolling":
        return shifted(now, limit.unit, -limit.value, zone), now + 1
    if limit.unit == "DAYS":
        start, length = moment(badge.starts_at), limit.value * DAY
        first = start + (earn_event_at - start) // length * length
        return first, first + length
    local = instant(start_of_day(earn_event_at, zone)).astimezone(zone)
    if limit.unit == "WEEKS":
        monday = local - timedelta(days=local.weekday())
        return moment(monday), moment(monday + timedelta(days=7))
    first_day = local.replace(day=1)
    next_month = (first_day + timedelta(days=31)).replace(day=1)
    return moment(first_day), moment(next_month)
