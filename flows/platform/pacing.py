"""The pace: how many calls a minute, kept by all senders of all commands together.

Belongs here: whose turn it is, and the pause that a 429 asks for. Does not belong here:
what is called, and when a call is tried again.

Calls are spread evenly instead of counted: with 60/N seconds and a little more between
two of them, no sliding minute can hold more than N, wherever it begins. What is kept in
the home is the moment of the last turn, by the wall clock, which is the one clock that
successive processes share. A turn is taken at the moment at which it is used and never
ahead of it, so a pause holds those who wait already, and who dies takes nothing along.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from flows.home import open_private
from transforms.errors import NotRecorded

# The allowed calls are used to 98.5 %. The rest, 0.9 s of a minute, keeps the limit
# where the calls arrive, for some take longer from their turn to there than others.
_MARGIN: Final = 1.015
# So much of that is for sleepers that wake late, who may catch up.
_CATCH_UP_SECONDS: Final = 0.2
# Less than this is no wait: an instant in seconds since 1970 is no more exact.
_NO_WAIT_SECONDS: Final = 1e-6
# A platform that asks for more is asked again: nobody would know why nothing moves.
_LONGEST_PAUSE_SECONDS: Final = 3600.0
# One write of always the same length: no crash can leave half of it.
_RECORD_BYTES: Final = 160


@dataclass(slots=True)
class _Turns:
    """What the file holds; instants are seconds since 1970."""

    last_at: float = 0.0
    paused_at: float = 0.0
    pause_seconds: float = 0.0

    def start_again(self, now: float) -> None:
        """Mend what lies in the future: the clock was set back meanwhile.

        How long ago it really was nobody knows, so the waiting starts again from now,
        and is as long as it can be at most.
        """
        self.last_at = min(self.last_at, now)
        self.paused_at = min(self.paused_at, now)


class Pace:
    """Gives out turns to call, evenly spaced, over all processes that use `path`.

    `per_minute` 0 means no pacing; a pause is kept all the same.
    """

    def __init__(
        self,
        path: Path,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._spacing = 60 / per_minute * _MARGIN if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._queue: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def turn(self) -> None:
        """Return when it is this sender's turn to make one call."""
        # One sender at a time asks and sleeps: turns go in the order of asking.
        async with self._one_by_one():
            while seconds := self.take():
                await self._sleep(seconds)

    def take(self) -> float:
        """Take a turn and return 0, or return the seconds after which to ask again."""
        with self._turns() as turns:
            now = self._clock()
            turns.start_again(now)
            next_at = turns.last_at + self._spacing
            seconds = max(next_at, turns.paused_at + turns.pause_seconds) - now
            if seconds > _NO_WAIT_SECONDS:
                return seconds
            turns.last_at = max(next_at, now - _CATCH_UP_SECONDS)
            return 0.0

    def pause(self, seconds: float) -> None:
        """Hold all senders of all processes from now on, as a 429 asks.

        An hour at most; of two pauses the one that ends later counts.
        """
        seconds = min(seconds, _LONGEST_PAUSE_SECONDS)
        with self._turns() as turns:
            now = self._clock()
            turns.start_again(now)
            if now + seconds > turns.paused_at + turns.pause_seconds:
                turns.paused_at, turns.pause_seconds = now, seconds

    def _one_by_one(self) -> asyncio.Lock:
        """Return the queue of this event loop: a command may run several in a row."""
        loop = asyncio.get_running_loop()
        if self._queue is None or self._loop is not loop:
            self._queue, self._loop = asyncio.Lock(), loop
        return self._queue

    @contextmanager
    def _turns(self) -> Iterator[_Turns]:
        """Hold the file, for microseconds, and write back what became of its turns."""
        try:
            descriptor, is_new = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                turns = _Turns() if is_new else _read(descriptor)
                yield turns
                record = json.dumps(asdict(turns)).ljust(_RECORD_BYTES - 1) + "\n"
                os.pwrite(descriptor, record.encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise NotRecorded.of(
                "pace_not_written",
                f"the pace of calls can't be kept ({error.strerror}), so nothing more "
                "is sent: free disk space or mend the permissions, then run again",
                file=str(self._path),
            ) from error

    def _open(self) -> tuple[int, bool]:
        with suppress(FileExistsError):
            return open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL), True
        return open_private(self._path, os.O_RDWR | os.O_CREAT), False


def _read(descriptor: int) -> _Turns:
    """Read the turns; where the file tells nothing, a call may just have been made."""
    with suppress(ValueError, TypeError, AttributeError):
        told = json.loads(os.pread(descriptor, _RECORD_BYTES, 0))
        turns = _Turns(**{name: float(value) for name, value in told.items()})
        if all(math.isfinite(value) for value in asdict(turns).values()):
            return turns
    return _Turns(last_at=math.inf)  # which `start_again` takes for now
