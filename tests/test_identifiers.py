"""What identifiers of customers become, and which can't be read."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.activity.identifiers import read_identifiers

# country | as it stands in a file | what it becomes, or `!` and why not
MOBILES = """
91  | +91 98123 45678     | 919812345678
91  | +91-98123-45678     | 919812345678
91  | (+91) 9812345678    | 919812345678
91  | 0091 98123 45678    | 919812345678
91  | 098123 45678        | 919812345678
91  | 9812345678          | 919812345678
91  | 919812345678        | 919812345678
91  | 91 98123 45678      | 919812345678
91  | 9198123456          | 919198123456
91  | 98.12.34.56.78      | 919812345678
91  | 98 1234\u00a05678   | 919812345678
91  | +44 (0)7911 123456  | 447911123456
91  | +971501234567       | 971501234567
91  | 971501234567        | ! not a mobile number of country 91, and no + before
91  | 981234567           | ! not a mobile number of country 91, and no + before
91  | 0919812345678       | ! not a mobile number of country 91, and no + before
91  | 9812345678.0        | ! one decimal point: a phone number that became a number
91  | 9.812E+9            | ! not a phone number
91  | 98123x5678          | ! not a phone number
91  | +91+9812345678      | ! not a phone number
91  | ٩٨١٢٣٤٥٦٧٨          | ! not a phone number
91  | +0123456789         | ! not 8 to 15 digits with the country code
91  | 0000000000          | ! not 8 to 15 digits with the country code
91  | +1234567            | ! not 8 to 15 digits with the country code
91  | +1234567890123456   | ! not 8 to 15 digits with the country code
44  | 07911 123456        | 447911123456
44  | (0)7911 123456      | 447911123456
1   | (212) 555-1234      | 12125551234
1   | 1 212 555 1234      | 12125551234
62  | 0812 3456 789       | 628123456789
62  | 628123456789        | 628123456789
39  | 333 123 4567        | 393331234567
39  | 0333 123 4567       | ! not a mobile number of country 39, and no + before
372 | 5123 4567           | 37251234567
372 | 372 5123 4567       | ! with or without country code 372: write a + before
372 | +372 5123 4567      | 37251234567
-   | 919812345678        | 919812345678
-   | +91 98123 45678     | 919812345678
-   | 09812345678         | ! no country code, and customers.country_code is not set
"""

# kind | as it stands in a file | what it becomes, or `!` and why not
OTHERS = """
email       | Ann.Lee@Example.COM  | ann.lee@example.com
email       | ann+shop@example.com | ann+shop@example.com
email       | ann lee@example.com  | ! not an e-mail address
email       | ann@example          | ! not an e-mail address
email       | ann@@example.com     | ! not an e-mail address
email       | <ann@example.com>    | ! not an e-mail address
email       | ann@example.com.     | ! not an e-mail address
external_id | 00Ab-17              | 00Ab-17
external_id | A 17                 | A 17
card_number | 0012                 | 0012
card_number | 12                   | 12
"""


def rows(table: str) -> list[tuple[str, str, str]]:
    """Return the lines of a table as their three cells."""
    lines = [line.split("|") for line in table.strip().splitlines()]
    return [(a.strip(), b[1:].rstrip(" "), c.strip()) for a, b, c in lines]


def told(value: object, kind: str, country: str | None = None) -> str:
    """Return what a value becomes, or why it can't be read."""
    read = read_identifiers(
        pl.Series([value], strict=False),
        ("", "n/a"),
        kind=kind,  # type: ignore[arg-type]
        country_code=country,
    )
    one, reason = read["identifier"][0], read["reason"][0]
    assert (one is None) or (reason is None)
    return str(one) if reason is None else f"! {reason}"


@pytest.mark.parametrize(("country", "value", "expected"), rows(MOBILES))
def test_mobile_numbers(country: str, value: str, expected: str) -> None:
    """A number has one form, or is not read: it is never completed by guessing."""
    assert told(value, "mobile", None if country == "-" else country) == expected


@pytest.mark.parametrize(("kind", "value", "expected"), rows(OTHERS))
def test_other_identifiers(kind: str, value: str, expected: str) -> None:
    """E-mail ignores case and blanks around it; ids stay as they are."""
    assert told(f"  {value}\t", kind) == expected


@pytest.mark.parametrize("kind", ["mobile", "email", "external_id", "card_number"])
@pytest.mark.parametrize("blank", [None, "", "  ", "n/a"])
def test_a_blank_is_no_identifier_and_no_fault(kind: str, blank: str | None) -> None:
    """What means no value is neither an identifier nor unreadable."""
    read = read_identifiers(
        pl.Series([blank], dtype=pl.String),
        ("n/a",),
        kind=kind,  # type: ignore[arg-type]
    )
    assert read.row(0) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12.0, "12"),
        (12.5, "! a float with decimals, or too large to have kept all its digits"),
        (2.0**53, "! a float with decimals, or too large to have kept all its digits"),
        (float("nan"), "! a float with decimals, or too large to have kept all its "),
        (4111111111111111, "4111111111111111"),
    ],
)
def test_numbers_of_parquet_files(value: float, expected: str) -> None:
    """A float that has lost digits is refused; a whole one loses its `.0`."""
    assert told(value, "card_number").startswith(expected)


@given(st.text(max_size=20), st.sampled_from(["91", "1", "39", "372", None]))
def test_a_number_that_was_read_is_read_again_the_same(
    text: str, country: str | None
) -> None:
    """The one form with a + before it has itself for its one form."""
    first = told(text, "mobile", country)
    if not first.startswith("!") and first != "None":
        assert told(f"+{first}", "mobile", country) == first
