"""Works out every rule in plain Python, one customer and one activity at a time.

Written from the text of the design, to be read against it: slow, obvious, and sharing
no code with the program. A badge is only looked at (its attributes, not its class).
"""

from __future__ import annotations

import calendar
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import count, islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True, kw_only=True)
class Activity:
    """One activity; amount in minor units, further columns by name."""

    customer_id: int
    occurred_at: datetime
    activity_id: str
    amount: int | None = None
    source: str = "activity"
    file_order: int = 0
    row_number: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict)
    # What a rule counts different ones of: the values of all lines of the activity.
    values: frozenset[Any] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Earned:
    """One occurrence of a badge; measure and threshold in units that people read."""

    customer_id: int
    occurrence: int
    qualified_at: datetime
    measure: float
    threshold: float
    evidence: Activity


# A condition says True, False, or None for unknown.
Conditions = Mapping[str, Callable[[Activity], bool | None]]


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """What a badge's rule is looked at with."""

    badge: Any
    timezone: str
    as_of: datetime
    amount_decimals: int = 2
    conditions: Conditions = field(default_factory=dict)
    line_sources: frozenset[str] = frozenset()

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone of local days."""
        return ZoneInfo(self.timezone)

    def earned(self, activity: Iterable[Activity]) -> list[Earned]:
        """Return every occurrence, sorted by customer and occurrence."""
        customers = defaultdict(list)
        for one in self.with_times(list(activity)):
            if self.is_in_time(one):
                customers[one.customer_id].append(one)
        found = []
        for customer_id in sorted(customers):
            ordered = sorted(customers[customer_id], key=in_order)
            earned = sorted(self.of_customer(ordered), key=lambda e: e.occurrence)
            if self.badge.repeat and self.badge.max_occurrences is not None:
                earned = earned[: self.badge.max_occurrences]
            found += earned
        return found

    def with_times(self, activity: list[Activity]) -> Iterator[Activity]:
        """Give each line the time and the row of its activity: the earliest, first."""
        for one in activity:
            if one.source not in self.line_sources:
                yield one
                continue
            lines = [other for other in activity if name(other) == name(one)]
            yield replace(
                one,
                occurred_at=min(line.occurred_at for line in lines),
                row_number=min(line.row_number for line in lines),
            )

    def is_in_time(self, one: Activity) -> bool:
        """Return whether the activity has happened, on a day that counts."""
        if one.occurred_at > self.as_of:
            return False
        since, until = self.badge.counted_from, self.badge.counted_until
        if since is None and until is None:
            return True
        day = self.local(one.occurred_at).date()
        return (since is None or day >= since) and (until is None or day < until)

    def of_customer(self, ordered: list[Activity]) -> list[Earned]:
        """Return one customer's occurrences; a combined rule has one at most."""
        rule = self.badge.rule
        ordered = [one for one in ordered if self.holds(self.badge.where, one)]
        ordered = self.looked_at(rule, ordered)
        if rule.kind not in {"all_of", "any_of"}:
            return self.met(rule, ordered)
        parts = [self.met(part, self.looked_at(part, ordered)) for part in rule.rules]
        firsts = [
            (part[0].qualified_at, in_order(part[0].evidence), index, part[0])
            for index, part in enumerate(parts)
            if part
        ]
        if rule.kind == "any_of":
            return [min(firsts)[-1]] if firsts else []
        return [max(firsts)[-1]] if len(firsts) == len(parts) else []

    def looked_at(self, rule: Any, ordered: list[Activity]) -> list[Activity]:
        """Keep what qualifies: a null is no value to be counted."""
        return [
            one
            for one in ordered
            if self.holds(rule.where, one)
            and (rule.source is None or one.source == rule.source)
            and (rule.of is None or value_of(rule, one) is not None)
        ]

    def holds(self, where: str | None, one: Activity) -> bool:
        """Return whether a condition is true; unknown is not true."""
        return where is None or self.conditions[where](one) is True

    def met(self, rule: Any, ordered: list[Activity]) -> list[Earned]:
        """Return when one customer's activity meets one rule."""
        ordered = list(self.as_activities(rule, ordered))
        if rule.kind == "elapsed":
            return list(self.elapsed(rule, ordered))
        if rule.per is not None:
            return self.met_in_periods(rule, ordered)
        if not self.badge.repeat:
            return list(islice(self.met_in_a_row(rule, ordered), 1))
        if rule.within is not None or rule.kind == "streak":
            return list(self.met_in_a_row(rule, ordered))
        return list(self.met_at_multiples(rule, ordered))

    def as_activities(self, rule: Any, ordered: list[Activity]) -> Iterator[Activity]:
        """Make one activity of its lines: amounts added up, values side by side."""
        ordered = [replace(o, values=frozenset([value_of(rule, o)])) for o in ordered]
        while ordered:
            first = ordered[0]
            lines = [first]
            if first.source in self.line_sources:
                lines = [one for one in ordered if name(one) == name(first)]
            ordered = [one for one in ordered if one not in lines]
            amounts = [one.amount for one in lines if one.amount is not None]
            yield replace(
                first,
                amount=sum(amounts) if amounts else None,
                values=frozenset().union(*(one.values for one in lines)),
            )

    def met_in_periods(self, rule: Any, ordered: list[Activity]) -> list[Earned]:
        """Count anew in each calendar period."""
        periods = defaultdict(list)
        for one in ordered:
            periods[period_name(self.local(one.occurred_at).date(), rule.per)].append(
                one
            )
        found = [
            self.named(earned, name if self.badge.repeat else 1)
            for name in sorted(periods)
            for earned in islice(self.met_in_a_row(rule, periods[name]), 1)
        ]
        return found if self.badge.repeat else found[:1]

    def met_in_a_row(self, rule: Any, ordered: list[Activity]) -> Iterator[Earned]:
        """Count until the rule is met, then start again with what comes after."""
        numbers = count(1)
        tally = Tally(self, rule)
        for one in ordered:
            measure = tally.with_(one)
            if measure >= tally.bound:
                yield self.proved(one, next(numbers), tally, measure)
                tally = Tally(self, rule)

    def met_at_multiples(self, rule: Any, ordered: list[Activity]) -> Iterator[Earned]:
        """Count on, and meet the rule at 1, 2, 3, … times its bound."""
        tally = Tally(self, rule)
        number = 1
        for one in ordered:
            measure = tally.with_(one)
            while measure >= number * tally.bound:
                yield self.proved(one, number, tally, measure)
                number += 1

    def elapsed(self, rule: Any, ordered: list[Activity]) -> Iterator[Earned]:
        """Meet the rule at the start of each local day a multiple later."""
        if not ordered:
            return
        first = ordered[0]
        for number in count(1) if self.badge.repeat else (1,):
            day = self.day_after(first.occurred_at, rule.after, number)
            met_at = max(self.instant(datetime.combine(day, time())), first.occurred_at)
            if met_at > self.as_of:
                return
            yield Earned(
                customer_id=first.customer_id,
                occurrence=number,
                qualified_at=met_at,
                measure=float(number * rule.after.count),
                threshold=float(rule.after.count),
                evidence=first,
            )

    def day_after(self, instant: datetime, after: Any, times: int) -> date:
        """Return the local day on which so many times `after` are over."""
        if after.unit in HOURS:
            passed = timedelta(hours=HOURS[after.unit]) * after.count * times
            return self.local(instant + passed).date()
        months = MONTHS[after.unit] * after.count * times
        return months_later(self.local(instant).replace(tzinfo=None), months).date()

    def window_start(self, instant: datetime, within: Any) -> datetime:
        """Return the instant after which activity is inside the window."""
        if within.unit in HOURS:
            return instant - timedelta(hours=HOURS[within.unit]) * within.count
        local = self.local(instant).replace(tzinfo=None, fold=0)
        return self.instant(months_later(local, -MONTHS[within.unit] * within.count))

    def local(self, instant: datetime) -> datetime:
        """Return the instant on the local clock."""
        return instant.astimezone(self.zone)

    def instant(self, local: datetime) -> datetime:
        """Return the first instant with this local time; left out ones move on."""
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def proved(
        self, one: Activity, occurrence: int, tally: Tally, measure: int
    ) -> Earned:
        """Return an occurrence with the activity that met the rule."""
        return Earned(
            customer_id=one.customer_id,
            occurrence=occurrence,
            qualified_at=one.occurred_at,
            measure=float(Fraction(measure, tally.unit)),
            threshold=float(Fraction(tally.bound) / tally.unit),
            evidence=one,
        )

    def named(self, earned: Earned, occurrence: int) -> Earned:
        """Return the same with another occurrence."""
        return Earned(**{**vars(earned), "occurrence": occurrence})


