"""What becomes of each row of activity, and which rows count."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.activity import values
from transforms.activity.accepted import (
    accepted_schema,
    activity_columns,
    amount_decimals,
    are_ascending,
    current,
    current_activity,
    current_counts,
    quality_faults,
)
from transforms.activity.rows import LINE, LINE_FAULT, ROW_NUMBER, sorted_rows
from transforms.definition.definition import CsvFormat, Definition, Quality, Source

NULLS = ("",)
NEW_YORK = "America/New_York"


# -- customers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("553162563", 553162563),
        ("1", 1),
        (" 42 ", 42),
        ("\t42\u00a0", 42),
        ("007", 7),
        ("0" * 30 + "7", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("99999999999999999999999", None),
        ("1e5", None),
        ("1.0", None),
        ("+1", None),
        ("-1", None),
        ("1_000", None),
        ("1,000", None),
        ("0x10", None),
        ("1 2", None),
        ("٣", None),
        ("\uff11", None),
        ("abc", None),
        ("", None),
        ("  ", None),
    ],
)
def test_customer_ids_in_text(text, expected):
    """Only plain digits that fit 63 bits should be a customer id."""
    found = values.whole_numbers(pl.Series(["5", text]), NULLS)
    assert found.to_list() == [5, expected]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            pl.Series([5.0, 5.5, float("nan"), float("inf"), -1.0]),
            [5, None, None, None, -1],
        ),
        (pl.Series([2.0**53, 2.0**63, -(2.0**63)]), [2**53, None, -(2**63)]),
        (pl.Series([5.0, 0.5], dtype=pl.Float32), [5, None]),
        (pl.Series([5, 2**63, None], dtype=pl.UInt64), [5, None, None]),
        (pl.Series([2**70], dtype=pl.Int128), [None]),
        (pl.Series([Decimal("5.00"), Decimal("5.50")]), [5, None]),
        (pl.Series([5, None], dtype=pl.Int8), [5, None]),
    ],
)
def test_customer_ids_in_numbers(column, expected):
    """Of columns of numbers only whole values that fit should be taken."""
    assert values.whole_numbers(column, NULLS).to_list() == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("0123456789 +-.e_", max_size=21), min_size=1, max_size=5))
def test_customer_ids_agree_with_python(texts):
    """Any text should be read as its digits say, or not at all."""
    expected = []
    for text in texts:
        digits = text.strip()
        is_plain = digits.isascii() and digits.isdigit()
        fits = is_plain and int(digits) < 2**63
        expected.append(int(digits) if fits else None)
    assert values.whole_numbers(pl.Series(texts), NULLS).to_list() == expected


# -- amounts --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 100),
        ("1.5", 150),
        ("1.50", 150),
        ("-3.07", -307),
        ("+2", 200),
        (".5", 50),
        ("-.5", -50),
        ("5.", 500),
        (" 1.25 ", 125),
        ("0.00", 0),
        ("10000000000000.00", 10**15),
        ("10000000000000.01", None),
        ("1.239", None),
        ("1.500", None),
        ("1e3", None),
        ("1,50", None),
        ("1,000.00", None),
        ("1 000", None),
        ("$1.50", None),
        ("1.50 EUR", None),
        ("(1.50)", None),
        ("1.5-", None),
        ("--1", None),
        (".-5", None),
        (".", None),
        ("-", None),
        ("=1+1", None),
        ("NaN", None),
        ("inf", None),
        ("", None),
    ],
)
def test_amounts_in_text(text, expected):
    """An amount should be plain decimals, of at most the decimals that it may have."""
    found = values.minor_units(pl.Series(["2", text]), NULLS, decimals=2)
    assert found.to_list() == [200, expected]


def test_amounts_with_decimal_comma():
    """With a decimal comma, a point should be no decimal sign."""
    found = values.minor_units(
        pl.Series(["1,5", "1.5", "1.000,5", ",5", "7"]), NULLS, decimals=2, sign=","
    )
    assert found.to_list() == [150, None, None, 50, 700]


@pytest.mark.parametrize(
    ("decimals", "expected"),
    [(0, [3, None, None]), (1, [30, 34, None]), (3, [3000, 3400, 3450])],
)
def test_amounts_of_other_decimals(decimals, expected):
    """The number of decimals should decide what an amount may have."""
    column = pl.Series(["3", "3.4", "3.45"])
    found = values.minor_units(column, NULLS, decimals=decimals)
    assert found.to_list() == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series([19.99, 0.1 + 0.2, -1.1]), [1999, 30, -110]),
        (pl.Series([1.005, 0.001, 1.23456]), [None, None, None]),
        (pl.Series([1.000000001, 1.0000001, 1.0001]), [100, None, None]),
        (pl.Series([123456789012.01]), [12345678901201]),
        (pl.Series([float("nan"), float("inf"), -float("inf"), 1e300]), [None] * 4),
        (pl.Series([19.99, 0.005], dtype=pl.Float32), [1999, None]),
        (pl.Series([3, -4, None]), [300, -400, None]),
        (pl.Series([2**62]), [None]),
        (pl.Series([Decimal("1.20"), Decimal("-0.05")]), [120, -5]),
        (pl.Series([Decimal("1.200"), Decimal("1.205")]), [120, None]),
    ],
)
def test_amounts_in_numbers(column, expected):
    """A number should be taken for an amount only when it is one but for rounding."""
    assert values.minor_units(column, NULLS, decimals=2).to_list() == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**15), 10**15), st.integers(0, 4))
def test_amounts_are_exact(minor, decimals):
    """Any amount should come back to the last minor unit, from text and from floats."""
    text = str(Decimal(minor).scaleb(-decimals))
    if "E" not in text:
        found = values.minor_units(pl.Series([text]), NULLS, decimals=decimals)
        assert found.to_list() == [minor]
    number = pl.Series([minor / 10**decimals])
    assert values.minor_units(number, NULLS, decimals=decimals).to_list() == [minor]


# -- times ----------------------------------------------------------------------


def instants(*texts, style="iso", timezone="UTC", ambiguous="reject"):
    """Return times as ISO texts of instants in UTC, None where there is none."""
    found = values.instants(
        pl.Series(texts, dtype=pl.String) if isinstance(texts[0], str) else texts[0],
        NULLS,
        style=style,
        timezone=timezone,
        ambiguous=ambiguous,
    )
    assert found.dtype == pl.Datetime("us", "UTC")
    return [one and one.isoformat().replace("+00:00", "Z") for one in found.to_list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-05", "2024-01-05T05:00:00Z"),
        ("2024-07-05", "2024-07-05T04:00:00Z"),
        ("2024-01-05 10:11", "2024-01-05T15:11:00Z"),
        ("2024-01-05 10:11:12", "2024-01-05T15:11:12Z"),
        ("2024-01-05T10:11:12", "2024-01-05T15:11:12Z"),
        (" 2024-01-05 10:11:12 ", "2024-01-05T15:11:12Z"),
        ("2024-01-05 10:11:12.5", "2024-01-05T15:11:12.500000Z"),
        ("2024-01-05 10:11:12,25", "2024-01-05T15:11:12.250000Z"),
        ("2024-01-05T10:11:12.123456789", "2024-01-05T15:11:12.123456Z"),
        ("2024-01-05T10:11:12Z", "2024-01-05T10:11:12Z"),
        ("2024-01-05T10:11:12z", "2024-01-05T10:11:12Z"),
        ("2024-01-05T10:11:12+01:00", "2024-01-05T09:11:12Z"),
        ("2024-01-05T10:11:12+0530", "2024-01-05T04:41:12Z"),
        ("2024-01-05T10:11-08", "2024-01-05T18:11:00Z"),
        ("2024-01-05 10:11:12.5-00:30", "2024-01-05T10:41:12.500000Z"),
        ("1900-01-01", "1900-01-01T05:00:00Z"),
        ("2100-12-31", "2100-12-31T05:00:00Z"),
        ("1899-12-31", None),
        ("2101-01-02", None),
        ("0000-01-01", None),
        ("2024-02-30", None),
        ("2024-13-01 10:00:00", None),
        ("2024-01-05 24:00:00", None),
        ("2024-01-05 10:60:00", None),
        ("2024-01-05 10:11:60", None),
        ("2024-01-05 10:11:12 PM", None),
        ("2024-01-05T10:11:12+25:00", None),
        ("2024-1-5", None),
        ("20240105", None),
        ("05.01.2024", None),
        ("01/05/2024", None),
        ("1704448800", None),
        ("2024-01-05x", None),
        ("=TODAY()", None),
        ("", None),
    ],
)
def test_iso_times(text, expected):
    """Each form of ISO 8601 should be read in its zone, anything else not at all."""
    assert instants(text, timezone=NEW_YORK) == [expected]
    # Beside others of any form, which takes another way through the code:
    beside = instants("2024-01-05", text, "2024-01-05T00:00Z", timezone=NEW_YORK)
    assert beside == ["2024-01-05T05:00:00Z", expected, "2024-01-05T00:00:00Z"]


def test_the_missing_hour_is_not_read():
    """A time that the clock skipped should be none, whatever `ambiguous` says."""
    for choice in ("reject", "earliest", "latest"):
        assert instants(
            "2026-03-08 02:30:00",
            "2026-03-08 03:00:00",
            timezone=NEW_YORK,
            ambiguous=choice,
        ) == [None, "2026-03-08T07:00:00Z"]


@pytest.mark.parametrize(
    ("ambiguous", "expected"),
    [
        ("reject", None),
        ("earliest", "2026-11-01T05:30:00Z"),
        ("latest", "2026-11-01T06:30:00Z"),
    ],
)
def test_the_doubled_hour_follows_the_key(ambiguous, expected):
    """A time that came twice should be read as `ambiguous` says."""
    for text in ("2026-11-01 01:30:00", "2026-11-01T01:30"):
        assert instants(text, timezone=NEW_YORK, ambiguous=ambiguous) == [expected]


@pytest.mark.parametrize(
    ("day", "timezone", "expected"),
    [
        ("2017-10-15", "America/Sao_Paulo", "2017-10-15T03:00:00Z"),  # starts at 1:00
        ("2017-11-05", "America/Havana", "2017-11-05T04:00:00Z"),  # midnight twice
        ("2011-12-30", "Pacific/Apia", None),  # a day that never was
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("2024-03-31", "Asia/Beirut", "2024-03-30T22:00:00Z"),  # starts at 1:00
    ],
)
def test_a_day_alone_is_its_first_moment(day, timezone, expected):
    """A date should mean the first moment of that local day, where it has one."""
    assert instants(day, timezone=timezone) == [expected]


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001
    st.sampled_from(
        [NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]
    ),
)
@example(datetime(2026, 10, 25, 2, 30), "Europe/Berlin")  # noqa: DTZ001
def test_local_times_agree_with_zoneinfo(local, timezone):
    """Any local time should be the instant that Python's zones say, or none."""
    local = local.replace(microsecond=0)
    zone = ZoneInfo(timezone)
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    instant = first.astimezone(UTC)
    exists = instant.astimezone(zone).replace(tzinfo=None) == local
    is_double = first.utcoffset() != second.utcoffset()
    expected = instant if exists and not is_double else None
    found = values.instants(
        pl.Series([str(local)]),
        NULLS,
        style="iso",
        timezone=timezone,
        ambiguous="reject",
    )
    assert found.to_list() == [expected]


