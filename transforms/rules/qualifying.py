"""Selects the activity that counts for a rule and puts it in order.

Belongs here: which rows count (`as_of`, `counted_from`, `source`, conditions) and the
one order that every rule sees: customer, occurred_at, activity_id, file_order,
row_number (then source, should all of these be equal). Does not belong here: what is
counted in that order (`counting`, `windows`, `streaks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from polars import selectors as cs

from transforms.activity.accepted import IS_LINE
from transforms.local_time import calendar_period
from transforms.rules.lines import activity_numbers, as_activities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transforms.definition.definition import Per

DETAILS = ("activity_id", "file_order", "row_number", "source")


@dataclass(frozen=True)
class Qualifying:
    """Activity that counts, in order.

    `rows`: customer_id Int64, occurred_at Datetime(us, UTC), value (if one was asked
    for), arrival (row of `details`), period Int64 (with `per`), at Int64 (0, 1, 2, … in
    order), group Int64 (the rows of one customer, or of one customer and period, are
    one group and stand together), begin Int64 (`at` of the group's first row), and
    activity_number Int64 where several rows may be lines of one activity.
    `details`: DETAILS, as they arrived.
    """

    rows: pl.DataFrame
    details: pl.DataFrame


def qualifying(
    activity: pl.LazyFrame,
    conditions: Sequence[pl.Expr],
    *,
    value: str | None,
    per: Per | None,
    timezone: str,
    by_line: bool = False,
) -> Qualifying:
    """Return the activity for which every condition is true, in order.

    A condition that is null is not true. `value` is what a rule looks at besides time.
    Lines of one activity have its time already (`lines`); they become one row, unless
    the rule looks at them `by_line`.
    """
    narrow = {"customer_id": "customer_id", "occurred_at": "occurred_at"}
    if value is not None:
        narrow["value"] = value
    # TRUE AND null is null, which `filter` drops.
    marks = [IS_LINE] if IS_LINE in activity.collect_schema() else []
    frame = activity.filter(*conditions).select(*DETAILS, *marks, **narrow).collect()
    if marks and not by_line:
        frame = as_activities(frame, ("customer_id", "occurred_at", *DETAILS))
    details = frame.select(DETAILS)
    rows = frame.drop(*DETAILS, IS_LINE, strict=False).with_row_index("arrival")
    rows = _in_order(rows, details)
    if marks and by_line:
        rows = rows.with_columns(activity_number=activity_numbers(rows, details))
    keys = ["customer_id"]
    if per is not None:
        period = calendar_period(pl.col("occurred_at"), per, timezone)
        rows = rows.with_columns(period=period)
        keys.append("period")
    return Qualifying(rows=with_groups(rows, keys), details=details)


def _in_order(frame: pl.DataFrame, details: pl.DataFrame) -> pl.DataFrame:
    """Return each customer's rows together and in order, customers in any order.

    Grouping rows that are sorted by time costs half of sorting by customer and time,
    and a third of sorting by every key: groups keep the order of their rows.
    """
    values = cs.exclude("customer_id")
    is_in_time = frame["occurred_at"].is_sorted()
    by_time = frame if is_in_time else frame.sort("occurred_at")
    rows = by_time.group_by("customer_id").agg(values).explode(values)
    return _ties_in_order(rows, details)


def _ties_in_order(rows: pl.DataFrame, details: pl.DataFrame) -> pl.DataFrame:
    """Sort the rows that share customer and instant by their other keys."""
    keys = ("customer_id", "occurred_at")
    same = [pl.col(key) == pl.col(key).shift() for key in keys]
    like_last = pl.all_horizontal(same).fill_null(value=False)
    is_tied = like_last | like_last.shift(-1, fill_value=False)
    ties = rows.select("arrival", tie=(~like_last).cum_sum(), is_tied=is_tied)
    ties = ties.with_row_index("place").filter("is_tied")
    if ties.is_empty():
        return rows
    names = details.select(pl.all().gather(ties["arrival"]))
    in_order = pl.concat([ties, names], how="horizontal").sort("tie", *DETAILS)
    order = pl.int_range(rows.height, dtype=pl.UInt32, eager=True)
    order = order.scatter(ties["place"], in_order["place"])
    return rows.select(pl.all().gather(order))


def with_groups(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Add at, group and begin to rows in which equal keys stand together."""
    is_new = pl.any_horizontal(
        pl.col(key).ne_missing(pl.col(key).shift()) for key in keys
    )
    at = pl.int_range(pl.len(), dtype=pl.Int64)
    return rows.with_columns(
        at=at,
        group=is_new.cast(pl.Int64).cum_sum(),
        begin=pl.when(is_new | (at == 0)).then(at).forward_fill(),
    )


def first_of_groups(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the first row of each run of equal groups."""
    return rows.filter(pl.col("group").ne_missing(pl.col("group").shift()))


def nth() -> pl.Expr:
    """Return 1, 2, 3, … within each run of equal groups, Int64."""
    is_new = pl.col("group").ne_missing(pl.col("group").shift())
    here = pl.int_range(pl.len(), dtype=pl.Int64)
    return here - pl.when(is_new).then(here).forward_fill() + 1
