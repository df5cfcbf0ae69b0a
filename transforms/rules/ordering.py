"""Brings activity into the one order that every rule sees, once for all of them.

Belongs here: that order (customer, occurred_at, activity_id, file_order, row_number,
then source, should all of these be equal), and fetching what proves a hit. Does not
belong here: which of it counts for a rule (`qualifying`) and what is counted
(`counting`, `windows`, `streaks`).

Rules look at customer, time and a value; of the rest of a row they need its place
alone. So that is all that is read of every row: the texts are read a second time, of
the few rows that met a rule, and of those that only their texts bring into order.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import polars as pl

from transforms.activity.accepted import IS_LINE
from transforms.rules.packing import packing_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DETAILS = ("activity_id", "file_order", "row_number", "source")
# A place is 32 bits of a sort key, so that as much is left for the customer.
_PLACES = 2**32
_CUSTOMERS = 2**31
# Files of a trillion rows, and eight million of them, still have different origins.
_ROWS_A_FILE = 2**40
_ORIGIN = pl.col("file_order").cast(pl.Int64) * _ROWS_A_FILE + pl.col("row_number")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A column that a rule looks at; `is_code` where only its equality matters."""

    column: str
    is_code: bool = False

    @property
    def name(self) -> str:
        """Return the name under which ordered activity has it."""
        return f"@{'code' if self.is_code else 'value'} {self.column}"

    @property
    def read(self) -> pl.Expr:
        """Return what is read of the column; codes are equal where it is, Int64.

        Numbers are two to three times as fast as texts in everything that follows.
        """
        value = pl.col(self.column)
        if not self.is_code:
            return value
        as_category = value.cast(pl.String).cast(pl.Categorical)
        return as_category.to_physical().cast(pl.Int64)


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Activity in order: what counts for at least one of some conditions.

    `rows`: customer_id Int64, occurred_at Datetime(us, UTC), arrival UInt32 (row of
    `origins`), IS_LINE where activity has it, values by `Value.name` (codes are Int64),
    and the conditions by `mark`, Boolean; of one condition alone there is no mark.
    `origins`: file and row of each as one number, Int64, as they arrived.
    """

    rows: pl.DataFrame
    origins: pl.Series


class Slice(Protocol):
    """Some customers' activity in order, as `Ordered` has it."""

    @property
    def rows(self) -> pl.DataFrame:
        """Return the rows in order."""

    @property
    def origins(self) -> pl.Series:
        """Return where rows come from, by their `arrival`."""


def mark(number: int) -> str:
    """Return the column that says for which rows a condition is true."""
    return f"@counts {number}"


def ordered(
    activity: pl.LazyFrame, conditions: Sequence[pl.Expr], values: Sequence[Value]
) -> Ordered:
    """Return the activity for which any condition is true, in order.

    A condition that is null is not true.
    """
    lines = [IS_LINE] if IS_LINE in activity.collect_schema() else []
    marks: dict[str, pl.Expr] = {}
    if len(conditions) == 1:
        counting = activity.filter(*conditions)
    else:
        marks = {mark(n): c.fill_null(value=False) for n, c in enumerate(conditions)}
        counting = activity.with_columns(**marks).filter(pl.any_horizontal(*marks))
    frame = counting.select(
        "customer_id",
        "occurred_at",
        *lines,
        *marks,
        _ORIGIN.alias("origin"),
        **{value.name: value.read for value in values},
    ).collect()
    origins = frame["origin"]
    rows = in_order(frame.drop("origin"))
    del frame
    return Ordered(rows=_ties_in_order(rows, origins, activity), origins=origins)


def in_slices(order: Ordered, rows: int) -> Iterator[Ordered]:
    """Yield the same in slices of so many rows or more, no customer in two of them.

    What is counted of a slice takes several times its memory. Of no rows it is one.
    """
    customers = order.rows["customer_id"]
    ends = [0]
    while ends[-1] < len(customers):
        last = min(ends[-1] + rows, len(customers)) - 1
        ends.append(int(customers.search_sorted(customers[last], side="right")))
    for start, end in pairwise(ends if len(ends) > 1 else [0, 0]):
        yield Ordered(rows=order.rows.slice(start, end - start), origins=order.origins)


def only_first(activity: pl.LazyFrame) -> pl.LazyFrame:
    """Return what each customer did first: all of it, should it be several at once.

    Two looks at all activity are less work than bringing it into order.
    """
    keys = ["customer_id", "occurred_at"]
    first = activity.group_by("customer_id").agg(pl.col("occurred_at").min()).collect()
    # Equal keys are likely the same customer and instant, and then it is looked.
    wanted = first.select(likely_key()).to_series()
    likely = activity.filter(likely_key().is_in(wanted.implode()))
    return likely.join(first.lazy(), on=keys, how="semi")


