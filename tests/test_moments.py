"""Customers and instants alone, in order: as what is read whole comes into order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from factories_rules import activity_frame
from hypothesis import given
from hypothesis import strategies as st
from oracle import Activity

from transforms.rules.moments import Moments, moments, proofs_by_moment
from transforms.rules.ordering import DETAILS, ordered, proofs_by_place
from transforms.rules.packing import packing_of
from transforms.rules.qualifying import qualifying

START = datetime(2024, 3, 1, tzinfo=UTC)
NEAR = (1, 2, 3, 4, 9, 200)
FAR = (1, 2, 3, 2**31 + 5, 2**62, -(2**62))


@st.composite
def histories(draw: st.DrawFn) -> list[Activity]:
    """Draw activity in any order, with many ties, of ids near each other or far."""
    whole = timedelta(hours=8)
    step = draw(st.sampled_from((whole, whole + timedelta(microseconds=1))))
    rows = st.builds(
        dict,
        customer_id=st.sampled_from(draw(st.sampled_from((NEAR, FAR)))),
        activity_id=st.sampled_from(("a", "b", "c")),
        occurred_at=st.integers(0, 12).map(lambda n: START + n * step),
        source=st.sampled_from(("bills", "visits")),
        file_order=st.integers(0, 2),
    )
    drawn = draw(st.lists(rows, max_size=60))
    return [Activity(row_number=n, **row) for n, row in enumerate(drawn, start=2)]


@given(histories(), st.integers(1, 12))
def test_moments_are_in_the_order_of_whole_rows(
    history: list[Activity], rows_a_slice: int
) -> None:
    """Slices hold the same rows in the same order, and none parts a customer."""
    frame = activity_frame(history)
    whole = ordered(frame, [pl.lit(value=True)], [])
    parts = [part.rows for part in moments(frame, rows_a_slice, map)]
    keys = ["customer_id", "occurred_at"]
    found = pl.concat(parts).select(*keys, "arrival")
    earlier = pl.int_range(pl.len(), dtype=pl.UInt32).over(keys)
    assert found.equals(whole.rows.select(*keys, arrival=earlier))
    owners = [owner for part in parts for owner in part["customer_id"].unique()]
    assert len(owners) == len(set(owners))


@given(histories(), st.integers(1, 12), st.sampled_from((1, 2, 3, 7, 2**100)))
def test_the_nth_row_alone_is_the_nth_of_all_rows(
    history: list[Activity], rows_a_slice: int, n: int
) -> None:
    """Picked out of the packed numbers or counted out: the same rows, ties included."""
    names = ("customer_id", "occurred_at", "arrival", "at", "begin")
    for part in moments(activity_frame(history), rows_a_slice, map):
        rows = qualifying(part, None, None, per=None, timezone="UTC")
        expected = rows.filter(pl.col("at") - pl.col("begin") + 1 == min(n, 1000))
        if isinstance(part, Moments):
            found = part.nth(n)
            assert found.select(names).equals(expected.select(names))
            assert found["group"].is_unique().all()


@given(histories(), st.integers(1, 4))
def test_a_moment_is_proved_by_the_row_that_stands_there(
    history: list[Activity], every: int
) -> None:
    """Ties are told apart: what proves a moment is what proves the whole row."""
    frame = activity_frame(history)
    whole = ordered(frame, [pl.lit(value=True)], [])
    rows = pl.concat([part.rows for part in moments(frame, 5, map)])
    (found,) = proofs_by_moment(frame, [rows.gather_every(every)])
    hits = whole.rows.gather_every(every)
    (expected,) = proofs_by_place(whole.origins, frame, [hits])
    assert found.equals(expected)
    assert found.columns == list(DETAILS)


@given(histories())
def test_a_packed_number_is_unpacked_to_what_it_was_made_of(
    history: list[Activity],
) -> None:
    """Numbers are in the order of customer and instant, and nothing is lost in them."""
    rows = activity_frame(history).select("customer_id", "occurred_at").collect()
    packing = packing_of(rows)
    if packing is not None:
        keys = rows.select(packing.key).to_series().sort()
        expected = rows.sort("customer_id", "occurred_at")
        assert packing.unpacked(keys).equals(expected)
        customers = expected["customer_id"]
        firsts = [keys.search_sorted(packing.next_customer(key)) for key in keys]
        assert firsts == [customers.search_sorted(one, "right") for one in customers]


def test_what_64_bits_do_not_hold_is_not_packed() -> None:
    """Seconds do where microseconds would be too many, if all are whole; else nothing.

    Forty years have 2⁵⁰ microseconds and 2³¹ seconds.
    """

    def unit(customers: int, moment: datetime) -> int | None:
        data = {
            "customer_id": [1, customers],
            "occurred_at": [datetime(1984, 1, 1, tzinfo=UTC), moment],
        }
        schema = {"customer_id": pl.Int64, "occurred_at": pl.Datetime("us", "UTC")}
        packing = packing_of(pl.DataFrame(data, schema=schema))
        return None if packing is None else packing.unit

    odd = START + timedelta(microseconds=1)
    assert unit(2**12, START) == unit(2**12, odd) == 1
    assert unit(2**14, START) == 1_000_000
    assert unit(2**14, odd) is None
    assert unit(2**32, START) == 1_000_000
    assert unit(2**33, START) is None
