"""Finds when each customer met a badge's rule: the qualifications of a badge.

Belongs here: the parts of a rule, its conditions and bounds, occurrences, and what
proves them. Does not belong here: reading activity in order (`ordering`), how each kind
counts (`counting`, `windows`, `streaks`, `elapsed`), what a condition may say
(`conditions`), and earn dates, holds and bounds of a run (`awards`).

Decided here, where the definition leaves it open:

* `where` and `source` of an `all_of` or `any_of` hold for each of its parts too.
* An activity of several lines is met as a whole: its measure is what stands after all
  of its lines that count, and all of them serve one occurrence.
* An amount that is null adds nothing to a sum, and the activity still counts as one.
  A null is no value for `distinct_count`, and such an activity is not looked at.
* A part that meets its rule in the same instant as another comes earlier or later by
  the order of the activity that proves it, then by its place in the list.
* With `repeat`, what follows the activity that completed a streak in the same period
  counts for the next streak.
* `threshold` is the rule's bound (`at_least`, `periods`, or the count of `after`), the
  same for every occurrence; `measure` runs on where counting runs on.
* `elapsed` is proved by the first activity, in units of `after`. Since that activity it
  is never dated before it; since a moment of the customer it may be. `mo` and `y`
  multiples count from the first day: 31 January, then 28 February, then 31 March.
* With `per`, `max_occurrences` keeps the earliest periods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import partial, reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from transforms.activity.accepted import IS_LINE, IS_RETURN
from transforms.conditions.condition import columns_in, condition
from transforms.errors import DefinitionRefused
from transforms.local_time import (
    BUILT_IN_TYPES,
    INSTANT,
    built_in_columns,
    start_of_day,
)
from transforms.rules.counting import (
    counted,
    distinct_counted,
    refuse_too_many,
    summed,
)
from transforms.rules.elapsed import elapsed
from transforms.rules.lines import with_activity_times
from transforms.rules.moments import Moments, Over, moments, proofs_by_moment
from transforms.rules.ordering import (
    DETAILS,
    Slice,
    Value,
    in_slices,
    mark,
    only_first,
    ordered,
    proofs_by_place,
)
from transforms.rules.parts import COMBINED, Part, refuse_meaningless, rule_parts
from transforms.rules.qualifying import qualifying
from transforms.rules.spans import Window
from transforms.rules.streaks import streaks, with_periods
from transforms.rules.windows import (
    counted_within,
    distinct_counted_within,
    summed_within,
)

if TYPE_CHECKING:
    from transforms.definition.definition import Badge, Rule

QUALIFICATIONS: dict[str, pl.DataType] = {
    "customer_id": pl.Int64(),
    "occurrence": pl.Int64(),
    "qualified_at": INSTANT,
    "measure": pl.Float64(),
    "threshold": pl.Float64(),
    "evidence_activity_id": pl.String(),
    "source": pl.String(),
}

_ROWS_A_SLICE = 2_000_000
# Finds DETAILS of the activity that stands behind some hits, in their order.
_Proving = Callable[[Sequence[pl.DataFrame]], list[pl.DataFrame]]
# More than 2^32 amounts of 64 bits come to, and still a number that Polars knows.
_NEVER = 2**100


@dataclass(frozen=True)
class _Setting:
    """What all parts of a badge share."""

    badge: Badge
    timezone: str
    as_of: datetime
    amount_decimals: int

    @property
    def most(self) -> int | None:
        """Return how often one group may meet a rule; None is without bound."""
        has_ordinals = self.badge.repeat and self.badge.rule.per is None
        return self.badge.max_occurrences if has_ordinals else 1


def qualifications(
    activity: pl.LazyFrame,
    badge: Badge,
    *,
    timezone: str,
    as_of: datetime,
    amount_decimals: int,
    rows_a_slice: int = _ROWS_A_SLICE,
) -> pl.DataFrame:
    """Return when each customer met the badge's rule; see `qualifications_of_each`."""
    (found,) = qualifications_of_each(
        activity,
        [badge],
        timezone=timezone,
        as_of=as_of,
        amount_decimals=amount_decimals,
        rows_a_slice=rows_a_slice,
    )
    return found


