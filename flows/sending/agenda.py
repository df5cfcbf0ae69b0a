"""What is to be done next: ready steps in order, and resting ones when they are due.

Belongs here: the order of steps, which requests must not be out together, and the end
of the work. Does not belong here: what a step does.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count

from flows.sending.settle import Step
from flows.sending.tracking import Family, Tracked


class Agenda:
    """Hands steps to senders. What is due goes before what merely waits its turn.

    `take` returns None when the work is over: nothing is ready or resting and nobody
    is busy, or `stop` was called.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._ready: deque[Step] = deque()
        self._resting: list[tuple[datetime, int, Step]] = []
        self._number = count()
        self._busy = 0
        self._changed = asyncio.Condition()
        self.stopped_by: str | None = None

    @property
    def next_due_at(self) -> datetime | None:
        """Return when the next resting step is due, if nothing else can be done."""
        if self._ready or self._busy or not self._resting:
            return None
        return self._resting[0][0]

    def add(self, step: Step) -> None:
        """Put a step on the agenda; wake senders with `changed`."""
        if step.due_at is None:
            self._ready.append(step)
        else:
            heapq.heappush(self._resting, (step.due_at, next(self._number), step))

    async def changed(self) -> None:
        """Wake the senders that wait."""
        async with self._changed:
            self._changed.notify_all()

    async def stop(self, reason: str) -> None:
        """Hand out nothing more; steps under way come to their end."""
        self.stopped_by = self.stopped_by or reason
        await self.changed()

    async def take(self) -> Step | None:
        """Return the next step when there is one to do, None when the work is over."""
        async with self._changed:
            while self.stopped_by is None:
                step, wait = self._next()
                if step is not None:
                    self._busy += 1
                    return step
                if wait is None and self._busy == 0:
                    self._changed.notify_all()
                    return None
                await self._until_changed(wait)
            return None

    def take_ahead(
        self, is_wanted: Callable[[Step], bool], *, others: int
    ) -> Step | None:
        """Return the next ready step too if it is wanted and enough is left for others.

        Not where something is due, which goes before it. Whoever takes it is to finish
        it like any other.
        """
        if self.stopped_by is not None or len(self._ready) <= others:
            return None
        if self._resting and self._resting[0][0] <= self._clock():
            return None
        if not is_wanted(self._ready[0]):
            return None
        self._busy += 1
        return self._ready.popleft()

    async def finished(self) -> None:
        """Say that a step that was taken has come to its end."""
        self._busy -= 1
        await self.changed()

    def _next(self) -> tuple[Step | None, float | None]:
        if self._resting:
            due_at = self._resting[0][0]
            wait = (due_at - self._clock()).total_seconds()
            if wait <= 0:
                return heapq.heappop(self._resting)[2], None
            if not self._ready:
                return None, wait
        return (self._ready.popleft(), None) if self._ready else (None, None)

    async def _until_changed(self, wait: float | None) -> None:
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            return


class Queues:
    """Keeps requests apart that share a customer, badge and date.

    Their earns look alike when they are read back: while one of them is out, or not
    settled, an earn may be the other's. So each waits until those before it, and all
    that took over from them, are over; what an earlier run left open comes first.
    `planned` is in the order of `in_turn`, or some would wait for each other.
    """

    def __init__(
        self,
        planned: Sequence[Tracked],
        unsettled: Sequence[Tracked],
        doubly_awarded: Mapping[str, frozenset[int]],
    ) -> None:
        self._before: dict[Family, list[Family]] = {}
        self._parked: dict[Family, list[Tracked]] = defaultdict(list)
        by_id = {one.request.request_id: one.family for one in planned}
        alike: dict[tuple[str, datetime], list[Tracked]] = defaultdict(list)
        for tracked in [*unsettled, *planned]:
            request = tracked.request
            alike[request.badge_meta_id, request.earn_event_date].append(tracked)
        for (badge, _), together in alike.items():
            shared = _shared(together, doubly_awarded.get(badge, frozenset()))
            met: dict[int, list[Family]] = defaultdict(list)
            for tracked in together:
                found = [by_id.get(tracked.request.after_request_id or "")]
                for customer_id in shared and shared.intersection(tracked.customers):
                    found += met[customer_id]
                    met[customer_id].append(tracked.family)
                before = list(dict.fromkeys(family for family in found if family))
                if before and tracked.request.request_id in by_id:
                    self._before[tracked.family] = before

    def parks(self, tracked: Tracked) -> bool:
        """Tell whether a request must wait; then `freed` returns it in time."""
        for family in self._before.get(tracked.family, ()):
            if family.live:
                self._parked[family].append(tracked)
                return True
        return False

    def freed(self, family: Family) -> list[Tracked]:
        """Return the requests that waited for a family that is over."""
        return self._parked.pop(family, [])


def _shared(requests: Sequence[Tracked], doubles: frozenset[int]) -> set[int]:
    """Return which of the customers are in more than one of the requests."""
    seen: set[int] = set()
    shared: set[int] = set()
    if doubles and len(requests) > 1:
        for tracked in requests:
            found = doubles.intersection(tracked.customers)
            shared |= seen & found
            seen |= found
    return shared


def in_turn(planned: Sequence[Tracked]) -> list[Tracked]:
    """Return requests in an order in which none is before one that it must come after.

    Canaries come first, then the heads of the chains that requests were reserved in.
    """
    after = {t.request.request_id: t.request.after_request_id for t in planned}
    depths: dict[str | None, int] = {}
    for request_id in after:
        chain = [request_id]
        while (before := after[chain[-1]]) in after and before not in depths:
            chain.append(before)
        first = depths.get(before, -1) + 1
        depths.update((one, first + n) for n, one in enumerate(reversed(chain)))
    return sorted(
        planned, key=lambda one: (not one.is_canary, depths[one.request.request_id])
    )