@pytest.mark.parametrize(
    ("style", "text", "expected"),
    [
        ("epoch_seconds", "1704448800", "2024-01-05T10:00:00Z"),
        ("epoch_seconds", "1704448800.25", "2024-01-05T10:00:00.250000Z"),
        ("epoch_seconds", "-86400", "1969-12-31T00:00:00Z"),
        ("epoch_seconds", "1704448800000", None),
        ("epoch_seconds", "1e9", None),
        ("epoch_seconds", "2024-01-05", None),
        ("epoch_seconds", "9" * 30, None),
        ("epoch_milliseconds", "1704448800123", "2024-01-05T10:00:00.123000Z"),
        ("epoch_milliseconds", "1704448800", "1970-01-20T17:27:28.800000Z"),
        ("%d.%m.%Y %H:%M", "05.01.2024 10:11", "2024-01-05T15:11:00Z"),
        ("%d.%m.%Y %H:%M", "2024-01-05 10:11", None),
        ("%d.%m.%Y %H:%M", "05.01.2024 10:11:12", None),
        ("%d.%m.%Y", "05.01.2024", "2024-01-05T05:00:00Z"),
        ("%m/%d/%Y %I:%M %p", "01/05/2024 10:11 PM", "2024-01-06T03:11:00Z"),
        ("%d/%b/%Y:%H:%M:%S %z", "05/Jan/2024:10:11:12 +0100", "2024-01-05T09:11:12Z"),
        ("%Y%m%d%H%M%S", "20240105101112", "2024-01-05T15:11:12Z"),
        ("%Y-%m-%d %H:%M:%S", "2026-03-08 02:30:00", None),
    ],
)
def test_other_formats_of_times(style, text, expected):
    """A time should be read in the declared format and in no other."""
    assert instants(text, style=style, timezone=NEW_YORK) == [expected]


