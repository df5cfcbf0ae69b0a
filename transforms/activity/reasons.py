"""Says in words why a value of an activity file was not taken.

Belongs here: the sentence for a value that is already known to be bad. Does not belong
here: deciding that it is (`activity`, `activity.values`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from transforms.activity import values
from transforms.activity.identifiers import read_identifiers

if TYPE_CHECKING:
    from transforms.definition.definition import Customers, Source

_SAMPLE = 500
_TYPES = {
    "integer": "not a whole number",
    "decimal": "not a number",
    "boolean": "neither true nor false",
    "date": "not a day such as 2024-01-31",
    "text": "not text",
}


def reason(
    field: pl.Series,
    name: str,
    source: Source,
    *,
    timezone: str,
    customers: Customers | None = None,
) -> pl.Series:
    """Return why each of these values of a field was not taken, after our name of it.

    Bad values are often the same few, and equal ones are so for equal reasons.
    """
    distinct = _few(field)
    if distinct is None:
        return f"{name}: " + _words(field, name, source, timezone, customers)
    words = f"{name}: " + _words(distinct, name, source, timezone, customers)
    return field.replace_strict(distinct, words, return_dtype=pl.String)


def _few(field: pl.Series) -> pl.Series | None:
    """Return the different values of a text, each once; None if they are many."""
    if field.dtype != pl.String or field.head(_SAMPLE).n_unique() * 4 > field.len():
        return None
    return field.unique()


def _words(
    field: pl.Series,
    name: str,
    source: Source,
    timezone: str,
    customers: Customers | None,
) -> pl.Series:
    match name:
        case "customer_id" if customers is not None:
            read = read_identifiers(
                field,
                source.format.nulls,
                kind=customers.identifier,
                country_code=customers.country_code,
            )
            return read["reason"]
        case "customer_id":
            return _customer(field)
        case "activity_id":
            words = "not a whole number" if field.dtype.is_float() else "blank"
            return _all(words, field)
        case "occurred_at":
            return _time(field, source, timezone)
        case "amount":
            return _amount(field, source)
        case _:
            return _all(_TYPES[source.types.get(name, "text")], field)


def _all(words: str, field: pl.Series) -> pl.Series:
    return pl.repeat(words, field.len(), dtype=pl.String, eager=True)


def _chosen(field: pl.Series, *cases: tuple[pl.Series, str], other: str) -> pl.Series:
    """Return the words of the first case that holds for each value."""
    found = _all(other, field)
    for is_so, words in reversed(cases):
        found = found.set(is_so.fill_null(value=False), words)
    return found


def _customer(field: pl.Series) -> pl.Series:
    if field.dtype == pl.String:
        is_whole = field.str.strip_chars().str.contains(r"^[0-9]+$")
    elif field.dtype.is_float():
        is_whole = field == field.floor()
    else:
        is_whole = field == field.cast(pl.Int128, strict=False)
    words = f"not from 1 to {2**63 - 1}"
    return _chosen(field, (is_whole, words), other="not a whole number")


def _time(field: pl.Series, source: Source, timezone: str) -> pl.Series:
    """Tell an unreadable time from a skipped hour, a doubled one and a far year."""

    def read(zone: str, ambiguous: values.Ambiguous) -> pl.Series:
        return values.instants(
            field,
            source.format.nulls,
            style=source.occurred_at_format,
            timezone=zone,
            ambiguous=ambiguous,
        )

    style = source.occurred_at_format
    is_typed = field.dtype.is_temporal()
    is_read = read("UTC", "earliest").is_not_null()
    is_doubled = read(timezone, "earliest").is_not_null()
    return _chosen(
        field,
        (values.blanks(field, source.format.nulls), "blank"),
        (is_doubled, f"an hour that comes twice in {timezone} (set `ambiguous`)"),
        (is_read, f"a local time that does not exist in {timezone}"),
        (
            _looks_far(field, style),
            f"outside the years {values.FIRST_YEAR} to {values.LAST_YEAR}",
        ),
        other="not a time" if is_typed else f"not a time in the format {style}",
    )


def _looks_far(field: pl.Series, style: str) -> pl.Series:
    """Return where a value is a time, but of no year that activity can have."""
    if field.dtype.is_temporal():
        return field.is_not_null()
    text = field.cast(pl.String).str.strip_chars()
    if style.startswith("epoch_"):
        return text.str.contains(r"^-?[0-9]+(?:\.[0-9]+)?$")
    if style == "iso":
        day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    else:
        day = text.str.to_datetime(style, strict=False, time_unit="ms").cast(pl.Date)
    years = day.dt.year()
    return (years < values.FIRST_YEAR) | (years > values.LAST_YEAR)


def _amount(field: pl.Series, source: Source) -> pl.Series:
    """Tell what is no number from one with too many decimals and one too large."""
    decimals, sign = source.amount_decimals, source.format.decimal
    number = values.numbers(field, source.format.nulls, sign=sign)
    limit = values.MAX_MINOR_UNITS / 10**decimals
    return _chosen(
        field,
        (number.is_null(), "not a number"),
        (number.abs() > limit, f"more than {values.MAX_MINOR_UNITS} minor units"),
        other=f"more than {decimals} decimals",
    )
