"""Finds when each customer met a badge's rule: the qualifications of a badge.

Belongs here: the parts of a rule, its conditions and bounds, occurrences, and what
proves them. Does not belong here: how each kind counts (`counting`, `windows`,
`streaks`, `elapsed`), what a condition may say (`conditions`), and earn dates, holds
and bounds of a run (`awards`).

Decided here, where the definition leaves it open:

* `where` and `source` of an `all_of` or `any_of` hold for each of its parts too.
* An amount that is null adds nothing to a sum, and the activity still counts as one.
  A null is no value for `distinct_count`, and such an activity is not looked at.
* A part that meets its rule in the same instant as another comes earlier or later by
  the order of the activity that proves it, then by its place in the list.
* With `repeat`, what follows the activity that completed a streak in the same period
  counts for the next streak.
* `threshold` is the rule's bound (`at_least`, `periods`, or the count of `after`), the
  same for every occurrence; `measure` runs on where counting runs on.
* `elapsed` is proved by the first activity, in units of `after`, and never dated before
  it. `mo` and `y` multiples count from the first day: 31 January, then 28 February,
  then 31 March.
* With `per`, `max_occurrences` keeps the earliest periods.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl
import sqlglot
from sqlglot import exp

from transforms.conditions import condition
from transforms.counting import counted, distinct_counted, summed
from transforms.definition import Badge, Rule
from transforms.elapsed import elapsed
from transforms.errors import DefinitionRefused, Fault
from transforms.local_time import INSTANT, built_in_columns, start_of_day
from transforms.qualifying import DETAILS, Qualifying, qualifying
from transforms.spans import Window
from transforms.streaks import streaks
from transforms.windows import counted_within, distinct_counted_within, summed_within

QUALIFICATIONS = pl.Schema(
    {
        "customer_id": pl.Int64,
        "occurrence": pl.Int64,
        "qualified_at": INSTANT,
        "measure": pl.Float64,
        "threshold": pl.Float64,
        "evidence_activity_id": pl.String,
        "source": pl.String,
    }
)
_COMBINED = ("all_of", "any_of")
_ORDER = ("qualified_at", *DETAILS)


@dataclass(frozen=True)
class _Part:
    """A rule that is met by itself, and all that must hold for what it counts."""

    rule: Rule
    place: str
    wheres: tuple[tuple[str, str], ...]  # place, condition
    sources: tuple[str, ...]


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
        ordinals = self.badge.repeat and self.badge.rule.per is None
        return self.badge.max_occurrences if ordinals else 1


def qualifications(
    activity: pl.LazyFrame,
    badge: Badge,
    *,
    timezone: str,
    as_of: datetime,
    amount_decimals: int,
) -> pl.DataFrame:
    """Return when each customer met the badge's rule, one row per occurrence.

    `activity`: customer_id Int64, activity_id String, occurred_at Datetime(us, UTC),
    source String, file_order Int32, row_number Int64, and what `required_columns` names
    besides; amount is Int64 in minor units of `amount_decimals` decimals.

    Returned: QUALIFICATIONS, sorted by customer_id and occurrence. `measure` and
    `threshold` are counts, different values, periods, or money in currency units;
    `evidence_activity_id` and `source` name the activity that met the rule. Activity
    later than `as_of` doesn't count; `hold` and earn bounds are not applied.

    Raises DefinitionRefused for a rule or condition that has no meaning.
    """
    setting = _Setting(badge, timezone, as_of, amount_decimals)
    _refuse_meaningless(badge)
    met = [_met(activity, part, setting) for part in _parts(badge)]
    frame = _deciding(met, badge.rule) if badge.rule.kind in _COMBINED else met[0]
    frame = frame.sort("customer_id", "occurrence")
    if badge.repeat and badge.max_occurrences is not None:
        earlier = pl.int_range(pl.len()).over("customer_id")
        frame = frame.filter(earlier < badge.max_occurrences)
    return frame.rename({"activity_id": "evidence_activity_id"}).select(
        pl.col(name).cast(dtype) for name, dtype in QUALIFICATIONS.items()
    )


def required_columns(badge: Badge) -> set[str]:
    """Return the columns of activity that the badge's rule and conditions look at."""
    built_in = {
        name: set(expression.meta.root_names())
        for name, expression in built_in_columns("UTC").items()
    }
    names = {"customer_id", "occurred_at", *DETAILS}
    for part in _parts(badge):
        value = _value_name(part.rule)
        names |= set() if value is None else {value}
        for _, text in part.wheres:
            parsed = sqlglot.parse_one(text)
            names |= {column.name for column in parsed.find_all(exp.Column)}
    return set().union(*(built_in.get(name, {name}) for name in names))


def _parts(badge: Badge) -> list[_Part]:
    place = f"badges.{badge.name}"
    rule = badge.rule
    wheres = [(f"{place}.where", badge.where), (f"{place}.rule.where", rule.where)]
    sources = [rule.source]
    rules = {f"{place}.rule": rule}
    if rule.kind in _COMBINED:
        rules = {f"{place}.rule.rules.{i}": part for i, part in enumerate(rule.rules)}
    return [
        _Part(
            rule=part,
            place=at,
            wheres=tuple(
                (where, text)
                for where, text in dict([*wheres, (f"{at}.where", part.where)]).items()
                if text is not None
            ),
            sources=tuple(
                source for source in {*sources, part.source} if source is not None
            ),
        )
        for at, part in rules.items()
    ]


def _refuse_meaningless(badge: Badge) -> None:
    """Refuse what the definition's checks refuse, lest it were ignored here."""
    place = f"badges.{badge.name}.rule"
    is_combined = badge.rule.kind in _COMBINED
    wrong = {
        f"badges.{badge.name}.repeat": is_combined and badge.repeat,
        f"{place}.rules": is_combined and not badge.rule.rules,
    }
    for part in [*_parts(badge), _Part(badge.rule, place, (), ())]:
        rule = part.rule
        has_windows = rule.kind in {*_COMBINED, "elapsed"}
        wrong |= {
            f"{part.place}.kind": rule.kind in _COMBINED and rule is not badge.rule,
            f"{part.place}.within": rule.within is not None and has_windows,
            f"{part.place}.per": rule.per is not None
            and (has_windows or rule.within is not None),
            f"{part.place}.since": rule.since not in {None, "first_activity"},
        }
    faults = [
        Fault(
            code="wrong_value",
            message="has no meaning here: remove it, or see what the kind of rule takes",
            column=key,
        )
        for key, is_wrong in wrong.items()
        if is_wrong
    ]
    if faults:
        raise DefinitionRefused(*faults)


def _met(activity: pl.LazyFrame, part: _Part, setting: _Setting) -> pl.DataFrame:
    """Return who met one rule when: customer_id, occurrence, measure, _ORDER, …"""
    rule, badge = part.rule, setting.badge
    value = _value_name(rule)
    found = qualifying(
        activity,
        part_conditions(...),
    )