USUAL = {
    "whole": ["15", "007", "9223372036854775807"],
    "amount": ["12.50", "-5.00", ".75"],
    "time": ["2024-01-05T10:11:12Z", "2024-01-05 10:11:12", "2024-01-05T10:11:12+0530"],
    "text": ["bill-1", "b2"],
}
# One value beside which no column has one form: each is then looked at by itself.
UNUSUAL = {"whole": "+1", "amount": "7", "time": "2024-01-05T10:11", "text": " b "}


def read_as(kind, texts, decimals, nulls):
    """Return how a column of one kind is read; the column itself stays as it is."""
    column = pl.Series(texts, dtype=pl.String)
    if kind == "whole":
        found = values.whole_numbers(column, nulls)
    elif kind == "amount":
        found = values.minor_units(column, nulls, decimals=decimals)
    elif kind == "text":
        found = values.identifiers(column, nulls)
    else:
        found = values.instants(
            column, nulls, style="iso", timezone=NEW_YORK, ambiguous="reject"
        )
    assert column.to_list() == list(texts)
    return found.to_list()


@st.composite
def nearly_usual(draw):
    """Return a kind, and texts of one form with a letter here and there changed."""
    kind = draw(st.sampled_from(sorted(USUAL)))
    form = draw(st.sampled_from(USUAL[kind]))
    texts = [form] * draw(st.integers(0, 3))
    for _ in range(draw(st.integers(1, 3))):
        letters = list(form)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(letters) - 1))
            other = draw(st.integers(0, len(letters) - 1))
            letter = draw(st.sampled_from("0169 +-.:/TZ\t\u00a0\u0663e"))
            if draw(st.booleans()):
                letters[at] = letter
            else:
                letters[at], letters[other] = letters[other], letters[at]
        texts.append("".join(letters))
    texts += draw(st.lists(st.sampled_from([None, "", " ", form]), max_size=2))
    return kind, draw(st.permutations(texts))


