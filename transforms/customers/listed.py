"""Reads the rows of customer files and suppression lists into their types.

Belongs here: what a row may hold, and what is wrong with one. Does not belong here:
reading files (`flows.files.customer_files`), and whose an identifier is
(`customers.mapping`).

These lists say who is meant. So a customer id, a survivor or a moment that can't be
read stops everything, naming its row: what it would have said is lost otherwise, and
may be that two customers are one. An identifier that can't be read is left out and
told, for no activity can have it either: there it is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from transforms.activity import values
from transforms.activity.accepted import listed_columns
from transforms.activity.identifiers import read_identifiers
from transforms.activity.rows import LINE_FAULT, ROW_NUMBER
from transforms.conditions.condition import condition
from transforms.errors import Fault

if TYPE_CHECKING:
    from transforms.definition.definition import Customers

SUPPRESSED = pl.Schema({"identifier": pl.String, "customer_id": pl.Int64})
UNREADABLE = pl.Schema({"reason": pl.String, "row_number": pl.Int64})
_SHOWN = 200
_MOST_FAULTS = 20
_WORDS = {
    "customer_id": "is no customer id: whole numbers from 1",
    "survivor_id": "is no customer id: whole numbers from 1",
    "enrolled_at": "is no moment as enrolled_at_format and timezone say",
}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The rows of one chunk of a customer file.

    `rows`: the columns of `listed_columns`, identifier in its one form (null: blank or
    unreadable), row_number Int64, is_wanted Boolean (`where` holds). `unreadable`:
    row_number and reason of the identifiers that can't be read.
    """

    rows: pl.DataFrame
    unreadable: pl.DataFrame
    faults: tuple[Fault, ...]


def listed_customers(
    chunk: pl.DataFrame, customers: Customers, *, timezone: str, shown: str
) -> Listed:
    """Return the rows of a chunk of a customer file, and what stops everything.

    `chunk` has the columns of the file and `ROW_NUMBER`; `timezone` is that of moments
    without offset, `shown` the file's display path.
    """
    chunk, faults = _whole_lines(chunk, shown)
    nulls = customers.format.nulls
    read = _identifiers(chunk[customers.columns["identifier"]], customers)
    rows = pl.DataFrame({"row_number": chunk[ROW_NUMBER]})
    for name, theirs in customers.columns.items():
        if name == "identifier":
            rows = rows.with_columns(read["identifier"])
            continue
        column = _typed(chunk[theirs], name, customers, timezone)
        rows = rows.with_columns(column.alias(name))
        is_bad = column.is_null() & ~values.blanks(chunk[theirs], nulls)
        faults += _faults(chunk.filter(is_bad), theirs, _told(name, customers), shown)
    rows = rows.with_columns(is_wanted=_wanted(customers))
    nobody = rows["is_wanted"] & rows["customer_id"].is_null()
    theirs = customers.columns["customer_id"]
    nobody &= values.blanks(chunk[theirs], nulls)
    blank = "is blank: fill it in, or leave the row out by customers.where"
    faults += _faults(chunk.filter(nobody), theirs, blank, shown)
    return Listed(
        rows=rows,
        unreadable=read.select("reason", row_number=chunk[ROW_NUMBER]).drop_nulls(),
        faults=tuple(faults),
    )


def no_customers(customers: Customers) -> pl.DataFrame:
    """Return a frame as `Listed.rows`, without a row."""
    columns = {"row_number": pl.Int64(), **listed_columns(customers)}
    return pl.DataFrame(schema={**columns, "is_wanted": pl.Boolean()})


