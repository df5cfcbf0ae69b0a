"""Describes accepted activity, and which of it counts.

Belongs here: its columns, which of several files an activity is taken from, and how
much may be wrong with the files. Does not belong here: what becomes of a single row
(`activity.rows`), reading and writing files (`flows.files.activity_files`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

import polars as pl

from transforms.activity.values import INSTANT
from transforms.errors import Fault

if TYPE_CHECKING:
    from transforms.definition.definition import Customers, Definition, Quality, Source


# What a condition may use besides the mapped columns; made when rules are looked at.
BUILT_INS: dict[str, pl.DataType] = {
    "source": pl.String(),
    "occurred_date": pl.Date(),
    "weekday": pl.Int8(),
    "hour": pl.Int8(),
}
RESERVED = frozenset({*BUILT_INS, "file_order", "row_number", "source_customer_id"})
# Marks beside loaded activity, Boolean, there only where some row may have one: a line
# of an activity (`grain = "line_item"`), and a return that found no activity.
IS_LINE, IS_RETURN = "@is_line", "@is_return"
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
_CORE = ("customer_id", "activity_id", "occurred_at", "amount")
CUSTOMER = "customer."
_CUSTOMER_IDS = ("identifier", "customer_id", "survivor_id")


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


def accepted_schema(source: Source, *, is_named: bool = True) -> pl.Schema:
    """Return the columns of accepted activity, in their order.

    Where a mapping still has to say whose a row is (not `is_named`), the file's own
    identifier stands in the place of customer_id: source_customer_id String.
    """
    columns = activity_columns(source)
    further = {name: kind for name, kind in columns.items() if name not in _CORE}
    core = {name: kind for name, kind in columns.items() if name in _CORE}
    if not is_named:
        del core["customer_id"]
        core = {"source_customer_id": pl.String(), **core}
    return pl.Schema({**core, "row_number": pl.Int64(), **further})


def customer_columns(customers: Customers | None) -> dict[str, pl.DataType]:
    """Return the columns of customers that rules may use, with their types.

    Named as in `[customers]`, with `customer.` before: `customer.enrolled_at`.
    """
    if customers is None:
        return {}
    return {
        CUSTOMER + name: kind
        for name, kind in listed_columns(customers).items()
        if name not in _CUSTOMER_IDS
    }


def listed_columns(customers: Customers) -> dict[str, pl.DataType]:
    """Return the columns of a customer file under our names, with their types."""
    own: dict[str, pl.DataType] = {
        "identifier": pl.String(),
        "customer_id": pl.Int64(),
        "survivor_id": pl.Int64(),
        "enrolled_at": INSTANT,
    }
    return {
        name: own.get(name) or _TYPES[customers.types.get(name, "text")]
        for name in customers.columns
    }


def amount_decimals(definition: Definition) -> int:
    """Return the decimals that the amounts of all sources are brought to."""
    with_amount = [s for s in definition.sources if "amount" in s.columns]
    return max((source.amount_decimals for source in with_amount), default=0)


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

    Where customers are mapped, a row without customer_id is nobody's by the newest
    word: it supersedes older ones like any other, and counts for nobody.
    """
    files = _files(activity)
    rows = {order: named for _, order, named in files.iter_rows() if named}
    superseded = _superseded(activity, files)
    lost = dict(superseded["file_order"].value_counts().iter_rows())
    kept = _named(activity)
    if lost:
        kept = kept.join(superseded.lazy(), on=["file_order", "row_number"], how="anti")
    return Current(
        activity=kept,
        rows_current={order: rows[order] - lost.get(order, 0) for order in rows},
        rows_superseded={order: lost.get(order, 0) for order in rows},
    )


def _files(activity: pl.LazyFrame) -> pl.DataFrame:
    """Return source, file_order, and how many of a file's rows have a customer."""
    is_mapped = "source_customer_id" in activity.collect_schema()
    named = pl.col("customer_id").is_not_null().sum() if is_mapped else pl.len()
    return activity.group_by("source", "file_order").agg(named=named).collect()


def _named(activity: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that have a customer; where nothing is mapped, all have one."""
    if "source_customer_id" not in activity.collect_schema():
        return activity
    return activity.filter(pl.col("customer_id").is_not_null())


def current_activity(activity: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that no newer file of their source has again."""
    return current(activity).activity


def current_counts(activity: pl.LazyFrame) -> tuple[dict[int, int], dict[int, int]]:
    """Return rows current and rows superseded, each by file order."""
    found = current(activity)
    return dict(found.rows_current), dict(found.rows_superseded)


def _superseded(activity: pl.LazyFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Return `file_order, row_number` of the rows that a newer file has again."""
    nothing = pl.DataFrame(schema={"file_order": pl.Int32, "row_number": pl.Int64})
    found = [nothing]
    for (source,), of_source in files.group_by("source"):
        if of_source.height > 1:
            found.append(_superseded_in(activity.filter(pl.col("source") == source)))
    return pl.concat(found)


def _superseded_in(activity: pl.LazyFrame) -> pl.DataFrame:
    """Compare ids by hash first: eight bytes a row instead of the text."""
    hashes = activity.select(hash=pl.col("activity_id").hash()).collect().to_series()
    twice = repeated(hashes)
    candidates = activity.filter(pl.col("activity_id").hash().is_in(twice.implode()))
    newest = pl.col("file_order").max().over("activity_id")
    older = candidates.filter(pl.col("file_order") < newest)
    return _named(older).select("file_order", "row_number").collect()


def are_ascending(ids: pl.Series) -> bool:
    """Tell whether each id is longer than the one before it, or as long and greater.

    So are numbers that are counted up: then none comes twice, and nothing needs to be
    sorted to know.
    """
    before, after = ids.head(max(ids.len() - 1, 0)), ids.slice(1)
    short, long = before.str.len_bytes(), after.str.len_bytes()
    return bool(((short < long) | ((short == long) & (before < after))).all())


def repeated(hashes: pl.Series) -> pl.Series:
    """Return the values that occur more than once, each once."""
    ordered = hashes.sort()
    later = ordered.slice(1)
    return later.filter(later == ordered.head(later.len())).unique()


class FileCounts(Protocol):
    """What is counted of one accepted file."""

    @property
    def path(self) -> str:
        """The file, as people know it."""

    @property
    def rows_read(self) -> int:
        """All rows of the file."""

    @property
    def rows_unmapped(self) -> int:
        """Rows of customers that nobody knows."""

    @property
    def rows_rejected(self) -> int:
        """Rows with a fault, however many."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """How often each reason stands in the rejected rows."""


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
