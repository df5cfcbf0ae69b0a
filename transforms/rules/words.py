"""Says a badge's rule in words, for people who don't read definitions.

Belongs here: one sentence for every kind of rule and every key that changes whom it
awards. Does not belong here: what a rule does (`rules`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transforms.definition.definition import Badge, Duration, Rule

_UNITS = {"h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


def rule_words(badge: Badge) -> str:
    """Return when the badge is earned, as one sentence without its full stop.

    `where` stands in it as it is written in the definition.
    """
    return "; ".join([_met(badge.rule, badge), *_bounds(badge)])


def part_words(rule: Rule, badge: Badge) -> str:
    """Return the same of one rule alone, without what the badge demands besides."""
    return _met(rule, badge)


def duration_words(duration: Duration) -> str:
    """Return a duration in words: `3 months`."""
    unit = _UNITS[duration.unit]
    return f"{duration.count} {unit}{'' if duration.count == 1 else 's'}"


def since_words(rule: Rule) -> str:
    """Return from when an `elapsed` counts: `the first activity`."""
    if rule.since == "first_activity":
        return "the first activity"
    return f"the customer's {str(rule.since).removeprefix('customer.')}"


def ordinal_words(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, 11th, 21st and so on."""
    tens, ones = divmod(number % 100, 10)
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(ones, "th") if tens != 1 else "th"
    return f"{number:,}{suffix}"


def number_words(number: int | Decimal) -> str:
    """Return a number of the definition with separators, no more digits than it has."""
    value = Decimal(number)
    if value == value.to_integral_value():
        return f"{int(value):,}"
    return f"{value:,}"


def _met(rule: Rule, badge: Badge) -> str:
    if rule.kind in {"all_of", "any_of"}:
        how = "the last" if rule.kind == "all_of" else "the first"
        parts = "; ".join(
            f"({number}) {_met(part, badge)}"
            for number, part in enumerate(rule.rules, start=1)
        )
        return f"{how} of these to be met: {parts}{_narrowed(rule)}"
    return _KINDS[rule.kind](rule, badge) + _spanned(rule) + _narrowed(rule)


def _count(rule: Rule, badge: Badge) -> str:
    number = int(rule.at_least or 0)
    if badge.repeat and rule.per is None:
        return "every activity" if number == 1 else f"every {number:,} activities"
    return f"the {ordinal_words(number)} activity"


def _amount(rule: Rule, badge: Badge) -> str:
    number = number_words(rule.at_least or 0)
    if badge.repeat and rule.per is None:
        return f"every full {number} of amounts added up"
    return f"amounts that add up to {number} or more"


def _different(rule: Rule, badge: Badge) -> str:
    number = int(rule.at_least or 0)
    if badge.repeat and rule.per is None:
        return f"every {ordinal_words(number)} different {rule.of}"
    return f"the {ordinal_words(number)} different {rule.of}"


def _streak(rule: Rule, badge: Badge) -> str:
    del badge
    least = int(rule.at_least or 1)
    each = "an activity" if least == 1 else f"{least:,} activities or more"
    return f"{int(rule.periods or 0):,} {rule.period}s in a row with {each} in each"


def _elapsed(rule: Rule, badge: Badge) -> str:
    after = duration_words(rule.after) if rule.after else ""
    return f"{'every ' if badge.repeat else ''}{after} since {since_words(rule)}"


_KINDS = {
    "activity_count": _count,
    "total_amount": _amount,
    "distinct_count": _different,
    "streak": _streak,
    "elapsed": _elapsed,
}


def _spanned(rule: Rule) -> str:
    if rule.within is not None:
        return f", within {duration_words(rule.within)}"
    return "" if rule.per is None else f", counted anew each {rule.per}"


def _narrowed(rule: Rule) -> str:
    told = f", where {rule.where}" if rule.where else ""
    return told + (f", of source {rule.source}" if rule.source else "")


def _bounds(badge: Badge) -> Iterator[str]:
    if badge.where:
        yield f"only activity where {badge.where}"
    if badge.max_occurrences is not None:
        yield f"{badge.max_occurrences:,} times at most"
    elif badge.repeat:
        yield "as often as it is met"
    counted = _from_until(badge.counted_from, badge.counted_until)
    if counted:
        yield f"counting activity {counted}"
    earned = _from_until(badge.earned_from, badge.earned_until)
    if earned:
        yield f"awarded if earned {earned}"
    if badge.hold is not None:
        yield f"nothing younger than {duration_words(badge.hold)} is awarded yet"
    if badge.before_window == "window_start":
        yield "what was met before the badge's window counts as met at its start"


def _from_until(first: object, end: object) -> str:
    told = [f"from {first}"] if first else []
    return " ".join([*told, *([f"before {end}"] if end else [])])
