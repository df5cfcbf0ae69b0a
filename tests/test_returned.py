"""Returns take off what they name, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_returns import Row, left_over

from transforms.activity.accepted import IS_RETURN
from transforms.activity.returned import FATES, AfterReturns, Fate, after_returns
from transforms.definition.definition import Returns, Source
from transforms.errors import DefinitionRefused

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = {
    "source": pl.String,
    "activity_id": pl.String,
    "file_order": pl.Int32,
    "row_number": pl.Int64,
    "occurred_at": pl.Datetime("us", "UTC"),
    "amount": pl.Int64,
    "type": pl.String,
    "of": pl.String,
}
COLUMNS = {
    "customer_id": "c",
    "activity_id": "b",
    "occurred_at": "t",
    "amount": "a",
    "of": "o",
}


def sources(**columns: Any) -> tuple[Source, ...]:
    """Return two sources with a row an activity, and one with lines."""
    made = {"files": ("f",), "columns": {**COLUMNS, **columns}}
    return (
        Source(name="shop", **made),
        Source(name="web", **made),
        Source(name="lines", grain="line_item", **made),
    )


def taken_back(
    rows: list[Row],
    of_sources: tuple[Source, ...] = sources(),
    as_of: int = 24,
    **keys: Any,
) -> AfterReturns:
    """Take returns off the rows of a file."""
    frame = pl.LazyFrame(
        [
            {
                "source": row.source,
                "activity_id": row.activity_id,
                "file_order": 0,
                "row_number": row.row_number,
                "occurred_at": START + timedelta(hours=row.hour),
                "amount": row.amount,
                "type": "RETURN" if row.is_return else "SALE",
                "of": row.named,
            }
            for row in rows
        ],
        schema=SCHEMA,
    )
    return after_returns(
        frame,
        pl.col("type") == "RETURN",
        Returns(where="type = 'RETURN'", parent="of", **keys),
        sources=of_sources,
        paths={0: "bills.csv"},
        as_of=START + timedelta(hours=as_of),
    )


def table(text: str) -> list[Row]:
    """Return the rows of a table; `-` is no value, a type of RETURN a return."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.strip().splitlines()]
    names, *values = lines
    rows = []
    for number, line in enumerate(values, start=2):
        row = dict(zip(names, line, strict=True))
        named = row.get("returns", "-")
        rows.append(
            Row(
                source=row.get("source", "shop"),
                activity_id=row["id"],
                hour=int(row.get("hour", number)),
                row_number=number,
                amount=None
                if row["amount"] == "-"
                else int(Decimal(row["amount"]) * 100),
                is_return=row.get("type", "SALE") == "RETURN" or named != "-",
                named=None if named == "-" else named,
            )
        )
    return rows


def counted(found: AfterReturns) -> list[tuple[Any, ...]]:
    """Return what counts: id, amount as people write it, and whether it is a sum."""
    rows = found.activity.collect().sort("row_number")
    return [
        (name, "-" if amount is None else f"{amount / 100:.2f}", is_return)
        for name, amount, is_return in rows.select(
            "activity_id", "amount", IS_RETURN
        ).iter_rows()
    ]


def visits(text: str, **keys: Any) -> str:
    """Return the visits and amounts that are left of a table, in one line."""
    return ", ".join(
        f"{name} {amount}{' in sums only' if is_return else ''}"
        for name, amount, is_return in counted(taken_back(table(text), **keys))
    )


PURCHASES = """
    id   hour  amount  returns
    b1   1     30.00   -
    b2   2     50.00   -
    r1   5     -30.00  b1
    r2   6     -20.00  b2
"""


@pytest.mark.parametrize(
    ("full", "partial", "left"),
    [
        ("cancel", "reduce", "b2 30.00"),
        ("cancel", "keep", "b2 50.00"),
        ("keep", "reduce", "b1 0.00, b2 30.00"),
        ("keep", "keep", "b1 30.00, b2 50.00"),
    ],
)
def test_what_full_and_partial_returns_leave(full: str, partial: str, left: str):
    """`full` decides on the visit, `partial` on the amount; a return is no visit."""
    assert visits(PURCHASES, full=full, partial=partial) == left


