"""Decides what becomes of each row of an activity file, and which rows are current.

Belongs here: the columns of accepted activity, the walls that a row passes (rejected,
anonymous, accepted, duplicate), the reasons, and which of several files an activity is
taken from. Does not belong here: how a value is read (`activity_values`), reading and
writing files (`flows.activity_files`).

Rows come in as they stand in the file: columns named as the file names them, and
beside them `ROW_NUMBER` (Int64), and from a reader that knows broken lines `LINE_FAULT`
and `LINE` (String: what is wrong with the line, and the line; null where it is well).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from transforms import activity_reasons as reasons
from transforms import activity_values as values
from transforms.errors import Fault

if TYPE_CHECKING:
    from transforms.definition import Definition, Quality, Source

ROW_NUMBER, LINE_FAULT, LINE = "@row_number", "@line_fault", "@line"
INSTANT = values.INSTANT

# What a condition may use besides the mapped columns; made when rules are looked at.
BUILT_INS: dict[str, pl.DataType] = {
    "source": pl.String(),
    "occurred_date": pl.Date(),
    "weekday": pl.Int8(),
    "hour": pl.Int8(),
}
RESERVED = frozenset({*BUILT_INS, "file_order", "row_number"})
REJECTED_SCHEMA = pl.Schema(
    {
        "row_number": pl.Int64,
        "column_name": pl.String,
        "reason": pl.String,
        "value": pl.String,
    }
)

_TYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "decimal": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
}
_VALUE_LENGTH = 200
_REQUIRED = frozenset({"customer_id", "activity_id", "occurred_at", "row_number"})
_AT, _UNREAD = "@at", "@unread "
_CORE = ("customer_id", "activity_id", "occurred_at", "amount")


def activity_columns(source: Source) -> dict[str, pl.DataType]:
    """Return the columns that conditions on this source may use, with their types."""
    columns: dict[str, pl.DataType] = {
        "customer_id": pl.Int64(),
        "activity_id": pl.String(),
        "occurred_at": INSTANT,
    }
    if "amount" in source.columns:
        columns["amount"] = pl.Int64()
    for name in source.columns:
        if name not in _CORE:
            columns[name] = _TYPES[source.types.get(name, "text")]
    columns.update(dict.fromkeys(source.constants, pl.String()))
    return columns


def accepted_schema(source: Source) -> pl.Schema:
    """Return the columns of accepted activity, in their order."""
    columns = activity_columns(source)
    further = {name: kind for name, kind in columns.items() if name not in _CORE}
    core = {name: kind for name, kind in columns.items() if name in _CORE}
    return pl.Schema({**core, "row_number": pl.Int64(), **further})


def amount_decimals(definition: Definition) -> int:
    """Return the decimals that the amounts of all sources are brought to."""
    with_amount = [s for s in definition.sources if "amount" in s.columns]
    return max((source.amount_decimals for source in with_amount), default=0)


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
    rows: pl.DataFrame, source: Source, *, timezone: str, path: str
) -> SortedRows:
    """Return what becomes of the rows of one chunk of a file.

    `rows` has the columns that the source maps, under the file's names, and
    `ROW_NUMBER`; `timezone` is the definition's, `path` the file's display path, which
    names activities that have no id. A row without customer is anonymous unless
    another of its fields is bad. Every count is taken from the rows at its own wall.
    """
    whole, broken = _whole_lines(rows)
    zone = source.timezone or timezone
    fields = _fields(whole, source)
    typed = _typed(fields, source, timezone=zone, path=path)
    is_nameless = typed["customer_id"].is_null()
    if is_nameless.any():
        is_blank = values.blanks(fields["customer_id"], source.format.nulls)
        is_nameless = is_nameless & is_blank
    failures = pl.concat(
        [
            _failures(typed.filter(~is_nameless), _checks(source, is_named=True)),
            _failures(typed.filter(is_nameless), _checks(source, is_named=False)),
        ]
    )
    is_bad = typed[_AT].is_in(failures[_AT].implode())
    accepted = typed.filter(~is_bad & ~is_nameless)
    reasons = _reasons(failures, fields, source, timezone=zone)
    return SortedRows(
        accepted=accepted.select(list(accepted_schema(source))),
        rejected=pl.concat([broken, reasons]).sort("row_number", maintain_order=True),
        rows_read=rows.height,
        rows_anonymous=typed.filter(~is_bad & is_nameless).height,
        rows_rejected=broken.height + typed.filter(is_bad).height,
    )


def _whole_lines(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the lines that could be taken apart from those that are rejected for it."""
    if LINE_FAULT not in rows.columns:
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
    fields: pl.DataFrame, source: Source, *, timezone: str, path: str
) -> pl.DataFrame:
    """Return the fields in their types: what can't be read is null and flagged.

    A flag stands beside each column that may be null, since there null is no fault.
    """
    nulls = source.format.nulls
    columns = [fields[ROW_NUMBER].alias("row_number")]
    for name in source.columns:
        column = _read(fields[name], name, source, timezone=timezone).alias(name)
        columns.append(column)
        if name not in _REQUIRED:
            is_unread = column.is_null()
            if is_unread.any():
                is_unread = is_unread & ~values.blanks(fields[name], nulls)
            columns.append(is_unread.alias(_UNREAD + name))
    typed = pl.DataFrame(columns).with_row_index(_AT)
    if "activity_id" not in source.columns:
        named_by_row = pl.concat_str(pl.lit(f"{path}:"), "row_number")
        typed = typed.with_columns(activity_id=named_by_row)
    return typed.with_columns(
        pl.lit(text, dtype=pl.String).alias(name)
        for name, text in source.constants.items()
    )


