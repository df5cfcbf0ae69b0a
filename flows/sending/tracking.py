"""A request while it is being sent and settled: what the ledger knows, in memory.

Belongs here: the facts about one request that decide its next step, and the ledger rows
that each step writes. Does not belong here: choosing the step (`flows.sending.settle`)
or taking it (`flows.sending.dispatch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import repeat
from typing import Any, Protocol

from flows.records.ledger import Entry
from transforms.platform.evidence import Found, Sought
from transforms.platform.outcomes import Answer, Decision, Outcome, Result
from transforms.platform.requests import Request
from transforms.statuses import AwardStatus, Proof, RequestStatus

ACTOR = "retrobadge"
# The result of an attempt that was marked ahead, and of which no byte left.
NOT_SENT = "not_sent"
_OPEN = (AwardStatus.UNKNOWN, AwardStatus.PLANNED)
# What an award's event keeps of an outcome, under the same names.
_RECORDED = (
    "reason",
    "proof",
    "earned_badge_id",
    "badge_status",
    "expires_on",
    "error_code",
    "error_message",
)


@dataclass(slots=True)
class OpenAward:
    """An award that has not come to a known end."""

    award_id: str
    customer_id: int
    occurrence: int
    status: AwardStatus


class Unopened(Protocol):
    """The open awards of a request that nobody has looked at: there may be millions."""

    def __len__(self) -> int:
        """Return how many they are."""

    def customers(self) -> list[int]:
        """Return whose they are."""

    def opened(self) -> dict[int, OpenAward]:
        """Return them by customer."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Says that a request goes out; `written` is over when that is durable."""

    attempt_id: str
    made_at: datetime
    written: asyncio.Future[None]


@dataclass(eq=False)
class Family:
    """A request and those that took over from it; it is over when all of them are."""

    live: int = 1


@dataclass
class Tracked:
    """One request on its way.

    `held`: the open awards that it begins with. `first_attempt_at` reaches back to the
    requests that it was made from: an earn made since then may be ours. `refusals`
    holds what a further attempt said of customers whose earlier attempt was ambiguous:
    it counts only once reading back has shown that the earlier attempt did nothing.
    `doubted` holds refusals beside an id made just now: one read is to see whether the
    earn is there all the same.
    """

    request: Request
    held: dict[int, OpenAward] | Unopened
    succession: int = 0
    family: Family = field(default_factory=Family)
    attempts: int = 0
    first_attempt_at: datetime | None = None
    last_ended_at: datetime | None = None
    is_ambiguous: bool = False
    is_burnt: bool = False
    is_foreign: bool = False
    is_too_large: bool = False
    reads_absent: int = 0
    resends: int = 0
    reads_failed: int = 0
    tries: int = 0
    tried_since: datetime | None = None
    was_login_refused: bool = False
    to_send: tuple[int, ...] | None = None
    refusals: dict[int, Outcome] = field(default_factory=dict)
    doubted: dict[int, Outcome] = field(default_factory=dict)
    lists_strangers: bool = False
    ended: list[Outcome] = field(default_factory=list)
    is_canary: bool = False
    is_given_up: bool = False
    is_left: bool = False

    def __post_init__(self) -> None:
        self.is_canary = self.is_canary or self.request.is_canary

    @cached_property
    def awards(self) -> dict[int, OpenAward]:
        """Return its awards that have not come to a known end, by customer."""
        return self.held if isinstance(self.held, dict) else self.held.opened()

    @property
    def size(self) -> int:
        """Return how many these are, without making them."""
        return len(vars(self).get("awards", self.held))

    @property
    def customers(self) -> Iterable[int]:
        """Return whose these are, without making them."""
        held = vars(self).get("awards", self.held)
        return held if isinstance(held, dict) else held.customers()

    @property
    def customer_ids(self) -> list[int]:
        """Return whom the next attempt asks for, in the order of the request."""
        wanted = self.awards if self.to_send is None else set(self.to_send)
        return [
            customer_id
            for customer_id in self.request.customer_ids
            if customer_id in self.awards and customer_id in wanted
        ]

    @property
    def fallback(self) -> AwardStatus:
        """Return where an attempt that surely did nothing leaves the awards."""
        return AwardStatus.UNKNOWN if self.is_ambiguous else AwardStatus.PLANNED

    def sought(self, customer_id: int) -> Sought:
        """Return a customer's award as something that reading back looks for."""
        award = self.awards[customer_id]
        return Sought(
            award_id=award.award_id,
            occurrence=award.occurrence,
            earn_event_date=self.request.earn_event_date,
            since=self.first_attempt_at or self.request.earn_event_date,
        )


