"""Accepts a CSV, against Polars alone making the same Parquet of it.

Belongs here: a first time, of clean and of dirty files, and a second time, when the
file is known. The baseline knows the types of all columns, checks nothing and sets
nothing aside: what it can't read becomes null, and nobody hears of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

BADGE = "653de334b3cda7078c7c68eb"


def ours(folder: Path, name: str) -> int:
    """Accept a CSV into a new home; return how many rows were accepted."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        return _accepted(folder, name, Path(home))


def baseline(folder: Path, name: str) -> None:
    """Convert the same CSV to the same columns as Parquet with Polars alone."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        pl.scan_csv(
            folder / name,
            schema={
                "who": pl.Int64,
                "bill": pl.String,
                "at": pl.String,
                "paid": pl.Float64,
                "store": pl.String,
                "kind": pl.String,
            },
            ignore_errors=True,
            row_index_name="row_number",
        ).select(
            customer_id="who",
            activity_id="bill",
            occurred_at=pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ"),
            amount=(pl.col("paid") * 100).round().cast(pl.Int64),
            row_number=pl.col("row_number").cast(pl.Int64) + 2,
            store="store",
            type="kind",
        ).sink_parquet(Path(home) / "out.parquet", compression_level=1)


def first(folder: Path, name: str) -> int:
    """Accept a CSV into a home that stays."""
    return _accepted(folder, name, folder / "home")


def again(folder: Path, name: str) -> int:
    """Accept a CSV that the home knows already."""
    return _accepted(folder, name, folder / "home")


def _accepted(folder: Path, name: str, home: Path) -> int:
    from flows.files.activity_files import accept_file  # noqa: PLC0415
    from flows.files.finding import find_files  # noqa: PLC0415

    definition = _definition(folder, name)
    (found,) = find_files(definition)
    return accept_file(found, definition, home).rows_accepted


def _definition(folder: Path, name: str) -> Any:
    from transforms.definition.definition import parse_definition  # noqa: PLC0415

    return parse_definition(
        f"""
name = "bench"
timezone = "UTC"
[activity]
files = ["{name}"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid", store = "store", type = "kind" }}
[badges.one]
badge_meta_id = "{BADGE}"
reference_id = "r"
rule = {{ kind = "activity_count", at_least = 1 }}
""",
        path=str(folder / "bench.toml"),
    )
