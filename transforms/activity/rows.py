"""Decides what becomes of each row of an activity file, and why.

Belongs here: the walls that a row passes, in order: broken line, bad field (rejected),
no customer (anonymous), accepted; and the Pandera models of both kinds of rows. Does
not belong here: how a value is read (`activity.values`), the words for what is wrong
with it (`activity.reasons`), duplicates and newer files (`activity`).

Rows come in as they stand in the file: columns named as the file names them, and
beside them `ROW_NUMBER` (Int64), and from a reader that knows broken lines `LINE_FAULT`
and `LINE` (String: what is wrong with the line, and the line; null where it is well).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from transforms.activity import reasons, values
from transforms.activity.accepted import REJECTED_SCHEMA, accepted_schema
from transforms.activity.identifiers import read_identifiers

if TYPE_CHECKING:
    import pandera.polars as pa

    from transforms.definition.definition import Customers, Source

ROW_NUMBER, LINE_FAULT, LINE = "@row_number", "@line_fault", "@line"

_VALUE_LENGTH = 200
_REQUIRED = frozenset({"customer_id", "activity_id", "occurred_at", "row_number"})
_NOWHERE = pl.Series(dtype=pl.UInt32)
# At which positions (UInt32) a column of some rows is wrong, each once.
_Failures = dict[str, pl.Series]


@dataclass(frozen=True, kw_only=True)
class SortedRows:
    """The rows of one chunk, each on one side of each wall.

    `accepted` has the columns of `accepted_schema`, duplicates still among them;
    `rejected` those of `REJECTED_SCHEMA`, a line per reason.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    rows_read: int
    rows_anonymous: int
    rows_rejected: int


def sorted_rows(
    rows: pl.DataFrame,
    source: Source,
    *,
    timezone: str,
    path: str,
    customers: Customers | None = None,
) -> SortedRows:
    """Return what becomes of the rows of one chunk of a file.

    `rows` has the columns that the source maps, under the file's names, and
    `ROW_NUMBER`; `timezone` is the definition's, `path` the file's display path, which
    names activities that have no id. A row without customer is anonymous unless
    another of its fields is bad. Every count is taken from the rows at its own wall.

    With `customers` a row names its customer by an identifier, which has to be
    readable; whose it is, is not looked at here.
    """
    whole, broken = _whole_lines(rows)
    zone = source.timezone or timezone
    fields = _fields(whole, source)
    typed, unread = _typed(fields, source, customers, timezone=zone, path=path)
    absent = _absent(typed["customer_id"], fields["customer_id"], source.format.nulls)
    is_nameless = _marked(absent.is_blank, typed.height)
    kind = pl.Int64 if customers is None else pl.String
    failures = _judged(typed, is_nameless, source, kind)
    for name, at in unread.items():
        _add(failures, name, at)
    is_bad = _marked(_anywhere(failures), typed.height)
    is_left_out = is_bad | is_nameless
    accepted = typed.filter(~is_left_out) if is_left_out.any() else typed
    if customers is not None:
        accepted = accepted.rename({"customer_id": "source_customer_id"})
    reasons = _reasons(failures, fields, source, customers, timezone=zone)
    rejected = pl.concat([broken, reasons])
    if not rejected["row_number"].is_sorted():
        rejected = rejected.sort("row_number", maintain_order=True)
    return SortedRows(
        accepted=accepted.select(
            list(accepted_schema(source, is_named=customers is None))
        ),
        rejected=rejected,
        rows_read=rows.height,
        rows_anonymous=int((is_nameless & ~is_bad).sum()),
        rows_rejected=broken.height + int(is_bad.sum()),
    )


def activity_ids(rows: pl.DataFrame, source: Source) -> pl.Series:
    """Return the activity ids of rows as `sorted_rows` takes them; null if blank."""
    field = _fields(rows, source)["activity_id"]
    return values.identifiers(field, source.format.nulls)


def typed_rows(
    rows: pl.DataFrame,
    source: Source,
    *,
    timezone: str,
    customers: Customers | None = None,
) -> pl.DataFrame:
    """Return the fields of rows in their types, null where one can't be read.

    Without row numbers, and without ids that are made of them. With `customers` as in
    `sorted_rows`.
    """
    fields, zone = _fields(rows, source), source.timezone or timezone
    return pl.DataFrame(
        _identified(fields[name], source, customers).alias(name)
        if name == "customer_id" and customers is not None
        else _read(fields[name], name, source, timezone=zone).alias(name)
        for name in source.columns
    )


