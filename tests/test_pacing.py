"""The pace: never more than N calls in any sliding minute, and hardly fewer."""

from __future__ import annotations

import asyncio
import fcntl
import heapq
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.platform.pacing import Pace
from transforms.errors import NotRecorded

START = 1_800_000_000.0
# What a sleeper may be late without a turn being lost.
LATE = 0.15


class Clock:
    """A wall clock that moves only when it is told to, or when somebody sleeps."""

    def __init__(self, now: float = START) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Return the present instant."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and others get their turn."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def pace(folder: Path, per_minute: int, clock: Clock) -> Pace:
    """Return the pace of one process that shares the file in a folder."""
    return Pace(folder / "pace.json", per_minute, clock=clock, sleep=clock.sleep)


def calls(paces, clock: Clock, count: int, idle) -> list[float]:
    """Simulate processes that share a pace; return when each call was made.

    After each call a process idles for `idle()` seconds; sleepers wake late.
    """
    late = random.Random(7)  # noqa: S311
    waiting = [(clock.now, number) for number in range(len(paces))]
    made: list[float] = []
    while len(made) < count:
        clock.now, number = heapq.heappop(waiting)
        seconds = paces[number].take()
        if seconds == 0:
            made.append(clock.now)
            heapq.heappush(waiting, (clock.now + idle(), number))
        else:
            wakes_at = clock.now + seconds + late.uniform(0, LATE)
            heapq.heappush(waiting, (wakes_at, number))
    return made


@settings(deadline=None, max_examples=60)
@given(
    per_minute=st.integers(1, 200),
    processes=st.integers(1, 5),
    idle=st.sampled_from([0.0, 0.01, 0.3, 2.0, 20.0]),
    seed=st.integers(0, 1000),
)
def test_no_sliding_minute_holds_more(per_minute, processes, idle, seed):
    """However processes take turns, no 60 seconds hold more calls than allowed."""
    clock, chance = Clock(), random.Random(seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        paces = [pace(Path(folder), per_minute, clock) for _ in range(processes)]
        made = calls(paces, clock, 2 * per_minute + 2, lambda: chance.uniform(0, idle))

    spans = [
        later - first for first, later in zip(made, made[per_minute:], strict=False)
    ]
    assert min(spans) > 60


@settings(deadline=None, max_examples=60)
@given(per_minute=st.integers(1, 300), processes=st.integers(1, 4))
def test_the_allowed_calls_are_used(per_minute, processes):
    """Senders that always have something to send use 98 % of the calls allowed."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        paces = [pace(Path(folder), per_minute, clock) for _ in range(processes)]
        made = calls(paces, clock, 2 * per_minute + 1, lambda: 0.0)

    minutes = (made[-1] - made[0] - LATE) / 60
    assert (len(made) - 1) / minutes >= 0.98 * per_minute


def test_successive_commands_share_the_pace(tmp_path):
    """A command may make up for ten seconds of silence; the next one waits."""
    clock = Clock()
    assert [pace(tmp_path, 60, clock).take() for _ in range(11)] == [0.0] * 11

    clock.now += 0.25
    assert pace(tmp_path, 60, clock).take() == pytest.approx(0.75)


def test_a_minute_that_is_full_stays_full(tmp_path):
    """Whoever makes up for a silence has a minute's calls and no more."""
    clock, made = Clock(), []
    shared = pace(tmp_path, 60, clock)
    while len(made) < 60:
        if seconds := shared.take():
            clock.now += seconds
        else:
            made.append(clock.now)

    assert clock.now < START + 50
    assert shared.take() == pytest.approx(made[0] + 60.9 - clock.now)


def test_another_limit_knows_the_calls_that_were_made(tmp_path):
    """Calls stay known when more or fewer are allowed from now on."""
    clock = Clock()
    wide = pace(tmp_path, 600, clock)
    assert [wide.take() for _ in range(100)] == [0.0] * 100
    clock.now += 1

    assert pace(tmp_path, 60, clock).take() == pytest.approx(59.9)
    assert pace(tmp_path, 600, clock).take() == 0


def test_turns_go_in_the_order_of_asking(tmp_path):
    """Senders of one process get their turns in the order in which they asked."""
    clock, order = Clock(), []
    shared = pace(tmp_path, 60, clock)

    async def sender(number: int) -> None:
        await shared.turn()
        order.append((number, clock.now))

    async def senders() -> None:
        await asyncio.gather(*(sender(number) for number in range(14)))

    asyncio.run(senders())
    numbers, instants = zip(*order, strict=True)
    assert numbers == tuple(range(14))
    assert instants[-1] - instants[0] == pytest.approx(3)

    order.clear()
    asyncio.run(senders())  # a second event loop, as plan and apply in one command
    assert len(order) == 14


def test_a_sender_that_is_gone_keeps_no_turn(tmp_path):
    """A sender that is cancelled while it waits lets the next one have its turn."""
    clock = Clock()

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        shared = Pace(tmp_path / "pace.json", 60, clock=clock, sleep=never)
        for _ in range(11):
            await shared.turn()
        waiting = asyncio.create_task(shared.turn())
        await asyncio.sleep(0)
        waiting.cancel()
        clock.now += 1
        await shared.turn()

    asyncio.run(main())


def test_no_pacing(tmp_path):
    """With 0 calls a minute nobody waits."""
    clock = Clock()
    unpaced = pace(tmp_path, 0, clock)

    assert [unpaced.take() for _ in range(1000)] == [0.0] * 1000


def test_pause_holds_everybody(tmp_path):
    """A pause holds all processes, those that already wait included, and no longer."""
    clock = Clock()
    one, other, unpaced = (pace(tmp_path, n, clock) for n in (60, 60, 0))
    assert one.take() == 0
    clock.now += other.take()
    one.pause(30)

    assert other.take() == pytest.approx(30)
    assert unpaced.take() == pytest.approx(30)
    clock.now += 29
    assert other.take() == pytest.approx(1)
    clock.now += 1
    assert other.take() == 0


@pytest.mark.parametrize(("first", "second"), [(30, 5), (5, 30), (30, 30)])
def test_longer_pause_counts(tmp_path, first, second):
    """Of two pauses the one that ends later counts."""
    clock = Clock()
    shared = pace(tmp_path, 60, clock)
    shared.pause(first)
    shared.pause(second)

    assert shared.take() == pytest.approx(30)


def test_pause_has_a_bound(tmp_path):
    """A platform that asks for a day is asked again after an hour."""
    clock = Clock()
    shared = pace(tmp_path, 60, clock)
    shared.pause(86_400)

    assert shared.take() == pytest.approx(3600)


def test_clock_set_back(tmp_path):
    """A clock that jumped back costs a minute at most, not the length of the jump."""
    clock = Clock()
    shared = pace(tmp_path, 2, clock)
    assert shared.take() == 0
    clock.now += shared.take()
    assert shared.take() == 0
    clock.now -= 86_400

    assert shared.take() == pytest.approx(60.9)
    clock.now += 60.9
    assert shared.take() == 0


def test_clock_set_back_in_a_pause(tmp_path):
    """A pause begins again when the clock jumps back, and ends."""
    clock = Clock()
    shared = pace(tmp_path, 60, clock)
    shared.pause(30)
    clock.now -= 86_400

    assert shared.take() == pytest.approx(30)
    clock.now += 30
    assert shared.take() == 0


def test_clock_set_forward(tmp_path):
    """A clock that jumped forward is believed."""
    clock = Clock()
    shared = pace(tmp_path, 60, clock)
    assert shared.take() == 0
    clock.now += 86_400

    assert shared.take() == 0


def record(**fields: object) -> bytes:
    """Return what the file begins with."""
    sound = {"even_at": 0, "paused_at": 0, "pause_seconds": 0, "calls": 0, "kept": 0}
    told = ", ".join(
        f'"{name}": {value}' for name, value in {**sound, **fields}.items()
    )
    return f"{{{told}}}".ljust(160).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 160,
        b"{",
        b"[]",
        b"7",
        b'{"even_at": null}',
        b'{"last_at": 0, "paused_at": 0, "pause_seconds": 0}',
        record(even_at="NaN"),
        record(pause_seconds="Infinity"),
        record(calls=-1),
        record(kept=-1),
        record(kept=60),  # and behind it nothing
        b'{"something": 1}',
        b"\xff\xfe",
        record(even_at=99999999999, kept=60),
    ],
)
def test_broken_file(tmp_path, content):
    """A file that tells nothing sensible costs a minute and is mended."""
    clock = Clock()
    (tmp_path / "pace.json").write_bytes(content)

    assert pace(tmp_path, 60, clock).take() == pytest.approx(60.9)
    clock.now += 60.9
    assert pace(tmp_path, 60, clock).take() == 0