@pytest.mark.parametrize(
    ("what", "rows", "left"),
    [
        (
            "several returns are added up",
            """
            id   amount  returns
            b1   30.00   -
            r1   -10.00  b1
            r2   -5.50   b1
            """,
            "b1 14.50",
        ),
        (
            "several returns come to the whole",
            """
            id   amount  returns
            b1   30.00   -
            r1   -10.00  b1
            r2   -20.00  b1
            b2   1.00    -
            """,
            "b2 1.00",
        ),
        (
            "what is returned beyond the sale is taken off nothing else",
            """
            id   amount  returns
            b1   30.00   -
            b2   99.00   -
            r1   -45.00  b1
            """,
            "b2 99.00",
        ),
        (
            "a return may stand before its sale in the file",
            """
            id   amount  returns
            r1   -10.00  b1
            b1   30.00   -
            """,
            "b1 20.00",
        ),
        (
            "a return may be dated before its sale",
            """
            id   hour  amount  returns
            b1   9     30.00   -
            r1   1     -30.00  b1
            b2   3     8.00    -
            """,
            "b2 8.00",
        ),
        (
            "a return of something unknown only lowers sums",
            """
            id   amount  returns
            b1   30.00   -
            r1   -10.00  b9
            """,
            "b1 30.00, r1 -10.00 in sums only",
        ),
        (
            "so does one that names nothing",
            """
            id   amount  type    returns
            b1   30.00   SALE    -
            r1   -10.00  RETURN  -
            """,
            "b1 30.00, r1 -10.00 in sums only",
        ),
        (
            "a return of a return names no sale",
            """
            id   amount  returns
            b1   30.00   -
            r1   -10.00  b1
            r2   -10.00  r1
            """,
            "b1 20.00, r2 -10.00 in sums only",
        ),
        (
            "a return without an amount brings back all",
            """
            id   amount  returns
            b1   30.00   -
            r1   -       b1
            b2   5.00    -
            """,
            "b2 5.00",
        ),
        (
            "a sale without an amount can't come back in part",
            """
            id   amount  returns
            b1   -       -
            r1   -10.00  b1
            b2   5.00    -
            """,
            "b2 5.00",
        ),
        (
            "the return of a gift cancels the gift",
            """
            id   amount  returns
            b1   0.00    -
            r1   0.00    b1
            b2   5.00    -
            """,
            "b2 5.00",
        ),
        (
            "a return of nothing takes nothing",
            """
            id   amount  returns
            b1   30.00   -
            r1   0.00    b1
            """,
            "b1 30.00",
        ),
        (
            "a return that is not due yet takes nothing, and is no visit",
            """
            id   hour  amount  returns
            b1   1     30.00   -
            r1   25    -30.00  b1
            """,
            "b1 30.00",
        ),
        (
            "of two sources with that name its own is meant",
            """
            id   source  amount  returns
            b1   shop    30.00   -
            b1   web     40.00   -
            r1   web     -15.00  b1
            """,
            "b1 30.00, b1 25.00",
        ),
        (
            "a file of returns names sales of another source",
            """
            id   source  amount  returns
            b1   shop    30.00   -
            r1   web     -30.00  b1
            b2   shop    7.00    -
            """,
            "b2 7.00",
        ),
    ],
)
def test_what_returns_leave(what: str, rows: str, left: str):
    """Each table of rows leaves what its title says."""
    assert what
    assert visits(rows) == left


def test_a_name_that_two_sources_have_is_not_guessed():
    """A return of a third source that could mean either of two takes neither back."""
    rows = """
        id   source  amount  returns
        b1   shop    30.00   -
        b1   web     40.00   -
        r1   lines   -15.00  b1
    """
    left = "b1 30.00, b1 40.00, r1 -15.00 in sums only"
    assert visits(rows) == left


