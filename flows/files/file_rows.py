"""Reads the rows of a file as they stand in it, whatever its format and its place.

Belongs here: which format a name says, and objects fetched for reading. Does not belong
here: the formats (`csv_rows`, `typed_rows`) and what becomes of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl

from flows.files.finding import FoundFile
from flows.files.object_storage import fetched
from transforms.definition.definition import Source
from transforms.errors import FilesRefused

_CSV_ENDINGS = {".csv", ".tsv", ".txt", ".psv", ".dat"}
_JSON_ENDINGS = {".ndjson", ".jsonl"}
_PARQUET_ENDINGS = {".parquet", ".pq"}


@contextmanager
def on_disk(found: FoundFile, folder: Path) -> Iterator[Path]:
    """Give a place where a file can be read; an object is fetched to the folder."""
    if isinstance(found.location, Path):
        yield found.location
        return
    with fetched(found.location, folder) as copy:
        yield copy


def file_rows(
    found: FoundFile, source: Source, location: Path
) -> Iterator[pl.DataFrame]:
    """Return the rows of a file as they stand in it, and `ROW_NUMBER`, in chunks.

    `location` is what `on_disk` gives. Raises FilesRefused for a file that can't be
    read as declared.
    """
    from flows.files.csv_rows import csv_rows  # noqa: PLC0415  heavy
    from flows.files.typed_rows import json_rows, parquet_rows  # noqa: PLC0415

    match file_format(found.path):
        case "csv":
            return csv_rows(location, source, shown=found.path)
        case "json":
            return json_rows(location, source, shown=found.path)
        case "parquet":
            return parquet_rows(location, source, shown=found.path)
    raise FilesRefused.of(
        "unknown_format",
        "the name says no format that can be read: rename it to end in .csv, .tsv, "
        ".parquet, .ndjson or .jsonl (text also with .gz or .zst behind)",
        file=found.path,
    )


def file_format(name: str) -> Literal["csv", "json", "parquet"] | None:
    """Return how a file is written, by the ending of its name."""
    path = Path(name)
    ending = last = path.suffix.lower()
    if last in {".gz", ".zst"}:
        ending = Path(path.stem).suffix.lower()
    if ending in _CSV_ENDINGS:
        return "csv"
    if ending in _JSON_ENDINGS:
        return "json"
    return "parquet" if last in _PARQUET_ENDINGS else None
