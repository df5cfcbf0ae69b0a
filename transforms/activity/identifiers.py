"""Brings identifiers of customers into one form, so that equal ones are equal texts.

Belongs here: mobile numbers, e-mail addresses, external ids and card numbers, and why
one can't be read. Does not belong here: whose identifier it is
(`transforms.customers`), and what becomes of a row (`activity.rows`).

    mobile       country code and number, digits only: 919812345678
    email        lower case, no spaces around it
    external_id  as it stands, no spaces around it
    card_number  as it stands, no spaces around it

A number is never completed by guessing: where it could be read in two ways, or a digit
might belong to something else, it is not read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import polars as pl

from transforms.activity import values

IdentifierKind = Literal["mobile", "email", "external_id", "card_number"]

# Mobile numbers without country code, by country code. Only with their form known can
# a number that begins like its own country code be read; other countries can be used,
# but such numbers are refused.
_TEN = "[1-9][0-9]{9}"
_NINE = "[1-9][0-9]{8}"
_EIGHT = "[1-9][0-9]{7}"
_NATIONAL = {
    **dict.fromkeys(("1", "7", "20", "44", "52", "63", "81", "90", "91"), _TEN),
    **dict.fromkeys(("92", "234", "880", "977"), _TEN),
    **dict.fromkeys(("27", "31", "32", "33", "34", "41", "46", "48"), _NINE),
    **dict.fromkeys(("61", "66", "84", "94", "254", "351", "353"), _NINE),
    **dict.fromkeys(("966", "971"), _NINE),
    **dict.fromkeys(("45", "47", "65", "852", "965", "968", "973", "974"), _EIGHT),
    "39": "3[0-9]{8,9}",
    "49": "1[0-9]{9,10}",
    "55": "[1-9][0-9]{9,10}",
    "60": "1[0-9]{8,9}",
    "62": "8[0-9]{8,11}",
    "64": "2[0-9]{7,9}",
    "82": "1[0-9]{8,9}",
    "86": "1[0-9]{10}",
}
# In Italy the zero in front is a digit of the number, elsewhere it stands for "no
# country code follows".
_ZERO_IS_A_DIGIT = frozenset({"39"})
_SEPARATORS = r"[\s()/.\-\x{2010}-\x{2015}]"
_EMAIL = r'^[^\s@<>,;:"()]+@[^\s@<>,;:"().]+(?:\.[^\s@<>,;:"().]+)+$'
_LONGEST_EMAIL = 254
_WHOLE = r"^[1-9][0-9]{7,14}$"
_LONGEST_FLOAT = 2.0**53  # above, a double skips whole numbers


def read_identifiers(
    field: pl.Series,
    nulls: Collection[str],
    *,
    kind: IdentifierKind,
    country_code: str | None = None,
) -> pl.DataFrame:
    """Return `given`, `identifier` and `reason`, all String, a row per value.

    `given` is the value as it stands, without spaces around it; `identifier` its one
    form; both are null for a blank. Where a value can't be read, `identifier` is null
    and `reason` says why. `country_code` are digits; without it every mobile number is
    taken to have its own.
    """
    given = values.identifiers(field, nulls)
    if kind == "mobile":
        return _without_lost_digits(_mobiles(given, country_code), field)
    frame = pl.DataFrame({"given": given})
    read, reason = pl.col("given"), pl.lit(None, dtype=pl.String)
    if kind == "email":
        read, reason = _email()
    return _without_lost_digits(_read(frame, read, reason), field)


def _read(frame: pl.DataFrame, read: pl.Expr, reason: pl.Expr) -> pl.DataFrame:
    frame = frame.with_columns(identifier=read, reason=reason)
    return frame.with_columns(
        identifier=pl.when(pl.col("reason").is_null()).then("identifier")
    )


def _without_lost_digits(frame: pl.DataFrame, field: pl.Series) -> pl.DataFrame:
    """Refuse floats that are not whole, or so large that digits are lost."""
    if not field.dtype.is_float():
        return frame
    shown = field.cast(pl.String)
    is_lost = (frame["given"].is_null() & field.is_not_null()) | (
        field.cast(pl.Float64).abs() >= _LONGEST_FLOAT
    ).fill_null(value=False)
    words = pl.lit("a float with decimals, or too large to have kept all its digits")
    return frame.with_columns(is_lost=is_lost, shown=shown).select(
        given=pl.when("is_lost").then("shown").otherwise("given"),
        identifier=pl.when(~pl.col("is_lost")).then("identifier"),
        reason=pl.when("is_lost").then(words).otherwise("reason"),
    )


def _email() -> tuple[pl.Expr, pl.Expr]:
    text = pl.col("given").str.to_lowercase()
    is_one = text.str.contains(_EMAIL) & (text.str.len_bytes() <= _LONGEST_EMAIL)
    return text, pl.when(~is_one).then(pl.lit("not an e-mail address"))


def _mobiles(given: pl.Series, country_code: str | None) -> pl.DataFrame:
    """Return given, identifier and reason of mobile numbers.

    Most numbers of a file are plain digits, which two looks decide; each of the others
    takes ten.
    """
    plain = _plain(given, country_code)
    rest = (plain.is_null() & given.is_not_null()).arg_true()
    nothing = pl.lit(None, dtype=pl.String)
    frame = pl.DataFrame({"given": given, "identifier": plain}).with_columns(
        reason=nothing
    )
    if rest.is_empty():
        return frame
    others = pl.DataFrame({"given": given.gather(rest)})
    others = _read(others, *_mobile(country_code))
    return frame.with_columns(
        frame[name].scatter(rest, others[name]) for name in ("identifier", "reason")
    )


def _plain(given: pl.Series, country_code: str | None) -> pl.Series:
    """Return the one form of numbers that are plain digits and clear, else null."""
    number, code = pl.col("given"), country_code or ""
    national = _NATIONAL.get(code)
    nothing = pl.lit(None, dtype=pl.String)
    if country_code is None:
        form = pl.when(number.str.contains(_WHOLE)).then(number).otherwise(nothing)
    elif national is None:
        form = nothing
    else:
        is_whole = number.str.contains(f"^{code}{national}$")
        is_ours = number.str.contains(f"^{national}$")
        form = (
            pl.when(is_whole & ~is_ours)
            .then(number)
            .when(is_ours & ~is_whole)
            .then(pl.lit(code) + number)
            .otherwise(nothing)
        )
    return pl.DataFrame({"given": given}).select(form=form).to_series()


def _mobile(country_code: str | None) -> tuple[pl.Expr, pl.Expr]:
    """Return the number with its country code, and why a text is none."""
    given = pl.col("given")
    # The bracketed zero of +44 (0)7911… is there for callers within the country.
    bare = given.str.replace("(0)", "", literal=True).str.replace_all(_SEPARATORS, "")
    has_code = bare.str.contains(r"^(?:\+|00)")
    digits = given.str.replace_all(_SEPARATORS, "")
    text = pl.when(has_code).then(bare).otherwise(digits)
    own = text.str.replace(r"^(?:\+|00)", "")
    whole, unclear = _completed(text, country_code)
    number = pl.when(has_code).then(own).otherwise(whole)
    is_decimal = given.str.count_matches(r"\.") == 1
    reason = (
        pl.when(given.is_null())
        .then(pl.lit(None, dtype=pl.String))
        .when(~text.str.contains(r"^\+?[0-9]+$"))
        .then(pl.lit("not a phone number"))
        .when(is_decimal)
        .then(pl.lit("one decimal point: a phone number that became a number"))
        .when(~has_code & unclear.is_not_null())
        .then(unclear)
        .when(~number.str.contains(_WHOLE))
        .then(pl.lit("not 8 to 15 digits with the country code"))
    )
    return number, reason


def _completed(text: pl.Expr, country_code: str | None) -> tuple[pl.Expr, pl.Expr]:
    """Return a number that has no + or 00 with its country code, and what is unclear.

    Without a country of its own every number is whole as it is, save one that begins
    with a zero.
    """
    has_zero = text.str.starts_with("0")
    if country_code is None:
        words = "no country code, and customers.country_code is not set"
        return text, pl.when(has_zero).then(pl.lit(words))
    bare = text.str.replace(r"^0", "")
    national = _NATIONAL.get(country_code)
    begins_alike = text.str.starts_with(country_code) & ~has_zero
    if national is None:
        is_whole, is_ours = pl.lit(value=False), ~begins_alike
        is_both = begins_alike
    else:
        is_whole = text.str.contains(f"^{country_code}{national}$")
        is_ours = bare.str.contains(f"^{national}$")
        is_both = is_whole & is_ours & ~has_zero
    if country_code in _ZERO_IS_A_DIGIT:
        is_ours = is_ours & ~has_zero
    unclear = (
        pl.when(is_both)
        .then(pl.lit(f"with or without country code {country_code}: write a + before"))
        .when(~is_whole & ~is_ours)
        .then(pl.lit(f"not a mobile number of country {country_code}, and no + before"))
    )
    whole = pl.when(is_whole).then(text).otherwise(pl.lit(country_code) + bare)
    return whole, unclear