@settings(max_examples=500, deadline=None)
@given(
    made=nearly_usual(),
    decimals=st.sampled_from([0, 2, 3]),
    nulls=st.sampled_from([("",), ("", "15", "12.50", "b2")]),
)
@example(made=("time", ["2024-01-05T10:11:60Z"]), decimals=2, nulls=("",))
@example(made=("time", ["2024- 1- 5T10:11:12Z"]), decimals=2, nulls=("",))
@example(made=("time", ["+2024-01-5T10:11:12Z"]), decimals=2, nulls=("",))
@example(made=("time", ["2024-01-05\t10:11:12"]), decimals=2, nulls=("",))
@example(made=("time", ["2024- 01-0510:11:12"] * 2), decimals=2, nulls=("",))
@example(made=("amount", ["1.500", "12.50"]), decimals=2, nulls=("",))
@example(made=("amount", ["1e3.50", "12.50"]), decimals=2, nulls=("",))
def test_a_value_is_read_the_same_whatever_stands_beside_it(made, decimals, nulls):
    """A column of one form is read at once, with the values of each read alone."""
    kind, texts = made
    beside = read_as(kind, [UNUSUAL[kind], *texts], decimals, nulls)
    assert read_as(kind, texts, decimals, nulls) == beside[1:]


@pytest.mark.parametrize(
    ("column", "style", "expected"),
    [
        (pl.Series([1704448800]), "epoch_seconds", "2024-01-05T10:00:00Z"),
        (pl.Series([1704448800.5]), "epoch_seconds", "2024-01-05T10:00:00.500000Z"),
        (pl.Series([1704448800000]), "epoch_seconds", None),
        (pl.Series([float("nan")]), "epoch_seconds", None),
        (pl.Series([1704448800000]), "epoch_milliseconds", "2024-01-05T10:00:00Z"),
        (pl.Series([date(2024, 1, 5)]), "iso", "2024-01-05T05:00:00Z"),
        (
            pl.Series([datetime(2024, 1, 5, 10)], dtype=pl.Datetime("ms")),  # noqa: DTZ001
            "iso",
            "2024-01-05T15:00:00Z",
        ),
        (
            pl.Series([datetime(2024, 1, 5, 10)], dtype=pl.Datetime("ns")),  # noqa: DTZ001
            "iso",
            "2024-01-05T15:00:00Z",
        ),
        (
            pl.Series([datetime(2024, 1, 5, 10, tzinfo=UTC)]),
            "iso",
            "2024-01-05T10:00:00Z",
        ),
        (pl.Series([datetime(9999, 1, 1)]), "iso", None),  # noqa: DTZ001
        (pl.Series([10**15]).cast(pl.Datetime("ms")), "iso", None),
        (pl.Series([datetime(2026, 3, 8, 2, 30)]), "iso", None),  # noqa: DTZ001
    ],
)
def test_typed_times(column, style, expected):
    """A column of dates, times or numbers should be read by its type."""
    assert instants(column, style=style, timezone=NEW_YORK) == [expected]


