"""Compares the audit with the platform: the command `reconcile`.

Belongs here: reading customers back or an export, and recording what was found. Does
not belong here: what a finding is (`transforms.platform.reconciliation`), and settling
anything: no status changes, whatever is found.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from flows.commands.chosen import latest_other
from flows.files.earn_export import EarnExport, earn_export
from flows.pipeline import Work
from flows.platform.capillary import utc_now
from flows.platform.reading import read_customer
from flows.runs.report import Report
from flows.runs.run import Run, open_run
from flows.sending.sending import interrupts, publish_meanwhile
from transforms.platform.evidence import Reading
from transforms.platform.reconciliation import (
    FOUND,
    OURS,
    PRESENT,
    THEIRS,
    Finding,
    reconciled,
)
from transforms.reports.plan_summary import spread_customers

# So many customers are read before what was found is written down.
_A_GROUP = 200


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is compared: of one run or of all, some customers or all of them.

    `export` is read instead of the platform; `columns` and `timezone` are about it.
    """

    run: str | None = None
    sample: int | None = None
    export: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None


async def reconcile_badges(work: Work, wanted: Wanted) -> Report:
    """Compare; the report's exit status is 3 where anything differs."""
    with open_run(
        work.job, work.settings, work.home, None, kind="reconcile", screen=work.screen
    ) as run:
        run.bind()
        ours = _ours(run, wanted)
        tally = _Tally(run, "read_back" if wanted.export is None else "export")
        run.left_undone = 0
        if wanted.export is not None:
            await work.steps("read export", _by_export, run, wanted, ours, tally)
        else:
            await work.steps("read customers back", _by_reading, run, ours, tally)
    return run.report


def _ours(run: Run, wanted: Wanted) -> pl.DataFrame:
    """Return every award of the customers and badges that are compared."""
    run_id = None if wanted.run is None else latest_other(run, wanted.run)
    ours = run.ledger.read("reconcile_awards", run_id=run_id)
    if wanted.sample is None:
        return ours
    is_present = pl.col("status").is_in(PRESENT)
    chosen = spread_customers(ours.filter(is_present), wanted.sample)
    return ours.filter(pl.col("customer_id").is_in(chosen.implode()))


class _Tally:
    """Writes findings down as they come, and keeps the report's counts up to date."""

    def __init__(self, run: Run, way: str) -> None:
        self.run, self.way = run, way
        self.counts: Counter[str] = Counter()

    def record(self, found: pl.DataFrame, **told: Any) -> None:
        """Append findings to the ledger, in a transaction of their own."""
        rows = found.with_columns(
            run_id=pl.lit(self.run.run_id),
            way=pl.lit(self.way),
            reconciled_at=pl.lit(utc_now()),
        )
        self.run.ledger.append({"reconciliations": rows})
        self.counts.update(dict(found["finding"].value_counts().iter_rows()))
        different = sum(self.counts[f] for f in Finding if f.is_difference)
        counts = {str(finding): self.counts[finding] for finding in Finding}
        self.run.told |= {"way": self.way, **counts, **told}
        self.run.left_undone = different
        self.run.message = ", ".join(f"{n:,} {f}" for f, n in counts.items() if n)


# -- by the export -----------------------------------------------------------------


def _by_export(run: Run, wanted: Wanted, ours: pl.DataFrame, tally: _Tally) -> None:
    """Compare with an export; customers outside of a run or sample are left out."""
    if wanted.export is None:
        return
    run.screen.stage("reading the export", None)
    export = earn_export(
        wanted.export,
        columns=wanted.columns,
        timezone=wanted.timezone,
        badge_names=dict(ours.select("badge_meta_id", "badge_name").iter_rows()),
        reference_ids=set(ours["reference_id"]),
    )
    earns = export.earns
    if wanted.run is not None or wanted.sample is not None:
        some = ours["customer_id"].unique().implode()
        earns = earns.filter(pl.col("customer_id").is_in(some))
    found = _with_too_new(reconciled(ours.select(OURS.names()), earns), ours, export)
    tally.record(
        found,
        columns=dict(export.columns),
        export_rows_of_others=export.others,
        export_rows_revoked=export.revoked,
    )