def suppressed(
    chunk: pl.DataFrame, customers: Customers, *, shown: str
) -> tuple[pl.DataFrame, tuple[Fault, ...]]:
    """Return identifier String and customer_id Int64 of a chunk of a suppression list.

    The list has one of these columns or both, named as in the customer files. Whatever
    can't be read is a fault: it may be someone who must not be awarded.
    """
    chunk, faults = _whole_lines(chunk, shown)
    rows = SUPPRESSED.to_frame().clear(chunk.height)
    for name in SUPPRESSED:
        theirs = customers.columns[name]
        if theirs not in chunk.columns:
            continue
        if name == "identifier":
            column = _identifiers(chunk[theirs], customers)["identifier"]
        else:
            column = _typed(chunk[theirs], name, customers, "UTC")
        rows = rows.with_columns(column.alias(name))
        is_bad = column.is_null() & ~values.blanks(
            chunk[theirs], customers.format.nulls
        )
        faults += _faults(chunk.filter(is_bad), theirs, _told(name, customers), shown)
    return rows, tuple(faults)


def _whole_lines(chunk: pl.DataFrame, shown: str) -> tuple[pl.DataFrame, list[Fault]]:
    """Part the lines that could be taken apart from those that stop everything."""
    if LINE_FAULT not in chunk.columns:
        return chunk, []
    broken = chunk.filter(pl.col(LINE_FAULT).is_not_null())
    faults = [
        Fault(
            code="customers_line",
            message=f"{told}: mend the list",
            file=shown,
            row=row,
        )
        for row, told in broken.head(_MOST_FAULTS)
        .select(ROW_NUMBER, LINE_FAULT)
        .iter_rows()
    ]
    return chunk.filter(pl.col(LINE_FAULT).is_null()), faults


def _identifiers(field: pl.Series, customers: Customers) -> pl.DataFrame:
    return read_identifiers(
        field,
        customers.format.nulls,
        kind=customers.identifier,
        country_code=customers.country_code,
    )


def _wanted(customers: Customers) -> pl.Expr:
    """Return whether `where` holds; unknown is no."""
    if customers.where is None:
        return pl.lit(value=True)
    known = listed_columns(customers)
    text = customers.where
    wanted = condition(text, known, place="customers.where", amount_decimals=0)
    return wanted.fill_null(value=False)


def _typed(
    field: pl.Series, name: str, customers: Customers, timezone: str
) -> pl.Series:
    """Return one column in its type; what can't be read is null."""
    nulls, sign = customers.format.nulls, customers.format.decimal
    if name in {"customer_id", "survivor_id"}:
        numbers = values.whole_numbers(field, nulls)
        return numbers.set((numbers < 1).fill_null(value=False), None)
    kind = customers.types.get(name, "text")
    if name == "enrolled_at" or kind == "date":
        field = _as_moments(field, customers.enrolled_at_format)
    if name == "enrolled_at":
        return values.instants(
            field,
            nulls,
            style=customers.enrolled_at_format,
            timezone=timezone,
            ambiguous="earliest",
        )
    read: dict[str, Callable[[], pl.Series]] = {
        "text": lambda: values.texts(field, nulls),
        "integer": lambda: values.whole_numbers(field, nulls, is_signed=True),
        "decimal": lambda: values.numbers(field, nulls, sign=sign),
        "boolean": lambda: values.booleans(field, nulls),
        "date": lambda: values.days(field, nulls),
    }
    return read[kind]()


def _as_moments(field: pl.Series, style: str) -> pl.Series:
    """Return a column that may hold moments; of any other type it is taken as text."""
    is_moment = field.dtype in {pl.String, pl.Date} or field.dtype.is_temporal()
    is_epoch = style.startswith("epoch_") and field.dtype.is_numeric()
    return field if is_moment or is_epoch else field.cast(pl.String)


def _told(name: str, customers: Customers) -> str:
    if name == "identifier":
        return f"can't be read as {customers.identifier}: mend the list"
    return f"{_WORDS.get(name, 'is not of its type in customers.types')}: mend the list"


def _faults(bad: pl.DataFrame, theirs: str, told: str, shown: str) -> Iterator[Fault]:
    """Yield the first rows that can't be read, with what they hold."""
    rows = bad.head(_MOST_FAULTS).select(ROW_NUMBER, theirs)
    for row, value in rows.iter_rows():
        held = f"{str(value)[:_SHOWN]!r} " if value not in {None, ""} else ""
        yield Fault(
            code="customers_row",
            message=held + told,
            file=shown,
            row=row,
            column=theirs,
        )