@dataclass(frozen=True)
class Rows:
    """Makes the ledger rows of one run."""

    run_id: str

    def marked(
        self, tracked: Tracked, attempt_id: str, customer_ids: list[int], now: datetime
    ) -> Entry:
        """Return the rows that say: this attempt goes out now."""
        request_id = tracked.request.request_id
        entry = Entry().add(
            "attempts",
            attempt_id=attempt_id,
            request_id=request_id,
            run_id=self.run_id,
            started_at=now,
            customers=len(customer_ids),
        )
        self._request(entry, tracked, RequestStatus.SENT, now)
        awards = [tracked.awards[customer_id] for customer_id in customer_ids]
        self._move(entry, tracked, awards, AwardStatus.SENT, now)
        return entry

    def unmarked(
        self, entry: Entry, tracked: Tracked, mark: Mark, now: datetime, reason: str
    ) -> None:
        """Add the rows that say: what was marked did not go out, and stays planned."""
        entry.add(
            "attempt_results",
            attempt_id=mark.attempt_id,
            ended_at=now,
            seconds=0.0,
            result=NOT_SENT,
            customers_listed_well=0,
            customers_listed_failed=0,
            customers_missing=0,
            error_message=reason,
        )
        awards = list(tracked.awards.values())
        self._move(entry, tracked, awards, AwardStatus.PLANNED, now, reason=reason)
        self._request(entry, tracked, RequestStatus.PLANNED, now, reason)

    def answered(
        self, tracked: Tracked, attempt_id: str, answer: Answer, decision: Decision
    ) -> Entry:
        """Return the row of an attempt's end; the outcomes are added to it."""
        well, missing = decision.listed_well, decision.missing
        failed = len(decision.outcomes) - well - missing
        is_clean = decision.result is Result.ANSWERED and not (
            failed or missing or decision.alarms
        )
        alarms = decision.alarms
        if tracked.is_foreign:
            alarms = (*alarms, "809 on the first attempt: somebody else used this id")
        return Entry().add(
            "attempt_results",
            attempt_id=attempt_id,
            ended_at=answer.ended_at,
            seconds=answer.seconds,
            http_status=answer.http_status,
            result=str(answer.failure or decision.result),
            customers_listed_well=well,
            customers_listed_failed=failed,
            customers_missing=missing,
            error_code=decision.error_code,
            error_message=decision.error_message,
            alarms="; ".join(alarms) or None,
            body=None if is_clean else answer.body.decode("utf-8", "replace")[:20_000],
        )

    def outcomes(
        self,
        entry: Entry,
        tracked: Tracked,
        outcomes: Sequence[Outcome],
        now: datetime,
        *,
        reason: str | None = None,
    ) -> None:
        """Add customers' outcomes; a known end takes the award off the request."""
        if not outcomes:
            return
        awards = [tracked.awards[outcome.customer_id] for outcome in outcomes]
        columns = dict(
            zip(Outcome._fields, map(list, zip(*outcomes, strict=True)), strict=True)
        )
        statuses: list[AwardStatus] = columns.pop("status")
        told = {name: columns[name] for name in _RECORDED}
        if reason is not None:
            told["reason"] = [reason] * len(outcomes)
        self._move(entry, tracked, awards, statuses, now, **told)
        for outcome in outcomes:
            if outcome.status not in _OPEN:
                self._ended(tracked, outcome)

    def _ended(self, tracked: Tracked, outcome: Outcome) -> None:
        del tracked.awards[outcome.customer_id]
        tracked.refusals.pop(outcome.customer_id, None)
        tracked.doubted.pop(outcome.customer_id, None)
        if tracked.is_canary:
            tracked.ended.append(outcome)

    def moved(
        self,
        entry: Entry,
        tracked: Tracked,
        status: AwardStatus,
        now: datetime,
        *,
        customer_ids: Iterable[int],
        reason: str | None,
        error_code: int | None = None,
    ) -> None:
        """Add the move of awards that stay on the request."""
        awards = [tracked.awards[customer_id] for customer_id in customer_ids]
        if reason is None:
            awards = [award for award in awards if award.status is not status]
        self._move(
            entry, tracked, awards, status, now, reason=reason, error_code=error_code
        )

    def found(
        self,
        entry: Entry,
        tracked: Tracked,
        customer_id: int,
        found: Found,
        now: datetime,
    ) -> None:
        """Add what reading back proved of one award."""
        outcome = Outcome(
            customer_id=customer_id,
            status=found.status,
            proof=Proof.READ_BACK,
            earned_badge_id=found.earned_badge_id,
        )
        self.outcomes(entry, tracked, [outcome], now, reason="found by reading back")

    def request(
        self,
        entry: Entry,
        tracked: Tracked,
        status: RequestStatus,
        now: datetime,
        reason: str | None = None,
    ) -> None:
        """Add a move of the request itself."""
        self._request(entry, tracked, status, now, reason)

    def replaced(
        self,
        entry: Entry,
        tracked: Tracked,
        children: Iterable[Request],
        now: datetime,
        *,
        status: RequestStatus,
        reason: str,
    ) -> list[Tracked]:
        """Add the requests that take over awards of this one; return them tracked."""
        made = []
        for child in children:
            succession = tracked.succession + (status is RequestStatus.SUCCEEDED)
            add_request(entry, child, self.run_id, now, succession=succession)
            awards = {
                a.customer_id: tracked.awards[a.customer_id] for a in child.awards
            }
            new = Tracked(
                request=child,
                held={c: replace(award) for c, award in awards.items()},
                succession=succession,
                family=tracked.family,
            )
            new.first_attempt_at = tracked.first_attempt_at
            planned, moving = AwardStatus.PLANNED, list(new.awards.values())
            self._move(entry, new, moving, planned, now, reason=reason)
            self._request(entry, new, RequestStatus.PLANNED, now, reason)
            made.append(new)
        for new in made:
            for customer_id in new.awards:
                del tracked.awards[customer_id]
        tracked.family.live += len(made) - 1
        self._request(entry, tracked, status, now, reason)
        return made

    def _request(
        self,
        entry: Entry,
        tracked: Tracked,
        status: RequestStatus,
        now: datetime,
        reason: str | None = None,
    ) -> None:
        entry.add(
            "request_events",
            request_id=tracked.request.request_id,
            changed_at=now,
            status=str(status),
            run_id=self.run_id,
            reason=reason,
        )

    def _move(
        self,
        entry: Entry,
        tracked: Tracked,
        awards: Sequence[OpenAward],
        status: AwardStatus | list[AwardStatus],
        now: datetime,
        **told: Any,
    ) -> None:
        """Add the moves of awards: what is told of them is a list, or true of all."""
        if not awards:
            return
        told = {name: _once(value) for name, value in told.items()}
        entry.add_many(
            "award_events",
            len(awards),
            award_id=[award.award_id for award in awards],
            changed_at=now,
            from_status=_once([award.status for award in awards]),
            to_status=_once(status),
            run_id=self.run_id,
            request_id=tracked.request.request_id,
            actor=ACTOR,
            **{name: value for name, value in told.items() if value is not None},
        )
        statuses = status if isinstance(status, list) else repeat(status)
        for award, moved_to in zip(awards, statuses, strict=False):
            award.status = moved_to