def _whole_lines(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the lines that could be taken apart from those that are rejected for it."""
    if LINE_FAULT not in rows.columns or rows[LINE_FAULT].null_count() == rows.height:
        return rows, REJECTED_SCHEMA.to_frame()
    is_broken = rows[LINE_FAULT].is_not_null()
    broken = rows.filter(is_broken).select(
        row_number=ROW_NUMBER,
        column_name=pl.lit("", dtype=pl.String),
        reason="line: " + pl.col(LINE_FAULT),
        value=pl.col(LINE).str.slice(0, _VALUE_LENGTH),
    )
    return rows.filter(~is_broken), broken


def _fields(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Return the mapped columns under our names, lists of columns joined."""
    columns = [rows[ROW_NUMBER]]
    for name, theirs in source.columns.items():
        if isinstance(theirs, str):
            columns.append(rows[theirs].alias(name))
        else:
            columns.append(_joined(rows, name, theirs, source.format.nulls))
    return pl.DataFrame(columns)


def _joined(
    rows: pl.DataFrame, name: str, theirs: Sequence[str], nulls: Collection[str]
) -> pl.Series:
    """Return several columns as one text.

    Parts of an id are joined with `|`, and a part that is blank makes it null, as it
    does a time; in any other text the parts that there are are joined with a space.
    """
    parts = rows.select(
        values.identifiers(rows[column], nulls).alias(str(number))
        for number, column in enumerate(theirs)
    )
    if name != "activity_id":
        joined = pl.concat_str(
            pl.all(), separator=" ", ignore_nulls=name != "occurred_at"
        )
        is_absent = pl.all_horizontal(pl.all().is_null())
        return parts.select(pl.when(~is_absent).then(joined).alias(name)).to_series()
    escaped = (
        pl.all()
        .str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all("|", "\\|", literal=True)
    )
    return parts.select(pl.concat_str(escaped, separator="|").alias(name)).to_series()


def _typed(
    fields: pl.DataFrame,
    source: Source,
    customers: Customers | None,
    *,
    timezone: str,
    path: str,
) -> tuple[pl.DataFrame, _Failures]:
    """Return the fields in their types: what can't be read is null.

    And where that is, of columns that may be null: there null alone is no fault.
    """
    nulls = source.format.nulls
    columns = [fields[ROW_NUMBER].alias("row_number")]
    unread: _Failures = {}
    for name in source.columns:
        if name == "customer_id" and customers is not None:
            column = _identified(fields[name], source, customers)
        else:
            column = _read(fields[name], name, source, timezone=timezone).alias(name)
        columns.append(column)
        if name not in _REQUIRED:
            at = _absent(column, fields[name], nulls).is_unread
            if not at.is_empty():
                unread[name] = at
    typed = pl.DataFrame(columns)
    if "activity_id" not in source.columns:
        named_by_row = pl.concat_str(pl.lit(f"{path}:"), "row_number")
        typed = typed.with_columns(activity_id=named_by_row)
    constants = [
        pl.lit(text, dtype=pl.String).alias(name)
        for name, text in source.constants.items()
    ]
    return typed.with_columns(constants), unread


@dataclass(frozen=True)
class _Absent:
    """Where a column is null: for a blank, and for what can't be read (positions)."""

    is_blank: pl.Series
    is_unread: pl.Series


def _absent(column: pl.Series, field: pl.Series, nulls: Collection[str]) -> _Absent:
    """Return where a column that was read from a field is null, and why."""
    if not column.null_count():
        return _Absent(is_blank=_NOWHERE, is_unread=_NOWHERE)
    at = column.is_null().arg_true()
    is_blank = values.blanks(field.gather(at), nulls)
    return _Absent(is_blank=at.filter(is_blank), is_unread=at.filter(~is_blank))


def _marked(at: pl.Series, height: int) -> pl.Series:
    """Return a Boolean for each row: whether it is one of these positions."""
    nowhere = pl.repeat(value=False, n=height, dtype=pl.Boolean, eager=True)
    return nowhere if at.is_empty() else nowhere.scatter(at, True)  # noqa: FBT003


def _identified(field: pl.Series, source: Source, customers: Customers) -> pl.Series:
    """Return the file's own identifiers as they stand there, unreadable ones null."""
    read = read_identifiers(
        field,
        source.format.nulls,
        kind=customers.identifier,
        country_code=customers.country_code,
    )
    is_read = pl.col("identifier").is_not_null()
    return read.select(customer_id=pl.when(is_read).then("given")).to_series()


def _read(field: pl.Series, name: str, source: Source, *, timezone: str) -> pl.Series:
    """Return one field in its type."""
    nulls, sign = source.format.nulls, source.format.decimal
    core: dict[str, Callable[[], pl.Series]] = {
        "customer_id": lambda: values.whole_numbers(field, nulls),
        "activity_id": lambda: values.identifiers(field, nulls),
        "occurred_at": lambda: values.instants(
            field,
            nulls,
            style=source.occurred_at_format,
            timezone=timezone,
            ambiguous=source.ambiguous,
        ),
        "amount": lambda: values.minor_units(
            field, nulls, decimals=source.amount_decimals, sign=sign
        ),
    }
    further: dict[str, Callable[[], pl.Series]] = {
        "text": lambda: values.texts(field, nulls),
        "integer": lambda: values.whole_numbers(field, nulls, is_signed=True),
        "decimal": lambda: values.numbers(field, nulls, sign=sign),
        "boolean": lambda: values.booleans(field, nulls),
        "date": lambda: values.days(field, nulls),
    }
    return core[name]() if name in core else further[source.types.get(name, "text")]()


@cache
def _model(
    schema: tuple[tuple[str, pl.DataType], ...],
    kind: type[pl.DataType],
    *,
    is_named: bool,
) -> pa.DataFrameSchema:
    """Return the Pandera model of typed rows, of those with or without customer.

    `schema` are the columns of accepted activity.
    """
    import pandera.polars as pa  # noqa: PLC0415  half a second, which others save

    limit = values.MAX_MINOR_UNITS
    columns = {
        name: pa.Column(dtype, nullable=name not in _REQUIRED) for name, dtype in schema
    }
    # Where a check fails is read from its output: its list of cases costs more.
    columns["occurred_at"] = pa.Column(
        values.INSTANT,
        pa.Check.in_range(values.FIRST_INSTANT, values.LAST_INSTANT, n_failure_cases=1),
    )
    if "amount" in columns:
        amounts = pa.Check.in_range(-limit, limit, n_failure_cases=1)
        columns["amount"] = pa.Column(pl.Int64, amounts, nullable=True)
    is_number = is_named and kind == pl.Int64
    columns["customer_id"] = pa.Column(
        kind,
        [pa.Check.ge(1, n_failure_cases=1)] if is_number else [],
        nullable=not is_named,
    )
    return pa.DataFrameSchema(columns, strict=True)


def _judged(
    typed: pl.DataFrame,
    is_nameless: pl.Series,
    source: Source,
    kind: type[pl.DataType],
) -> _Failures:
    """Return in which columns which rows fail, be they of a customer or of nobody."""
    schema = tuple(accepted_schema(source).items())
    if not is_nameless.any():
        return _failures(typed, _model(schema, kind, is_named=True))
    found: _Failures = {}
    for is_named, is_so in ((True, ~is_nameless), (False, is_nameless)):
        model = _model(schema, kind, is_named=is_named)
        places = is_so.arg_true()
        for name, at in _failures(typed.filter(is_so), model).items():
            _add(found, name, places.gather(at))
    return found


def _failures(typed: pl.DataFrame, model: pa.DataFrameSchema) -> _Failures:
    """Return in which columns which rows fail by a model."""
    from pandera.errors import SchemaErrors  # noqa: PLC0415  as above

    found: _Failures = {}
    if typed.is_empty():
        return found
    try:
        model.validate(typed, lazy=True)
    except SchemaErrors as error:
        for failed in error.schema_errors:
            if failed.check_output is None:
                raise  # a column of a wrong type is a defect, not a row to reject
            passes = failed.check_output.to_series()
            _add(found, str(failed.schema.name), (~passes).arg_true())
    return found


def _add(found: _Failures, name: str, at: pl.Series) -> None:
    """Add the positions at which a column fails to those that are known."""
    if name in found:
        at = pl.concat([found[name], at]).unique(maintain_order=True)
    found[name] = at


def _anywhere(failures: _Failures) -> pl.Series:
    """Return the positions of rows that fail in any column."""
    return pl.concat([_NOWHERE, *failures.values()])


def _reasons(
    failures: _Failures,
    fields: pl.DataFrame,
    source: Source,
    customers: Customers | None,
    *,
    timezone: str,
) -> pl.DataFrame:
    """Return the rejected rows of values: a line for each failing field of a row."""
    lines = [REJECTED_SCHEMA.to_frame()]
    for name, at in failures.items():
        theirs = source.columns[name]
        field = fields[name].gather(at)
        lines.append(
            pl.DataFrame(
                {
                    "row_number": fields[ROW_NUMBER].gather(at),
                    "column_name": pl.repeat(
                        theirs if isinstance(theirs, str) else " + ".join(theirs),
                        at.len(),
                        dtype=pl.String,
                        eager=True,
                    ),
                    "reason": reasons.reason(
                        field, name, source, timezone=timezone, customers=customers
                    ),
                    "value": field.cast(pl.String).str.slice(0, _VALUE_LENGTH),
                },
                schema=REJECTED_SCHEMA,
            )
        )
    return pl.concat(lines)
