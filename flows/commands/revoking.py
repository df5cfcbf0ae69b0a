"""The senders of `revoke`: one revokeEarn per award, until each is decided.

Belongs here: asking, trying again, and recording what goes out and what comes back.
Does not belong here: what an answer decides (`transforms.platform.undo`), and which
awards are taken (`flows.commands.undo`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from flows.platform.capillary import Line, Platform, utc_now
from flows.records.ledger import Entry, Ledger
from flows.sending.recorder import Recorder
from flows.sending.tracking import ACTOR
from transforms.errors import NotRecorded
from transforms.platform.outcomes import Answer
from transforms.platform.undo import (
    DID_NOTHING,
    UndoDecision,
    UndoResult,
    revocation,
    revocation_body,
    revocation_id,
)
from transforms.statuses import AwardStatus

log = logging.getLogger(__name__)

MOST_TRIES = 5
FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 60.0
# So many calls in a row without a decisive answer stop the run.
BREAKER = 16
_NOT_THERE = "the platform has no active earn under this id: expired, or taken back"


@dataclass
class Undone:
    """What has become of the awards so far; why → how many."""

    revoked: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    left: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return what the report tells of them."""
        return {
            "revoked": self.revoked,
            "kept": self.kept.total(),
            "failed": self.failed.total(),
            "left": self.left,
            "kept_because": dict(self.kept),
            "failed_because": dict(self.failed),
        }


def maybe_gone(ledger: Ledger, able: pl.DataFrame) -> set[str]:
    """Return the awards that an earlier call may have taken back."""
    ids = {revocation_id(award_id): award_id for award_id in able["award_id"]}
    wanted_ids = pl.DataFrame({"request_id": list(ids)}, {"request_id": pl.String})
    attempts = ledger.read_with("attempts_of_requests", wanted_ids)
    return {
        ids[row["request_id"]]
        for row in attempts.iter_rows(named=True)
        if row["result"] not in DID_NOTHING
    }


class _Withheld(Exception):
    """The run was stopped while a sender waited for its turn."""


