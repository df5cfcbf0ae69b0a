"""Reads instants as a zone's calendar: local days, shifts by a duration, periods.

Belongs here: what a local day, a calendar month back and a calendar period are, over
columns. Does not belong here: rules, or the earn date of an award (`earn_dates`).

A local time that a clock change doubled is its first one; one that it left out is as
long after the last midnight as it says, on the clock of that midnight (02:30 becomes
03:30), as in Python's `zoneinfo` with `fold = 0`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

if TYPE_CHECKING:
    from transforms.definition.definition import Duration, Per, Period

INSTANT = pl.Datetime("us", "UTC")
BUILT_IN_TYPES: dict[str, pl.DataType] = {
    "occurred_date": pl.Date(),
    "weekday": pl.Int8(),
    "hour": pl.Int8(),
}
_EXACT = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_MONTHS = {"mo": 1, "y": 12}
# Whatever is longer than all of history lasts as long as that, and fits its numbers.
_MOST_YEARS = 10_000


def built_in_columns(timezone: str) -> dict[str, pl.Expr]:
    """Return the columns that a definition may use without mapping them.

    Over `occurred_at` Datetime(us, UTC): occurred_date Date, weekday Int8 (1 = Monday
    to 7), hour Int8, all in `timezone`.
    """
    local = pl.col("occurred_at").dt.convert_time_zone(timezone).dt
    return {
        "occurred_date": local.date(),
        "weekday": local.weekday(),
        "hour": local.hour(),
    }


def start_of_day(day: date, timezone: str) -> datetime:
    """Return the first instant of a local day."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(
        UTC
    )


def instants(local: pl.Expr, timezone: str) -> pl.Expr:
    """Return local times without a zone as instants, Datetime(us, UTC)."""
    found = _instants(local, timezone)
    # Left out by a clock change: count on from the same time of the day before.
    day_before = local.dt.offset_by("-1d")
    left_out = pl.when(found.is_null()).then(day_before)
    return pl.coalesce(found, _instants(left_out, timezone) + timedelta(days=1))


def _instants(local: pl.Expr, timezone: str) -> pl.Expr:
    return local.dt.replace_time_zone(
        timezone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def is_exact(duration: Duration) -> bool:
    """Return whether the duration is a fixed number of seconds."""
    return duration.unit in _EXACT


def exact_length(duration: Duration) -> timedelta:
    """Return the length of `h d w`."""
    one = _EXACT[duration.unit]
    return min(duration.count, _MOST_YEARS * timedelta(days=366) // one) * one


def months_in(duration: Duration) -> int:
    """Return the calendar months of `mo y`."""
    return min(duration.count * _MONTHS[duration.unit], _MOST_YEARS * 12)


def longest_length(duration: Duration) -> timedelta:
    """Return a time that no such duration exceeds, whatever the calendar."""
    if is_exact(duration):
        return exact_length(duration)
    return months_in(duration) * timedelta(days=31) + timedelta(days=2)


def one_earlier(instant: pl.Expr, duration: Duration, timezone: str) -> pl.Expr:
    """Return the instants one duration before `instant` Datetime(us, UTC).

    `mo y` keep the local time of day; a day that the month lacks becomes its last.
    """
    if is_exact(duration):
        return instant - exact_length(duration)
    local = instant.dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    return instants(local.dt.offset_by(f"-{months_in(duration)}mo"), timezone)


def calendar_period(instant: pl.Expr, per: Per, timezone: str) -> pl.Expr:
    """Return the period as people write it, Int64: 2024, 20243, 202406, 202423.

    A week is the ISO week of the ISO year, which differs from the calendar year around
    New Year: 2024-12-30 is 202501.
    """
    local = instant.dt.convert_time_zone(timezone).dt
    year = local.year().cast(pl.Int64)
    if per == "week":
        return local.iso_year().cast(pl.Int64) * 100 + local.week()
    if per == "month":
        return year * 100 + local.month()
    if per == "quarter":
        return year * 10 + local.quarter()
    return year


def period_number(instant: pl.Expr, period: Period, timezone: str) -> pl.Expr:
    """Return the number of the local period, Int64: one more is the next period."""
    local = instant.dt.convert_time_zone(timezone).dt
    if period == "month":
        return local.year().cast(pl.Int64) * 12 + local.month()
    days = local.date().to_physical().cast(pl.Int64)
    # Day 0 of the epoch was a Thursday; weeks start on Monday.
    return (days + 3).floordiv(7) if period == "week" else days
