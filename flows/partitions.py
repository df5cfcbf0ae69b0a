"""Qualifies activity in parts that fit into memory.

Belongs here: how many customers are looked at at a time, and where the activity of the
others waits meanwhile. Does not belong here: who met a rule (`transforms.rules`), what
an award is made of (`flows.planning`), and other machines (`flows.qualifying`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import polars as pl

from flows.scratch import scratch_folder
from transforms.activity.accepted import IS_LINE, IS_RETURN, amount_decimals
from transforms.definition.definition import Badge, Definition
from transforms.rules.qualifications import (
    qualifications_of_each,
    required_columns,
    rows_a_hit,
    values_looked_at,
)

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
# How many rows take less than 2 GB where rules look at one value; each further one
# adds a third of it.
_ROWS_OF_ONE_VALUE = 25_000_000
# Rows of instants alone are smaller by so much.
_MOST_TIMES = 4
# To read everything so often takes less than to write it down in parts.
_MOST_READINGS = 4
_ROWS_A_BATCH = 2_000_000
# So many awards of a badge are compared with the ledger at a time: 500 bytes each.
_AWARDS_A_PART = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Met:
    """Who met each badge's rule, of some customers, as of `rules.qualifications`.

    Of those whose id leaves `number`, divided by `partitions`.
    """

    of_badges: Mapping[str, pl.DataFrame]
    number: int = 0
    partitions: int = 1


def qualified(
    activity: pl.LazyFrame,
    badges: Sequence[Badge],
    definition: Definition,
    as_of: datetime,
    *,
    rows: int,
    folder: Path,
    rows_a_partition: int | None = None,
    awards_a_part: int = _AWARDS_A_PART,
) -> Iterator[Met]:
    """Yield who met each badge's rule, in as many parts as memory asks for.

    `activity` is current, `rows` how much of it there is. What is parted lies in
    `folder` until the last part is yielded.
    """
    needed = _needed(activity, badges)
    has_lines = IS_LINE in needed.collect_schema()
    most = rows_a_partition or rows_that_fit(badges, has_lines=has_lines)
    partitions = max(1, -(-rows // most))
    with _parted(needed, partitions, folder) as parts:
        for number, part in enumerate(parts):
            found = _qualifications(part, badges, definition, as_of)
            names = (badge.name for badge in badges)
            met = Met(
                of_badges=dict(zip(names, found, strict=True)),
                number=number,
                partitions=partitions,
            )
            yield from _smaller(met, awards_a_part)


def _smaller(met: Met, most: int) -> Iterator[Met]:
    """Yield the same in parts with at most about so many awards of a badge each.

    Whatever their number, one part of fewer is some parts of more, so that what is
    written down for one number of parts can be read for another.
    """
    largest = max((one.height for one in met.of_badges.values()), default=0)
    times = 1 << (max(1, -(-largest // most)) - 1).bit_length()
    partitions = met.partitions * times
    for number in range(met.number, partitions, met.partitions):
        yield Met(
            of_badges={
                name: one if times == 1 else part_of(one, number, partitions)
                for name, one in met.of_badges.items()
            },
            number=number,
            partitions=partitions,
        )


def together(parts: Iterable[Met]) -> dict[str, pl.DataFrame]:
    """Return who met each badge's rule, of all parts."""
    found: dict[str, list[pl.DataFrame]] = {}
    for part in parts:
        for name, met in part.of_badges.items():
            found.setdefault(name, []).append(met)
    return {
        name: pl.concat(met).sort("customer_id", "occurrence")
        for name, met in found.items()
    }


def part_of(frame: Frame, number: int, partitions: int) -> Frame:
    """Return the rows of the customers whose id leaves `number` by `partitions`."""
    return frame.filter(pl.col("customer_id") % partitions == number)


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
    needed = part_of(_needed(activity, [badge]), number, partitions)
    (met,) = _qualifications(needed, [badge], definition, as_of)
    return met


def rows_that_fit(badges: Sequence[Badge], *, has_lines: bool = False) -> int:
    """Return how many rows can be looked at at once: the fewer, the more values.

    Of a badge by itself that looks at instants alone rows are small; who met its rule
    must fit as well.
    """
    if len(badges) == 1 and not has_lines:
        times = min(rows_a_hit(badges[0]), _MOST_TIMES)
        if times > 1:
            return _ROWS_OF_ONE_VALUE * times
    return _ROWS_OF_ONE_VALUE * 3 // (2 + max(1, len(values_looked_at(badges))))


def _needed(activity: pl.LazyFrame, badges: Sequence[Badge]) -> pl.LazyFrame:
    columns = {IS_LINE, IS_RETURN}.union(*map(required_columns, badges))
    present = activity.collect_schema().names()
    return activity.select(name for name in present if name in columns)


def _qualifications(
    activity: pl.LazyFrame,
    badges: Sequence[Badge],
    definition: Definition,
    as_of: datetime,
) -> list[pl.DataFrame]:
    # What is counted of a slice keeps one core busy.
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        return qualifications_of_each(
            activity,
            badges,
            timezone=definition.timezone,
            as_of=as_of,
            amount_decimals=amount_decimals(definition),
            over=pool.map,
        )


@contextmanager
def _parted(
    activity: pl.LazyFrame, partitions: int, folder: Path
) -> Iterator[list[pl.LazyFrame]]:
    """Give the activity of each partition: of many, read once and written once."""
    if partitions <= _MOST_READINGS:
        yield [part_of(activity, n, partitions) for n in range(partitions)]
        return
    with scratch_folder(folder) as scratch:
        paths: list[list[Path]] = [[] for _ in range(partitions)]
        batches = activity.collect_batches(chunk_size=_ROWS_A_BATCH)
        for count, batch in enumerate(batches):
            for number in range(partitions):
                path = scratch / f"{number}.{count}.arrow"
                part = part_of(batch, number, partitions)
                part.write_ipc(path, compression="lz4")
                paths[number].append(path)
        nothing = activity.collect_schema().to_frame().lazy()
        yield [pl.scan_ipc(one) if one else nothing for one in paths]
