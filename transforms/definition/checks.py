"""Checks the keys of a definition against each other and against the world.

Belongs here: what a definition may say although each of its keys has the right type.
Does not belong here: the keys and their types (`definition`), what a rule means
(`rules`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from transforms.activity.accepted import BUILT_INS, activity_columns, customer_columns
from transforms.conditions.condition import condition
from transforms.definition.customer_checks import check_customers
from transforms.definition.places import Key, Places
from transforms.definition.return_checks import check_returns
from transforms.definition.source_checks import (
    Faulty,
    check_files,
    check_name,
    check_sources,
    check_timezone,
)
from transforms.errors import Fault, RetrobadgeError, near

if TYPE_CHECKING:
    import polars as pl

    from transforms.definition.definition import Badge, Definition, Held, Rule, Source

_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
_MAX_CUSTOMER_ID = 2**63 - 1


class _Kind(NamedTuple):
    """Which keys a kind of rule must have, and which it may have besides."""

    needs: tuple[str, ...]
    may: tuple[str, ...] = ("within", "per", "where", "source")


_KINDS = {
    "activity_count": _Kind(needs=("at_least",)),
    "total_amount": _Kind(needs=("at_least",)),
    "distinct_count": _Kind(needs=("of", "at_least")),
    "streak": _Kind(
        needs=("periods", "period"),
        may=("at_least", "within", "per", "where", "source"),
    ),
    "elapsed": _Kind(needs=("since", "after"), may=("where", "source")),
    "all_of": _Kind(needs=("rules",), may=("where", "source")),
    "any_of": _Kind(needs=("rules",), may=("where", "source")),
}
_RULE_KEYS = (
    *("at_least", "of", "periods", "period", "since", "after", "rules"),
    *("within", "per", "where", "source"),
)


def checked_faults(definition: Definition, places: Places) -> list[Fault]:
    """Return what is wrong with a definition whose keys all have the right type."""
    faults: list[Fault] = []

    def faulty(code: str, message: str, key: Key) -> None:
        faults.append(places.fault(code, message, key))

    check_name("name", definition.name, ("name",), faulty)
    check_timezone(definition.timezone, ("timezone",), faulty)
    _check_bounds(definition, faulty)
    check_sources(definition.sources, faulty)
    for badge in definition.badges:
        _check_badge(badge, definition, ("badges", badge.name), faulty)
    _check_badges_together(definition.badges, faulty)
    if definition.returns:
        known, at = _columns_of(definition.sources, definition), ("returns", "where")
        _check_where(definition.returns.where, definition.sources, known, at, faulty)
        check_returns(definition.returns, definition.sources, faulty)
    if definition.held:
        _check_held(definition.held, faulty)
    if definition.customers:
        check_customers(definition.customers, faulty)
    return faults


def _check_bounds(definition: Definition, faulty: Faulty) -> None:
    """Shares lie between 0 and 1, counts are not negative."""
    tables = {"quality": definition.quality, "guards": definition.guards}
    for table, model in tables.items():
        for key in type(model).model_fields:
            value = getattr(model, key)
            if isinstance(value, bool) or value is None:
                continue
            if isinstance(value, Decimal) and not 0 <= value <= 1:
                message = f"{value} is no share: write a number from 0 to 1"
                faulty("out_of_range", message, (table, key))
            if isinstance(value, int) and value < 0:
                faulty("out_of_range", "must not be negative", (table, key))


def _check_badges_together(badges: tuple[Badge, ...], faulty: Faulty) -> None:
    seen: dict[tuple[str, str], str] = {}
    for badge in badges:
        key = (badge.badge_meta_id, badge.series)
        other = seen.setdefault(key, badge.name)
        if other != badge.name:
            message = (
                f"badge '{other}' awards the same badge_meta_id: give one of them a "
                "'series' of its own"
            )
            at: Key = ("badges", badge.name, "badge_meta_id")
            faulty("not_unique", message, at)


def _check_badge(badge: Badge, definition: Definition, at: Key, faulty: Faulty) -> None:
    check_name("badge name", badge.name, at, faulty)
    if _OBJECT_ID.fullmatch(badge.badge_meta_id) is None:
        message = f"'{badge.badge_meta_id}' must be 24 hex digits (see `badges`)"
        faulty("wrong_value", message, (*at, "badge_meta_id"))
    if not badge.reference_id.strip() or not badge.reference_id.isprintable():
        message = "must be the reference id of the badge's claim"
        faulty("wrong_value", message, (*at, "reference_id"))
    if not badge.series.isprintable():
        faulty("wrong_value", "must be plain text: it is part of ids", (*at, "series"))
    _check_badge_bounds(badge, at, faulty)
    if not all(1 <= number <= _MAX_CUSTOMER_ID for number in badge.canary_customer_ids):
        message = "customer ids are whole numbers from 1 to 2^63-1"
        faulty("out_of_range", message, (*at, "canary_customer_ids"))
    if badge.repeat and badge.rule.kind in {"all_of", "any_of"}:
        message = f"repeat does not go with {badge.rule.kind}"
        faulty("wrong_value", message, (*at, "repeat"))
    known = _columns_of(definition.sources, definition)
    _check_where(badge.where, definition.sources, known, (*at, "where"), faulty)
    _check_rule(badge.rule, definition, (*at, "rule"), faulty)


def _check_badge_bounds(badge: Badge, at: Key, faulty: Faulty) -> None:
    for first, last in (
        ("counted_from", "counted_until"),
        ("earned_from", "earned_until"),
    ):
        since, until = getattr(badge, first), getattr(badge, last)
        if since is not None and until is not None and since >= until:
            message = f"must be after {first} ({since}); the day itself is not included"
            faulty("out_of_range", message, (*at, last))
    if badge.max_occurrences is not None:
        if not badge.repeat:
            message = "goes with repeat = true only"
            faulty("wrong_value", message, (*at, "max_occurrences"))
        if badge.max_occurrences < 1:
            faulty("out_of_range", "must be 1 or more", (*at, "max_occurrences"))


def _check_rule(
    rule: Rule,
    definition: Definition,
    at: Key,
    faulty: Faulty,
    *,
    is_part: bool = False,
) -> None:
    _check_rule_keys(rule, at, faulty)
    if rule.within is not None and rule.per is not None:
        message = "within and per don't go together: keep one of them"
        faulty("wrong_value", message, (*at, "per"))
    sources = _sources_of(rule, definition, at, faulty)
    _check_at_least(rule, sources, at, faulty)
    if rule.periods is not None and rule.periods < 1:
        faulty("out_of_range", "must be 1 or more", (*at, "periods"))
    known = _columns_of(sources, definition)
    _check_since(rule, definition, (*at, "since"), faulty)
    _check_where(rule.where, sources, known, (*at, "where"), faulty)
    if rule.of is not None and rule.of not in known:
        message = f"'{rule.of}' is no column{near(rule.of, known)}: map it first"
        faulty("unknown_column", message, (*at, "of"))
    for index, part in enumerate(rule.rules):
        inner: Key = (*at, "rules", index)
        if is_part or part.rules or part.kind in {"all_of", "any_of"}:
            message = "all_of and any_of go one level deep: list plain rules"
            faulty("wrong_value", message, (*inner, "kind"))
        else:
            _check_rule(part, definition, inner, faulty, is_part=True)


def _check_since(rule: Rule, definition: Definition, at: Key, faulty: Faulty) -> None:
    """Check that time counts from the first activity, or a moment of the customer."""
    if rule.since is None or rule.since == "first_activity":
        return
    columns = customer_columns(definition.customers)
    moments = [name for name, dtype in columns.items() if dtype.is_temporal()]
    if rule.since not in moments:
        known = ["first_activity", *moments]
        message = f"'{rule.since}' is no moment{near(rule.since, known)}: there is "
        more = "" if moments else "; enrolled_at in customers.columns adds another"
        faulty("unknown_column", f"{message}{', '.join(known)}{more}", at)


def _check_rule_keys(rule: Rule, at: Key, faulty: Faulty) -> None:
    """Report keys that the kind of rule lacks, and keys that it does not have."""
    kind = _KINDS[rule.kind]
    for key in _RULE_KEYS:
        value = getattr(rule, key)
        is_given = value is not None and value != ()
        if key in kind.needs and not is_given:
            message = f"'{key}' is missing: a rule of kind {rule.kind} needs it"
            faulty("missing_key", message, (*at, key))
        if is_given and key not in (*kind.needs, *kind.may):
            message = f"a rule of kind {rule.kind} has no '{key}': remove it"
            faulty("wrong_value", message, (*at, key))


def _sources_of(
    rule: Rule, definition: Definition, at: Key, faulty: Faulty
) -> tuple[Source, ...]:
    """Return the sources that a rule looks at."""
    if rule.source is None:
        return definition.sources
    names = [source.name for source in definition.sources]
    if rule.source not in names:
        message = f"'{rule.source}' is no source{near(rule.source, names)}"
        at = (*at, "source")
        faulty("unknown_source", f"{message}: there is {', '.join(names)}", at)
    return tuple(s for s in definition.sources if s.name == rule.source)


def _check_at_least(
    rule: Rule, sources: tuple[Source, ...], at: Key, faulty: Faulty
) -> None:
    value, place = rule.at_least, (*at, "at_least")
    if rule.kind == "total_amount" and not any("amount" in s.columns for s in sources):
        message = "total_amount needs an 'amount' among the columns of the activity"
        faulty("unknown_column", message, (*at, "kind"))
    if value is None:
        return
    if rule.kind != "total_amount":
        if not isinstance(value, int):
            faulty("wrong_type", "must be a whole number", place)
        elif value < 1:
            faulty("out_of_range", "must be 1 or more", place)
        return
    decimals = max((s.amount_decimals for s in sources), default=0)
    amount = Decimal(value)
    if not amount.is_finite() or amount <= 0:
        faulty("out_of_range", "must be more than 0", place)
    elif amount != round(amount, decimals):
        message = f"has more decimals than amounts have (amount_decimals = {decimals})"
        faulty("out_of_range", message, place)


def _check_where(
    where: str | None,
    sources: Iterable[Source],
    columns: Mapping[str, pl.DataType],
    at: Key,
    faulty: Faulty,
) -> None:
    """Check that a condition parses and uses what is known."""
    if where is None:
        return
    decimals = max((s.amount_decimals for s in sources), default=0)
    place = ".".join(str(part) for part in at)
    try:
        condition(where, columns, place=place, amount_decimals=decimals)
    except RetrobadgeError as error:
        for fault in error.faults:
            faulty(fault.code, fault.message, at)


def _columns_of(
    sources: Iterable[Source], definition: Definition
) -> dict[str, pl.DataType]:
    """Return every column that a condition may use over these sources."""
    columns = {**BUILT_INS, **customer_columns(definition.customers)}
    for source in sources:
        columns.update(activity_columns(source))
    return columns


def _check_held(held: Held, faulty: Faulty) -> None:
    at: Key = ("held", "columns")
    check_files(held.files, ("held", "files"), faulty)
    required = ("badge_meta_id", "customer_id", "earn_event_date")
    for name in required:
        if name not in held.columns:
            message = f"'{name}' is missing: say which column of the file it is"
            faulty("missing_key", message, (*at, name))
    known = (*required, "earned_badge_id")
    for name in held.columns:
        if name not in known:
            faulty(
                "unknown_key", f"unknown key '{name}'{near(name, known)}", (*at, name)
            )