def qualifications_of_each(
    activity: pl.LazyFrame,
    badges: Sequence[Badge],
    *,
    timezone: str,
    as_of: datetime,
    amount_decimals: int,
    over: Over = map,
    rows_a_slice: int = _ROWS_A_SLICE,
) -> list[pl.DataFrame]:
    """Return when each customer met the rule of each badge, one row per occurrence.

    `activity`: customer_id Int64, activity_id String, occurred_at Datetime(us, UTC),
    source String, file_order Int32, row_number Int64 (no two rows have both of these in
    common), and what else `required_columns` names; amount is Int64 in minor units of
    `amount_decimals` decimals. It is read and sorted once for all badges, and looked at
    again for what proves a qualification.

    Returned, for each badge: QUALIFICATIONS, sorted by customer_id and occurrence.
    `measure` and `threshold` are counts, different values, periods, or money in
    currency units; `evidence_activity_id` and `source` name the activity that met the
    rule. Rows with IS_LINE are lines of activities, rows with IS_RETURN only lower
    sums. Activity later than `as_of` doesn't count; `hold` and earn bounds are not
    applied.

    Slices of customers know nothing of each other: `over` may look at several at once.

    Raises DefinitionRefused for a rule, a condition or a column without meaning.
    """
    settings = [_Setting(one, timezone, as_of, amount_decimals) for one in badges]
    for badge in badges:
        refuse_meaningless(badge)
    activity = with_activity_times(activity)
    known = {**activity.collect_schema(), **BUILT_IN_TYPES}
    looks = [
        _look(part, setting, known)
        for setting in settings
        for part in rule_parts(setting.badge)
    ]
    slices, marks, proofs_of = _read(activity, looks, timezone, rows_a_slice, over)
    hits = [
        _hits_of(slices, partial(_of_slice, look, mark), over)
        for look, mark in zip(looks, marks, strict=True)
    ]
    met = iter(_proved(hits, proofs_of(hits), looks))
    return [_of_badge([next(met) for _ in rule_parts(one)], one) for one in badges]


def required_columns(badge: Badge) -> set[str]:
    """Return the columns of activity that a badge's rule and conditions look at."""
    names = {"customer_id", "occurred_at", *DETAILS}
    for part in rule_parts(badge):
        value = _value_name(part.rule)
        names |= set() if value is None else {value}
        for text in part.wheres.values():
            names |= columns_in(text)
    return names - built_in_columns("UTC").keys()


def values_looked_at(badges: Sequence[Badge]) -> set[str]:
    """Return the columns whose values stay in memory while rules are looked at."""
    names = {_value_name(part.rule) for badge in badges for part in rule_parts(badge)}
    return {name for name in names if name is not None}


def rows_a_hit(badge: Badge) -> int:
    """Return how many rows that nothing but instants are looked at of meet a rule once.

    That is the least; 0, if something else is looked at, or several parts are.
    """
    rule = badge.rule
    if rule.kind in COMBINED or _value_name(rule) is not None:
        return 0
    return int(rule.at_least or 1) * int(rule.periods or 1)


def _value_name(rule: Rule) -> str | None:
    """Return the column whose values the rule looks at."""
    if rule.since not in {None, "first_activity"}:
        return rule.since
    return "amount" if rule.kind == "total_amount" else rule.of


@dataclass(frozen=True)
class _Look:
    """What one part of a rule looks at."""

    rule: Rule
    setting: _Setting
    condition: pl.Expr
    value: Value | None


def _look(part: Part, setting: _Setting, known: Mapping[str, pl.DataType]) -> _Look:
    conditions = [
        condition(text, known, place=place, amount_decimals=setting.amount_decimals)
        for place, text in part.wheres.items()
    ]
    rule, column = part.rule, _value_name(part.rule)
    if column is not None and column not in known:
        raise DefinitionRefused.of(
            "unknown_column",
            f"the activity has no column '{column}': map it in the source's columns",
            column=part.place,
        )
    is_distinct = rule.kind == "distinct_count"
    if is_distinct:
        conditions.append(pl.col(str(column)).is_not_null())
    if rule.kind != "total_amount" and IS_RETURN in known:
        conditions.append(~pl.col(IS_RETURN))
    whole = [*_bounds(setting), *_of_sources(part), *conditions]
    value = None if column is None else Value(column=column, is_code=is_distinct)
    return _Look(rule, setting, reduce(and_, whole), value)


