"""Carries a plan out: reserves it, and lets the senders work until nothing is left.

Belongs here: what stands between a plan and the senders: canaries chosen, requests cut,
verdicts loaded, Ctrl-C and `--stop-at` heard, the audit published meanwhile. Does not
belong here: what a sender does (`flows.sending.dispatch`).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

import duckdb
import polars as pl

from flows.planning import Plan
from flows.platform.capillary import utc_now
from flows.platform.preflight import AwardedBadge, FirstAwards, first_awards
from flows.runs.run import Run
from flows.sending import loading, reserve
from flows.sending.canary import Canaries
from flows.sending.dispatch import Dispatch, Progress
from flows.sending.recorder import Recorder
from flows.sending.settle import Settling, Waits
from flows.sending.tracking import Rows, Tracked
from transforms.awards.batches import cut_requests
from transforms.definition.definition import Badge
from transforms.errors import NotRecorded, StoppedPartWay
from transforms.platform.evidence import Verdict

# A canary is looked for so long at most.
CANARY_SECONDS = 60.0
# Bytes that one reserved award takes in the ledger until it is settled, estimated.
BYTES_AN_AWARD = 1_000


class Stoppable(Protocol):
    """Senders that can be told to send nothing more."""

    async def stop(self, reason: str) -> None:
        """Send nothing more; what is in flight is awaited and recorded."""


async def settle_earlier(run: Run) -> None:
    """Withdraw what was never sent, and settle what no longer has to rest.

    Raises `StoppedPartWay` when it was stopped: nothing new is planned then.
    """
    run.withdrawn = reserve.withdraw_never_sent(run.ledger, run.run_id, utc_now())
    left = loading.unsettled(run.ledger, timeout=run.timeout)
    if not left:
        return
    run.bind()
    async with Recorder(run.ledger) as recorder:
        settling = _settling(run, recorder)
        rested = [t for t in left if settling.rest_until(t) <= utc_now()]
        # Absence can't be proved without a verdict: those come again, for this run's
        # canary may give one.
        run.settled_early = {
            t.request.request_id
            for t in rested
            if not run.settings.capillary_canary
            or settling.proofs.is_shown(t.request.badge_meta_id)
        }
        if rested:
            run.screen.stage("settling earlier requests", None)
            await _sent(run, settling, {}, [], rested)
    if run.stopped_by is not None:
        raise StoppedPartWay.of(
            "stopped",
            f"stopped while settling earlier requests ({run.stopped_by}): nothing new "
            "was planned; run again",
        )


async def choose_canaries(run: Run, plan: Plan) -> dict[str, FirstAwards]:
    """Return the canary of each badge that needs one, by badge name.

    A badge needs one unless an earlier canary's verdict still holds.
    """
    return await canaries_of(run, _by_badge(plan))


async def canaries_of(
    run: Run, awarded: Iterable[tuple[AwardedBadge, pl.DataFrame]]
) -> dict[str, FirstAwards]:
    """Return the canary of each badge that needs one among its awards, by name."""
    chosen: dict[str, FirstAwards] = {}
    verdicts = _verdicts(run)
    now = utc_now()
    async with run.platform.line() as line:
        for badge, awards in awarded:
            verdict = verdicts.get(badge.badge_meta_id)
            needs_canary = run.settings.capillary_canary and not (
                verdict and verdict.holds_at(now)
            )
            is_first = run.is_first(badge.badge_meta_id)
            if not needs_canary and not is_first:
                continue
            run.screen.stage(f"reading customers before {badge.name}", None)
            first = await first_awards(line, badge, awards, is_first=is_first)
            if needs_canary:
                chosen[badge.name] = first
    return chosen


def _by_badge(plan: Plan) -> Iterator[tuple[Badge, pl.DataFrame]]:
    planned = plan.planned
    for badge in plan.definition.badges:
        awards = planned.filter(pl.col("badge") == badge.name)
        if not awards.is_empty():
            yield badge, awards


def reserve_plan(run: Run, plan: Plan, canaries: dict[str, FirstAwards]) -> None:
    """Write awards and requests in one transaction, before anything is sent."""
    refuse_without_room(run, plan.awards.height)
    requests, request_awards = cut_requests(
        plan.planned,
        batch_size=run.settings.capillary_batch_size,
        canaries=[first.canary_award_id for first in canaries.values()],
    )
    run.bind()
    wanted = reserve.Reservation(plan.awards, requests, request_awards)
    reserve.reserve(run.ledger, run.run_id, wanted, utc_now())
    run.is_reserved = True
    run.requests = requests.height
    publish_reserved(run)


def publish_reserved(run: Run) -> None:
    """Publish before anything is sent; failing stops nothing.

    From here on the audit knows of every award that may go out: a ledger rebuilt from
    it (`recover`) never plans one of them anew.
    """
    with contextlib.suppress(OSError, duckdb.Error):
        run.publisher.publish(utc_now())


def refuse_without_room(run: Run, awards: int) -> None:
    """Refuse to reserve what there may be no room to record."""
    needed = 3 * awards * BYTES_AN_AWARD
    free = shutil.disk_usage(run.home.root).free
    if free < needed:
        raise NotRecorded.of(
            "disk_full",
            f"recording {awards:,} awards may need {needed // 10**6:,} MB and "
            f"{free // 10**6:,} MB are free: make room; nothing was sent",
            file=str(run.home.root),
        )


async def send_reserved(
    run: Run, canaries: dict[str, FirstAwards] | None = None
) -> None:
    """Send what is reserved, settle what is not settled, wait for what rests."""
    waiting = loading.planned(run.ledger, timeout=run.timeout)
    left = [
        tracked
        for tracked in loading.unsettled(run.ledger, timeout=run.timeout)
        if tracked.request.request_id not in run.settled_early
    ]
    if not waiting and not left:
        return
    counts = {
        (first.badge_meta_id, first.customer_id): first.count_before
        for first in (canaries or {}).values()
    }
    async with Recorder(run.ledger) as recorder:
        await _sent(run, _settling(run, recorder), counts, waiting, left)


def _settling(run: Run, recorder: Recorder) -> Settling:
    settings = run.settings
    return Settling(
        ledger=run.ledger,
        recorder=recorder,
        rows=Rows(run.run_id),
        waits=Waits(
            resend_after=settings.capillary_resend_after_seconds,
            settle_after=settings.capillary_settle_after_seconds,
        ),
        verdicts=_verdicts(run) if settings.capillary_canary else {},
        may_prove=settings.capillary_canary,
    )


def _verdicts(run: Run) -> dict[str, Verdict]:
    rows = run.ledger.read("newest_verdicts").iter_rows(named=True)
    return {row["badge_meta_id"]: Verdict(**row) for row in rows}


async def _sent(
    run: Run,
    settling: Settling,
    counts_before: dict[tuple[str, int], int],
    waiting: Sequence[Tracked],
    left: Sequence[Tracked],
) -> None:
    """Let the senders work; hear Ctrl-C and the hour to stop; publish meanwhile."""
    canaries = Canaries(
        settling,
        seconds=min(CANARY_SECONDS, settling.waits.resend_after),
        is_on=run.settings.capillary_canary,
        counts_before=counts_before,
    )
    dispatch = Dispatch(
        platform=run.platform,
        settling=settling,
        canaries=canaries,
        senders=run.settings.capillary_max_in_flight,
        doubly_awarded=_several(run),
        on_progress=lambda progress: _shown(run, progress),
    )
    run.screen.stage("sending", sum(t.size for t in [*waiting, *left]))
    is_over = asyncio.Event()
    publishing = asyncio.create_task(publish_meanwhile(run, is_over))
    try:
        with interrupts(dispatch), _stop_at(dispatch, run.job.stop_at):
            if run.job.stop_at is not None and run.job.stop_at <= utc_now():
                await dispatch.stop("--stop-at")  # before the first call, not after it
            await dispatch.run(waiting, left)
    finally:
        is_over.set()
        await publishing
        run.stopped_by = run.stopped_by or dispatch.agenda.stopped_by
        run.stopped_badges |= dispatch.stopped_badges


def _several(run: Run) -> dict[str, frozenset[int]]:
    """Return, per badge, the customers who have more than one live award of it."""
    found: dict[str, set[int]] = defaultdict(set)
    for badge_meta_id, customer_id in run.ledger.read("several_awards").iter_rows():
        found[badge_meta_id].add(customer_id)
    return {badge: frozenset(customers) for badge, customers in found.items()}


def _shown(run: Run, progress: Progress) -> None:
    run.screen.advance(progress.done)
    if progress.waiting_until is not None:
        run.screen.wait(progress.waiting_until)


async def publish_meanwhile(run: Run, is_over: asyncio.Event) -> None:
    """Publish the audit as often as 5 % of the time allows; failing stops nothing."""
    while not is_over.is_set():
        with contextlib.suppress(OSError, duckdb.Error):
            await asyncio.to_thread(run.publisher.publish_if_due, utc_now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await is_over.wait()


@contextlib.contextmanager
def interrupts(senders: Stoppable) -> Iterator[None]:
    """Hear Ctrl-C: once finishes what is in flight, twice stops at once."""
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[Any]] = set()
    sender = asyncio.current_task()

    def interrupted() -> None:
        if pending and sender is not None:
            sender.cancel()
        pending.add(loop.create_task(senders.stop("interrupted")))

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
        loop.add_signal_handler(signal.SIGTERM, interrupted)
    except (RuntimeError, ValueError, NotImplementedError):
        yield  # not the main thread: whoever owns it hears the signal
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


@contextlib.contextmanager
def _stop_at(dispatch: Dispatch, stop_at: datetime | None) -> Iterator[None]:
    """Stop sending at the hour that was asked for."""
    if stop_at is None:
        yield
        return
    wait = (stop_at - utc_now()).total_seconds()
    if wait <= 0:
        dispatch.agenda.stopped_by = "--stop-at"
        yield
        return
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[Any]] = set()
    timer = loop.call_later(
        wait, lambda: pending.add(loop.create_task(dispatch.stop("--stop-at")))
    )
    try:
        yield
    finally:
        timer.cancel()
