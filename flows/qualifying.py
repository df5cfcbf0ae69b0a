"""Accepts and qualifies in parts, where several machines do it at once.

Belongs here: the functions that run on a worker, and putting their parts together. Does
not belong here: how a worker is reached (`flows.cluster`), what becomes of a file
(`flows.files.activity_files`), who met a rule (`flows.planning`, `transforms.rules`).

Every function here is given paths and small values and returns the like: what has rows
is a Parquet file in a folder that all machines see.
"""

from __future__ import annotations

import pickle
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import polars as pl

from flows.cluster import Each, Told
from flows.files.accepted_activity import load_activity
from flows.files.activity_files import AcceptedFile, accept_file
from flows.files.counting import counting_activity
from flows.files.finding import FoundFile
from flows.partitions import Met, qualified_part
from flows.planning import Qualified
from transforms.customers.identified import proving
from transforms.definition.definition import Definition
from transforms.errors import FilesRefused

# Few enough that several machines have something to do.
ROWS_A_PARTITION = 10_000_000


def accept_there(
    found: FoundFile, definition: Definition, home_accepted: Path
) -> AcceptedFile:
    """Accept a file on a worker, which must see it; see `accept_file`."""
    if isinstance(found.location, Path) and found.kept_fingerprint is None:
        _refuse_unseen({found.path: found.location})
    return accept_file(found, definition, home_accepted)


def refuse_unshared(files: Sequence[AcceptedFile]) -> None:
    """Refuse accepted rows that this machine doesn't see, wherever they were written.

    Workers that join late were never looked at.
    """
    _refuse_unseen({str(file.accepted_path): file.accepted_path for file in files})


def _refuse_unseen(places: Mapping[str, Path]) -> None:
    for shown, path in places.items():
        if not path.is_file():
            raise FilesRefused.of(
                "not_shared",
                f"{socket.gethostname()} doesn't see it: all machines of the cluster "
                "must have it under the same path (or, what is activity, in object "
                "storage)",
                file=shown,
            )


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many rows of each file count, and where the activity is that does.

    `path` is None where all accepted rows count.
    """

    rows_current: dict[int, int]
    rows_superseded: dict[int, int]
    path: Path | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One task: a badge, by its place in the definition, and one of the partitions.

    `files` is where the list of them is, `activity` what `Counted.path` is.
    """

    files: Path
    definition: Definition
    as_of: datetime
    badge: int
    number: int
    partitions: int
    activity: Path | None
    output: Path

    @property
    def proofs(self) -> Path:
        """Return where the rows that prove it are written."""
        return self.output.with_suffix(".proofs")


async def qualified_on(
    each: Each,
    files: Sequence[AcceptedFile],
    definition: Definition,
    as_of: datetime,
    *,
    folder: Path,
    told: Told,
    rows_a_partition: int = ROWS_A_PARTITION,
) -> Qualified:
    """Return who met each badge's rule: a task for each badge and partition.

    `told` hears of as many badges as there are partitions for.
    """
    scratch = folder / f".qualified.{uuid4().hex}"
    scratch.mkdir(mode=0o700)
    listed = scratch / "files"
    try:
        listed.write_bytes(pickle.dumps(list(files)))
        (counted,) = await each(
            "count activity",
            count,
            [(listed, definition, as_of, scratch / "current.parquet")],
            _nothing,
        )
        rows = sum(counted.rows_current.values())
        partitions = max(1, -(-rows // rows_a_partition))
        badges = definition.badges
        parts = [
            Part(
                files=listed,
                definition=definition,
                as_of=as_of,
                badge=index,
                number=number,
                partitions=partitions,
                activity=counted.path,
                output=scratch / f"{index}.{number}.parquet",
            )
            for index in range(len(badges))
            for number in range(partitions)
        ]
        await each(
            "qualify",
            qualify,
            [(part,) for part in parts],
            lambda done: told(done // partitions),
        )
        met = {
            badge.name: pl.concat(
                pl.read_parquet(part.output, glob=False)
                for part in parts
                if part.badge == index
            ).sort("customer_id", "occurrence")
            for index, badge in enumerate(badges)
        }
        proofs = [
            pl.read_parquet(part.proofs, glob=False)
            for part in parts
            if part.proofs.is_file()
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Qualified(
        parts=[Met(of_badges=met)],
        activity=pl.concat(proofs or [pl.DataFrame()]).lazy(),
        rows_current=counted.rows_current,
        rows_superseded=counted.rows_superseded,
        warnings=counted.warnings,
    )


def _nothing(_done: int) -> None:
    """Hear of one task, and have nothing to show for it."""


def count(listed: Path, definition: Definition, as_of: datetime, path: Path) -> Counted:
    """Find, on a worker, the activity that counts; write it down where not all does."""
    counting = counting_activity(_files(listed), definition, as_of=as_of)
    if not counting.is_as_loaded:
        counting.activity.sink_parquet(path, compression_level=1)
    return Counted(
        rows_current=dict(counting.rows_current),
        rows_superseded=dict(counting.rows_superseded),
        path=None if counting.is_as_loaded else path,
        warnings=counting.warnings,
    )


def _files(listed: Path) -> list[AcceptedFile]:
    """Return the accepted files of the run, all of which this machine must see.

    Thousands of them would be much to send with each task.
    """
    _refuse_unseen({str(listed): listed})
    files: list[AcceptedFile] = pickle.loads(listed.read_bytes())  # noqa: S301 - ours
    refuse_unshared(files)
    return files


def qualify(part: Part) -> None:
    """Write, on a worker, who of one partition met the rule of one badge.

    Where customers are mapped, the rows that prove it are written beside it.
    """
    loaded = (
        load_activity(_files(part.files), part.definition)
        if part.activity is None
        else pl.scan_parquet(part.activity, glob=False)
    )
    met = qualified_part(
        loaded,
        part.definition.badges[part.badge],
        part.definition,
        part.as_of,
        number=part.number,
        partitions=part.partitions,
    )
    met.write_parquet(part.output, compression_level=1)
    if "source_customer_id" in loaded.collect_schema():
        proofs = proving(loaded, met["evidence_activity_id"])
        proofs.sink_parquet(part.proofs, compression_level=1)