# -- further columns ------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        ("integer", ["5", "-5", "+5", "5.0", "x", ""], [5, -5, 5, None, None, None]),
        (
            "decimal",
            ["1.5", "-2", ".5", "1e3", "nan", "inf"],
            [1.5, -2, 0.5] + [None] * 3,
        ),
        (
            "boolean",
            ["true", "FALSE", "1", "0", "Yes", "n", "2", ""],
            [True, False, True, False, True, False, None, None],
        ),
        ("date", ["2024-01-05", "2024-1-5", "x"], [date(2024, 1, 5), None, None]),
        ("text", ["a", " b ", ""], ["a", " b ", None]),
    ],
)
def test_types_of_further_columns(kind, texts, expected):
    """A further column should be read as its type says and flagged where it isn't."""
    rows = pl.DataFrame(
        {
            "c": ["1"] * len(texts),
            "t": ["2024-01-05"] * len(texts),
            "x": texts,
            ROW_NUMBER: range(2, 2 + len(texts)),
        }
    )
    types = {} if kind == "text" else {"x": kind}
    source = Source(
        files=("f",),
        columns={"customer_id": "c", "occurred_at": "t", "x": "x"},
        types=types,
    )
    found = sorted_rows(rows, source, timezone="UTC", path="f")
    assert found.accepted.schema["x"] == activity_columns(source)["x"]
    kept = dict(found.accepted.select("row_number", "x").iter_rows())
    for number, (text, value) in enumerate(zip(texts, expected, strict=True), start=2):
        if value is None and text:
            assert number not in kept
        else:
            assert kept[number] == value
    refused = {line["value"] for line in found.rejected.to_dicts()}
    assert refused == {
        text
        for text, value in zip(texts, expected, strict=True)
        if value is None and text
    }


# -- rows -----------------------------------------------------------------------

SOURCE = Source(
    files=("f",),
    columns={
        "customer_id": "customer",
        "activity_id": "bill",
        "occurred_at": "time",
        "amount": "sum",
        "note": "note",
    },
    constants={"channel": "shop"},
)
GOOD = {"customer": "7", "bill": "b", "time": "2024-01-05", "sum": "1", "note": "n"}


def decided(*rows, source=SOURCE, timezone="UTC"):
    """Return what becomes of rows, each a good one with changes."""
    frame = pl.DataFrame(
        [{**GOOD, **row, ROW_NUMBER: number} for number, row in enumerate(rows, 2)],
        schema={**dict.fromkeys(GOOD, pl.String), ROW_NUMBER: pl.Int64},
    )
    return sorted_rows(frame, source, timezone=timezone, path="f.csv")