def test_spaces_around_a_name_do_not_matter():
    """An id is read without surrounding spaces, and so is what names it."""
    rows = [
        replace(row, named=row.named and f" {row.named} ") for row in table(PURCHASES)
    ]
    assert counted(taken_back(rows)) == [("b2", "30.00", False)]


def test_positive_amounts_say_the_same():
    """With `amounts = "positive"` what is given back is written without a sign."""
    rows = PURCHASES.replace("-30.00", "30.00").replace("-20.00", "20.00")
    assert visits(rows, amounts="positive") == "b2 30.00"


def test_without_amounts_every_return_brings_back_all():
    """Where files have no amounts, what is returned is a visit."""
    found = after_returns(
        pl.LazyFrame(
            [
                ("shop", "b1", 0, 2, None),
                ("shop", "b2", 0, 3, None),
                ("shop", "r1", 0, 4, "b1"),
            ],
            schema={
                name: SCHEMA[name]
                for name in ("source", "activity_id", "file_order", "row_number", "of")
            },
            orient="row",
        ).with_columns(occurred_at=pl.lit(START)),
        pl.col("of").is_not_null(),
        Returns(where="of IS NOT NULL", parent="of"),
        sources=sources()[:1],
        paths={0: "a.csv"},
        as_of=START,
    )
    assert found.activity.collect()["activity_id"].to_list() == ["b2"]


def test_lines_come_back_with_their_activity():
    """All lines of an activity go when its returns reach their sum, else none does."""
    rows = """
        id   source  amount  returns
        b1   lines   10.00   -
        b1   lines   5.00    -
        b2   lines   8.00    -
        b2   lines   9.00    -
        r1   lines   -10.00  b1
        r1   lines   -5.00   b1
        b2   lines   -9.00   b2
    """
    assert visits(rows, partial="keep") == "b2 8.00, b2 9.00"


def test_several_columns_name_an_activity_of_several_columns():
    """A list that names what was returned goes with a list that names activities."""
    rows = [
        Row(source="shop", activity_id=r"S1|b\|1", hour=1, row_number=2, amount=5),
        Row(source="shop", activity_id="S2|b1", hour=1, row_number=3, amount=6),
        Row(
            source="shop",
            activity_id="S1|r1",
            hour=2,
            row_number=4,
            amount=-5,
            is_return=True,
            named="S1 b|1",
        ),
    ]
    listed = sources(activity_id=("s", "b"), of=("s", "o"))
    assert counted(taken_back(rows, listed)) == [("S2|b1", "0.06", False)]
    # Text of one column is compared as it stands.
    assert len(counted(taken_back(rows))) == 3


def test_what_became_of_each_row_is_told():
    """Returns, and what they name, each have a fate; other rows have none."""
    rows = table("""
        id   hour  amount  returns
        b1   1     30.00   -
        b2   2     50.00   -
        b3   2     9.00    -
        r1   5     -30.00  b1
        r2   6     -15.00  b2
        r3   7     -5.00   b2
        r4   8     -5.00   b9
    """)
    found = taken_back(rows).fates.sort("row_number")
    assert found.schema == FATES
    names = ("fate", "is_counted", "left", "sold", "returned", "returns", "named", "by")
    assert found.select(names).rows() == [
        (Fate.CANCELLED, False, None, 3000, 3000, 1, None, "r1"),
        (Fate.REDUCED, True, 3000, 5000, 2000, 2, None, "r2"),
        (Fate.RETURN, False, None, None, 3000, None, "b1", None),
        (Fate.RETURN, False, None, None, 1500, None, "b2", None),
        (Fate.RETURN, False, None, None, 500, None, "b2", None),
        (Fate.UNMATCHED, True, -500, None, 500, None, "b9", None),
    ]