def _of_sources(part: Part) -> list[pl.Expr]:
    return [pl.col("source") == source for source in part.sources]


def _bounds(setting: _Setting) -> list[pl.Expr]:
    """Return the conditions on time: `as_of`, and the days that are counted."""
    badge, occurred_at = setting.badge, pl.col("occurred_at")
    bounds = [occurred_at <= pl.lit(setting.as_of, dtype=INSTANT)]
    if badge.counted_from is not None:
        first = start_of_day(badge.counted_from, setting.timezone)
        bounds.append(occurred_at >= pl.lit(first, dtype=INSTANT))
    if badge.counted_until is not None:
        end = start_of_day(badge.counted_until, setting.timezone)
        bounds.append(occurred_at < pl.lit(end, dtype=INSTANT))
    return bounds


def _read(
    activity: pl.LazyFrame,
    looks: Sequence[_Look],
    timezone: str,
    rows_a_slice: int,
    over: Over,
) -> tuple[Sequence[Slice], Sequence[str | None], _Proving]:
    """Return the rows that count for any part, in order and in slices.

    And each part's mark in them, and what finds the proofs of hits.
    """
    conditions: list[pl.Expr] = []
    numbers = []
    for look in looks:
        known = [n for n, one in enumerate(conditions) if one.meta.eq(look.condition)]
        numbers.append(known[0] if known else len(conditions))
        conditions += [] if known else [look.condition]
    values = {look.value.name: look.value for look in looks if look.value is not None}
    used = {name for one in conditions for name in one.meta.root_names()}
    used |= {value.column for value in values.values()}
    built_in = built_in_columns(timezone).items()
    looked_at = activity.with_columns(
        **{name: one for name, one in built_in if name in used}
    )
    has_lines = IS_LINE in activity.collect_schema()
    marks = [mark(n) if len(conditions) > 1 else None for n in numbers]
    if len(conditions) == 1:
        counting = looked_at.filter(*conditions)
        if not values and not has_lines:
            slices = moments(counting, rows_a_slice, over)
            return slices, marks, partial(proofs_by_moment, counting)
        if {look.rule.kind for look in looks} == {"elapsed"}:
            looked_at = only_first(counting)
    order = ordered(looked_at, conditions, list(values.values()))
    in_parts = list(in_slices(order, rows_a_slice))
    return in_parts, marks, partial(proofs_by_place, order.origins, activity)


def _hits_of(
    slices: Sequence[Slice], hits_of: Callable[[Slice], pl.DataFrame], over: Over
) -> pl.DataFrame:
    """Return the rows that met one part, of all slices."""
    found: list[pl.DataFrame] = []
    for hits in over(hits_of, slices):
        found.append(hits)
        refuse_too_many(sum(one.height for one in found))
    return pl.concat(found, how="vertical_relaxed")


def _of_slice(look: _Look, counts: str | None, part: Slice) -> pl.DataFrame:
    """Return the rows that met one part, of those of a slice that have a mark."""
    nth = _only_nth(look)
    if isinstance(part, Moments) and nth is not None:
        return _met(part.nth(nth), look.rule, look.setting)
    rows = qualifying(
        part,
        counts,
        look.value,
        per=look.rule.per,
        timezone=look.setting.timezone,
        by_line=look.rule.kind == "distinct_count",
    )
    return _met(rows, look.rule, look.setting)


def _only_nth(look: _Look) -> int | None:
    """Return which row of each customer decides, where it is one alone."""
    rule = look.rule
    if rule.kind == "elapsed":
        return 1
    is_plain = (
        rule.kind == "activity_count" and rule.within is None and rule.per is None
    )
    return _bound(rule, look.setting) if is_plain and look.setting.most == 1 else None


