"""Selects from ordered activity what counts for a rule, in groups.

Belongs here: the rows of one condition, the activities that lines make, and the groups
within which a rule counts. Does not belong here: the order (`ordering`), and what is
counted in it (`counting`, `windows`, `streaks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from transforms.activity.accepted import IS_LINE
from transforms.local_time import calendar_period
from transforms.rules.lines import activity_numbers, as_activities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transforms.definition.definition import Per
    from transforms.rules.ordering import Slice, Value


def qualifying(
    order: Slice,
    counts: str | None,
    value: Value | None,
    *,
    per: Per | None,
    timezone: str,
    by_line: bool = False,
) -> pl.DataFrame:
    """Return the activity that counts for a rule, in order.

    `counts` is the mark of its rows (None: all of them). Lines of one activity become
    one row, unless the rule looks at them `by_line`.

    Returned: customer_id Int64, occurred_at Datetime(us, UTC), value (if one was asked
    for), arrival UInt32 (see `Ordered`), period Int64 (with `per`), at Int64 (0, 1, 2,
    … in order), group Int64 (the rows of one customer, or of one customer and period,
    are one group and stand together), begin Int64 (`at` of the group's first row), and
    activity_number Int64 where several rows may be lines of one activity.
    """
    rows = order.rows if counts is None else order.rows.filter(counts)
    has_lines = IS_LINE in rows.columns
    named = {} if value is None else {"value": value.name}
    rows = rows.select("customer_id", "occurred_at", "arrival", **named)
    if has_lines:
        numbers = activity_numbers(rows, order.origins)
        rows = rows.with_columns(activity_number=numbers)
        if not by_line:
            rows = as_activities(rows)
    keys = ["customer_id"]
    if per is not None:
        period = calendar_period(pl.col("occurred_at"), per, timezone)
        rows = rows.with_columns(period=period)
        keys.append("period")
    return with_groups(rows, keys)


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
