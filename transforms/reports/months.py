"""Counts awards by month, and finds the months that are unlike the others.

Belongs here: what a person who looks at a year of awards would notice. Does not belong
here: how months are drawn (`plots`).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Beside fewer months there is nothing that is usual.
_FEWEST_MONTHS = 4
_TIMES = 3
# Small numbers jump by themselves: a month is odd when it is off by more than chance
# would put it, and by more than a handful.
_CHANCE = 4
_HANDFUL = 10


@dataclass(frozen=True, slots=True)
class OddMonth:
    """A month with far more or far fewer awards than the median of the others."""

    badge: str
    month: str
    awards: int
    usual: float

    def __str__(self) -> str:
        """Return what is odd about it, and what to look for."""
        if self.awards > self.usual:
            look = "does the rule explain it, or does activity stand there twice?"
        else:
            look = "does the rule explain it, or is a file missing or cut short?"
        return (
            f"{self.badge}: {self.month} has {self.awards:,} awards, the other months "
            f"have {self.usual:,.0f} (median); {look}"
        )


def awards_by_month(awards: pl.DataFrame) -> pl.DataFrame:
    """Return badge, month (`2017-03`) and awards, of badge and earn_day Date."""
    return (
        awards.group_by("badge", month=pl.col("earn_day").dt.strftime("%Y-%m"))
        .len("awards")
        .with_columns(pl.col("awards").cast(pl.Int64))
        .sort("badge", "month")
    )


def every_month(months: Sequence[str]) -> list[str]:
    """Return all months from the first to the last of these."""
    if not months:
        return []
    first, last = (_number(month) for month in (min(months), max(months)))
    return [f"{n // 12:04d}-{n % 12 + 1:02d}" for n in range(first, last + 1)]


def _number(month: str) -> int:
    year, _, of_year = month.partition("-")
    return int(year) * 12 + int(of_year) - 1


def odd_months(by_month: pl.DataFrame) -> list[OddMonth]:
    """Return the months unlike the others, per badge; columns as `awards_by_month`.

    A month without awards between others counts as nought. Odd is what sticks out from
    its neighbours too: numbers that rise or fall over the year are not. The first and
    the last month may be cut off by the activity, so they are never too small.
    """
    found: list[OddMonth] = []
    for (badge,), rows in by_month.group_by("badge", maintain_order=True):
        counts = dict(rows.select("month", "awards").iter_rows())
        names = every_month(list(counts))
        found += _odd(str(badge), names, [counts.get(name, 0) for name in names])
    return found


def _odd(badge: str, names: list[str], counts: list[int]) -> Iterator[OddMonth]:
    if len(names) < _FEWEST_MONTHS:
        return
    for at, (name, count) in enumerate(zip(names, counts, strict=True)):
        usual = median(counts[:at] + counts[at + 1 :])
        margin = max(_HANDFUL, _CHANCE * usual**0.5)
        beside = counts[max(at - 1, 0) : at] + counts[at + 1 : at + 2]
        is_more = count > _TIMES * max(usual, *beside, 0) and count - usual > margin
        is_inside = 0 < at < len(names) - 1
        is_less = (
            is_inside
            and count * _TIMES < min(usual, *beside)
            and usual - count > margin
        )
        if is_more or is_less:
            yield OddMonth(badge, name, count, usual)