def test_a_good_row_is_accepted():
    """A row without fault should be accepted in our columns and types."""
    found = decided({})
    assert found.accepted.schema == accepted_schema(SOURCE)
    assert found.accepted.rows() == [
        (7, "b", datetime(2024, 1, 5, tzinfo=UTC), 100, 2, "n", "shop")
    ]
    assert (found.rows_read, found.rows_anonymous, found.rows_rejected) == (1, 0, 0)


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [
        ({"customer": "x"}, "customer", "customer_id: not a whole number"),
        ({"customer": "-5"}, "customer", "customer_id: not a whole number"),
        ({"customer": "1e5"}, "customer", "customer_id: not a whole number"),
        (
            {"customer": "0"},
            "customer",
            "customer_id: not from 1 to 922337203685477",
        ),
        (
            {"customer": "9" * 20},
            "customer",
            "customer_id: not from 1 to 922337203685",
        ),
        ({"bill": ""}, "bill", "activity_id: blank"),
        ({"bill": "  "}, "bill", "activity_id: blank"),
        ({"bill": None}, "bill", "activity_id: blank"),
        ({"time": ""}, "time", "occurred_at: blank"),
        ({"time": "soon"}, "time", "occurred_at: not a time in the format iso"),
        ({"time": "2024-02-30"}, "time", "occurred_at: not a time in the format iso"),
        ({"time": "3024-01-01"}, "time", "occurred_at: outside the years 1900 to 2100"),
        ({"sum": "x"}, "sum", "amount: not a number"),
        ({"sum": "nan"}, "sum", "amount: not a number"),
        ({"sum": "1,5"}, "sum", "amount: not a number"),
        ({"sum": "1.234"}, "sum", "amount: more than 2 decimals"),
        ({"sum": "9" * 17}, "sum", "amount: more than 1000000000000000 minor units"),
    ],
)
def test_each_bad_value_rejects_its_row(change, column, reason):
    """Every kind of bad value should reject its row, and only it, with a reason."""
    found = decided({}, change, {})
    assert found.accepted["row_number"].to_list() == [2, 4]
    assert found.rows_rejected == 1
    ((number, name, why, value),) = found.rejected.rows()
    assert (number, name) == (3, column)
    assert why.startswith(reason)
    assert value == change[column]


def test_reasons_of_local_times():
    """A missing and a doubled hour should be told apart in the reason."""
    found = decided(
        {"time": "2026-03-08 02:30:00"},
        {"time": "2026-11-01 01:30:00"},
        {"time": "1800-01-01"},
        timezone=NEW_YORK,
    )
    assert found.rejected["reason"].to_list() == [
        "occurred_at: a local time that does not exist in America/New_York",
        "occurred_at: an hour that comes twice in America/New_York (set `ambiguous`)",
        "occurred_at: outside the years 1900 to 2100",
    ]


def test_a_row_has_a_reason_for_each_bad_field():
    """All faults of a row should be listed, and the row counted once."""
    found = decided({"customer": "x", "time": "y", "sum": "z"})
    assert found.rows_rejected == 1
    assert found.rejected["column_name"].to_list() == ["customer", "time", "sum"]


@pytest.mark.parametrize("blank", ["", "   ", None])
def test_a_row_without_customer_is_anonymous(blank):
    """A blank customer should be anonymous, unless another field is bad."""
    found = decided({"customer": blank}, {"customer": blank, "sum": "x"}, {})
    assert (found.rows_anonymous, found.rows_rejected) == (1, 1)
    assert found.accepted["row_number"].to_list() == [4]
    assert found.rejected["column_name"].to_list() == ["sum"]


def test_null_words_are_blank():
    """A word of `nulls` should be no value, in every column."""
    source = SOURCE.model_copy(update={"format": CsvFormat(nulls=("", "0"))})
    found = decided({"customer": "0"}, {"sum": "0", "note": "0"}, source=source)
    assert found.rows_anonymous == 1
    assert found.accepted.select("amount", "note").rows() == [(None, None)]


def test_an_amount_may_be_blank():
    """A blank amount should be null and no fault."""
    assert decided({"sum": " "}).accepted["amount"].to_list() == [None]


def test_long_values_are_cut():
    """The value of a rejected row should be cut at 200 characters."""
    found = decided({"time": "x" * 500})
    assert found.rejected["value"].str.len_chars().to_list() == [200]


def test_broken_lines_are_rejected_as_they_are():
    """A line that could not be taken apart should be rejected with its text."""
    rows = pl.DataFrame(
        {
            **{name: [value, ""] for name, value in GOOD.items()},
            ROW_NUMBER: [2, 3],
            LINE_FAULT: [None, "2 fields instead of 5"],
            LINE: [None, "7,b"],
        }
    )
    found = sorted_rows(rows, SOURCE, timezone="UTC", path="f")
    assert found.rejected.rows() == [(3, "", "line: 2 fields instead of 5", "7,b")]
    assert (found.rows_read, found.rows_rejected, found.accepted.height) == (2, 1, 1)


def test_no_rows_at_all():
    """An empty chunk should give empty frames of the right columns."""
    found = decided()
    assert found.accepted.schema == accepted_schema(SOURCE)
    assert (found.accepted.height, found.rejected.height, found.rows_read) == (0, 0, 0)


