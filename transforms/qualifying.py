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

from transforms.local_time import calendar_period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transforms.definition import Per

DETAILS = ("activity_id", "file_order", "row_number", "source")


@dataclass(frozen=True)
class Qualifying:
    """Activity that counts, in order.

    `rows`: customer_id Int64, occurred_at Datetime(us, UTC), value (if one was asked
    for), arrival (row of `details`), period Int64 (with `per`), at Int64 (0, 1, 2, … in
    order), group Int64 (the rows of one customer, or of one customer and period, are
    one group and stand together), begin Int64 (`at` of the group's first row).
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
) -> Qualifying:
    """Return the activity for which every condition is true, in order.

    A condition that is null is not true. `value` is what a rule looks at besides time.
    """
    narrow = [pl.col("customer_id"), pl.col("occurred_at")]
    if value is not None:
        narrow.append(pl.col(value).alias("value"))
    # TRUE & null is null, which `filter` drops.
    frame = activity.filter(*conditions).select(*narrow, *DETAILS).collect()
    details = frame.select(DETAILS)
    frame = frame.drop(DETAILS)
    arrival = _order(frame, details)
    rows = frame.select(pl.all().gather(arrival), arrival=arrival)
    if per is not None:
        period = calendar_period(pl.col("occurred_at"), per, timezone)
        rows = rows.with_columns(period=period)
    keys = ("customer_id",) if per is None else ("customer_id", "period")
    return Qualifying(rows=with_groups(rows, keys), details=details)


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


def nth() -> pl.Expr:
    """Return 1, 2, 3, … within each run of equal groups, Int64."""
    is_new = pl.col("group").ne_missing(pl.col("group").shift())
    here = pl.int_range(pl.len(), dtype=pl.Int64)
    return here - pl.when(is_new).then(here).forward_fill() + 1


def _order(frame: pl.DataFrame, details: pl.DataFrame) -> pl.Series:
    """Return the rows' positions in order.

    Sorting numbers twice costs a third of sorting by every key; only the rows that
    share customer and instant need the other keys.
    """
    by_time = frame.select(pl.arg_sort_by("occurred_at")).to_series()
    in_time = frame.select(pl.col("customer_id").gather(by_time))
    stable = pl.arg_sort_by("customer_id", maintain_order=True)
    order = by_time.gather(in_time.select(stable).to_series())
    keys = ("customer_id", "occurred_at")
    same = [pl.col(key).gather(order) for key in keys]
    like_last = pl.all_horizontal(key == key.shift() for key in same).fill_null(
        value=False
    )
    like_next = like_last.shift(-1, fill_value=False)
    tied = frame.select((like_last | like_next).arg_true()).to_series()
    if tied.is_empty():
        return order
    places = order.gather(tied)
    sorted_places = (
        pl.concat(
            [
                frame.select(pl.col(keys).gather(places)),
                details.select(pl.all().gather(places)),
                places.alias("place").to_frame(),
            ],
            how="horizontal",
        )
        .sort(*keys, *DETAILS)
        .get_column("place")
    )
    return order.scatter(tied, sorted_places)
