"""The first award of a badge: sent alone, read back, and only then the others.

Belongs here: choosing the canary, the verdict on reading back that it gives, and which
requests wait for it (settlement 2). Does not belong here: sending, and the use of the
verdict (`flows.sending.settle`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.platform.capillary import Line, utc_now
from flows.platform.reading import read_customer
from flows.records.ledger import Entry
from flows.sending.settle import Settling
from flows.sending.tracking import Family, Tracked
from transforms.platform.evidence import Reading, Verdict
from transforms.platform.outcomes import Outcome
from transforms.platform.requests import split_off
from transforms.statuses import AwardStatus, RequestStatus

MOST_CANARIES = 3


@dataclass
class AfterCanary:
    """What a canary's end lets happen.

    Requests are `released`; those given up before there was a verdict are `reopened`,
    for their absence can be proved now; or the badge is stopped.
    """

    released: Sequence[Tracked] = ()
    reopened: Sequence[Tracked] = ()
    stops_because: str | None = None


@dataclass
class _Waiting:
    """A badge whose canary is out, or yet to be chosen (`canary` is None)."""

    canary: Family | None = None
    held: list[Tracked] = field(default_factory=list)
    unproved: list[Tracked] = field(default_factory=list)
    sent: int = 1


@dataclass
class Canaries:
    """The canaries of one run. `counts_before`: (badge, customer) → earns read before.

    `seconds` bounds how long a canary is looked for.
    """

    settling: Settling
    seconds: float
    is_on: bool = True
    counts_before: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._uncounted: list[Tracked] = []

    def first(
        self, planned: Sequence[Tracked], unsettled: Sequence[Tracked] = ()
    ) -> list[Tracked]:
        """Return what may be sent at once; the rest waits for its badge's canary.

        That is a planned one, else one that an earlier run sent and did not settle.
        What `begin` has to see to first is not among them.
        """
        if not self.is_on:
            return list(planned)
        is_shown = self.settling.proofs.is_shown
        for tracked in [*unsettled, *planned]:
            badge = _badge(tracked)
            if tracked.is_canary and not is_shown(badge):
                out = self._waiting.setdefault(badge, _Waiting())
                out.canary = tracked.family
        free = []
        for tracked in planned:
            badge = _badge(tracked)
            if badge not in self._waiting and not is_shown(badge):
                self._waiting[badge] = _Waiting(sent=0)
            waiting = self._waiting.get(badge)
            if waiting is None:
                free.append(tracked)
            elif not tracked.is_canary:
                waiting.held.append(tracked)
            elif (badge, tracked.customer_ids[0]) in self.counts_before:
                free.append(tracked)
            else:
                self._uncounted.append(tracked)
        return free

    @property
    def lacks_any(self) -> bool:
        """Whether `begin` has canaries to choose, or to read before they are sent.

        So it is where an earlier run had reserved requests and did not get to send
        them.
        """
        return bool(self._uncounted) or any(
            waiting.canary is None for waiting in self._waiting.values()
        )

    async def begin(self, line: Line) -> list[Tracked]:
        """Return the canaries of badges whose requests an earlier run reserved."""
        chosen = self._uncounted
        for tracked in chosen:
            await self._count(tracked, line)
        for badge, waiting in list(self._waiting.items()):
            if waiting.canary is None:
                chosen += (await self._next(badge, waiting, line, None)).released
        return chosen

    async def _count(self, canary: Tracked, line: Line) -> None:
        """Read how many earns a canary's customer has before it is sent."""
        badge, customer_id = _badge(canary), canary.customer_ids[0]
        reading = await read_customer(line, customer_id, badge, is_thorough=True)
        if reading is not None:
            self.counts_before[badge, customer_id] = reading.earn_count or 0

    def keep(self, tracked: Tracked) -> None:
        """Keep a request that was given up, until its badge's canary has a verdict."""
        waiting = self._waiting.get(_badge(tracked))
        if waiting is not None:
            waiting.unproved.append(tracked)

    async def after(self, tracked: Tracked, line: Line) -> AfterCanary:
        """Return what follows from a canary's end."""
        badge = tracked.request.badge_meta_id
        waiting = self._waiting.get(badge)
        if waiting is None:
            return AfterCanary()
        ended = tracked.ended[-1] if tracked.ended else None
        if ended is None or ended.status is not AwardStatus.ISSUED:
            if waiting.canary is not tracked.family:
                return AfterCanary()  # another one is out
            return await self._next(badge, waiting, line, ended)
        seen = await self._look(tracked, ended, line)
        if isinstance(seen, str):
            return AfterCanary(stops_because=seen)
        await self.settling.proofs.store(seen)
        if self._waiting.pop(badge, None) is None:
            return AfterCanary()  # an earlier run's canary has shown it meanwhile
        return AfterCanary(released=waiting.held, reopened=waiting.unproved)

    async def _look(
        self, tracked: Tracked, ended: Outcome, line: Line
    ) -> Verdict | str:
        """Read the canary back until it shows; a text says why the badge must stop."""
        badge, customer_id = tracked.request.badge_meta_id, ended.customer_id
        before = self.counts_before.get((badge, customer_id))
        since = tracked.last_ended_at or utc_now()
        until = utc_now() + timedelta(seconds=self.seconds)
        wait, has_moved = 0.1, False
        while True:
            reading = await read_customer(line, customer_id, badge, is_thorough=True)
            is_listed = is_dated = False
            if reading is not None:
                if told := _other_date(tracked, ended, reading, before):
                    return told
                is_listed, is_dated = _is_listed(tracked, ended, reading)
                has_moved = before is not None and (reading.earn_count or 0) > before
            now = utc_now()
            shows = is_listed or (has_moved and not (reading and reading.is_listed))
            if shows or now >= until:
                return Verdict(
                    badge_meta_id=badge,
                    customer_id=customer_id,
                    lists_earns=is_dated and bool(reading and reading.is_listed),
                    moves_count=has_moved,
                    lag_seconds=(now - since).total_seconds(),
                    decided_at=now,
                )
            await asyncio.sleep(wait)
            wait = min(wait * 2, 8.0)

    async def _next(
        self, badge: str, waiting: _Waiting, line: Line, ended: Outcome | None
    ) -> AfterCanary:
        """Send the next candidate alone, split off the request that holds it."""
        told = "stayed unproved" if ended is None else f"ended {ended.status}"
        if waiting.sent >= MOST_CANARIES:
            return AfterCanary(
                stops_because=f"{waiting.sent} canaries in a row {told}: the badge's "
                "other awards were not sent"
            )
        if not waiting.held:
            del self._waiting[badge]
            return AfterCanary()
        waiting.sent += 1
        holder = waiting.held.pop(0)
        if len(holder.awards) == 1:
            canary, rest = await self._alone(holder)
        else:
            canary, rest = await self._split_off(holder)
        waiting.held[:0] = rest
        waiting.canary = canary.family
        await self._count(canary, line)
        return AfterCanary(released=[canary])

    async def _alone(self, holder: Tracked) -> tuple[Tracked, list[Tracked]]:
        """Take a request of one customer as the canary that it already could be."""
        holder.is_canary = True
        return holder, []

    async def _split_off(self, holder: Tracked) -> tuple[Tracked, list[Tracked]]:
        entry = Entry()
        first = holder.customer_ids[0]
        award = next(a for a in holder.request.awards if a.customer_id == first)
        alone, rest = split_off(holder.request, award)
        canary, others = self.settling.rows.replaced(
            entry,
            holder,
            [alone, rest],
            utc_now(),
            status=RequestStatus.SPLIT,
            reason="its first customer is the next canary",
        )
        canary.is_canary = True
        await self.settling.recorder.write(entry)
        return canary, [others]


