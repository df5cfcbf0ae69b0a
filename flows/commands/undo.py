"""The commands `revoke` and `release`: taking badges back, and freeing their awards.

Belongs here: the intent, the senders, and what becomes of each award (settlement 6).
Does not belong here: what an answer decides (`transforms.platform.undo`), and which
awards are meant (`flows.commands.chosen`).

A revocation is written down three times: that it was asked for, for all awards in one
transaction; each call before its first byte leaves; each answer. Killed at any moment,
the same command goes on: an earn that an earlier call may have taken back is taken for
revoked when the platform has none under its id any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from flows.commands.chosen import in_audit, in_ledger, person, wanted
from flows.commands.revoking import Revoking, Undone, maybe_gone
from flows.home import Home
from flows.pipeline import Work
from flows.platform.capillary import utc_now
from flows.runs.job import Job
from flows.runs.report import Report
from flows.runs.run import Run, open_run
from flows.sending.recorder import Recorder
from flows.sending.sending import interrupts, publish_meanwhile, publish_reserved
from flows.settings import Settings
from transforms.awards.batches import minutes_at_limit
from transforms.awards.selection import selected
from transforms.errors import LooksWrong
from transforms.platform.undo import revocable
from transforms.statuses import RELEASED, AwardStatus

_UTC = pl.Datetime("us", "UTC")
_NO_ID = "no earned_badge_id is known, and nothing else names an earn"


@dataclass(frozen=True)
class Preview:
    """What a command would take, as the audit knows it.

    `badges`: badge → awards. `others`: status → awards of the run that stay untouched.
    """

    run_id: str
    awards: int
    calls: int
    minutes: float
    without_id: int
    badges: Mapping[str, int]
    others: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "of_run": self.run_id,
            "status": "preview",
            "awards": self.awards,
            "calls": self.calls,
            "minutes": round(self.minutes, 1),
            "without_id": self.without_id,
            "badges": dict(self.badges),
            "others": dict(self.others),
            "errors": [],
        }


def preview(
    home: Home, settings: Settings, job: Job, asked: str, *, taken: AwardStatus
) -> Preview:
    """Return what `revoke` (taken: issued) or `release` (taken: revoked) would take."""
    found = in_audit(home, asked)
    chosen = selected(
        found.awards, wanted(job, statuses=(str(taken),)), run_id=found.run_id
    )
    others = found.awards.join(chosen, on="award_id", how="anti")
    is_revoked = taken is AwardStatus.ISSUED
    able, unable = revocable(chosen) if is_revoked else (chosen, chosen.clear())
    calls = able.height if is_revoked else 0
    return Preview(
        run_id=found.run_id,
        awards=chosen.height,
        calls=calls,
        minutes=minutes_at_limit(calls, settings.capillary_requests_per_minute),
        without_id=unable.height,
        badges=dict(sorted(chosen["badge"].value_counts().iter_rows())),
        others=dict(sorted(others["status"].value_counts().iter_rows())),
    )


def release_awards(work: Work, asked: str) -> Report:
    """Free a run's revoked awards: the next plan may make them again, as new awards."""
    with open_run(
        work.job, work.settings, work.home, None, kind="release", screen=work.screen
    ) as run:
        run.bind()
        found = in_ledger(run, asked)
        chosen = selected(
            found.awards,
            wanted(work.job, statuses=(str(AwardStatus.REVOKED),)),
            run_id=found.run_id,
        )
        _note(run, chosen, RELEASED, "may be planned again")
        run.told = {"of_run": found.run_id, "released": chosen.height}
        run.left_undone = 0
        run.message = f"of run {found.run_id}: released {chosen.height}"
    return run.report


async def revoke_awards(work: Work, asked: str) -> Report:
    """Take back what a run issued, one call per award; the report has three buckets.

    `revoked`; `kept`, because there is no active earn to take back or none that could
    be named; `failed`, for the next try: refused, or without an answer that decides.
    """
    with open_run(
        work.job, work.settings, work.home, None, kind="revoke", screen=work.screen
    ) as run:
        run.bind()
        found = in_ledger(run, asked)
        chosen = selected(
            found.awards,
            wanted(work.job, statuses=(str(AwardStatus.ISSUED),)),
            run_id=found.run_id,
        )
        able, unable = revocable(chosen)
        told = f"revocation asked for; kept: {_NO_ID}"
        _note(run, unable, AwardStatus.ISSUED, told)
        undone = Undone(kept=Counter({_NO_ID: unable.height} if unable.height else {}))
        run.told = {"of_run": found.run_id, **undone.as_json()}
        if not able.is_empty():
            _note(run, able, AwardStatus.ISSUED, "revocation asked for")
            publish_reserved(run)
            try:
                await work.steps("revoke", _revoke, run, able, undone)
            finally:
                _tell(run, found.run_id, undone)
            _check(run, able, undone)
        _tell(run, found.run_id, undone)
    return run.report


def _note(run: Run, awards: pl.DataFrame, to_status: str, reason: str) -> None:
    """Write one event for each award, under the name of who asked for it."""
    if awards.is_empty():
        return
    events = awards.select(
        "award_id",
        changed_at=pl.lit(utc_now(), dtype=_UTC),
        from_status="status",
        to_status=pl.lit(str(to_status)),
        run_id=pl.lit(run.run_id),
        actor=pl.lit(person()),
        reason=pl.lit(reason),
    )
    run.ledger.append({"award_events": events})


def _tell(run: Run, of_run: str, undone: Undone) -> None:
    told = undone.as_json()
    run.told = {"of_run": of_run, **told}
    run.left_undone = told["kept"] + told["failed"]
    counts = ", ".join(f"{n} {told[n]}" for n in ("revoked", "kept", "failed", "left"))
    run.message = f"of run {of_run}: {counts}"


def _check(run: Run, able: pl.DataFrame, undone: Undone) -> None:
    """Compare the senders' count with the ledger's own."""
    rows = run.ledger.read_with("status_counts_of", able.select("award_id"))
    there = dict(rows.iter_rows()).get(str(AwardStatus.REVOKED), 0)
    if there != undone.revoked:
        raise LooksWrong.of(
            "books_revoked",
            f"{undone.revoked} awards were taken back and the ledger has {there} of "
            "them as revoked: this is a defect; compare with `reconcile`",
        )


async def _revoke(run: Run, able: pl.DataFrame, undone: Undone) -> None:
    """Let the senders work; hear Ctrl-C; publish meanwhile."""
    run.screen.stage("revoking", able.height)
    is_over = asyncio.Event()
    publishing = asyncio.create_task(publish_meanwhile(run, is_over))
    async with Recorder(run.ledger) as recorder:
        senders = Revoking(
            platform=run.platform,
            recorder=recorder,
            run_id=run.run_id,
            waiting=deque(able.iter_rows(named=True)),
            maybe_gone=maybe_gone(run.ledger, able),
            undone=undone,
            on_progress=run.screen.advance,
        )
        try:
            with interrupts(senders):
                await senders.run(run.settings.capillary_max_in_flight)
        finally:
            is_over.set()
            await publishing
            undone.left = len(senders.waiting)
            run.stopped_by = run.stopped_by or senders.stopped_by
    if recorder.failure is not None:
        raise recorder.failure