FIELDS = {
    "customer": ["7", "", "x", "0", None],
    "bill": ["b", "", None],
    "time": ["2024-01-05", "2024-01-05T10:00:00Z", "", "x", "1800-01-01"],
    "sum": ["1", "", "1.234", "x", None],
    "note": ["n", "", None],
}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {name: st.sampled_from(texts) for name, texts in FIELDS.items()}
        ),
        max_size=8,
    )
)
def test_every_row_is_on_one_side_of_each_wall(rows):
    """Any rows should be accepted, anonymous or rejected, each exactly once."""
    found = decided(*rows)
    total = found.accepted.height + found.rows_anonymous + found.rows_rejected
    assert found.rows_read == len(rows) == total
    rejected = set(found.rejected["row_number"])
    assert len(rejected) == found.rows_rejected
    assert not rejected & set(found.accepted["row_number"])
    good = {"7": "7", "b": "b", "2024-01-05": "", "2024-01-05T10:00:00Z": "", "1": "1"}
    for number, row in enumerate(rows, start=2):
        is_fine = row["bill"] == "b" and row["time"] in good
        is_fine = is_fine and row["sum"] in {"1", "", None}
        is_fine = is_fine and row["customer"] in {"7", "", None}
        assert (number in rejected) == (not is_fine)


BAD = {
    "customer": [*FIELDS["customer"], "-1", "1.5", "99999999999999999999"],
    "bill": FIELDS["bill"],
    "time": [*FIELDS["time"], "2024-03-10 02:30:00", "2024-11-03 01:30:00", None],
    "sum": [*FIELDS["sum"], "9999999999999999", " 2 ", "1e3"],
    "note": FIELDS["note"],
}


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(
        st.fixed_dictionaries(
            {name: st.sampled_from(texts) for name, texts in BAD.items()}
        ),
        min_size=1,
        max_size=4,
    ),
    order=st.lists(st.integers(0, 3), max_size=40),
)
@example(kinds=[{**GOOD, "sum": "x"}, {**GOOD, "sum": "1.234"}], order=[0, 1] * 10)
def test_a_row_fares_the_same_whatever_stands_beside_it(kinds, order):
    """Many rows that are alike are rejected for the reasons of each by itself."""
    rows = [kinds[at % len(kinds)] for at in order]
    alone = [decided(row, timezone=NEW_YORK) for row in kinds]

    found = decided(*rows, timezone=NEW_YORK)

    expected = [
        (number, *line[1:])
        for number, at in enumerate(order, start=2)
        for line in alone[at % len(kinds)].rejected.rows()
    ]
    assert sorted(map(str, found.rejected.rows())) == sorted(map(str, expected))
    assert found.rejected["row_number"].is_sorted()
    accepted = [alone[at % len(kinds)].accepted.drop("row_number") for at in order]
    if accepted:
        assert found.accepted.drop("row_number").equals(pl.concat(accepted))


# -- several files --------------------------------------------------------------


def activity(*rows):
    """Return activity of (source, activity_id, file_order, row_number)."""
    return pl.LazyFrame(
        list(rows),
        schema={
            "source": pl.String,
            "activity_id": pl.String,
            "file_order": pl.Int32,
            "row_number": pl.Int64,
        },
        orient="row",
    )


def test_a_newer_file_replaces_an_activity():
    """Of an activity in several files only the row of the newest should count."""
    loaded = activity(
        ("shop", "a", 0, 2),
        ("shop", "b", 0, 3),
        ("shop", "a", 1, 2),
        ("shop", "c", 1, 3),
        ("shop", "a", 2, 9),
        ("web", "a", 3, 2),
    )
    kept = current_activity(loaded).collect()
    assert sorted(kept.select("source", "activity_id", "file_order").rows()) == [
        ("shop", "a", 2),
        ("shop", "b", 0),
        ("shop", "c", 1),
        ("web", "a", 3),
    ]
    counts = ({0: 1, 1: 1, 2: 1, 3: 1}, {0: 1, 1: 1, 2: 0, 3: 0})
    assert current_counts(loaded) == counts
    found = current(loaded)
    assert (found.rows_current, found.rows_superseded) == counts


def test_nothing_is_superseded_without_a_second_file():
    """With one file, or no id that stands twice, every row should count."""
    one = activity(("shop", "a", 0, 2), ("shop", "b", 0, 3))
    assert current_activity(one).collect().height == 2
    two = activity(("shop", "a", 0, 2), ("shop", "b", 1, 2))
    assert current_counts(two) == ({0: 1, 1: 1}, {0: 0, 1: 0})
    assert current_activity(activity()).collect().height == 0


