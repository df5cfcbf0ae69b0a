"""Marks requests as going out, before their first byte leaves (settlement 5).

Belongs here: the mark, one that is made a call ahead, and taking it back from a request
that did not go out after all. Does not belong here: who sends when
(`flows.sending.dispatch`).

A sender that has its next request marked while the present one is out goes on as soon
as an answer is decided: what is written of the two becomes durable while the next call
is out, and nobody waits for the disk. What is marked is in flight, or would be within a
second of pacing; where the pace allows less, nothing is marked ahead.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.platform.capillary import utc_now
from flows.records.ledger import Entry
from flows.sending.recorder import Recorder
from flows.sending.tracking import Mark, Rows, Tracked

# A mark that waited longer for its turn says too early when its call began.
LONGEST_AHEAD = timedelta(seconds=5)


def is_allowed_ahead(senders: int, calls_a_minute: int) -> bool:
    """Tell whether a second of pacing holds a call of every sender; 0 is no pacing."""
    return not calls_a_minute or calls_a_minute >= 60 * senders


@dataclass
class Marks:
    """The marks of one run's requests."""

    recorder: Recorder
    rows: Rows
    clock: Callable[[], datetime] = utc_now
    _ahead: dict[str, Mark] = field(default_factory=dict)

    def make_ahead(self, tracked: Tracked) -> None:
        """Let a request be marked that goes out after the sender's present one."""
        self._ahead[tracked.request.request_id] = self._made(tracked)

    async def make(self, tracked: Tracked) -> Mark:
        """Return the durable mark of a request that goes out now."""
        mark = self._ahead.get(tracked.request.request_id)
        if mark is not None and self.clock() - mark.made_at > LONGEST_AHEAD:
            self.take_back(tracked, "its turn came late")
            mark = None
        mark = mark or self._made(tracked)
        # A sender that is cancelled must not take its rows back.
        await asyncio.shield(mark.written)
        if self.recorder.failure is not None:
            raise self.recorder.failure
        self._ahead.pop(tracked.request.request_id, None)
        tracked.attempts += 1
        tracked.first_attempt_at = tracked.first_attempt_at or mark.made_at
        return mark

    def take_back(self, tracked: Tracked, reason: str) -> None:
        """Write down that a request that was marked ahead, if it was, is not sent."""
        mark = self._ahead.pop(tracked.request.request_id, None)
        if mark is not None:
            entry = Entry()
            self.rows.unmarked(
                entry, tracked, mark, self.clock(), f"not sent: {reason}"
            )
            self.recorder.hand_over(entry)

    def _made(self, tracked: Tracked) -> Mark:
        attempt_id, now = uuid.uuid4().hex, self.clock()
        entry = self.rows.marked(tracked, attempt_id, tracked.customer_ids, now)
        return Mark(attempt_id, now, self.recorder.hand_over(entry))
