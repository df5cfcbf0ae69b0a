"""Makes activity of any size from a seed: the same rows on every machine."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

START = datetime(2017, 1, 1, tzinfo=UTC)
DAYS = 365


def accepted(rows: int, *, customers: int, seed: int = 1) -> pl.DataFrame:
    """Return accepted activity as the pipeline loads it, in order of time."""
    number = pl.int_range(rows, eager=True)
    mixed = ((number.cast(pl.UInt64) + seed) * 2_654_435_761) % (1 << 32)
    step = DAYS * 86_400_000_000 // max(rows, 1)
    return pl.DataFrame(
        {
            "customer_id": (mixed % customers).cast(pl.Int64) + 1,
            "activity_id": number.cast(pl.String),
            "occurred_at": pl.Series(
                pl.select(
                    pl.lit(START).dt.replace_time_zone(None)
                    + pl.duration(microseconds=number * step)
                ).to_series()
            ).dt.replace_time_zone("UTC"),
            "amount": (mixed // 7 % 20_000).cast(pl.Int64) + 1,
            "store": (number // 7 % 400).cast(pl.String),
            "type": (mixed // 13 % 10 < 9).replace_strict(
                {True: "REGULAR", False: "RETURN"}, return_dtype=pl.String
            ),
            "row_number": number + 2,
            "source": pl.repeat("activity", rows, eager=True),
            "file_order": pl.repeat(0, rows, dtype=pl.Int32, eager=True),
        }
    )


def csv_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same activity as a brand's file would hold it."""
    return frame.select(
        who="customer_id",
        bill="activity_id",
        at=pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        paid=(pl.col("amount") / 100).round(2),
        store="store",
        kind="type",
    )
