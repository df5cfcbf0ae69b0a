"""Groups the writes of concurrent senders into few transactions.

Belongs here: the queue between the senders and the ledger. Whatever has gathered while
the last transaction was being written goes into the next one; nothing is ever held to
fill a group, and a sender goes on only when its rows are durable (settlement 5).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from flows.records.ledger import Entry, Ledger
from transforms.errors import NotRecorded

Queued = tuple[Entry, "asyncio.Future[None]"]


class Recorder:
    """Writes entries in the order in which they were handed over."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[Queued] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self.failure: NotRecorded | None = None

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closing = True
        self._wake.set()
        await self._writer
        self._thread.shutdown()

    async def write(self, entry: Entry) -> None:
        """Return when the entry is durable; raise `NotRecorded` if it can't be.

        After one failure nothing more is written: the order of events is the truth.
        """
        # A sender that is cancelled must not take its rows back.
        await asyncio.shield(self.hand_over(entry))

    def hand_over(self, entry: Entry) -> asyncio.Future[None]:
        """Let the entry be written as the next one, without waiting for it.

        Whatever is written afterwards is durable only together with it: a sender that
        hands an answer over and then marks its next request waits once for both.
        """
        if self.failure is not None:
            raise self.failure
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        self._wake.set()
        return done

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while not (self._is_closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            if not group:
                continue
            entries = [entry for entry, _ in group]
            try:
                if self.failure is not None:
                    raise self.failure
                await loop.run_in_executor(self._thread, self._ledger.write, entries)
            except NotRecorded as failure:
                self.failure = failure
                _finish(group, failure)
            else:
                _finish(group, None)


def _finish(group: list[Queued], failure: NotRecorded | None) -> None:
    for _, done in group:
        if done.done():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
            done.exception()  # a sender that is gone leaves no warning behind