def test_file_is_private(tmp_path):
    """The file is readable for its owner alone."""
    pace(tmp_path, 60, Clock()).take()

    assert (tmp_path / "pace.json").stat().st_mode & 0o777 == 0o600


def test_no_place_for_the_file(tmp_path):
    """Where the pace can't be kept, nothing may be sent."""
    with pytest.raises(NotRecorded, match="nothing more is sent"):
        pace(tmp_path / "gone", 60, Clock()).take()


def test_one_process_at_a_time_reads_the_file(tmp_path):
    """While one process holds the file the turns of others wait for it."""
    shared = pace(tmp_path, 60, Clock())
    shared.take()
    taking = threading.Thread(target=shared.take)
    with (tmp_path / "pace.json").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        taking.start()
        taking.join(0.05)
        assert taking.is_alive()

    taking.join(10)
    assert not taking.is_alive()


SENDER = """
import asyncio, sys, time
from pathlib import Path
from flows.platform.pacing import Pace

async def main():
    pace = Pace(Path(sys.argv[1]), 1200)
    sys.stdin.readline()
    for _ in range(80):
        await pace.turn()
        print(repr(time.time()))

asyncio.run(main())
"""


def test_real_processes_share_the_pace(tmp_path):
    """Three processes at once keep the pace of one, by their real clocks."""
    command = [sys.executable, "-c", SENDER, str(tmp_path / "pace.json")]
    senders = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for sender in senders:
        sender.stdin.write("go\n")
        sender.stdin.flush()
    made = sorted(
        float(line) for sender in senders for line in sender.communicate()[0].split()
    )

    assert len(made) == 240
    # Two hundred are ten seconds of silence; a busy machine may be late with a line.
    assert made[-1] - made[0] > 39 * 60 / 1200 - 0.3