def _met(rows: pl.DataFrame, rule: Rule, setting: _Setting) -> pl.DataFrame:
    """Return the rows that met one rule; with `per` and no `repeat` the first period's.

    Columns: see `counting`.
    """
    most, timezone = setting.most, setting.timezone
    window = None if rule.within is None else Window(rule.within, timezone)
    bound = _bound(rule, setting)
    if rule.period is not None:
        at_least = int(rule.at_least or 1)
        periods = with_periods(rows, rule.period, timezone)
        found = streaks(periods, bound, at_least, window, most=most)
    elif rule.after is not None:
        as_of = setting.as_of
        found = elapsed(rows, rule.after, timezone=timezone, as_of=as_of, most=most)
    elif window is None:
        found = _RUNNING[rule.kind](rows, bound, most=most)
    else:
        found = _SLIDING[rule.kind](rows, bound, window, most=most)
    if rule.per is not None and not setting.badge.repeat:
        found = found.sort("customer_id", "period")
        found = found.unique("customer_id", keep="first", maintain_order=True)
    return found


_RUNNING = {
    "activity_count": counted,
    "distinct_count": distinct_counted,
    "total_amount": summed,
}
_SLIDING = {
    "activity_count": counted_within,
    "distinct_count": distinct_counted_within,
    "total_amount": summed_within,
}


def _bound(rule: Rule, setting: _Setting) -> int:
    """Return what must be reached, money in minor units."""
    if rule.after is not None:
        return rule.after.count
    at_least = rule.periods or rule.at_least or 0
    # An amount between two minor units is reached with the next whole one.
    bound = math.ceil(Fraction(at_least) * _unit(rule, setting))
    return min(bound, _NEVER)


def _unit(rule: Rule, setting: _Setting) -> int:
    """Return how many of what is counted make one of what is shown."""
    return 10**setting.amount_decimals if rule.kind == "total_amount" else 1


def _proved(
    hits: Sequence[pl.DataFrame],
    proven: Sequence[pl.DataFrame],
    looks: Sequence[_Look],
) -> list[pl.DataFrame]:
    """Return who met each part when, with what proves it.

    customer_id, occurrence, qualified_at, measure, threshold; occurred_at and DETAILS
    of the activity that proves it.
    """
    met = []
    for found, proof, look in zip(hits, proven, looks, strict=True):
        unit = _unit(look.rule, look.setting)
        per_period = look.rule.per is not None and look.setting.badge.repeat
        met.append(
            pl.concat([found, proof], how="horizontal").select(
                "customer_id",
                _divided(pl.col("measure").cast(pl.Float64), unit),
                *DETAILS,
                "qualified_at",
                "occurred_at",
                occurrence="period" if per_period else "ordinal",
                threshold=pl.lit(_bound(look.rule, look.setting) / unit),
            )
        )
    return met


def _divided(number: pl.Expr, divisor: int) -> pl.Expr:
    """Return the quotient as the nearest double.

    Dividing by a literal, Polars multiplies by its reciprocal: 4655 / 100 would be
    46.550000000000004.
    """
    return number / (number * 0 + divisor)


def _of_badge(met: Sequence[pl.DataFrame], badge: Badge) -> pl.DataFrame:
    """Return a badge's qualifications, from those of its rule or of the parts of it."""
    frame = _deciding(met, badge.rule) if badge.rule.kind in COMBINED else met[0]
    frame = frame.sort("customer_id", "occurrence")
    if badge.repeat and badge.max_occurrences is not None:
        earlier = pl.int_range(pl.len()).over("customer_id")
        frame = frame.filter(earlier < badge.max_occurrences)
    return frame.rename({"activity_id": "evidence_activity_id"}).select(
        pl.col(name).cast(dtype) for name, dtype in QUALIFICATIONS.items()
    )


def _deciding(met: Sequence[pl.DataFrame], rule: Rule) -> pl.DataFrame:
    """Return the part by which an `all_of` or `any_of` is met, for each customer.

    That is the last or the first one; parts met in the same instant follow each other
    as the activities that prove them do, and then as they are listed.
    """
    parts = [frame.with_columns(listed=index) for index, frame in enumerate(met)]
    order = ("customer_id", "qualified_at", "occurred_at", *DETAILS, "listed")
    frame = pl.concat(parts).sort(order)
    if rule.kind == "any_of":
        return frame.unique("customer_id", keep="first", maintain_order=True)
    is_met = pl.len().over("customer_id") == len(met)
    frame = frame.filter(is_met)
    return frame.unique("customer_id", keep="last", maintain_order=True)
