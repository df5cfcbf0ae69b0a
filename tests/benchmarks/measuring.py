"""Measures one call in a process of its own, and two calls that take turns.

Belongs here: seconds, CPU seconds and peak memory, and the load of the machine. Does
not belong here: what is measured (`bench_…`) and how results are shown (`results`).
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Took:
    """What a call took. CPU seconds count all threads and ended children."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    answer: Any = None


@dataclass(frozen=True)
class Own:
    """What a call says that it took, where a part of it is not to be measured."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Compared:
    """Ours beside a baseline: medians of some rounds taken in turn."""

    name: str
    ours: Took
    baseline: Took
    against: str
    goal: float | None = None

    @property
    def ratio(self) -> float:
        """Return ours over the baseline, by the clock."""
        return self.ours.seconds / self.baseline.seconds

    @property
    def cpu_ratio(self) -> float:
        """Return ours over the baseline, in CPU seconds."""
        return self.ours.cpu_seconds / max(self.baseline.cpu_seconds, 1e-9)


def compared(
    name: str,
    ours: Callable[[], Any],
    baseline: Callable[[], Any],
    *,
    against: str,
    rounds: int,
    goal: float | None = None,
) -> Compared:
    """Return medians of both sides, which take turns; their answers must be equal.

    A side that answers None only does something.
    """
    first, second = [], []
    for _ in range(rounds):
        first.append(measured(ours))
        second.append(measured(baseline))
    mine, theirs = first[0].answer, second[0].answer
    if mine is not None and theirs is not None and mine != theirs:
        raise SystemExit(f"{name}: ours answers {mine}, {against} answers {theirs}")
    return Compared(name, median(first), median(second), against, goal)


def measured(call: Callable[[], Any]) -> Took:
    """Return what a call takes in a new process, its imports and start not counted.

    `call` returns a value that can be sent, or a function that makes one of what was
    done: that function is not measured.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(there, call))
    child.start()
    there.close()
    try:
        took = here.recv()
    except EOFError:
        took = None
    child.join()
    if not isinstance(took, Took):
        raise SystemExit(f"{call} failed")
    return took


def _measure(answers: Any, call: Callable[[], Any]) -> None:
    # What a process imports once is no part of a stage.
    import duckdb  # noqa: F401, PLC0415
    import polars as pl  # noqa: PLC0415

    import flows.files.accepting  # noqa: PLC0415
    import flows.pipeline  # noqa: F401, PLC0415

    pl.select(1)
    _first_check()
    begun, begun_cpu = time.perf_counter(), cpu()
    answer = call()
    seconds, cpu_seconds = time.perf_counter() - begun, cpu() - begun_cpu
    peak = _peak_mb()
    if isinstance(answer, Own):
        seconds, cpu_seconds, answer = answer.seconds, answer.cpu_seconds, None
    if isinstance(answer, partial):
        answer = answer()
    answers.send(Took(seconds, cpu_seconds, peak, answer))


def _first_check() -> None:
    """Let Pandera bring up what it needs for its first check."""
    import pandera.polars as pa  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415

    pa.DataFrameSchema({"a": pa.Column(pl.Int64)}).validate(pl.DataFrame({"a": [1]}))


def command(arguments: Sequence[str], environment: dict[str, str]) -> Took:
    """Return what a whole command takes, its start included; it must end well."""
    begun = time.perf_counter()
    with subprocess.Popen(
        arguments,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        said, wrong = process.communicate()
        seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{arguments[:3]} failed: {wrong.decode()[-2000:]}")
    return Took(seconds, 0.0, 0.0, said)


def command_with_usage(arguments: Sequence[str], environment: dict[str, str]) -> Took:
    """Return the same with CPU seconds and peak memory of the command."""
    begun = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = command(arguments, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(time.perf_counter() - begun, used, 0.0, took.answer)


def median(taken: Sequence[Took]) -> Took:
    """Return the medians of seconds, and the highest peak."""
    return Took(
        statistics.median(took.seconds for took in taken),
        statistics.median(took.cpu_seconds for took in taken),
        max(took.peak_mb for took in taken),
        taken[0].answer,
    )


def load() -> str:
    """Return how busy the machine is: the load of the last minute, over its cores."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def cpu() -> float:
    """Return the CPU seconds of this process, and of its children that ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def _peak_mb() -> float:
    """Return the peak memory of this process alone.

    The kernel's `ru_maxrss` would start at what the parent had.
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
