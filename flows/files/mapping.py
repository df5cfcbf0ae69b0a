"""Puts customers' ids into accepted activity, by what the customer files say now.

Belongs here: the mapped rows of a file, their counts, and keeping them. Does not belong
here: whose an identifier is (`transforms.customers`), and reading activity files
(`activity_files`).

What a file says and whose its rows are change at different times. So the accepted rows
of a file hold the identifiers that stand in it, kept by the file's fingerprint, and the
mapped rows are kept beside them under that fingerprint and the digest of the customer
files. Another customer file makes other mapped rows, without reading activity anew.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import orjson
import polars as pl

from flows.files.accepting import Drafts, drafts_in, sink
from flows.files.activity_files import AcceptedFile
from flows.files.customer_files import CustomerFiles
from transforms.activity.accepted import REJECTED_SCHEMA
from transforms.customers.mapping import Fate, fates_of
from transforms.definition.definition import Customers, Definition

# Mapped rows that nobody has taken for so long are made anew when they are wanted.
KEPT_SECONDS = 2 * 86_400.0
_DIGITS = 16
_VALUE_LENGTH = 200
_ID = "source_customer_id"


def mapped_file(
    file: AcceptedFile, definition: Definition, files: CustomerFiles, home: Path
) -> AcceptedFile:
    """Return the same file with its rows mapped: customer_id Int64 beside the others.

    Rows whose customer is unknown, suppressed or not clear are counted as unmapped,
    excluded and rejected. They stay in the file without a customer, for what they are
    of is no longer what an older file says of it.
    """
    name = f"{file.fingerprint}.{files.digest[:_DIGITS]}"
    kept = _kept(file, name, definition, home)
    if kept is not None:
        return kept
    with drafts_in(home) as drafts:
        record = _write(file, definition, files, drafts)
        drafts.record.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))
        drafts.publish(name)
    _forget_older(file, name, home)
    fresh = _kept(file, name, definition, home)
    if fresh is None:
        raise AssertionError("mapped rows are not where they were just put")
    return fresh


def _write(
    file: AcceptedFile, definition: Definition, files: CustomerFiles, drafts: Drafts
) -> dict[str, int]:
    """Write mapped and rejected rows; return the counts, each taken at its own wall."""
    known, customers = files.known, definition.customers
    if customers is None:
        raise AssertionError("there is nothing to map by")
    rows = pl.scan_parquet(file.accepted_path, glob=False)
    named = rows.group_by(_ID).len().collect()
    fates = fates_of(named[_ID], known, customers)
    fates = fates.join(named, on=_ID, validate="1:1")
    owners = fates.filter(pl.col("fate") == Fate.MAPPED).select(_ID, "customer_id")
    # Few owners first, so that the many rows are joined once.
    owners = owners.join(known.attributes, on="customer_id", how="left")
    mapped = rows.join(owners.lazy(), on=_ID, how="left", maintain_order="left")
    sink(mapped, drafts.accepted)
    several = fates.filter(pl.col("fate") == Fate.SEVERAL)[_ID]
    lines = _lines(rows, several, _column(file, definition), customers)
    rejected = pl.read_parquet(file.rejected_path, glob=False)
    together = pl.concat([rejected, lines]).sort("row_number", maintain_order=True)
    sink(together.lazy(), drafts.rejected)
    written = pl.scan_parquet(drafts.accepted, glob=False)
    accepted = written.select(pl.col("customer_id").count()).collect()
    lengths = dict(fates.group_by("fate").agg(pl.col("len").sum()).iter_rows())
    return {
        "rows_accepted": int(accepted.item()),
        "rows_unmapped": lengths.get(Fate.UNMAPPED, 0),
        "rows_excluded": lengths.get(Fate.EXCLUDED, 0),
        "rows_several": lines.height,
    }


def _lines(
    rows: pl.LazyFrame, several: pl.Series, column: str, customers: Customers
) -> pl.DataFrame:
    """Return the rejected rows: those whose identifier stands for several customers."""
    if several.is_empty():
        return REJECTED_SCHEMA.to_frame()
    found = rows.filter(pl.col(_ID).is_in(several.implode()))
    return found.select(
        "row_number",
        column_name=pl.lit(column),
        reason=pl.lit(_reason(customers)),
        value=pl.col(_ID).str.slice(0, _VALUE_LENGTH),
    ).collect()


def _reason(customers: Customers) -> str:
    return f"customer_id: {customers.identifier} of several customers"


def _column(file: AcceptedFile, definition: Definition) -> str:
    """Return the column of the file that names the customer."""
    source = next(one for one in definition.sources if one.name == file.source)
    return str(source.columns["customer_id"])


def _kept(
    file: AcceptedFile, name: str, definition: Definition, home: Path
) -> AcceptedFile | None:
    """Return the mapped file if it is there, and say that it was taken."""
    accepted = home / f"{name}.parquet"
    rejected = home / f"{name}.rejected.parquet"
    record = home / f"{name}.json"
    if not (accepted.is_file() and rejected.is_file() and record.is_file()):
        return None
    try:
        counts = orjson.loads(record.read_bytes())
        several = counts["rows_several"]
    except (orjson.JSONDecodeError, KeyError):
        return None  # written by another version: it is mapped again
    os.utime(record)  # it was taken
    customers = definition.customers
    reasons = dict(file.reasons)
    if several and customers is not None:
        reasons[_reason(customers)] = several
    return replace(
        file,
        rows_accepted=counts["rows_accepted"],
        rows_unmapped=counts["rows_unmapped"],
        rows_excluded=counts["rows_excluded"],
        rows_rejected=file.rows_rejected + several,
        reasons=reasons,
        accepted_path=accepted,
        rejected_path=rejected,
    )


def _forget_older(file: AcceptedFile, name: str, home: Path) -> None:
    """Remove rows of this file that an older mapping made and nobody takes any more."""
    for record in home.glob(f"{file.fingerprint}.*.json"):
        older = record.name.removesuffix(".json")
        if older == name or time.time() - _taken_at(record) < KEPT_SECONDS:
            continue
        for ending in (".json", ".parquet", ".rejected.parquet"):
            (home / f"{older}{ending}").unlink(missing_ok=True)


def _taken_at(record: Path) -> float:
    try:
        return record.stat().st_mtime
    except FileNotFoundError:  # another process was quicker
        return time.time()