def likely_key() -> pl.Expr:
    """Return a number that seldom two different customers and instants share, Int64."""
    return pl.col("customer_id") * _PLACES ^ pl.col("occurred_at").to_physical()


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each customer's rows together, in order of time, with `arrival`.

    Rows that come in order of time sort by one number of customer and place, in a third
    of the time that grouping takes, and a fourth of that of a sort by two columns.
    Others do by one number of customer and time, should 64 bits hold both.
    """
    place = pl.int_range(pl.len(), dtype=pl.UInt32)
    if rows.is_empty():
        return rows.with_columns(arrival=place)
    customer = pl.col("customer_id")
    least, most = rows.select(least=customer.min(), most=customer.max()).row(0)
    if rows["occurred_at"].is_sorted():
        if most - least < _CUSTOMERS:
            return _by_near_customer(rows, least)
        return _by_place(rows.with_columns(arrival=place))
    rows = rows.with_columns(arrival=place).rechunk()
    packing = packing_of(rows)
    if packing is None:
        return _by_place(rows.sort("occurred_at"))
    return rows[rows.select(packing.key.arg_sort()).to_series()]


def _by_near_customer(by_time: pl.DataFrame, least: int) -> pl.DataFrame:
    """Sort by customer, and keep the order within each; ids are less than 2³¹ apart."""
    key = _keys(by_time, pl.col("customer_id") - least)
    arrival = _places(key)
    # Places are looked up in one piece, or it takes five times as long.
    rows = by_time.drop("customer_id").rechunk()[arrival]
    whose = pl.lit(key).floordiv(_PLACES) + least
    return rows.with_columns(arrival=arrival, customer_id=whose)


def _by_place(by_time: pl.DataFrame) -> pl.DataFrame:
    """Sort by customer, and keep the order within each, whatever their ids."""
    code = pl.col("customer_id").rank("dense").cast(pl.Int64)
    return by_time.rechunk()[_places(_keys(by_time, code))]


def _keys(by_time: pl.DataFrame, code: pl.Expr) -> pl.Series:
    """Return a number of customer and place for each row, sorted."""
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    return by_time.select(key=code * _PLACES + place).to_series().sort()


def _places(keys: pl.Series) -> pl.Series:
    return (keys & (_PLACES - 1)).cast(pl.UInt32)


def _ties_in_order(
    rows: pl.DataFrame, origins: pl.Series, activity: pl.LazyFrame
) -> pl.DataFrame:
    """Sort the rows that share customer and instant by their other keys."""
    keys = ("customer_id", "occurred_at")
    same = [pl.col(key) == pl.col(key).shift() for key in keys]
    like_last = pl.all_horizontal(same).fill_null(value=False)
    is_tied = like_last | like_last.shift(-1, fill_value=False)
    places = rows.select(is_tied.arg_true()).to_series()
    if places.is_empty():
        return rows
    tie = (~like_last).cum_sum().gather(places)
    ties = rows.select(tie=tie, place=places, arrival=pl.col("arrival").gather(places))
    names = _details(origins.gather(ties["arrival"]), activity)
    in_order = pl.concat([ties, names], how="horizontal").sort("tie", *DETAILS)
    order = pl.int_range(rows.height, dtype=pl.UInt32, eager=True)
    order = order.scatter(places, in_order["place"])
    return rows.select(pl.all().gather(order))


def proofs_by_place(
    origins: pl.Series, activity: pl.LazyFrame, hits: Sequence[pl.DataFrame]
) -> list[pl.DataFrame]:
    """Return DETAILS of the activity that stands behind the hits, in their order."""
    arrivals = pl.concat([found["arrival"] for found in hits]).unique().sort()
    found = _details(origins.gather(arrivals), activity)
    return [
        found.select(pl.all().gather(arrivals.search_sorted(one["arrival"])))
        for one in hits
    ]


def _details(origins: pl.Series, activity: pl.LazyFrame) -> pl.DataFrame:
    """Return DETAILS of the rows that have these origins, in their order."""
    wanted = origins.alias("origin").to_frame()
    asked = _ORIGIN.is_in(origins.unique().implode())
    found = activity.filter(asked).select(*DETAILS, origin=_ORIGIN).collect()
    # Lines of one activity have their origin in common, and all else that is asked for.
    return wanted.join(
        found.unique("origin"), on="origin", how="left", maintain_order="left"
    ).drop("origin")
