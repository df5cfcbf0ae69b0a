"""Makes activities of the lines that a source with `grain = "line_item"` has.

Belongs here: which lines are one activity, its time, and its amount. Does not belong
here: which lines count (`qualifying`), and that all of them come from the newest file
(`activity.accepted`).

The lines of one source with one activity id and one customer are one activity. Its time
is the earliest of all its lines, whether a condition lets them pass or not; as its row
it has the first. An activity whose lines pass in part counts with those that do.
"""

from __future__ import annotations

from typing import TypeVar

import polars as pl

from transforms.activity.accepted import IS_LINE

_ACTIVITY = ("customer_id", "source", "activity_id")
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def with_activity_times(activity: Frame) -> Frame:
    """Give every line the time and the row of its activity: occurred_at, row_number.

    Activity without IS_LINE has no lines, and stays as it is.
    """
    if IS_LINE not in activity.lazy().collect_schema():
        return activity
    return activity.with_columns(
        pl.when(pl.col(IS_LINE))
        .then(pl.col(name).min().over(_ACTIVITY))
        .otherwise(pl.col(name))
        .alias(name)
        for name in ("occurred_at", "row_number")
    )


def as_activities(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per `activity_number` (dropped), the amounts of its lines added.

    `value`, where there is one, is added up if it is a number; else all lines have the
    same. A sum of nothing but nulls is 0.
    """
    value = rows.schema.get("value")
    is_amount = value is not None and value.is_numeric()
    rest = pl.exclude("activity_number", *(["value"] if is_amount else []))
    amount = [pl.col("value").sum()] if is_amount else []
    of_activity = rows.group_by("activity_number", maintain_order=True)
    return of_activity.agg(rest.first(), *amount).drop("activity_number")


def activity_numbers(rows: pl.DataFrame, origins: pl.Series) -> pl.Series:
    """Return a number that is equal for the lines of one activity, Int64.

    `rows` are in order; `arrival` is their place in `origins`, which lines of one
    activity have in common.
    """
    origin = origins.gather(rows["arrival"])
    is_new = origin.ne_missing(origin.shift())
    return is_new.cast(pl.Int64).cum_sum()


def is_last_line() -> pl.Expr:
    """Return where a row is the last of its `activity_number`."""
    number = pl.col("activity_number")
    return number.ne_missing(number.shift(-1))