def _with_too_new(
    found: pl.DataFrame, ours: pl.DataFrame, export: EarnExport
) -> pl.DataFrame:
    """Mark what was settled after the newest earn in the export was made."""
    if export.newest is None:
        return found
    young = ours.filter(pl.col("settled_at") > export.newest)["award_id"].implode()
    is_too_new = (pl.col("finding") == str(Finding.OURS_ONLY)) & pl.col(
        "award_id"
    ).is_in(young)
    return found.with_columns(
        finding=pl.when(is_too_new)
        .then(pl.lit(str(Finding.TOO_NEW)))
        .otherwise(pl.col("finding")),
        note=pl.when(is_too_new)
        .then(pl.lit("settled after the newest earn in the export was made"))
        .otherwise(pl.col("note")),
    )


# -- by reading back ---------------------------------------------------------------


async def _by_reading(run: Run, ours: pl.DataFrame, tally: _Tally) -> None:
    """Read every customer and badge back, paced; what was found is kept as it comes."""
    readers = _Readers(run, ours)
    run.screen.stage("reading customers back", len(readers.left))
    tally.record(pl.DataFrame(schema=FOUND))
    is_over = asyncio.Event()
    publishing = asyncio.create_task(publish_meanwhile(run, is_over))
    try:
        with interrupts(readers):
            await readers.run_all(tally)
    finally:
        is_over.set()
        await publishing


class _Readers:
    """Several lines that read customers back, until none is left or they are told."""

    def __init__(self, run: Run, ours: pl.DataFrame) -> None:
        self._run = run
        self._ours = ours.select(OURS.names())
        keys = ours.select("badge_meta_id", "customer_id").unique(maintain_order=True)
        self.left = deque(keys.rows())
        self._read: dict[tuple[str, int], Reading | None] = {}
        self._done = 0

    async def stop(self, reason: str) -> None:
        """Read nobody more; what is being read is awaited."""
        self._run.stopped_by = self._run.stopped_by or reason
        self.left.clear()

    async def run_all(self, tally: _Tally) -> None:
        """Read on several lines; write down a group at a time."""
        lines = min(self._run.settings.capillary_max_in_flight, len(self.left))
        await asyncio.gather(*(self._read_on_a_line(tally) for _ in range(lines)))
        await self._keep(tally)

    async def _read_on_a_line(self, tally: _Tally) -> None:
        async with self._run.platform.line() as line:
            while self.left:
                badge, customer_id = self.left.popleft()
                reading = await read_customer(line, customer_id, badge)
                self._read[badge, customer_id] = reading
                self._done += 1
                self._run.screen.advance(self._done)
                if len(self._read) >= _A_GROUP:
                    await self._keep(tally)

    async def _keep(self, tally: _Tally) -> None:
        readings, self._read = self._read, {}
        if readings:
            found = self._found(readings)
            await asyncio.to_thread(tally.record, found)

    def _found(
        self, readings: Mapping[tuple[str, int], Reading | None]
    ) -> pl.DataFrame:
        keys = pl.DataFrame(
            [(*key, reading is not None) for key, reading in readings.items()],
            schema={
                "badge_meta_id": pl.String,
                "customer_id": pl.Int64,
                "is_read": pl.Boolean,
            },
            orient="row",
        )
        mine = self._ours.join(keys, on=["badge_meta_id", "customer_id"])
        read = mine.filter(pl.col("is_read")).select(OURS.names())
        unread = mine.filter(~pl.col("is_read"), pl.col("status").is_in(PRESENT))
        theirs = [row for key, r in readings.items() if r for row in _rows(key, r)]
        found = reconciled(read, pl.DataFrame(theirs, schema=THEIRS, orient="row"))
        return pl.concat([found, _unread(unread)])


def _rows(key: tuple[str, int], reading: Reading) -> Sequence[tuple[Any, ...]]:
    """Return a reading's earns, and one for each that is counted and not shown."""
    rows = [
        (*key, earn.earn_event_date, None, earn.earned_badge_id, True)
        for earn in reading.earns
    ]
    hidden = (reading.earn_count or 0) - len(rows)
    return [*rows, *[(*key, None, None, None, False)] * max(hidden, 0)]


def _unread(awards: pl.DataFrame) -> pl.DataFrame:
    return awards.with_columns(
        finding=pl.lit(str(Finding.UNREAD)),
        their_earn_event_date=pl.lit(None),
        their_earned_badge_id=pl.lit(None),
        note=pl.lit("the platform did not say what this customer has"),
    ).select(pl.col(name).cast(kind) for name, kind in FOUND.items())
