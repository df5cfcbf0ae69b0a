"""Sends what is reserved, until every award has come to an end or the run must stop.

Belongs here: who sends when, and what follows from each decision (settlement 3). Does
not belong here: what an answer means (`transforms.platform.outcomes`), what reading
back proves (`flows.sending.settle`), and the first award of a badge
(`flows.sending.canary`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from flows.platform.capillary import Halted, Line, Platform, utc_now
from flows.records.ledger import Entry
from flows.sending.agenda import Agenda, Queues, in_turn
from flows.sending.canary import AfterCanary, Canaries
from flows.sending.marks import LONGEST_AHEAD, Marks, is_allowed_ahead
from flows.sending.settle import Settling, Step
from flows.sending.tracking import Mark, Tracked
from transforms.errors import NotRecorded
from transforms.platform.outcomes import Answer, Decision, Outcome, Result, decision
from transforms.platform.requests import body
from transforms.statuses import AwardStatus, RequestStatus

log = logging.getLogger(__name__)

MOST_TRIES = 8
LONGEST_TRYING = timedelta(minutes=15)
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0
# So many calls in a row without a decisive answer stop the run.
BREAKER = 16


@dataclass
class Progress:
    """What a progress bar shows: awards at a known end, and what is waited for."""

    total: int = 0
    done: int = 0
    waiting_until: datetime | None = None


@dataclass
class Dispatch:
    """One run's senders. `doubly_awarded`: badge → customers with several awards."""

    platform: Platform
    settling: Settling
    canaries: Canaries
    senders: int
    doubly_awarded: Mapping[str, frozenset[int]] = field(default_factory=dict)
    on_progress: Callable[[Progress], None] = lambda _: None

    def __post_init__(self) -> None:
        self.agenda = Agenda(utc_now)
        self.progress = Progress()
        self.stopped_badges: dict[str, str] = {}
        self._too_large: dict[str, int] = {}
        self._failures = 0
        self._queues = Queues((), (), {})
        self._is_slow = False
        self._marks = Marks(self.settling.recorder, self.settling.rows)
        self._may_mark_ahead = is_allowed_ahead(
            self.senders, self.platform.settings.capillary_requests_per_minute
        )

    async def run(
        self, planned: Sequence[Tracked], unsettled: Sequence[Tracked] = ()
    ) -> None:
        """Send what is planned and settle what is not settled; return at the end.

        Raises `NotRecorded` when something could not be written down.
        """
        self.progress.total = sum(t.size for t in [*planned, *unsettled])
        for tracked in unsettled:
            due_at = self.settling.rest_until(tracked)
            self.agenda.add(Step(tracked, "read", due_at))
        ordered = in_turn(planned)
        self._queues = Queues(ordered, unsettled, self.doubly_awarded)
        for tracked in self.canaries.first(ordered, unsettled):
            self._queue(tracked)
        if self.canaries.lacks_any:
            async with self.platform.line() as line:
                with contextlib.suppress(Halted):
                    for tracked in await self.canaries.begin(line):
                        self._queue(tracked)
        watcher = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, self.senders)):
                    group.create_task(self._sender())
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await self.settling.recorder.write(Entry())  # and all that was handed over

    async def stop(self, reason: str) -> None:
        """Send nothing more; what is in flight is awaited and recorded."""
        self.platform.halt()
        await self.agenda.stop(reason)

    def _queue(self, tracked: Tracked) -> None:
        if not self._queues.parks(tracked):
            self.agenda.add(Step(tracked, "send"))

    async def _watch(self) -> None:
        while True:
            self.progress.waiting_until = self.agenda.next_due_at
            self.on_progress(self.progress)
            await asyncio.sleep(0.25)

    async def _sender(self) -> None:
        async with self.platform.line() as line:
            following: Step | None = None
            while (step := following or await self.agenda.take()) is not None:
                open_before = len(step.tracked.awards)
                following = None
                try:
                    following = self._ahead(step)
                    await self._take(step, line)
                except Halted:
                    step.tracked.is_left = True
                except NotRecorded:
                    await self.stop("the ledger could not be written")
                finally:
                    self.progress.done += open_before - len(step.tracked.awards)
                    await self.agenda.finished()

    def _ahead(self, step: Step) -> Step | None:
        """Take the sender's next request too, and let it be marked meanwhile.

        Not while reading back, a canary's proof, or a slow platform may keep the sender
        for long: its mark would have to be made anew.
        """
        if not self._may_mark_ahead or self._is_slow:
            return None
        if step.action != "send" or step.tracked.is_canary:
            return None
        following = self.agenda.take_ahead(self._is_simple, others=self.senders)
        if following is not None:
            self._marks.make_ahead(following.tracked)
        return following

    def _is_simple(self, step: Step) -> bool:
        """Tell whether a step is the first attempt of a request like most."""
        tracked = step.tracked
        badge = tracked.request.badge_meta_id
        return not (
            step.action != "send"
            or tracked.attempts
            or tracked.is_canary
            or badge in self.stopped_badges
            or badge in self._too_large
        )

    async def _take(self, step: Step, line: Line) -> None:
        tracked = step.tracked
        if step.action == "send":
            steps = await self._send(tracked, line)
        else:
            steps = await self.settling.read_back(tracked, line)
        for following in steps:
            self.agenda.add(following)
        if not steps:
            await self._is_over(tracked, line)

    async def _is_over(self, tracked: Tracked, line: Line) -> None:
        """Let those go on that waited for this request and all that took over."""
        if tracked.is_left:
            return
        tracked.family.live -= 1
        if tracked.is_given_up:
            self.canaries.keep(tracked)
        if not tracked.family.live:
            for waiting in self._queues.freed(tracked.family):
                self._queue(waiting)
        badge = tracked.request.badge_meta_id
        if tracked.is_canary and badge not in self.stopped_badges:
            self._go_on_after(tracked, await self.canaries.after(tracked, line))

    def _go_on_after(self, canary: Tracked, verdict: AfterCanary) -> None:
        if verdict.stops_because:
            self._stop_badge(canary, verdict.stops_because)
        # First what is open again: others may have to wait for it once more.
        for tracked in verdict.reopened:
            tracked.is_given_up = False
            tracked.family.live += 1
            due_at = self.settling.quiet_until(tracked)
            self.agenda.add(Step(tracked, "read", due_at))
        for tracked in verdict.released:
            self._queue(tracked)

    def _stop_badge(self, tracked: Tracked, reason: str) -> None:
        self.stopped_badges.setdefault(tracked.request.badge_meta_id, reason)

    async def _send(self, tracked: Tracked, line: Line) -> list[Step]:
        badge = tracked.request.badge_meta_id
        if badge in self.stopped_badges:
            return self._unsent(tracked, "its badge was stopped")
        customer_ids = tracked.customer_ids
        too_large = self._too_large.get(badge)
        if too_large and len(customer_ids) >= too_large and not tracked.attempts:
            self._marks.take_back(tracked, "too many customers for one call")
            return await self._split(tracked, Entry())
        marks: list[Mark] = []

        async def mark() -> None:
            if self.agenda.stopped_by is not None:
                raise Halted
            marks.append(await self._marks.make(tracked))

        try:
            answer = await line.earn_bulk(body(tracked.request, customer_ids), mark)
        except Halted:
            return self._unsent(tracked, "the run was stopped")
        attempt_id = marks[0].attempt_id
        self._is_slow = answer.seconds > LONGEST_AHEAD.total_seconds()
        tracked.last_ended_at = answer.ended_at
        decided = decision(
            answer,
            customer_ids,
            badge_meta_id=badge,
            request_id=tracked.request.request_id,
            doubly_awarded=self.doubly_awarded.get(badge, frozenset()),
        )
        if decided.result is not Result.LOGIN_REFUSED:
            tracked.was_login_refused = False
        if decided.result is Result.REPEATED:
            tracked.is_foreign = tracked.attempts == 1
            tracked.is_burnt = not tracked.is_foreign
        _log(tracked, answer, decided)
        entry = self.settling.rows.answered(tracked, attempt_id, answer, decided)
        steps = await self._follow(
            tracked,
            line,
            entry,
            customer_ids=customer_ids,
            answer=answer,
            decided=decided,
        )
        await self._count_failures(answer, decided)
        return steps

    def _left(self, tracked: Tracked) -> list[Step]:
        """Leave a request as it stands: the next run takes it up."""
        tracked.is_left = True
        return []

    def _unsent(self, tracked: Tracked, reason: str) -> list[Step]:
        self._marks.take_back(tracked, reason)
        return self._left(tracked)

    async def _follow(
        self,
        tracked: Tracked,
        line: Line,
        entry: Entry,
        *,
        customer_ids: list[int],
        answer: Answer,
        decided: Decision,
    ) -> list[Step]:
        """Record what was decided and return what comes next."""
        if decided.stops_badge:
            told = f"{decided.error_code}: {decided.error_message}"
            self._stop_badge(tracked, told)
        match decided.result:
            case Result.ANSWERED | Result.REFUSED:
                return await self._answered(tracked, entry, customer_ids, decided)
            case Result.NOT_PROCESSED:
                return await self._again(tracked, line, entry, answer, decided)
            case Result.LOGIN_REFUSED:
                return await self._renewed(tracked, line, entry, answer)
            case Result.TOO_LARGE if not tracked.is_ambiguous or len(customer_ids) == 1:
                return await self._too_big(tracked, entry, customer_ids, decided)
            case Result.TOO_LARGE:
                # An earlier attempt may have succeeded: read back before it is split.
                tracked.is_too_large = True
                return await self._ambiguous(tracked, entry, customer_ids, decided)
            case _:
                return await self._ambiguous(tracked, entry, customer_ids, decided)

    async def _answered(
        self, tracked: Tracked, entry: Entry, customer_ids: list[int], decided: Decision
    ) -> list[Step]:
        rows, now = self.settling.rows, utc_now()
        rows.outcomes(entry, tracked, self._to_be_read(tracked, decided.outcomes), now)
        if not tracked.awards:
            rows.request(entry, tracked, RequestStatus.ANSWERED, now)
            written = self.settling.recorder.hand_over(entry)
            if tracked.is_canary:  # what follows stands on it
                await written
            return []
        tracked.is_ambiguous = True
        tracked.lists_strangers |= decided.lists_strangers and decided.missing > 0
        rows.request(entry, tracked, RequestStatus.UNKNOWN, now)
        await self.settling.recorder.write(entry)
        if not any(customer_id in tracked.awards for customer_id in customer_ids):
            return await self.settling.give_up(tracked, "absence is not proved")
        if set(tracked.awards) == set(tracked.doubted):
            return [Step(tracked, "read", self.settling.shown_at(tracked))]
        return [Step(tracked, "read", self.settling.rest_until(tracked))]

    def _to_be_read(
        self, tracked: Tracked, outcomes: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        """Hold back refusals that reading back may contradict.

        After an ambiguous attempt, which may have succeeded; and beside an id that was
        made just now.
        """
        believed = AwardStatus.ISSUED, AwardStatus.UNKNOWN
        if all(outcome.status in believed for outcome in outcomes):
            return outcomes
        return [
            outcome if outcome.status in believed else self._held_back(tracked, outcome)
            for outcome in outcomes
        ]

    def _held_back(self, tracked: Tracked, outcome: Outcome) -> Outcome:
        if tracked.is_ambiguous:
            tracked.refusals[outcome.customer_id] = outcome
            told = "refused after an ambiguous attempt: to be read back"
        elif outcome.is_doubtful and self.settling.is_doubted(
            tracked.request.badge_meta_id
        ):
            tracked.doubted[outcome.customer_id] = outcome
            told = "refused beside an id that is new: to be read back"
        else:
            return outcome
        return outcome._replace(status=AwardStatus.UNKNOWN, proof=None, reason=told)

    async def _again(
        self,
        tracked: Tracked,
        line: Line,
        entry: Entry,
        answer: Answer,
        decided: Decision,
    ) -> list[Step]:
        """Send the same again later: this attempt surely did nothing."""
        now = utc_now()
        tracked.tries += 1
        tracked.tried_since = tracked.tried_since or answer.started_at
        wait = decided.wait_seconds
        if answer.http_status == 429:
            line.pause(wait if wait is not None else _backoff(tracked.tries))
        due_at = now + timedelta(
            seconds=_backoff(tracked.tries) if wait is None else wait
        )
        await self._fall_back(tracked, entry, decided.error_message)
        if tracked.tries >= MOST_TRIES or due_at > tracked.tried_since + LONGEST_TRYING:
            return self._left(tracked)
        return [Step(tracked, "send", due_at)]

    async def _fall_back(
        self, tracked: Tracked, entry: Entry, reason: str | None
    ) -> None:
        rows, now = self.settling.rows, utc_now()
        rows.moved(
            entry,
            tracked,
            tracked.fallback,
            now,
            customer_ids=tracked.customer_ids,
            reason=reason,
        )
        status = RequestStatus(str(tracked.fallback))
        rows.request(entry, tracked, status, now, reason)
        await self.settling.recorder.write(entry)

    async def _renewed(
        self, tracked: Tracked, line: Line, entry: Entry, answer: Answer
    ) -> list[Step]:
        """Repeat with a new token; a token that is refused twice stops the run."""
        await self._fall_back(tracked, entry, "the login was refused")
        if not self.platform.login.is_oauth or tracked.was_login_refused:
            await self.stop("the platform refuses the login")
            return self._left(tracked)
        tracked.was_login_refused = True
        line.discard_token()
        return [Step(tracked, "send", answer.ended_at)]

    async def _too_big(
        self, tracked: Tracked, entry: Entry, customer_ids: list[int], decided: Decision
    ) -> list[Step]:
        if len(customer_ids) == 1:
            told = f"one customer is still too large: {decided.error_message}"
            blocked = Outcome(
                customer_id=customer_ids[0],
                status=AwardStatus.BLOCKED,
                error_code=decided.error_code,
                error_message=told,
            )
            return await self._answered(
                tracked, entry, customer_ids, replace(decided, outcomes=(blocked,))
            )
        badge = tracked.request.badge_meta_id
        known = self._too_large.get(badge, len(customer_ids))
        self._too_large[badge] = min(known, len(customer_ids))
        return await self._split(tracked, entry)

    async def _split(self, tracked: Tracked, entry: Entry) -> list[Step]:
        """Replace a request by its halves, each with an id of its own."""
        wanted = list(tracked.awards)
        return await self.settling.split(tracked, wanted, entry)

    async def _ambiguous(
        self, tracked: Tracked, entry: Entry, customer_ids: list[int], decided: Decision
    ) -> list[Step]:
        """Let the request rest; then it is settled by reading back."""
        rows, now = self.settling.rows, utc_now()
        tracked.is_ambiguous = True
        rows.moved(
            entry,
            tracked,
            AwardStatus.UNKNOWN,
            now,
            customer_ids=customer_ids,
            reason=decided.error_message or str(decided.result),
            error_code=decided.error_code,
        )
        rows.request(entry, tracked, RequestStatus.UNKNOWN, now, decided.error_message)
        await self.settling.recorder.write(entry)
        if tracked.is_burnt and tracked.reads_absent:
            return [Step(tracked, "read", self.settling.quiet_until(tracked))]
        return [Step(tracked, "read", self.settling.rest_until(tracked))]

    async def _count_failures(self, answer: Answer, decided: Decision) -> None:
        if answer.http_status == 429:
            return  # a limit that is kept is no failure, and has caps of its own
        if decided.result in (Result.AMBIGUOUS, Result.NOT_PROCESSED):
            self._failures += decided.wait_seconds is None
        else:
            self._failures = 0
        if self._failures >= BREAKER:
            told = f"{BREAKER} calls in a row without an answer that decides"
            await self.stop(told)


def _log(tracked: Tracked, answer: Answer, decided: Decision) -> None:
    """Keep one line of every attempt; what wasn't clean is said louder."""
    is_clean = decided.result is Result.ANSWERED and not decided.missing
    log.log(
        logging.INFO if is_clean else logging.WARNING,
        "attempt: %s",
        answer.failure or decided.result,
        extra={
            "request_id": tracked.request.request_id,
            "http_status": answer.http_status,
            "code": decided.error_code,
            "customers_listed_well": decided.listed_well,
            "customers_listed_failed": decided.listed_failed,
            "customers_missing": decided.missing,
            "seconds": answer.seconds,
        },
    )


def _backoff(tries: int) -> float:
    """Return seconds to wait before the next try: doubling, with jitter."""
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (tries - 1))
    jitter: float = random.uniform(0.5, 1.5)  # noqa: S311  not for secrecy
    return longest * jitter