@dataclass
class Revoking:
    """The senders of one revoke run, and the awards that wait for them."""

    platform: Platform
    recorder: Recorder
    run_id: str
    waiting: deque[dict[str, Any]]
    maybe_gone: set[str]
    undone: Undone
    on_progress: Callable[[int], None]
    stopped_by: str | None = None

    def __post_init__(self) -> None:
        self._stopping = asyncio.Event()
        self._failures = 0
        self._done = 0

    async def run(self, senders: int) -> None:
        """Take back all that waits; what was not come to stays in `waiting`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(senders, len(self.waiting)))):
                group.create_task(self._sender())

    async def stop(self, reason: str) -> None:
        """Send nothing more; what is in flight is awaited and recorded."""
        self.stopped_by = self.stopped_by or reason
        self._stopping.set()

    async def _sender(self) -> None:
        async with self.platform.line() as line:
            while self.waiting and self.stopped_by is None:
                award = self.waiting.popleft()
                try:
                    is_over = await self._take(award, line)
                except NotRecorded:
                    await self.stop("the ledger could not be written")
                    is_over = False
                if not is_over:
                    self.waiting.append(award)
                    return
                self._done += 1
                self.on_progress(self._done)

    async def _take(self, award: dict[str, Any], line: Line) -> bool:
        """Ask until it is decided; False if the run was stopped before that."""
        was_login_refused = False
        for tries in range(1, MOST_TRIES + 1):
            try:
                answer, decided = await self._ask(award, line)
            except _Withheld:
                return False
            await self._count_failures(decided)
            if decided.result is UndoResult.LOGIN_REFUSED:
                if was_login_refused or not line.is_oauth:
                    await self.stop("the platform refuses the login")
                    return False
                was_login_refused = True
                line.discard_token()
            elif decided.result not in (UndoResult.NOT_PROCESSED, UndoResult.AMBIGUOUS):
                return True
            elif tries < MOST_TRIES:
                await self._rest(line, answer, decided, tries)
        told = f"not decided after {MOST_TRIES} tries: {decided.error_message}"
        await self._end(award, Entry(), "failed", told, decided)
        return True

    async def _ask(
        self, award: dict[str, Any], line: Line
    ) -> tuple[Answer, UndoDecision]:
        """Make one call; record that it goes out, and what came of it."""
        attempt_id = uuid.uuid4().hex
        body = revocation_body(
            badge_meta_id=award["badge_meta_id"],
            customer_id=award["customer_id"],
            earned_badge_id=award["earned_badge_id"],
        )
        answer = await line.revoke_earn(body, lambda: self._mark(award, attempt_id))
        decided = revocation(answer, earned_badge_id=award["earned_badge_id"])
        _log(answer, decided)
        await self._follow(award, _answered(attempt_id, answer, decided), decided)
        return answer, decided

    async def _mark(self, award: dict[str, Any], attempt_id: str) -> None:
        """Write down that the call goes out, before its first byte leaves."""
        if self.stopped_by is not None:
            raise _Withheld
        entry = Entry().add(
            "attempts",
            attempt_id=attempt_id,
            request_id=revocation_id(award["award_id"]),
            run_id=self.run_id,
            started_at=utc_now(),
            customers=1,
        )
        await self.recorder.write(entry)

    async def _follow(
        self, award: dict[str, Any], entry: Entry, decided: UndoDecision
    ) -> None:
        """Record what was decided of the award, with the answer that decided it."""
        told = f"{decided.error_code}: {decided.error_message}"
        match decided.result:
            case UndoResult.REVOKED:
                await self._end(award, entry, "revoked", "taken back", decided)
            case UndoResult.NONE_ACTIVE if award["award_id"] in self.maybe_gone:
                why = "taken back by an earlier call whose answer was lost"
                await self._end(award, entry, "revoked", why, decided)
            case UndoResult.NONE_ACTIVE:
                await self._end(award, entry, "kept", _NOT_THERE, decided)
            case UndoResult.NOT_REVOKED:
                await self._end(award, entry, "failed", told, decided)
                if decided.error_code == 4000:
                    await self.stop("the login may not revoke badges (4000)")
            case UndoResult.AMBIGUOUS:
                self.maybe_gone.add(award["award_id"])
                await self.recorder.write(entry)
            case _:
                await self.recorder.write(entry)

    async def _end(
        self,
        award: dict[str, Any],
        entry: Entry,
        bucket: Literal["revoked", "kept", "failed"],
        why: str,
        decided: UndoDecision,
    ) -> None:
        """Record the end of an award's revocation, and count it once it is durable."""
        is_revoked = bucket == "revoked"
        status = AwardStatus.REVOKED if is_revoked else AwardStatus.ISSUED
        entry.add(
            "award_events",
            award_id=award["award_id"],
            changed_at=utc_now(),
            from_status=str(AwardStatus.ISSUED),
            to_status=str(status),
            run_id=self.run_id,
            actor=ACTOR,
            reason=why if is_revoked else f"not revoked: {why}",
            error_code=None if is_revoked else decided.error_code,
            error_message=None if is_revoked else decided.error_message,
        )
        await self.recorder.write(entry)
        if is_revoked:
            self.undone.revoked += 1
        else:
            counts = self.undone.kept if bucket == "kept" else self.undone.failed
            counts[why] += 1

    async def _rest(
        self, line: Line, answer: Answer, decided: UndoDecision, tries: int
    ) -> None:
        """Wait before the same call is made again; a 429 holds all senders."""
        wait = decided.wait_seconds
        if wait is None:
            wait = FIRST_BACKOFF_SECONDS * 2 ** (tries - 1)
            wait *= random.uniform(0.5, 1.5)  # noqa: S311  not for secrecy
        if answer.http_status == 429:
            line.pause(wait)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait, LONGEST_BACKOFF_SECONDS)):
                await self._stopping.wait()

    async def _count_failures(self, decided: UndoDecision) -> None:
        if decided.result in (UndoResult.AMBIGUOUS, UndoResult.NOT_PROCESSED):
            self._failures += decided.wait_seconds is None
        else:
            self._failures = 0
        if self._failures >= BREAKER:
            told = f"{BREAKER} calls in a row without an answer that decides"
            await self.stop(told)


def _answered(attempt_id: str, answer: Answer, decided: UndoDecision) -> Entry:
    """Return the row of a call's end. It lists nobody: it is no answer of earnBulk."""
    is_clean = decided.result is UndoResult.REVOKED
    return Entry().add(
        "attempt_results",
        attempt_id=attempt_id,
        ended_at=answer.ended_at,
        seconds=answer.seconds,
        http_status=answer.http_status,
        result=str(answer.failure or decided.result),
        customers_listed_well=0,
        customers_listed_failed=0,
        customers_missing=0,
        error_code=decided.error_code,
        error_message=decided.error_message,
        body=None if is_clean else answer.body.decode("utf-8", "replace")[:20_000],
    )


def _log(answer: Answer, decided: UndoDecision) -> None:
    is_clean = decided.result is UndoResult.REVOKED
    log.log(
        logging.INFO if is_clean else logging.WARNING,
        "revocation: %s",
        answer.failure or decided.result,
        extra={
            "http_status": answer.http_status,
            "code": decided.error_code,
            "seconds": answer.seconds,
        },
    )
