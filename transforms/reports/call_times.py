"""Counts calls over time and by how long they took.

Belongs here: the numbers behind two plots of a report. Does not belong here: how they
are drawn (`plots`), and keeping the pace (`flows.platform.pacing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

_MINUTE = 60
# Whole minutes where a limit per minute is kept, so that a bar and the limit compare.
_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86_400)
_MOST_BARS = 120
_MOST_BINS = 30
_WIDTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000)


@dataclass(frozen=True, slots=True)
class CallRate:
    """Calls per minute over time.

    `bars`: began_at Datetime(us, UTC), per_minute Float64, one per `seconds`; without
    gaps from the first call to the last.
    """

    bars: pl.DataFrame
    seconds: int


def call_rate(started_at: pl.Series, *, has_limit: bool) -> CallRate | None:
    """Return how many calls a minute were made when; None of fewer than two bars.

    `started_at`: Datetime(us, UTC), in any order. With a limit a bar is never shorter
    than a minute, for the limit holds for a minute and not for a part of it.
    """
    started_at = started_at.drop_nulls()
    if started_at.is_empty():
        return None
    first, last = started_at.to_physical().min(), started_at.to_physical().max()
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    length = (last - first) / 1_000_000
    fitting = [
        seconds
        for seconds in _BUCKETS
        if length / seconds <= _MOST_BARS and (seconds >= _MINUTE or not has_limit)
    ]
    seconds = fitting[0] if fitting else _BUCKETS[-1]
    bucket = f"{seconds}s"
    counts = (
        pl.DataFrame({"began_at": started_at.dt.truncate(bucket)})
        .group_by("began_at")
        .len("calls")
        .sort("began_at")
        .upsample("began_at", every=bucket)
        .select(
            "began_at",
            per_minute=pl.col("calls").fill_null(0) * (_MINUTE / seconds),
        )
    )
    return CallRate(counts, seconds) if counts.height > 1 else None


def most_in_a_minute(started_at: pl.Series) -> int:
    """Return the most calls that began within any 60 seconds."""
    if started_at.is_empty():
        return 0
    frame = pl.DataFrame({"started_at": started_at}).sort("started_at")
    counts = frame.rolling("started_at", period="60s").agg(pl.len())["len"]
    most = counts.max()
    return most if isinstance(most, int) else 0


def latency_bins(seconds: pl.Series) -> pl.DataFrame | None:
    """Return from_ms, to_ms and calls in bins of equal width; None of too few calls.

    The width is a round number that takes the fastest 99 % into 30 bins at most; what
    took longer is in the last one, whose to_ms is null.
    """
    took = (seconds.drop_nulls() * 1000).sort()
    usual = took.quantile(0.99)
    if took.len() < 2 or usual is None:
        return None
    width = next((w for w in _WIDTHS if usual / w <= _MOST_BINS - 1), _WIDTHS[-1])
    last = int(usual // width) + 1
    number = (took // width).clip(0, last).cast(pl.Int64)
    counts = dict(number.value_counts().iter_rows())
    numbers = range(min(counts), max(counts) + 1)
    if len(numbers) < 2:
        return None
    return pl.DataFrame(
        {
            "from_ms": [n * width for n in numbers],
            "to_ms": [None if n == last else (n + 1) * width for n in numbers],
            "calls": [counts.get(n, 0) for n in numbers],
        },
        schema={"from_ms": pl.Int64, "to_ms": pl.Int64, "calls": pl.Int64},
    )


def quantiles(seconds: pl.Series, shares: Sequence[float]) -> list[float]:
    """Return, in seconds, how long the fastest of these shares took at most."""
    took = seconds.drop_nulls()
    found = [took.quantile(share, interpolation="higher") for share in shares]
    return [value for value in found if value is not None]