@settings(max_examples=100, deadline=None)
@given(
    st.sets(
        st.tuples(st.sampled_from("sw"), st.sampled_from("abcd"), st.integers(0, 3))
    )
)
def test_newest_agrees_with_python(keys):
    """Any set of files should leave exactly the newest row of every activity."""
    rows = [
        (source, name, order + 4 * (source == "w"), number)
        for number, (source, name, order) in enumerate(sorted(keys))
    ]
    newest: dict[tuple[str, str], int] = {}
    for source, name, order, _ in rows:
        newest[source, name] = max(order, newest.get((source, name), 0))
    kept = current_activity(activity(*rows)).collect()
    assert sorted(kept.rows()) == sorted(
        row for row in rows if newest[row[0], row[1]] == row[2]
    )


@given(st.lists(st.text("0129b", max_size=3), max_size=5))
@example(["8", "9", "10", "11"])
@example(["10", "9"])
@example(["7", "7"])
@example([])
def test_ids_that_ascend_come_once(ids):
    """Ids ascend if each is longer than the last, or as long and greater."""
    keys = [(len(text), text) for text in ids]
    assert are_ascending(pl.Series(ids, dtype=pl.String)) == (keys == sorted(set(keys)))


def test_amounts_have_the_most_decimals_of_all_sources():
    """All amounts should have as many decimals as the finest source that has any."""
    base = {"files": ("f",), "columns": {"customer_id": "c", "occurred_at": "t"}}
    amount = {"columns": {**base["columns"], "amount": "a"}}
    sources = (
        Source(**{**base, **amount}, name="a", amount_decimals=0),
        Source(**{**base, **amount}, name="b", amount_decimals=3),
        Source(**base, name="c", amount_decimals=4),
    )
    whole = Definition(name="d", timezone="UTC", sources=sources, badges=())
    assert amount_decimals(whole) == 3
    none = Definition(name="d", timezone="UTC", sources=sources[2:], badges=())
    assert amount_decimals(none) == 0


# -- quality --------------------------------------------------------------------


class Counted:
    """What is counted of a file."""

    def __init__(self, path, read, *, rejected=0, unmapped=0, **reasons):
        self.path = path
        self.rows_read = read
        self.rows_rejected = rejected
        self.rows_unmapped = unmapped
        self.reasons = reasons


def test_quality_within_its_bounds():
    """Shares at their limit, and files without rows, should be let through."""
    files = [Counted("a", 100, rejected=1, unmapped=5), Counted("b", 0)]
    assert quality_faults(files, Quality()) == []


def test_quality_of_each_file():
    """A file over the limit should be named with its three commonest reasons."""
    bad = Counted("b", 100, rejected=2, w=1, x=9, y=7, z=8)
    (fault,) = quality_faults([Counted("a", 10_000), bad], Quality())
    assert (fault.code, fault.file) == ("too_many_rejected", "b")
    assert "2 of 100 rows are rejected (2.0%)" in fault.message
    assert fault.message.endswith("x (9); z (8); y (7)")


def test_quality_of_all_files():
    """Files over the limit together should be named as all."""
    quality = Quality(max_rejected_share=Decimal("0.5"))
    files = [Counted("a", 100, rejected=51, x=51), Counted("b", 100, rejected=51, y=51)]
    faults = quality_faults(files, quality)
    assert [fault.file for fault in faults] == ["a", "b", None]
    assert "of all files together" in faults[-1].message


def test_quality_of_unmapped_rows():
    """Too many unknown customers should be refused."""
    (fault,) = quality_faults([Counted("a", 100, unmapped=6)], Quality())
    assert fault.code == "too_many_unmapped"


def test_quality_of_few_rows():
    """A file of fewer rows than it should have should be refused."""
    (fault,) = quality_faults([Counted("a", 4)], Quality(min_rows=5))
    assert (fault.code, fault.file) == ("too_few_rows", "a")
    assert quality_faults([Counted("a", 5)], Quality(min_rows=5)) == []


def test_no_tolerance_at_all():
    """With a share of 0 a single rejected row should be refused."""
    quality = Quality(max_rejected_share=Decimal(0))
    assert quality_faults([Counted("a", 10**6, rejected=1, x=1)], quality)