def _badge(tracked: Tracked) -> str:
    return tracked.request.badge_meta_id


def _other_date(
    tracked: Tracked, ended: Outcome, reading: Reading, before: int | None
) -> str | None:
    """Say how the date that is shown differs from the date that was sent."""
    sent = tracked.request.earn_event_date
    ours = [e for e in reading.earns if e.earned_badge_id == ended.earned_badge_id]
    if not ours and before == 0 and len(reading.earns) == 1:
        ours = list(reading.earns)
    shown = {earn.earn_event_date for earn in ours} - {None}
    if not shown or sent in shown:
        return None
    return (
        f"sent the earn date {_text(sent)}, the platform shows "
        f"{', '.join(sorted(_text(one) for one in shown if one))}: its other awards "
        "were not sent; find out how the platform reads dates"
    )


def _text(when: datetime) -> str:
    return when.isoformat(timespec="seconds")


def _is_listed(tracked: Tracked, ended: Outcome, reading: Reading) -> tuple[bool, bool]:
    """Tell whether the canary's earn is listed, and whether with the date we sent.

    Without its date an earn can be told from others only by an id that we know.
    """
    sent = tracked.request.earn_event_date
    is_dated = any(earn.earn_event_date == sent for earn in reading.earns)
    ids = {earn.earned_badge_id for earn in reading.earns}
    return is_dated or ended.earned_badge_id in ids - {None}, is_dated
