"""Serves spans of activity one after the other, inside a window.

Belongs here: what counting within a window, different values within a window and
streaks share. Does not belong here: how the spans are found.

A span is a row with `since`: the latest row from which on everything a rule needs
stands up to this one. In one group `since` never falls. A rule is met where `since`
lies in the window, and met again where it lies behind the row that met it last.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from transforms.definition.definition import Duration
from transforms.local_time import longest_length, one_earlier
from transforms.rules.qualifying import first_of_groups, nth

_MICROSECONDS = pl.col("occurred_at").to_physical()
_MOST_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Window:
    """The time up to an activity that counts, open at its start."""

    within: Duration
    timezone: str

    def start(self) -> pl.Expr:
        """Return the instant after which activity counts, for each row."""
        return one_earlier(pl.col("occurred_at"), self.within, self.timezone)


def served_spans(
    rows: pl.DataFrame, window: Window | None, *, most: int | None
) -> pl.DataFrame:
    """Return the rows that meet the rule, with ordinal and previous, in order.

    `rows`: every row, with `since` Int64 (null where the rule is not met). Added:
    `previous` Int64, the row that met it before, or the one before the group.
    """
    since = pl.col("since")
    spans = rows.with_columns(since_at=pl.col("occurred_at").gather(since))
    spans = spans.filter(since.is_not_null())
    if window is not None:
        # The calendar is slow: ask it only where a longest month would do.
        longest = pl.col("occurred_at") - longest_length(window.within)
        spans = spans.filter(pl.col("since_at") > longest)
        spans = spans.filter(pl.col("since_at") > window.start())
    spans = first_of_groups(spans) if most == 1 else _one_after_the_other(spans)
    spans = spans.with_columns(ordinal=nth())
    is_first = pl.col("ordinal") == 1
    previous = (
        pl.when(is_first).then(pl.col("begin") - 1).otherwise(pl.col("at").shift())
    )
    return spans.with_columns(previous=previous)


def _one_after_the_other(spans: pl.DataFrame) -> pl.DataFrame:
    """Keep each group's first span, then the first that starts after it, and so on.

    From every span the next one is known at once; following them in steps of 1, 2, 4,
    … finds all in as many rounds as the longest chain has binary digits.
    """
    group = pl.col("group")
    following = pl.col("since").search_sorted(pl.col("at"), side="right").cast(pl.Int64)
    none = spans.height
    is_there = group.gather(following, null_on_oob=True) == group
    steps = spans.select(pl.when(is_there).then(following).otherwise(none)).to_series()
    steps = steps.extend(pl.Series([none], dtype=pl.Int64))
    is_start = group.ne_missing(group.shift())
    kept = spans.select(is_start.arg_true().cast(pl.Int64)).to_series()
    reached = kept
    while not reached.is_empty():
        reached = steps.gather(kept)
        reached = reached.filter(reached < none)
        kept = pl.concat([kept, reached])
        steps = steps.gather(steps)
    return spans[kept.sort()]


def with_first(
    served: pl.DataFrame, rows: pl.DataFrame, window: Window
) -> pl.DataFrame:
    """Add `first`: the row from which on activity counted towards each served row.

    It is the first in the window, and behind `previous`. The search runs over numbers
    in which a group's instants stand behind all instants of the group before it.
    """
    if rows.is_empty():
        return served.with_columns(first=pl.col("at"))
    bounds = rows.select(
        earliest=_MICROSECONDS.min(),
        latest=_MICROSECONDS.max(),
        groups=pl.col("group").max(),
    )
    earliest, latest, groups = bounds.row(0)
    length = latest - earliest + 2
    fits = (groups + 1) * length <= _MOST_INT64
    place = pl.col("group").cast(pl.Int64 if fits else pl.Int128) * length
    places = rows.select(place + (_MICROSECONDS - earliest)).to_series()
    start = (window.start().to_physical() - earliest).clip(lower_bound=-1)
    outside = served.select(place + start).to_series()
    first = pl.select(pl.lit(places).search_sorted(pl.lit(outside), side="right"))
    first_in_window = first.to_series().cast(pl.Int64)
    return served.with_columns(
        first=pl.max_horizontal(first_in_window, pl.col("previous") + 1)
    )
