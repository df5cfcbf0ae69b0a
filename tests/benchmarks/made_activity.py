"""Makes activity of any size from a seed: the same rows on every machine.

A few customers come often and most seldom; each has a store that most of the visits go
to; two rows in a hundred are returns, with a negative amount. Rows are in the order of
time, as a till writes them, unless they are asked for shuffled.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
START = datetime(2017, 1, 1, tzinfo=UTC)
DAYS = 365
ROWS_A_CUSTOMER = 50
_STORES = 400
_LONGEST = 2.0**64
_STEPS = ((1 << 30, 0xBF58476D1CE4E5B9), (1 << 27, 0x94D049BB133111EB))


def accepted(rows: int, *, customers: int, seed: int = 1) -> pl.DataFrame:
    """Return accepted activity as the pipeline loads it, in order of time."""
    return _accepted(rows, customers, seed).collect()


def write_accepted(path: Path, rows: int, *, is_shuffled: bool = False) -> None:
    """Write so much accepted activity as Parquet, whatever its size."""
    made = _accepted(rows, max(rows // ROWS_A_CUSTOMER, 1), seed=1)
    if is_shuffled:
        made = made.sort(_mixed(pl.col("row_number"), 9))
    made.sink_parquet(path, compression_level=1, maintain_order=True)


def write_csv(path: Path, accepted_path: Path, *, bad_every: int = 0) -> None:
    """Write the same activity as a brand's file; every so many rows one is bad."""
    rows = csv_of(pl.scan_parquet(accepted_path))
    if bad_every:
        is_bad = pl.int_range(pl.len()) % bad_every == 0
        told = pl.when(is_bad).then(pl.lit("n/a")).otherwise("paid")
        rows = rows.with_columns(paid=told)
    rows.sink_csv(path, maintain_order=True)


def csv_of(frame: Frame) -> Frame:
    """Return the same activity as a brand's file would hold it."""
    amount = pl.col("amount")
    digits = amount.abs().cast(pl.String).str.zfill(3)
    sign = pl.when(amount < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return frame.select(
        who="customer_id",
        bill="activity_id",
        at=pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        paid=pl.concat_str(sign, digits.str.head(-2), pl.lit("."), digits.str.tail(2)),
        store="store",
        kind="type",
    )


def _accepted(rows: int, customers: int, seed: int) -> pl.LazyFrame:
    number = pl.col("number")
    share = _mixed(number, seed).cast(pl.Float64) / _LONGEST
    # The power makes the customers with low places come more often than the others.
    place = (share**1.3 * customers).floor().cast(pl.Int64).clip(0, customers - 1)
    other = _mixed(number, seed + 1)
    at_home = other % 10 < 7
    is_return = _mixed(number, seed + 2) % 50 == 0
    amount = (_mixed(number, seed + 3) % 20_000).cast(pl.Int64) + 1
    step = DAYS * 86_400_000_000 // max(rows, 1)
    begin = int(START.timestamp()) * 1_000_000
    return (
        pl.select(number=pl.int_range(rows, dtype=pl.Int64))
        .lazy()
        .with_columns(customer_id=place * 7_919 % customers + 1)
        .select(
            "customer_id",
            activity_id=number.cast(pl.String),
            occurred_at=(number * step + begin).cast(pl.Datetime("us", "UTC")),
            amount=pl.when(is_return).then(-amount).otherwise(amount),
            store=pl.when(at_home)
            .then(pl.col("customer_id") * 7 % _STORES)
            .otherwise((other // 10 % _STORES).cast(pl.Int64))
            .cast(pl.String),
            type=pl.when(is_return).then(pl.lit("RETURN")).otherwise(pl.lit("REGULAR")),
            row_number=number + 2,
            source=pl.lit("activity"),
            file_order=pl.lit(0, dtype=pl.Int32),
        )
    )


def _mixed(number: pl.Expr, seed: int) -> pl.Expr:
    """Return a number that looks like chance, UInt64 (the finaliser of splitmix64)."""
    found = (number.cast(pl.UInt64) + seed * 1_000_003) * _wide(0x9E3779B97F4A7C15)
    for shift, factor in _STEPS:
        found = (found ^ (found // shift)) * _wide(factor)
    return found ^ (found // (1 << 31))


def _wide(number: int) -> pl.Expr:
    return pl.lit(number, dtype=pl.UInt64)
