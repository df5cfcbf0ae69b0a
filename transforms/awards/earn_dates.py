"""Dates awards: the second that is sent, its local day, and whether the badge was open.

Belongs here: the badge's window, the two precisions, and the text that goes out. Does
not belong here: bounds of a run and what is made already (`awards`).

In or out is decided by the moment of qualifying against the window as instants,
`[starts_at, expires_at)`: the platform leaves its edges open (contract 1.2), and
half-open windows that adjoin share no instant. Nothing is ever moved to now.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl

from transforms.local_time import INSTANT, instants

if TYPE_CHECKING:
    from transforms.definition.definition import Badge
    from transforms.platform.badges import BadgeFacts

_SECOND = timedelta(seconds=1)


def with_earn_dates(
    frame: pl.DataFrame, badge: Badge, facts: BadgeFacts, *, timezone: str
) -> pl.DataFrame:
    """Add the earn date of each row's `qualified_at` Datetime(us, UTC).

    Added: earn_event_date Datetime(us, UTC), whole seconds inside the window, null if
    there is none; earn_day Date in `timezone` (the day of qualifying where there is no
    earn date); not_open: why there is none (`before_window`, `after_window`,
    `no_second_left`), else null.

    `precision = "day"` gives all of one local day its noon, moved only within that day
    to stay in the window; `exact` gives the activity's own second. With
    `before_window = "window_start"` what came before counts as come at the start.
    """
    first, last = _whole_seconds(facts)
    counted_at, local_day = pl.col("counted_at"), pl.col("local_day")
    frame = frame.with_columns(counted_at=_counted_at(badge, first)).with_columns(
        local_day=counted_at.dt.convert_time_zone(timezone).dt.date()
    )
    is_exact = badge.precision == "exact"
    noon = instants(local_day.dt.combine(time(12)), timezone)
    wanted = counted_at.dt.truncate("1s") if is_exact else noon
    clipped = wanted.clip(_instant(first), _instant(last))
    clipped_day = clipped.dt.convert_time_zone(timezone).dt.date()
    if is_exact:
        frame = frame.with_columns(moved=clipped, moved_day=clipped_day)
    else:  # there are few days, however many rows
        days = frame.select("local_day").unique()
        days = days.with_columns(moved=clipped, moved_day=clipped_day)
        frame = frame.join(days, on="local_day", how="left", maintain_order="left")
    moved, moved_day = pl.col("moved"), pl.col("moved_day")
    has_second = pl.lit(value=first is None or last is None or first <= last)
    if not is_exact:
        has_second &= moved_day == local_day
    frame = frame.with_columns(not_open=_not_open(facts, has_second))
    is_open = pl.col("not_open").is_null()
    return frame.with_columns(
        earn_event_date=pl.when(is_open).then(moved),
        earn_day=pl.when(is_open).then(moved_day).otherwise(local_day),
    ).drop("counted_at", "local_day", "moved", "moved_day")


def _whole_seconds(facts: BadgeFacts) -> tuple[datetime | None, datetime | None]:
    """Return the window's first and last whole second; None where it has no edge."""
    starts_at, expires_at = facts.starts_at, facts.expires_at
    first = None if starts_at is None else _next_second(starts_at)
    last = None if expires_at is None else _next_second(expires_at) - _SECOND
    return first, last


def _next_second(instant: datetime) -> datetime:
    """Return the first whole second that is not before the instant."""
    floor = instant.replace(microsecond=0)
    return floor if floor == instant else floor + _SECOND


def _counted_at(badge: Badge, first: datetime | None) -> pl.Expr:
    """Return the instant that is judged: the qualifying, or the window's start."""
    qualified_at = pl.col("qualified_at")
    if badge.before_window == "skip" or first is None:
        return qualified_at
    is_early = qualified_at < _instant(first)
    return pl.when(is_early).then(_instant(first)).otherwise(qualified_at)


def _not_open(facts: BadgeFacts, has_second: pl.Expr) -> pl.Expr:
    counted_at = pl.col("counted_at")
    reasons = [pl.when(~has_second).then(pl.lit("no_second_left"))]
    if facts.expires_at is not None:
        is_late = counted_at >= _instant(facts.expires_at)
        reasons.insert(0, pl.when(is_late).then(pl.lit("after_window")))
    if facts.starts_at is not None:
        is_early = counted_at < _instant(facts.starts_at)
        reasons.insert(0, pl.when(is_early).then(pl.lit("before_window")))
    return pl.coalesce(*reasons)


def _instant(value: datetime | None) -> pl.Expr:
    return pl.lit(value, dtype=INSTANT)


def earn_date_text(instant: pl.Expr) -> pl.Expr:
    """Return a whole second as it is sent: ISO 8601, UTC as an offset, no fraction."""
    return instant.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
