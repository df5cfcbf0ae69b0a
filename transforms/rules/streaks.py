"""Finds streaks: consecutive calendar periods with enough activity in each.

Belongs here: `streak`. Does not belong here: what a calendar period is (`local_time`)
and how a streak serves with `repeat` (`spans`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from transforms.local_time import period_number
from transforms.rules.counting import hits
from transforms.rules.qualifying import with_groups
from transforms.rules.spans import Window, served_spans

if TYPE_CHECKING:
    from transforms.definition.definition import Period


def with_periods(rows: pl.DataFrame, period: Period, timezone: str) -> pl.DataFrame:
    """Add number Int64: the local calendar period of each row, one after the other."""
    number = period_number(pl.col("occurred_at"), period, timezone)
    return rows.with_columns(number=number)


def streaks(
    rows: pl.DataFrame,
    periods: int,
    at_least: int,
    window: Window | None,
    *,
    most: int | None,
) -> pl.DataFrame:
    """Return the row that completes N consecutive periods; then the next such.

    A period is full once it has `at_least` rows. Counting starts again after the row
    that completed a streak: what follows it in the same period counts for the next.
    """
    bound = rows.height + 1
    since = _since(rows, min(periods, bound), min(at_least, bound))
    served = served_spans(rows.with_columns(since=since), window, most=most)
    return hits(served.with_columns(measure=pl.lit(periods, pl.Int64)), most)


def _since(rows: pl.DataFrame, periods: int, at_least: int) -> pl.Series:
    """Return the latest row since which N consecutive periods are full.

    That is the last but `at_least` of the first of these periods, up to the row itself.
    """
    parts = with_groups(rows.select("number", owner="group"), keys=("owner", "number"))
    is_enough = pl.col("at") - pl.col("begin") + 1 >= at_least
    if periods == 1:
        since = pl.col("at") - at_least + 1
    else:
        openings = _openings(parts, periods, at_least)
        parts = parts.join(openings, on="group", how="left", maintain_order="left")
        since = pl.col("opening")
    return parts.select(pl.when(is_enough).then(since)).to_series()


def _openings(parts: pl.DataFrame, periods: int, at_least: int) -> pl.DataFrame:
    """Return, per part that ends N consecutive full ones, where the first must open."""
    begin = pl.col("begin")
    size = begin.shift(-1, fill_value=parts.height) - begin
    full = parts.filter(pl.col("at") == begin).with_columns(size=size)
    full = full.filter(pl.col("size") >= at_least)
    goes_on = (pl.col("owner") == pl.col("owner").shift()) & (
        pl.col("number") == pl.col("number").shift() + 1
    )
    here = pl.int_range(pl.len(), dtype=pl.Int64)
    run_begin = pl.when(goes_on.fill_null(value=False).not_()).then(here).forward_fill()
    opening = (begin + pl.col("size") - at_least).shift(periods - 1)
    return (
        full.with_columns(opening=opening)
        .filter(here - run_begin + 1 >= periods)
        .select("group", "opening")
    )