class Tally:
    """What was counted since counting began; money in minor units."""

    def __init__(self, oracle: Oracle, rule: Any) -> None:
        self.oracle, self.rule = oracle, rule
        is_money = rule.kind == "total_amount"
        self.unit = 10**oracle.amount_decimals if is_money else 1
        self.bound = (
            rule.periods if rule.kind == "streak" else rule.at_least * self.unit
        )
        self.seen: list[Activity] = []
        self.running = 0
        self.values: set[Any] = set()
        self.numbers: Counter[int] = Counter()

    def with_(self, one: Activity) -> int:
        """Return what stands after one more activity."""
        self.seen.append(one)
        if self.rule.kind == "streak":
            return min(self.consecutive_periods(one), self.bound)
        if self.rule.within is not None:
            return self.measured(self.inside_window(one))
        if self.rule.kind == "distinct_count":
            self.values |= one.values
            return len(self.values)
        self.running += self.measured([one])
        return self.running

    def measured(self, some: list[Activity]) -> int:
        """Return the count, the different values or the money of some activity."""
        if self.rule.kind == "activity_count":
            return len(some)
        if self.rule.kind == "distinct_count":
            return len(frozenset().union(*(one.values for one in some)))
        return sum(one.amount for one in some if one.amount is not None)

    def inside_window(self, last: Activity) -> list[Activity]:
        """Return what was seen in the window that ends with the last one."""
        start = self.oracle.window_start(last.occurred_at, self.rule.within)
        # What was seen is in the order of time.
        newest_first = reversed(self.seen)
        return list(takewhile(lambda one: one.occurred_at > start, newest_first))

    def consecutive_periods(self, last: Activity) -> int:
        """Return how many full periods in a row end with the activity's own."""
        needed = self.rule.at_least or 1
        here = self.number(last)
        self.numbers[here] += 1
        numbers = self.numbers
        if self.rule.within is not None:
            numbers = Counter(self.number(one) for one in self.inside_window(last))
        run = 0
        while numbers[here - run] >= needed:
            run += 1
        return run

    def number(self, one: Activity) -> int:
        """Return the local day, week (from Monday) or month as a running number."""
        day = self.oracle.local(one.occurred_at).date()
        if self.rule.period == "day":
            return day.toordinal()
        if self.rule.period == "week":
            monday = day - timedelta(days=day.weekday())
            return monday.toordinal() // 7
        return day.year * 12 + day.month


HOURS = {"h": 1, "d": 24, "w": 24 * 7}
MONTHS = {"mo": 1, "y": 12}


def name(one: Activity) -> tuple[Any, ...]:
    """Return what the lines of one activity have in common."""
    return one.customer_id, one.source, one.activity_id


def in_order(one: Activity) -> tuple[Any, ...]:
    """Return the sort key of activity; ties end with the row."""
    tie = (one.activity_id, one.file_order, one.row_number, one.source)
    return (one.occurred_at, *tie)


def value_of(rule: Any, one: Activity) -> Any:
    """Return the value that a rule counts different ones of."""
    return one.columns.get(rule.of)


def months_later(local: datetime, months: int) -> datetime:
    """Return the same time of day, on the last day where the month is too short."""
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return local.replace(year=year, month=month + 1, day=min(local.day, last_day))


def period_name(day: date, per: str) -> int:
    """Return 2024, 20243, 202406, or the ISO week 202423."""
    if per == "week":
        year, week, _ = day.isocalendar()
        return year * 100 + week
    if per == "month":
        return day.year * 100 + day.month
    if per == "quarter":
        return day.year * 10 + (day.month + 2) // 3
    return day.year