def _read(field: pl.Series, name: str, source: Source, *, timezone: str) -> pl.Series:
    """Return one field in its type."""
    nulls, sign = source.format.nulls, source.format.decimal
    if name == "customer_id":
        return values.whole_numbers(field, nulls)
    if name == "activity_id":
        return values.identifiers(field, nulls)
    if name == "occurred_at":
        return values.instants(
            field,
            nulls,
            style=source.occurred_at_format,
            timezone=timezone,
            ambiguous=source.ambiguous,
        )
    if name == "amount":
        return values.minor_units(
            field, nulls, decimals=source.amount_decimals, sign=sign
        )
    match source.types.get(name, "text"):
        case "integer":
            return values.whole_numbers(field, nulls, is_signed=True)
        case "decimal":
            return values.numbers(field, nulls, sign=sign)
        case "boolean":
            return values.booleans(field, nulls)
        case "date":
            return values.days(field, nulls)
        case "text":
            return values.texts(field, nulls)


def _checks(source: Source, *, is_named: bool) -> pa.DataFrameSchema:
    """Return the Pandera model of typed rows, of those with or without customer."""
    limit = values.MAX_MINOR_UNITS
    columns = {
        name: pa.Column(dtype, nullable=name not in _REQUIRED)
        for name, dtype in accepted_schema(source).items()
    }
    columns[_AT] = pa.Column(pl.UInt32)
    columns |= {
        _UNREAD + name: pa.Column(pl.Boolean, pa.Check.eq(value=False))
        for name in source.columns
        if name not in _REQUIRED
    }
    columns["occurred_at"] = pa.Column(
        INSTANT, pa.Check.in_range(values.FIRST_INSTANT, values.LAST_INSTANT)
    )
    if "amount" in columns:
        amounts = pa.Check.in_range(-limit, limit)
        columns["amount"] = pa.Column(pl.Int64, amounts, nullable=True)
    columns["customer_id"] = (
        pa.Column(pl.Int64, pa.Check.ge(1))
        if is_named
        else pa.Column(pl.Int64, nullable=True)
    )
    return pa.DataFrameSchema(columns, strict=True)


def _failures(typed: pl.DataFrame, checks: pa.DataFrameSchema) -> pl.DataFrame:
    """Return which rows fail in which columns: `@at` UInt32, `column` String."""
    nothing = pl.DataFrame(schema={_AT: pl.UInt32, "column": pl.String})
    if typed.is_empty():
        return nothing
    try:
        checks.validate(typed, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].null_count():
            raise  # a column of a wrong type is a defect, not a row to reject
        return pl.DataFrame(
            {
                _AT: typed[_AT].gather(cases["index"]),
                "column": cases["column"].str.strip_prefix(_UNREAD),
            }
        ).unique(maintain_order=True)
    return nothing


def _reasons(
    failures: pl.DataFrame, fields: pl.DataFrame, source: Source, *, timezone: str
) -> pl.DataFrame:
    """Return the rejected rows of values: a line for each failing field of a row."""
    lines = [REJECTED_SCHEMA.to_frame()]
    for name in dict.fromkeys(failures["column"]):
        at = failures.filter(pl.col("column") == name)[_AT]
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
                    "reason": f"{name}: "
                    + reasons.reason(field, name, source, timezone=timezone),
                    "value": field.cast(pl.String).str.slice(0, _VALUE_LENGTH),
                },
                schema=REJECTED_SCHEMA,
            )
        )
    return pl.concat(lines)


@dataclass(frozen=True, kw_only=True)
class Current:
    """Which rows of several files count, and how many of each file do not."""

    activity: pl.LazyFrame
    rows_current: Mapping[int, int]
    rows_superseded: Mapping[int, int]


