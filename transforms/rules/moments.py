"""Brings activity into order for rules that look at customers and instants alone.

Belongs here: rows without a place of their own, and finding the activity that stands
behind one of them. Does not belong here: rules that look at a value, or at lines
(`ordering`), and what is counted (`counting`, `windows`, `streaks`, `elapsed`).

Where nothing but customer and instant decides who met a rule, nothing else is read of
every row, nor sorted. A row is known by its instant then, and where several rows of a
customer share it, by how many of these come before it in the order of `ordering`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Protocol, TypeVar

import polars as pl

from transforms.rules.ordering import (
    DETAILS,
    Ordered,
    Slice,
    in_order,
    in_slices,
    likely_key,
)
from transforms.rules.packing import Packing, packing_of

Some = TypeVar("Some")
Made = TypeVar("Made")
_MOMENT = ("customer_id", "occurred_at")
_NONE = pl.Series(dtype=pl.Int64)
# So many rows are sorted at once: of more, 64 bits seldom hold customer and instant.
_SLICES_A_SORT = 5
_SAMPLES_A_BATCH = 100


class Over(Protocol):
    """Calls a function with each of some parts, and gives what it returns, in order."""

    def __call__(
        self, function: Callable[[Some], Made], parts: Iterable[Some], /
    ) -> Iterable[Made]:
        """Call it: one part after the other, or several at once."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """A slice of which customers and instants are one sorted number a row."""

    packing: Packing
    keys: pl.Series

    @property
    def origins(self) -> pl.Series:
        """Return nothing: these rows have no origins."""
        return _NONE

    @property
    def rows(self) -> pl.DataFrame:
        """Return the rows, made anew each time; see `moments`."""
        return _with_arrival(self.packing.unpacked(self.keys))

    def nth(self, n: int) -> pl.DataFrame:
        """Return each customer's Nth row alone, as of `qualifying.qualifying`."""
        n = min(n, len(self.keys) + 1)
        customer = pl.lit(self.keys // self.packing.length)
        is_nth = (customer == customer.shift(n - 1)) & customer.ne_missing(
            customer.shift(n)
        )
        at = pl.select(is_nth.arg_true()).to_series()
        keys = self.keys.gather(at)
        rows = self.packing.unpacked(keys)
        return rows.with_columns(
            arrival=at - self.keys.search_sorted(keys),
            at=at.cast(pl.Int64),
            group=pl.int_range(pl.len()),
            begin=at.cast(pl.Int64) - (n - 1),
        )


def moments(counting: pl.LazyFrame, rows_a_slice: int, over: Over) -> list[Slice]:
    """Return some activity in order, in slices, no customer in two of them.

    It is as of `ordering.ordered`, but `arrival` is how many rows of the same customer
    and instant come before a row, and there are no origins.
    """
    looked_at = counting.select(*_MOMENT)
    nothing = looked_at.collect_schema().to_frame()
    batches = list(looked_at.collect_batches()) or [nothing]
    rows = sum(batch.height for batch in batches)
    parts = _parted(batches, max(1, -(-rows // (_SLICES_A_SORT * rows_a_slice))), over)
    return [
        one
        for made in over(partial(_in_slices, rows_a_slice), _emptied(parts))
        for one in made
    ]


def _parted(batches: list[pl.DataFrame], count: int, over: Over) -> list[pl.DataFrame]:
    """Return about so many parts of some rows, each with all rows of some customers.

    `batches` is empty afterwards, so that rows are there once. Ids of a part are near
    each other, and parts of one size, wherever most of the ids lie.
    """
    if count == 1:
        return [pl.concat(_emptied(batches))]
    samples = [
        batch["customer_id"].gather_every(max(1, batch.height // _SAMPLES_A_BATCH))
        for batch in batches
    ]
    sample = pl.concat(samples).sort()
    ends = sample.gather([len(sample) * n // count for n in range(1, count)]).unique()
    pieces: list[list[pl.DataFrame]] = [[] for _ in range(len(ends) + 1)]
    for made in over(partial(_pieces, ends.sort()), _emptied(batches)):
        for number, piece in made:
            pieces[number].append(piece)
    return [pl.concat(one) for one in _emptied(pieces) if one]


def _emptied(parts: list[Some]) -> Iterator[Some]:
    """Yield what is in a list, which then no longer holds it."""
    parts.reverse()
    while parts:
        yield parts.pop()


def _pieces(ends: pl.Series, batch: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    """Return a batch in pieces; a piece's number is how many ends come before it."""
    number = pl.lit(ends).search_sorted(pl.col("customer_id"), side="right")
    numbered = batch.with_columns(number=number)
    pieces = numbered.partition_by("number", include_key=False, as_dict=True)
    return [(int(number), piece) for (number,), piece in pieces.items()]


def _in_slices(rows_a_slice: int, part: pl.DataFrame) -> list[Slice]:
    packing = packing_of(part)
    if packing is None:
        rows = _with_arrival(in_order(part))
        return list(in_slices(Ordered(rows=rows, origins=_NONE), rows_a_slice))
    keys = part.select(key=packing.key).to_series().sort()
    ends = [0]
    while ends[-1] < len(keys):
        last = min(ends[-1] + rows_a_slice, len(keys)) - 1
        ends.append(int(keys.search_sorted(packing.next_customer(keys[last]))))
    return [
        Moments(packing=packing, keys=keys.slice(start, end - start))
        for start, end in pairwise(ends)
    ]


def _with_arrival(rows: pl.DataFrame) -> pl.DataFrame:
    """Add how many rows of the same customer and instant come before each."""
    like_last = pl.all_horizontal(pl.col(n) == pl.col(n).shift() for n in _MOMENT)
    is_tied = rows.select(like_last.fill_null(value=False)).to_series()
    if not is_tied.any():
        return rows.with_columns(arrival=pl.lit(0, dtype=pl.UInt32))
    here = pl.int_range(pl.len(), dtype=pl.UInt32)
    first = pl.when(~is_tied).then(here).forward_fill()
    return rows.with_columns(arrival=here - first)


def proofs_by_moment(
    counting: pl.LazyFrame, hits: Sequence[pl.DataFrame]
) -> list[pl.DataFrame]:
    """Return DETAILS of the activity that stands behind the hits, in their order."""
    wanted = pl.concat([found.select(*_MOMENT) for found in hits]).unique()
    asked = wanted.select(likely_key()).to_series().unique()
    # Parts of a file before the first and behind the last of them are not even read.
    instants = wanted["occurred_at"]
    found = (
        counting.filter(
            pl.col("occurred_at").is_between(instants.min(), instants.max())
        )
        .filter(likely_key().is_in(asked.implode()))
        .select(*_MOMENT, *DETAILS)
        .collect(engine="streaming")
    )
    arrival = pl.lit(0, dtype=pl.UInt32)
    # Of every moment there is a row: as many rows as moments are one of each.
    if found.height > wanted.height:
        found = found.sort(*_MOMENT, *DETAILS)
        arrival = pl.int_range(pl.len(), dtype=pl.UInt32).over(_MOMENT)
    found = found.with_columns(arrival=arrival)
    return [
        one.select(*(*_MOMENT, "arrival"))
        .join(found, on=(*_MOMENT, "arrival"), how="left", maintain_order="left")
        .select(*DETAILS)
        for one in hits
    ]
