"""What was awarded before, handed to a plan by parts of the customers.

Belongs here: reading all awards of a badge in one pass, whatever the number of parts,
and where those of the other parts wait. Does not belong here: what is asked of the
ledger or the audit (`flows/records/sql`), and how many parts there are
(`flows.partitions`).

The pass reads piece by piece, so memory is that of a piece and of the part that is
looked at, however much was ever awarded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from flows.partitions import part_of
from flows.records.audit import NOTHING_KNOWN, known_pieces
from flows.records.ledger import Ledger, in_pieces
from flows.scratch import scratch_folder
from transforms.customers.survivors import known_by_survivors

# All awards of a badge_meta_id and series, piece by piece, as NOTHING_KNOWN.
Reading = Callable[[str, str], Iterator[pl.DataFrame]]
# Those of the customers whose id leaves a number, divided by a number of parts.
InParts = Callable[[str, str, int, int], pl.DataFrame]


def of_ledger(ledger: Ledger) -> Reading:
    """Return how a run reads what was awarded."""

    def read(badge_meta_id: str, series: str) -> Iterator[pl.DataFrame]:
        with closing(ledger.cursor()) as cursor:
            values = {"badge_meta_id": badge_meta_id, "series": series}
            yield from in_pieces(cursor, "known_awards", values)

    return read


def of_audit(path: Path) -> Reading:
    """Return how a plan reads it, which leaves the ledger alone."""

    def read(badge_meta_id: str, series: str) -> Iterator[pl.DataFrame]:
        return known_pieces(path, badge_meta_id, series)

    return read


@contextmanager
def known_in_parts(
    read: Reading, survivors: pl.DataFrame | None, folder: Path
) -> Iterator[InParts]:
    """Give what answers with the awards of a badge that some customers have.

    What merged customers were awarded is their survivors', and is found in these's
    part, as `survivors.known_by_survivors` tells it. All are read at the first
    question about a badge; if only a part is asked for, the parts lie in `folder`
    until the block ends.
    """
    written: dict[tuple[str, str], _Written] = {}
    with ExitStack() as stack:

        def known(
            badge_meta_id: str, series: str, number: int, partitions: int
        ) -> pl.DataFrame:
            badge = badge_meta_id, series
            if badge not in written:
                pieces = (known_by_survivors(one, survivors) for one in read(*badge))
                if partitions == 1:
                    return _together(pieces, survivors)
                scratch = stack.enter_context(scratch_folder(folder))
                written[badge] = _written(pieces, partitions, scratch)
            paths = [*written[badge].paths_of(number, partitions)]
            return _together(_read(paths, number, partitions), survivors)

        yield known


@dataclass(frozen=True)
class _Written:
    """The files of each part of the customers."""

    paths: list[list[Path]]

    def paths_of(self, number: int, partitions: int) -> Iterator[Path]:
        """Yield the files in which the customers of a part may be.

        With another number of parts they lie in every part that shares a customer.
        """
        common = math.gcd(partitions, len(self.paths))
        for paths in self.paths[number % common :: common]:
            yield from paths


def _written(
    pieces: Iterator[pl.DataFrame], partitions: int, scratch: Path
) -> _Written:
    paths: list[list[Path]] = [[] for _ in range(partitions)]
    part = pl.col("customer_id") % partitions
    for count, piece in enumerate(pieces):
        by_part = piece.with_columns(part=part).partition_by(
            "part", include_key=False, as_dict=True
        )
        for (number,), rows in by_part.items():
            path = scratch / f"{number}.{count}.arrow"
            rows.write_ipc(path, compression="lz4")
            paths[number].append(path)
    return _Written(paths)


def _read(paths: list[Path], number: int, partitions: int) -> list[pl.DataFrame]:
    if not paths:
        return []
    found = pl.scan_ipc(paths, glob=False, hive_partitioning=False)
    return [part_of(found, number, partitions).collect()]


def _together(
    pieces: Iterable[pl.DataFrame], survivors: pl.DataFrame | None
) -> pl.DataFrame:
    nothing = known_by_survivors(NOTHING_KNOWN.to_frame(), survivors)
    return pl.concat([nothing, *pieces])