def current(activity: pl.LazyFrame) -> Current:
    """Return the activity that counts: each from the newest file that it stands in.

    Looks at the whole activity once (source, activity_id, file_order, row_number); the
    LazyFrame that it returns costs nothing more where no activity stands twice.
    """
    rows = dict(
        activity.group_by("file_order")
        .len()
        .collect()
        .select("file_order", "len")
        .iter_rows()
    )
    superseded = _superseded(activity)
    lost = dict(superseded["file_order"].value_counts().iter_rows())
    kept = activity
    if lost:
        kept = activity.join(
            superseded.lazy(), on=["file_order", "row_number"], how="anti"
        )
    return Current(
        activity=kept,
        rows_current={order: rows[order] - lost.get(order, 0) for order in rows},
        rows_superseded={order: lost.get(order, 0) for order in rows},
    )


def current_activity(activity: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that no newer file of their source has again."""
    return current(activity).activity


def current_counts(activity: pl.LazyFrame) -> tuple[dict[int, int], dict[int, int]]:
    """Return rows current and rows superseded, each by file order."""
    found = current(activity)
    return dict(found.rows_current), dict(found.rows_superseded)


def _superseded(activity: pl.LazyFrame) -> pl.DataFrame:
    """Return `file_order, row_number` of the rows that a newer file has again."""
    nothing = pl.DataFrame(schema={"file_order": pl.Int32, "row_number": pl.Int64})
    orders = activity.select("source", "file_order").unique().collect()
    found = [nothing]
    for (source,), files in orders.group_by("source"):
        if files.height > 1:
            of_source = activity.filter(pl.col("source") == source)
            found.append(_superseded_in(of_source))
    return pl.concat(found)


def _superseded_in(activity: pl.LazyFrame) -> pl.DataFrame:
    """Compare ids by hash first: eight bytes a row instead of the text."""
    hashes = activity.select(hash=pl.col("activity_id").hash()).collect().to_series()
    twice = repeated(hashes)
    candidates = activity.filter(pl.col("activity_id").hash().is_in(twice.implode()))
    newest = pl.col("file_order").max().over("activity_id")
    return (
        candidates.select("activity_id", "file_order", "row_number")
        .filter(pl.col("file_order") < newest)
        .select("file_order", "row_number")
        .collect()
    )


def repeated(hashes: pl.Series) -> pl.Series:
    """Return the values that occur more than once, each once."""
    ordered = hashes.sort()
    return ordered.filter((ordered == ordered.shift(1)).fill_null(value=False)).unique()


class FileCounts(Protocol):
    """What is counted of one accepted file."""

    @property
    def path(self) -> str: ...
    @property
    def rows_read(self) -> int: ...
    @property
    def rows_unmapped(self) -> int: ...
    @property
    def rows_rejected(self) -> int: ...
    @property
    def reasons(self) -> Mapping[str, int]: ...


def quality_faults(files: Sequence[FileCounts], quality: Quality) -> list[Fault]:
    """Return where too much is wrong: of one file, or of all files together."""
    faults = []
    for file in files:
        if quality.min_rows is not None and file.rows_read < quality.min_rows:
            faults.append(
                Fault(
                    code="too_few_rows",
                    message=f"{file.rows_read} rows, and quality.min_rows is "
                    f"{quality.min_rows}: is the file whole?",
                    file=file.path,
                )
            )
        faults += _share_faults([file], quality, of=file.path)
    if len(files) > 1:
        faults += _share_faults(files, quality, of=None)
    return faults


def _share_faults(
    files: Sequence[FileCounts], quality: Quality, *, of: str | None
) -> Iterator[Fault]:
    rows = sum(file.rows_read for file in files)
    place = "" if of else " of all files together"
    for what, key, count, limit in (
        (
            "rejected",
            "max_rejected_share",
            sum(file.rows_rejected for file in files),
            quality.max_rejected_share,
        ),
        (
            "unmapped",
            "max_unmapped_share",
            sum(file.rows_unmapped for file in files),
            quality.max_unmapped_share,
        ),
    ):
        if rows and Decimal(count) / rows > limit:
            most = _commonest(files) if what == "rejected" else ""
            yield Fault(
                code=f"too_many_{what}",
                message=f"{count} of {rows} rows{place} are {what} "
                f"({Decimal(count) / rows:.1%}), and quality.{key} is {limit}{most}",
                file=of,
            )


def _commonest(files: Sequence[FileCounts]) -> str:
    """Return the three commonest reasons with their counts."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file.reasons)
    return ". Most often: " + "; ".join(
        f"{reason} ({count})" for reason, count in counts.most_common(3)
    )
