"""Loads what was accepted of all files, and what was rejected.

Belongs here: the rows of many accepted files as one frame. Does not belong here:
accepting them (`activity_files`), and what is asked of them (`flows.planning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import polars as pl

from flows.files.activity_files import AcceptedFile
from transforms.activity.accepted import IS_LINE, REJECTED_SCHEMA, amount_decimals
from transforms.definition.definition import Definition
from transforms.errors import FilesRefused

_PATH = "@path"
_SMALL_FILE = 250_000  # rows


def rejected_rows(files: Iterable[AcceptedFile]) -> pl.DataFrame:
    """Return `path` and the rejected rows of these files, a line per reason."""
    frames = [REJECTED_SCHEMA.to_frame().select(pl.lit("").alias("path"), pl.all())]
    frames += [
        pl.read_parquet(file.rejected_path, glob=False).select(
            pl.lit(file.path).alias("path"), pl.all()
        )
        for file in files
    ]
    return pl.concat(frames)


def load_activity(
    files: Sequence[AcceptedFile], definition: Definition
) -> pl.LazyFrame:
    """Return the accepted rows of all files, with `source` and `file_order` (Int32).

    Columns that a source does not have are null in its rows, and amounts have
    `amount_decimals(definition)` decimals everywhere. Where a source has lines, IS_LINE
    says which rows are. Raises FilesRefused when two files of a source without activity
    ids have the same content, and rows that count.
    """
    _refuse_twice(files, definition)
    decimals = amount_decimals(definition)
    sources = {source.name: source for source in definition.sources}
    frames = []
    has_lines = any(source.grain == "line_item" for source in definition.sources)
    for group in _scanned_together(files):
        source = sources[group[0].source]
        frame = _scan(group)
        if has_lines:
            is_line = pl.lit(source.grain == "line_item")
            frame = frame.with_columns(is_line.alias(IS_LINE))
        scale = 10 ** (decimals - source.amount_decimals)
        if "amount" in source.columns and scale != 1:
            frame = frame.with_columns(pl.col("amount") * scale)
        name = pl.lit(source.name, dtype=pl.String).alias("source")
        frames.append(frame.select(pl.exclude("file_order"), name, "file_order"))
    return pl.concat(frames, how="diagonal")


def _scanned_together(
    files: Sequence[AcceptedFile],
) -> Iterator[Sequence[AcceptedFile]]:
    """Yield the files of each source together where they are small, else one by one.

    A scan of its own costs a file two milliseconds each time that activity is looked
    at; telling which file a row is of costs a scan of many a part of its reading.
    """
    for _, group in groupby(files, key=attrgetter("source")):
        of_source = list(group)
        rows = sum(file.rows_accepted for file in of_source)
        # Equal files have one accepted file between them: its rows are of each.
        are_different = len({file.accepted_path for file in of_source})
        is_small = rows < _SMALL_FILE * len(of_source)
        if is_small and are_different == len(of_source):
            yield of_source
        else:
            yield from ([file] for file in of_source)


def _scan(files: Sequence[AcceptedFile]) -> pl.LazyFrame:
    """Return the accepted rows of files of one source, with `file_order`."""
    if len(files) == 1:
        (file,) = files
        order = pl.lit(file.file_order, dtype=pl.Int32)
        frame = pl.scan_parquet(file.accepted_path, glob=False)
        return frame.with_columns(file_order=order)
    paths = [str(file.accepted_path) for file in files]
    orders = [file.file_order for file in files]
    frame = pl.scan_parquet(paths, glob=False, include_file_paths=_PATH)
    order = pl.col(_PATH).replace_strict(paths, orders, return_dtype=pl.Int32)
    return frame.with_columns(file_order=order).drop(_PATH)


def _refuse_twice(files: Sequence[AcceptedFile], definition: Definition) -> None:
    nameless = {s.name for s in definition.sources if "activity_id" not in s.columns}
    seen: dict[tuple[str, str], str] = {}
    for file in files:
        if file.source in nameless and file.rows_accepted:
            other = seen.setdefault((file.source, file.content), file.path)
            if other != file.path:
                raise FilesRefused.of(
                    "same_file_twice",
                    f"has the same content as {other}, and without an activity_id its "
                    "rows would count twice: remove one, or map activity_id",
                    file=file.path,
                )
