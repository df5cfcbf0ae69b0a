"""Keeps a limit of 1,000 calls a minute: how much of it is used, and never more.

Belongs here: senders that always have something to send, against a clock that only
moves when they sleep. Each wakes late, as a busy machine wakes it.
"""

from __future__ import annotations

import heapq
import random
import tempfile
from pathlib import Path

from flows.platform.pacing import Pace

LIMIT = 1_000
MINUTES = 10
_LATE = 0.15


def paced(senders: int, latency: float) -> tuple[float, int]:
    """Return the share of allowed calls that were made, and the most in a minute."""
    now = 1_800_000_000.0
    chance = random.Random(7)  # noqa: S311  no secret
    made: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        pace = Pace(Path(folder) / "pace.json", LIMIT, clock=lambda: now)
        waiting = [(now, number) for number in range(senders)]
        until = now + MINUTES * 60
        begun = now
        while now < until:
            now, number = heapq.heappop(waiting)
            seconds = pace.take()
            if seconds:
                wakes_at = now + seconds + chance.uniform(0, _LATE)
                heapq.heappush(waiting, (wakes_at, number))
            else:
                made.append(now)
                heapq.heappush(waiting, (now + latency, number))
    most, first = 0, 0
    for last, instant in enumerate(made):
        while instant - made[first] >= 60:
            first += 1
        most = max(most, last - first + 1)
    return len(made) / (LIMIT * (made[-1] - begun) / 60), most
