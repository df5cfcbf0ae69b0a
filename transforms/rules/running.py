"""Works out what a rule had counted after each activity of one customer.

Belongs here: the running measure that an explanation shows, one activity after the
other, in plain Python. Does not belong here: when a rule is met: `rules` says that for
all customers at once, and a test holds the two together.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from transforms.local_time import calendar_period, one_earlier, period_number

if TYPE_CHECKING:
    from collections.abc import Collection

    from transforms.definition.definition import Rule


def running_measures(
    rows: pl.DataFrame, rule: Rule, *, timezone: str, restarts: Collection[int] = ()
) -> list[int]:
    """Return the measure after each row: a count, minor units, values, or periods.

    `rows`: one customer's counted activity in order, occurred_at Datetime(us, UTC) and
    value (what the rule looks at; null adds nothing to a sum). `restarts`: places of
    rows after which counting starts again. Of a streak it is the number of full
    periods in a row up to here; the period that is still filling does not break it.
    """
    if rule.kind == "elapsed":
        return [0] * rows.height
    frame = _with_calendar(rows, rule, timezone)
    columns = {name: frame[name].to_list() for name in frame.columns}
    tally = _Tally(rule, columns)
    measures = []
    for at in range(rows.height):
        is_new_period = at > 0 and columns["per"][at] != columns["per"][at - 1]
        if at - 1 in restarts or is_new_period:
            tally.start_again(at)
        measures.append(tally.measure(at))
    return measures


def _with_calendar(rows: pl.DataFrame, rule: Rule, timezone: str) -> pl.DataFrame:
    """Add per, window (the instant after which activity counts) and number."""
    happened = pl.col("occurred_at")
    nothing = pl.lit(None, dtype=pl.Int64)
    per = nothing if rule.per is None else calendar_period(happened, rule.per, timezone)
    window, number = nothing, nothing
    if rule.within is not None:
        window = one_earlier(happened, rule.within, timezone)
    if rule.period is not None:
        number = period_number(happened, rule.period, timezone)
    return rows.with_columns(per=per, window=window, number=number)


class _Tally:
    """What has been counted since counting began last, inside the window."""

    def __init__(self, rule: Rule, columns: dict[str, list[Any]]) -> None:
        self._rule = rule
        self._columns = columns
        self._needed = int(rule.at_least or 1)
        self._counted = columns["number" if rule.period else "value"]
        self.start_again(0)

    def start_again(self, at: int) -> None:
        """Count from this row on."""
        self._first, self._sum = at, 0
        self._counts: Counter[Any] = Counter()

    def measure(self, at: int) -> int:
        """Take one more row in; return what stands after it."""
        self._take(at, 1)
        self._leave_window(at)
        kind = self._rule.kind
        if kind == "activity_count":
            return at - self._first + 1
        if kind == "streak":
            return self._periods(self._counted[at])
        return self._sum if kind == "total_amount" else len(self._counts)

    def _take(self, at: int, times: int) -> None:
        counted = self._counted[at]
        if self._rule.kind == "total_amount":
            self._sum += times * (counted or 0)
            return
        self._counts[counted] += times
        if not self._counts[counted]:
            del self._counts[counted]

    def _leave_window(self, at: int) -> None:
        """Take out what lies outside the window that ends with this row."""
        start = self._columns["window"][at]
        while start is not None and self._columns["occurred_at"][self._first] <= start:
            self._take(self._first, -1)
            self._first += 1

    def _periods(self, here: int) -> int:
        """Return how many full periods in a row end here, or just before."""
        if self._counts[here] < self._needed:
            here -= 1
        run = 0
        while self._counts[here - run] >= self._needed:
            run += 1
        return run