def _once(column: Any) -> Any:
    """Return the one value of a column that has the same in every row, else it."""
    if not isinstance(column, list):
        return column
    first = column[0]
    return first if column.count(first) == len(column) else column


def add_request(
    entry: Entry, request: Request, run_id: str, now: datetime, *, succession: int = 0
) -> None:
    """Add the rows of a request itself: all that sending it will ever need."""
    entry.add(
        "requests",
        request_id=request.request_id,
        run_id=run_id,
        badge=request.badge,
        badge_meta_id=request.badge_meta_id,
        reference_id=request.reference_id,
        owner_type=request.owner_type,
        earn_event_date=request.earn_event_date,
        date_text=request.date_text,
        customers=len(request.awards),
        is_canary=request.is_canary,
        parent_request_id=request.parent_request_id,
        predecessor_request_id=request.predecessor_request_id,
        after_request_id=request.after_request_id,
        succession=succession,
        scheme=request.scheme,
        body_head=request.body_head,
        body_tail=request.body_tail,
        reserved_at=now,
    )
    award_ids, customer_ids, positions = map(list, zip(*request.awards, strict=True))
    entry.add_many(
        "request_awards",
        len(request.awards),
        request_id=request.request_id,
        award_id=award_ids,
        customer_id=customer_ids,
        position=positions,
    )
