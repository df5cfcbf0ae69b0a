"""What is done side by side while a file is accepted changes nothing about its rows."""

from __future__ import annotations

import weakref
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.files.accepting import drafts_of, write_accepted
from transforms.activity.rows import ROW_NUMBER, sorted_rows
from transforms.definition.definition import Source
from transforms.errors import FilesRefused

SOURCE = Source(
    files=("a",),
    columns={
        "customer_id": "customer",
        "activity_id": "bill",
        "occurred_at": "time",
        "amount": "sum",
    },
)


def chunk(first, bills, sums, customers=None):
    """Return rows as a reader gives them, the first with this number."""
    count = len(bills)
    return pl.DataFrame(
        {
            "customer": customers or ["7"] * count,
            "bill": bills,
            "time": ["2024-01-05T10:00:00Z"] * count,
            "sum": sums,
            ROW_NUMBER: range(first, first + count),
        },
        schema_overrides=dict.fromkeys(("customer", "bill", "time", "sum"), pl.String)
        | {ROW_NUMBER: pl.Int64},
    )


def written(folder, chunks):
    """Return the accepted rows, the rejected ones and the counts of some chunks."""
    with drafts_of(folder, "f") as drafts:
        counts = write_accepted(
            iter(chunks), SOURCE, drafts, timezone="UTC", path="a.csv"
        )
        return (
            pl.read_parquet(drafts.accepted),
            pl.read_parquet(drafts.rejected),
            counts,
        )


# -- two threads decide about rows ----------------------------------------------


def test_rows_stay_in_their_order_when_a_later_chunk_is_decided_first(tmp_path):
    """A large chunk takes longer than the small ones behind it, and is before them."""
    large, small = 300_000, 5
    chunks, number = [], 2
    for count in (large, *[small] * 30):
        bills = [f"b{at}" for at in range(number, number + count)]
        bills[0] = "same"
        sums = ["1.50"] * (count - 1) + ["n/a"]
        chunks.append(chunk(number, bills, sums))
        number += count

    accepted, rejected, counts = written(tmp_path, chunks)

    assert accepted["row_number"].is_sorted()
    assert accepted["row_number"][0] == 2  # the first of the same id, and no other
    assert accepted.filter(pl.col("activity_id") == "same").height == 1
    assert rejected["row_number"].to_list() == [
        frame[ROW_NUMBER][-1] for frame in chunks
    ]
    assert counts["rows_accepted"] == large + 30 * small - 31 - 30
    assert counts["rows_duplicate"] == 30


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["7", "7", "8", " 9 ", "", "x", "0", "-1"]),
        st.sampled_from(["b1", "b2", " b1 ", "b3", "b4", "10", "9", ""]),
        st.sampled_from(["1.50", "2", "-3.25", "1e3", "", "n/a", "1.505"]),
    ),
    max_size=60,
)


@settings(max_examples=40)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=12))
def test_chunks_decided_side_by_side_are_what_they_are_as_one(
    tmp_path_factory, rows, cuts
):
    """However rows are cut into chunks, they are the ones that one decision gives."""
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]

    def of(some, first):
        customers, bills, sums = ([row[at] for row in some] for at in range(3))
        return chunk(first, bills, sums, customers)

    chunks = [of(rows[a:b], a + 2) for a, b in pairwise(edges)]
    accepted, rejected, counts = written(tmp_path_factory.mktemp("w"), chunks)

    whole = sorted_rows(of(rows, 2), SOURCE, timezone="UTC", path="a.csv")
    firsts = whole.accepted.unique("activity_id", keep="first", maintain_order=True)
    assert accepted.rows() == firsts.rows()
    assert rejected["row_number"].is_sorted()  # of one row, reasons come in any order
    assert sorted(rejected.rows()) == sorted(whole.rejected.rows())
    assert counts["rows_read"] == len(rows)
    assert counts["rows_accepted"] == firsts.height
    assert counts["rows_duplicate"] == whole.accepted.height - firsts.height
    assert counts["rows_rejected"] == whole.rows_rejected
    assert counts["rows_anonymous"] == whole.rows_anonymous


def test_few_chunks_are_held_at_once(tmp_path):
    """Reading waits for the deciding: the memory of a file is that of a few chunks."""
    held, most = set(), []

    def reading():
        for number in range(2, 202, 5):
            one = chunk(number, [f"b{number + at}" for at in range(5)], ["1.50"] * 5)
            held.add(number)
            weakref.finalize(one, held.discard, number)
            most.append(len(held))
            yield one
            del one

    _, _, counts = written(tmp_path, reading())

    assert counts["rows_read"] == 200
    assert max(most) <= 5


def test_a_file_that_breaks_in_its_midst_leaves_nothing(tmp_path):
    """Chunks that were decided before are given up with it, and nobody hangs."""

    def reading():
        for number in range(2, 52, 5):
            yield chunk(number, [f"b{number + at}" for at in range(5)], ["1.50"] * 5)
        raise FilesRefused.of("nul_byte", "a NUL byte", file="a.csv")

    with pytest.raises(FilesRefused, match="NUL byte"):
        written(tmp_path, reading())
    assert not list(tmp_path.iterdir())
