"""Decides how rejected rows are handed out to be mended, and which of them.

Belongs here: the name of a file of rows to mend, which rejected rows would count if
they were mended, and what a typed value looks like in a CSV. Does not belong here:
reading and writing such files (`flows.plans.mending`), what makes a cell inert
(`spreadsheets`), and why a row was rejected (`activity.rows`).

A file of rows to mend stands right behind its original in the order of files, so that
an activity in it is newer than the original and older than every later file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from transforms.activity import values

# The last columns of such a file; the second one says that it is one.
ORIGINAL_ROW, BECAUSE = "rejected_row", "rejected_because"

_NAME = re.compile(r"(?P<original>.+)\.mended\.(?P<round>[1-9][0-9]{0,3})\.csv")


@dataclass(frozen=True, kw_only=True)
class Mend:
    """What was handed out of one file's rejected rows.

    `file` is relative to the plan's folder, None when nothing was written; `put_at` is
    where it belongs once it is mended, relative to the definition as `path` is;
    `left_out` counts rows by why they are not in it. `note` tells what to do.
    """

    source: str
    path: str
    rows: int
    file: str | None = None
    put_at: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def is_mended(path: str) -> bool:
    """Return whether a file's name is that of mended rows."""
    return _NAME.fullmatch(path) is not None


def next_round(path: str) -> str:
    """Return the path of the file to mend a file's rejected rows in.

    `may.csv` is mended in `may.csv.mended.1.csv`, what is rejected there once more in
    `may.csv.mended.2.csv`: natural order puts each right behind the one before it.
    """
    found = _NAME.fullmatch(path)
    original, number = (found["original"], int(found["round"])) if found else (path, 0)
    return f"{original}.mended.{number + 1}.csv"


def in_vain(
    rows: pl.DataFrame, accepted_here: pl.DataFrame, accepted_later: pl.Series
) -> pl.Series:
    """Return why a rejected row would not count however it is mended; else null.

    `rows` has `activity_id` (null where it can't be read) and `row_number`;
    `accepted_here` has the same of the accepted rows of the file, `accepted_later` the
    ids that newer files of the source have.
    """
    first = accepted_here.group_by("activity_id").agg(first=pl.col("row_number").min())
    return (
        rows.select("activity_id", "row_number")
        .join(first, on="activity_id", how="left", maintain_order="left")
        .select(
            pl.when(pl.col("activity_id").is_in(accepted_later.implode()))
            .then(pl.lit("a newer file has the activity"))
            .when(pl.col("first") < pl.col("row_number"))
            .then(pl.lit("an earlier row of the file has the activity"))
            .alias("why")
        )
        .to_series()
    )


def worded(
    column: pl.Series, kind: str, *, decimals: int, sign: str, style: str, null: str
) -> pl.Series:
    """Return a typed column as the text that a CSV of the same source would have.

    `kind` is `whole`, `integer`, `amount`, `decimal`, `boolean`, `date`, `time` or
    `text`. What is no such thing is written as it is: it was rejected for that.
    """
    plain = column.cast(pl.String, strict=False)
    match kind:
        case "whole" | "integer" if column.dtype.is_float():
            plain = _or_plain(
                values.whole_numbers(column, (), is_signed=True).cast(pl.String), plain
            )
        case "amount" if column.dtype != pl.String:
            plain = _or_plain(_amounts(column, decimals), plain)
            plain = plain.str.replace(".", sign, literal=True)
        case "decimal" if column.dtype != pl.String:
            plain = plain.str.replace(".", sign, literal=True)
        case "time" if column.dtype.is_temporal():
            written = "%+" if style == "iso" and _has_zone(column.dtype) else style
            if style == "iso" and not _has_zone(column.dtype):
                written = "%Y-%m-%d" if column.dtype == pl.Date else "%Y-%m-%d %T%.6f"
            plain = column.dt.to_string(written)
        case _:
            pass
    return plain.fill_null(null)


def _has_zone(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def _amounts(column: pl.Series, decimals: int) -> pl.Series:
    minor = values.minor_units(column, (), decimals=decimals)
    if not decimals:
        return minor.cast(pl.String)
    digits = minor.abs().cast(pl.String).str.zfill(decimals + 1)
    sign = pl.select(pl.when(minor < 0).then(pl.lit("-")).otherwise(pl.lit("")))
    return (
        sign.to_series() + digits.str.head(-decimals) + "." + digits.str.tail(decimals)
    )


def _or_plain(found: pl.Series, plain: pl.Series) -> pl.Series:
    return found.zip_with(found.is_not_null(), plain)
