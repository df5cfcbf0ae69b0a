"""Qualifies activity in parts that fit into memory.

Belongs here: how many customers are looked at at a time, and where the activity of the
others waits meanwhile. Does not belong here: who met a rule (`transforms.rules`), what
an award is made of (`flows.planning`), and other machines (`flows.qualifying`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from transforms.activity.accepted import IS_LINE, IS_RETURN, amount_decimals
from transforms.definition.definition import Badge, Definition
from transforms.rules.qualifications import (
    qualifications_of_each,
    required_columns,
    values_looked_at,
)

# How many rows take less than 2 GB where rules look at one value; each further one
# adds a third of it.
_ROWS_OF_ONE_VALUE = 25_000_000
# To read everything so often takes less than to write it down in parts.
_MOST_READINGS = 4
_ROWS_A_BATCH = 2_000_000
_PREFIX = ".partitions-"
_FORGOTTEN_SECONDS = 24 * 3600


def qualified(
    activity: pl.LazyFrame,
    badges: Sequence[Badge],
    definition: Definition,
    as_of: datetime,
    *,
    rows: int,
    folder: Path,
    rows_a_partition: int | None = None,
) -> dict[str, pl.DataFrame]:
    """Return who met each badge's rule, in as many partitions as memory asks for.

    `activity` is current, `rows` how much of it there is; the frames, by a badge's
    name, are as of `rules.qualifications`. What is parted lies in `folder` meanwhile.
    """
    needed = _needed(activity, badges)
    partitions = max(1, -(-rows // (rows_a_partition or rows_that_fit(badges))))
    if partitions <= _MOST_READINGS:
        parts = [_part(needed, number, partitions) for number in range(partitions)]
        met = [_qualifications(part, badges, definition, as_of) for part in parts]
    else:
        with _parted(needed, partitions, folder) as parts:
            met = [_qualifications(part, badges, definition, as_of) for part in parts]
    return {
        badge.name: pl.concat(of_badge).sort("customer_id", "occurrence")
        for badge, of_badge in zip(badges, zip(*met, strict=True), strict=True)
    }


def rows_that_fit(badges: Sequence[Badge]) -> int:
    """Return how many rows can be looked at at once: the fewer, the more values."""
    return _ROWS_OF_ONE_VALUE * 3 // (2 + max(1, len(values_looked_at(badges))))


def qualified_part(
    activity: pl.LazyFrame,
    badge: Badge,
    definition: Definition,
    as_of: datetime,
    *,
    number: int,
    partitions: int,
) -> pl.DataFrame:
    """Return who met a badge's rule among the customers of one partition."""
    needed = _part(_needed(activity, [badge]), number, partitions)
    (met,) = _qualifications(needed, [badge], definition, as_of)
    return met


def _needed(activity: pl.LazyFrame, badges: Sequence[Badge]) -> pl.LazyFrame:
    columns = {IS_LINE, IS_RETURN}.union(*map(required_columns, badges))
    present = activity.collect_schema().names()
    return activity.select(name for name in present if name in columns)


def _part(activity: pl.LazyFrame, number: int, partitions: int) -> pl.LazyFrame:
    if partitions == 1:
        return activity
    return activity.filter(_partition(partitions) == number)


def _partition(partitions: int) -> pl.Expr:
    return pl.col("customer_id") % partitions


def _qualifications(
    activity: pl.LazyFrame,
    badges: Sequence[Badge],
    definition: Definition,
    as_of: datetime,
) -> list[pl.DataFrame]:
    return qualifications_of_each(
        activity,
        badges,
        timezone=definition.timezone,
        as_of=as_of,
        amount_decimals=amount_decimals(definition),
    )


@contextmanager
def _parted(
    activity: pl.LazyFrame, partitions: int, folder: Path
) -> Iterator[list[pl.LazyFrame]]:
    """Give the activity of each partition, all of it read once and written once."""
    _remove_forgotten(folder)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as scratch:
        paths: list[list[Path]] = [[] for _ in range(partitions)]
        batches = activity.collect_batches(chunk_size=_ROWS_A_BATCH)
        for count, batch in enumerate(batches):
            for number in range(partitions):
                path = Path(scratch) / f"{number}.{count}.arrow"
                part = batch.filter(_partition(partitions) == number)
                part.write_ipc(path, compression="lz4")
                paths[number].append(path)
        nothing = activity.collect_schema().to_frame().lazy()
        yield [pl.scan_ipc(one) if one else nothing for one in paths]


def _remove_forgotten(folder: Path) -> None:
    """Remove what a killed process left behind; a day later nobody reads it."""
    for left in folder.glob(f"{_PREFIX}*"):
        if time.time() - left.stat().st_mtime > _FORGOTTEN_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
