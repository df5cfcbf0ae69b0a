"""The pace: how many calls a minute, kept by all senders of all commands together.

Belongs here: whose turn it is, and the pause that a 429 asks for. Does not belong here:
what is called, and when a call is tried again.

Two things are kept in the home, by the wall clock, which is the one clock that
successive processes share. The instants of the last N calls are the limit: nobody calls
while the N-th last is younger than a minute. A distance of 60/N seconds spreads the
calls; who was silent may make up for ten seconds of it at once, so that a command that
makes a dozen calls in all does not wait between them. A turn is taken at the moment at
which it is used and never ahead of it, so a pause holds those who wait already, and who
dies takes nothing along.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import os
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from flows.home import open_private
from transforms.errors import NotRecorded

# A minute, and 0.9 s in which calls may arrive later than others after their turn.
_MINUTE_SECONDS: Final = 60.9
# So much of a silence may be made up for at once; sleepers that wake late need some.
_CATCH_UP_SECONDS: Final = 10.0
# Less than this is no wait: an instant in seconds since 1970 is no more exact.
_NO_WAIT_SECONDS: Final = 1e-6
# A platform that asks for more is asked again: nobody would know why nothing moves.
_LONGEST_PAUSE_SECONDS: Final = 3600.0
# One write of always the same length: no crash can leave half of it.
_RECORD_BYTES: Final = 160
# Behind the record stand the instants of the last calls, as a ring of doubles.
_INSTANT: Final = struct.Struct("<d")
# The room of a ring of which nothing is known.
_UNKNOWN: Final = -1


@dataclass(slots=True)
class _Turns:
    """What the file holds first; instants are seconds since 1970.

    `even_at`: when the next call is due, were they all spread evenly. `calls`: how many
    were made since the ring was begun, `kept`: how many it has room for.
    """

    even_at: float = 0.0
    paused_at: float = 0.0
    pause_seconds: float = 0.0
    calls: int = 0
    kept: int = 0

    def start_again(self, now: float, spacing: float) -> None:
        """Mend what lies in the future: the clock was set back meanwhile.

        How long ago it really was nobody knows, so the waiting starts again from now,
        and is as long as it can be at most.
        """
        self.even_at = min(self.even_at, now + spacing)
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
        self._kept = per_minute
        self._spacing = 60 / per_minute if per_minute else 0.0
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

    def turn_at_once(self) -> bool:
        """Take a turn if nobody waits for one and it has come; tell whether it did."""
        return not self._one_by_one().locked() and not self.take()

    def take(self) -> float:
        """Take a turn and return 0, or return the seconds after which to ask again."""
        with self._turns() as (turns, ring, now):
            paused_until = turns.paused_at + turns.pause_seconds
            free_at = ring.oldest() + _MINUTE_SECONDS if self._kept else 0.0
            seconds = max(turns.even_at, paused_until, free_at) - now
            if seconds > _NO_WAIT_SECONDS:
                return seconds
            # A pause that was asked for is no silence to be made up for.
            since = max(turns.even_at, paused_until, now - _CATCH_UP_SECONDS)
            turns.even_at = since + self._spacing
            if self._kept:
                ring.add(now)
            return 0.0

    def pause(self, seconds: float) -> None:
        """Hold all senders of all processes from now on, as a 429 asks.

        An hour at most; of two pauses the one that ends later counts.
        """
        seconds = min(seconds, _LONGEST_PAUSE_SECONDS)
        with self._turns() as (turns, _, now):
            if now + seconds > turns.paused_at + turns.pause_seconds:
                turns.paused_at, turns.pause_seconds = now, seconds

    def _one_by_one(self) -> asyncio.Lock:
        """Return the queue of this event loop: a command may run several in a row."""
        loop = asyncio.get_running_loop()
        if self._queue is None or self._loop is not loop:
            self._queue, self._loop = asyncio.Lock(), loop
        return self._queue

    @contextmanager
    def _turns(self) -> Iterator[tuple[_Turns, _Ring, float]]:
        """Hold the file, for microseconds, and write back what became of its turns."""
        try:
            descriptor, is_new = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                now = self._clock()
                turns = _Turns() if is_new else _read(descriptor)
                turns.start_again(now, self._spacing)
                ring = _Ring(descriptor, turns)
                ring.start_again(now, self._kept)
                yield turns, ring, now
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


@dataclass(frozen=True, slots=True)
class _Ring:
    """The instants of the last calls, in the file behind the record.

    Who dies between the two writes of a turn leaves an instant that looks older than it
    is: the next one waits longer than it had to, and never too short.
    """

    descriptor: int
    turns: _Turns

    def start_again(self, now: float, kept: int) -> None:
        """Make room for as many calls as are allowed; mend what lies in the future.

        Calls that were written down stay known, unless more are allowed from now on.
        """
        turns, never = self.turns, 0.0
        if not kept or (kept == turns.kept and self._at(turns.calls - 1) <= now):
            return
        known = [self._at(turns.calls + n) for n in range(turns.kept)]
        instants = [min(at, now) for at in known][-kept:]
        others = now if turns.kept == _UNKNOWN else never
        instants = [others] * (kept - len(instants)) + instants
        ring = b"".join(map(_INSTANT.pack, instants))
        os.pwrite(self.descriptor, ring, _RECORD_BYTES)
        turns.calls, turns.kept = 0, kept

    def oldest(self) -> float:
        """Return when the call was made whose place the next one takes."""
        return self._at(self.turns.calls)

    def add(self, now: float) -> None:
        """Write a call down in the place of the oldest."""
        where = self._place(self.turns.calls)
        os.pwrite(self.descriptor, _INSTANT.pack(now), where)
        self.turns.calls += 1

    def _at(self, call: int) -> float:
        """Return when a call was made; what can't be read may be just now."""
        read = os.pread(self.descriptor, _INSTANT.size, self._place(call))
        at = _INSTANT.unpack(read)[0] if len(read) == _INSTANT.size else math.nan
        return math.inf if math.isnan(at) else float(at)

    def _place(self, call: int) -> int:
        return _RECORD_BYTES + _INSTANT.size * (call % self.turns.kept)


def _read(descriptor: int) -> _Turns:
    """Read the turns; where the file tells nothing, calls may just have been made."""
    with suppress(ValueError, TypeError, KeyError):
        told = json.loads(os.pread(descriptor, _RECORD_BYTES, 0))
        turns = _Turns(
            even_at=float(told["even_at"]),
            paused_at=float(told["paused_at"]),
            pause_seconds=float(told["pause_seconds"]),
            calls=int(told["calls"]),
            kept=int(told["kept"]),
        )
        are_sound = all(math.isfinite(value) for value in asdict(turns).values())
        if are_sound and min(turns.calls, turns.kept) >= 0:
            return turns
    return _Turns(even_at=math.inf, kept=_UNKNOWN)