def test_odd_returns_are_told_to_the_reader_of_a_plan():
    """Returns of nothing known, and more returned than sold, are worth a word."""
    rows = table("""
        id   amount  returns
        b1   30.00   -
        r1   -31.00  b1
        r2   -5.00   b9
        r3   -5.00   b8
    """)
    unmatched, over = taken_back(rows).warnings
    assert unmatched.startswith("returns: 2 of 3 name no activity that the files have ")
    assert "bills.csv, row 4" in unmatched
    assert "they lower sums" in unmatched
    assert "of 1 activities more was returned than sold" in over
    assert "they are left out" in taken_back(rows, partial="keep").warnings[0]
    assert taken_back(table(PURCHASES)).warnings == ()


def test_a_wrong_sign_is_refused():
    """A return that seems to pay the shop is a wrong `amounts`, or no return."""
    rows = table(PURCHASES.replace("-20.00", "20.00"))
    with pytest.raises(DefinitionRefused, match="1 returns have positive") as caught:
        taken_back(rows)
    (fault,) = caught.value.faults
    assert (fault.code, fault.file, fault.row) == ("return_sign", "bills.csv", 5)
    assert fault.column == "returns.amounts"


def test_a_return_with_the_id_of_its_sale_is_refused():
    """It would stand in the place of the sale; among lines it may well stand."""
    rows = table("""
        id   amount  returns
        b1   -30.00  b1
    """)
    with pytest.raises(DefinitionRefused, match="one of its own") as caught:
        taken_back(rows)
    (fault,) = caught.value.faults
    assert (fault.code, fault.row) == ("return_of_itself", 2)
    assert fault.column == "returns.parent"
    lines = [replace(row, source="lines") for row in rows]
    assert counted(taken_back(lines, partial="keep")) == []


NAMES = ("a", "b", "c")


@st.composite
def files(draw: st.DrawFn) -> list[Row]:
    """Draw sales and returns; only lines share an id."""
    amounts = st.one_of(st.none(), st.integers(0, 9))
    rows: list[Row] = []
    for source in ("shop", "web", "lines"):
        names = st.sampled_from(NAMES)
        is_lines = source == "lines"
        ids = draw(st.lists(names, max_size=4, unique=not is_lines))
        rows += [
            Row(
                source=source,
                activity_id=name,
                hour=draw(st.integers(0, 9)),
                row_number=0,
                amount=draw(st.one_of(amounts, st.integers(-5, 20))),
            )
            for name in ids
        ]
        for number in range(draw(st.integers(0, 3))):
            returned = draw(amounts)
            rows.append(
                Row(
                    source=source,
                    activity_id=f"r{number}",
                    hour=draw(st.integers(0, 9)),
                    row_number=0,
                    amount=None if returned is None else -returned,
                    is_return=True,
                    named=draw(st.sampled_from((*NAMES, "r0", "r1", "zz", None))),
                )
            )
    order = draw(st.permutations(rows))
    kept = [
        row
        for row in order
        if row.source == "lines" or not row.is_return or row.named != row.activity_id
    ]
    return [replace(row, row_number=number) for number, row in enumerate(kept)]


@settings(max_examples=150, deadline=None)
@given(
    files(),
    st.sampled_from(("cancel", "keep")),
    st.sampled_from(("reduce", "keep")),
    st.integers(0, 10),
)
def test_what_is_left_is_what_plain_python_leaves(
    rows: list[Row], full: str, partial: str, as_of: int
):
    """Any sales and returns, in any order, leave what the slow way leaves."""
    if partial == "reduce":  # lines can't come back in part
        rows = [row for row in rows if row.source != "lines"]
    found = taken_back(rows, as_of=as_of, full=full, partial=partial)
    expected = left_over(rows, full=full, partial=partial, as_of=as_of)
    left = found.activity.collect().sort("row_number")
    assert left.select("row_number", "amount", IS_RETURN).rows() == [
        (row.row_number, row.amount, row.only_lowers_sums) for row in expected
    ]
    # A row without a fate is as it was, and no row has two.
    fates = found.fates
    assert fates.select("file_order", "row_number").is_unique().all()
    gone = fates.filter(~pl.col("is_counted"))["row_number"].to_list()
    assert sorted([*gone, *left["row_number"]]) == [row.row_number for row in rows]
