"""Finds the day on which a time since a first moment has passed.

Belongs here: `elapsed`. Does not belong here: what a local day is (`local_time`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from transforms.local_time import (
    INSTANT,
    exact_length,
    instants,
    is_exact,
    months_in,
)
from transforms.rules.counting import each_ordinal, hits

if TYPE_CHECKING:
    from transforms.definition.definition import Duration

# More than a day in any zone, and more than a calendar day with a clock change.
_SLACK = timedelta(days=2)
_SHORTEST_MONTH = timedelta(days=28)


def elapsed(
    rows: pl.DataFrame,
    after: Duration,
    *,
    timezone: str,
    as_of: datetime,
    most: int | None,
) -> pl.DataFrame:
    """Return the first row of each group, met on each local day a multiple later.

    Time runs from that row's `value`, Datetime(us, UTC) or local Date, where `rows`
    has one (null: it never runs), else from its activity. `qualified_at` is the start
    of the local day in which the time is over, but never before that moment itself (a
    few hours may end on the same day); only days that have begun by `as_of` count.
    `measure` is in units of `after`.
    """
    first = rows.filter(pl.col("at") == pl.col("begin")).with_columns(
        _begin(rows, timezone)
    )
    first = first.filter(pl.col("began_at").is_not_null())
    step = (
        exact_length(after) if is_exact(after) else months_in(after) * _SHORTEST_MONTH
    )
    longest = pl.lit(as_of, dtype=INSTANT) + _SLACK - pl.col("began_at")
    ordinals = longest.dt.total_microseconds() // (step // timedelta(microseconds=1))
    frame = each_ordinal(first, pl.lit(1), ordinals.clip(0, most))
    met_at = pl.max_horizontal(
        instants(_midnight(after, timezone), timezone), "began_at"
    )
    frame = frame.with_columns(qualified_at=met_at)
    frame = frame.filter(pl.col("qualified_at") <= pl.lit(as_of, dtype=INSTANT))
    return hits(frame.with_columns(measure=pl.col("ordinal") * after.count), most)


def _begin(rows: pl.DataFrame, timezone: str) -> pl.Expr:
    """Return the moment from which time runs, `began_at`."""
    if "value" not in rows.columns:
        return pl.col("occurred_at").alias("began_at")
    began = pl.col("value")
    if rows.schema["value"] == pl.Date:
        began = instants(began.cast(pl.Datetime("us")), timezone)
    return began.alias("began_at")


def _midnight(after: Duration, timezone: str) -> pl.Expr:
    """Return 00:00, without a zone, of the local day `ordinal` times `after` later."""
    ordinal = pl.col("ordinal")
    if is_exact(after):
        over_at = pl.col("began_at") + exact_length(after) * ordinal
        return over_at.dt.convert_time_zone(timezone).dt.date().cast(pl.Datetime("us"))
    day = pl.col("began_at").dt.convert_time_zone(timezone).dt.date()
    months = pl.format("{}mo", ordinal * months_in(after))
    return day.dt.offset_by(months).cast(pl.Datetime("us"))
