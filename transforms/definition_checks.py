"""Checks the keys of a definition against each other and against the world.

Belongs here: what a definition may say although each of its keys has the right type.
Does not belong here: the keys and their types (`definition`), what a rule means
(`rules`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import available_timezones

from transforms.activity import BUILT_INS, RESERVED, activity_columns
from transforms.conditions import condition
from transforms.definition_places import Key, Places, near
from transforms.errors import Fault, RetrobadgeError

if TYPE_CHECKING:
    import polars as pl

    from transforms.definition import Badge, Definition, Held, Rule, Source

Faulty = Callable[[str, str, Key], None]

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
_MAX_CUSTOMER_ID = 2**63 - 1
_MAX_DECIMALS = 4
_CORE = ("customer_id", "activity_id", "occurred_at", "amount")


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

    _check_name("name", definition.name, ("name",), faulty)
    _check_timezone(definition.timezone, ("timezone",), faulty)
    _check_bounds(definition, faulty)
    is_one = len(definition.sources) == 1
    for index, source in enumerate(definition.sources):
        where: Key = ("activity",) if is_one else ("activity", index)
        _check_source(source, where, faulty)
    _check_sources_together(definition.sources, faulty)
    for badge in definition.badges:
        _check_badge(badge, definition, ("badges", badge.name), faulty)
    _check_badges_together(definition.badges, faulty)
    if definition.held:
        _check_held(definition.held, faulty)
    return faults


def _check_name(what: str, name: str, key: Key, faulty: Faulty) -> None:
    if _SLUG.fullmatch(name) is None:
        message = (
            f"{what} '{name}' must be 1 to 64 of a-z, 0-9, '-' and '_', and begin with "
            "a letter or a digit: it becomes part of file names and ids"
        )
        faulty("wrong_value", message, key)


def _check_timezone(timezone: str, key: Key, faulty: Faulty) -> None:
    known = available_timezones()
    if timezone not in known:
        message = f"'{timezone}' is no time zone{near(timezone, known)}: write a name "
        faulty("wrong_value", message + "such as America/New_York", key)


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


def _check_source(source: Source, at: Key, faulty: Faulty) -> None:
    _check_name("name", source.name, (*at, "name"), faulty)
    _check_files(source.files, (*at, "files"), faulty)
    if source.timezone is not None:
        _check_timezone(source.timezone, (*at, "timezone"), faulty)
    _check_columns(source, at, faulty)
    _check_format(source, at, faulty)
    if not 0 <= source.amount_decimals <= _MAX_DECIMALS:
        message = f"must be 0 to {_MAX_DECIMALS}"
        faulty("out_of_range", message, (*at, "amount_decimals"))
    if not source.occurred_at_format.strip():
        message = "must be iso, epoch_seconds, epoch_milliseconds or a strptime format"
        faulty("wrong_value", message, (*at, "occurred_at_format"))
    if source.grain == "line_item":
        message = "this version has no grain 'line_item' yet: give one row per activity"
        faulty("not_built", message, (*at, "grain"))
    if source.fresh_within is not None:
        message = "this version does not check freshness yet: remove this key"
        faulty("not_built", message, (*at, "fresh_within"))
    if source.missing_files != "refuse":
        message = f"this version can't '{source.missing_files}' missing files yet"
        faulty("not_built", f"{message}: remove this key", (*at, "missing_files"))


def _check_files(files: tuple[str, ...], at: Key, faulty: Faulty) -> None:
    if not files:
        faulty("wrong_value", "name at least one file or pattern", at)
    for pattern in files:
        if not pattern.strip() or "\0" in pattern:
            faulty("wrong_value", f"'{pattern!r}' names no file", at)
        elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", pattern):
            message = (
                f"'{pattern}': this version does not read object storage yet: copy the "
                "files to a disk and name them here"
            )
            faulty("not_built", message, at)


def _check_columns(source: Source, at: Key, faulty: Faulty) -> None:
    for required in ("customer_id", "occurred_at"):
        if required not in source.columns:
            message = f"'{required}' is missing: say which column of the file it is"
            faulty("missing_key", message, (*at, "columns", required))
    for table, names in (("columns", source.columns), ("constants", source.constants)):
        for name in names:
            _check_column_name(name, (*at, table, name), faulty)
    for name, theirs in source.columns.items():
        _check_theirs(source, name, theirs, (*at, "columns", name), faulty)
    for name in source.constants:
        if name in source.columns or name in _CORE:
            message = f"'{name}' can't be a constant: " + (
                "it is mapped in columns" if name in source.columns else "map a column"
            )
            faulty("wrong_value", message, (*at, "constants", name))
    for name in source.types:
        if name in _CORE:
            message = f"'{name}' has a type of its own: remove this key"
            faulty("wrong_value", message, (*at, "types", name))
        elif name not in source.columns:
            close = near(name, source.columns)
            message = f"'{name}' is not one of this source's columns{close}"
            faulty("unknown_column", message, (*at, "types", name))


def _check_column_name(name: str, at: Key, faulty: Faulty) -> None:
    if name in RESERVED:
        message = f"'{name}' is a column that is always there: choose another name"
        faulty("wrong_value", message, at)
    elif _COLUMN.fullmatch(name) is None or name.startswith("__"):
        message = (
            f"'{name}' can't be used in a condition: write our name with letters, "
            "digits and '_'"
        )
        faulty("wrong_value", message, at)


def _check_theirs(
    source: Source, name: str, theirs: str | tuple[str, ...], at: Key, faulty: Faulty
) -> None:
    """Check the name, or the list of names, in the file."""
    parts = (theirs,) if isinstance(theirs, str) else theirs
    if not parts or not all(parts):
        faulty("wrong_value", "name a column of the file", at)
    may_join = source.types.get(name, "text") == "text"
    if not isinstance(theirs, str) and (
        name in {"customer_id", "amount"} or not may_join
    ):
        faulty("wrong_value", f"'{name}' must be one column, not a list", at)
    if not source.format.header and not all(
        re.fullmatch(r"[1-9][0-9]{0,4}", part) for part in parts
    ):
        message = (
            "format.header is false: columns are named by position, "
            "'1' for the first, '2' for the second"
        )
        faulty("wrong_value", message, at)


def _check_format(source: Source, at: Key, faulty: Faulty) -> None:
    style = source.format
    for key in ("delimiter", "quote"):
        value = getattr(style, key)
        is_none = key == "quote" and not value
        if not is_none and (len(value) != 1 or value in "\r\n\0" or ord(value) > 127):  # noqa: PLR2004
            message = f"{value!r} must be one ASCII character"
            faulty("wrong_value", message, (*at, "format", key))
    if style.delimiter == style.quote:
        message = "delimiter and quote must differ"
        faulty("wrong_value", message, (*at, "format", "quote"))
    if style.decimal not in {".", ","}:
        message = "must be '.' or ','"
        faulty("wrong_value", message, (*at, "format", "decimal"))
    try:
        "".encode(codecs.lookup(style.encoding).name)
    except LookupError:
        message = f"'{style.encoding}' is no encoding: write utf-8, latin-1, utf-16 …"
        faulty("wrong_value", message, (*at, "format", "encoding"))


def _check_sources_together(sources: tuple[Source, ...], faulty: Faulty) -> None:
    """Names are unique, and a column has one type in all sources."""
    seen: set[str] = set()
    types: dict[str, tuple[pl.DataType, str]] = {}
    for index, source in enumerate(sources):
        at: Key = ("activity", index)
        if source.name in seen:
            message = f"two sources are named '{source.name}'"
            faulty("not_unique", message, (*at, "name"))
        seen.add(source.name)
        for name, dtype in activity_columns(source).items():
            first = types.setdefault(name, (dtype, source.name))
            if first[0] != dtype:
                message = f"'{name}' has another type in source '{first[1]}'"
                faulty("wrong_value", message, (*at, "types", name))


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
    _check_name("badge name", badge.name, at, faulty)
    if _OBJECT_ID.fullmatch(badge.badge_meta_id) is None:
        message = f"'{badge.badge_meta_id}' must be 24 hex digits (see `badges`)"
        faulty("wrong_value", message, (*at, "badge_meta_id"))
    if not badge.reference_id.strip():
        message = "must be the reference id of the badge's claim"
        faulty("wrong_value", message, (*at, "reference_id"))
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
    if not all(1 <= number <= _MAX_CUSTOMER_ID for number in badge.canary_customer_ids):
        message = "customer ids are whole numbers from 1 to 2^63-1"
        faulty("out_of_range", message, (*at, "canary_customer_ids"))
    if badge.before_window == "window_start":
        message = "this version has no before_window = 'window_start' yet: remove it"
        faulty("not_built", message, (*at, "before_window"))
    if badge.repeat and badge.rule.kind in {"all_of", "any_of"}:
        message = f"repeat does not go with {badge.rule.kind}"
        faulty("wrong_value", message, (*at, "repeat"))
    _check_where(badge.where, definition.sources, (*at, "where"), faulty)
    _check_rule(badge.rule, definition, (*at, "rule"), faulty)


def _check_rule(
    rule: Rule,
    definition: Definition,
    at: Key,
    faulty: Faulty,
    *,
    is_part: bool = False,
) -> None:
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
    if rule.within is not None and rule.per is not None:
        message = "within and per don't go together: keep one of them"
        faulty("wrong_value", message, (*at, "per"))
    sources = _sources_of(rule, definition, at, faulty)
    _check_at_least(rule, sources, at, faulty)
    if rule.periods is not None and rule.periods < 2:  # noqa: PLR2004
        message = "a streak has 2 periods or more"
        faulty("out_of_range", message, (*at, "periods"))
    if rule.since is not None and rule.since != "first_activity":
        message = (
            "this version counts from 'first_activity' only: a customer column is not "
            "built yet"
        )
        faulty("not_built", message, (*at, "since"))
    _check_where(rule.where, sources, (*at, "where"), faulty)
    if rule.of is not None:
        known = _columns_of(sources)
        if rule.of not in known:
            message = f"'{rule.of}' is no column{near(rule.of, known)}: map it first"
            faulty("unknown_column", message, (*at, "of"))
    for index, part in enumerate(rule.rules):
        inner: Key = (*at, "rules", index)
        if is_part or part.rules or part.kind in {"all_of", "any_of"}:
            message = "all_of and any_of go one level deep: list plain rules"
            faulty("wrong_value", message, (*inner, "kind"))
        else:
            _check_rule(part, definition, inner, faulty, is_part=True)


def _sources_of(
    rule: Rule, definition: Definition, at: Key, faulty: Faulty
) -> tuple[Source, ...]:
    """Return the sources that a rule looks at."""
    if rule.source is None:
        return definition.sources
    names = [source.name for source in definition.sources]
    if rule.source not in names:
        message = f"'{rule.source}' is no source{near(rule.source, names)}"
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
    where: str | None, sources: Iterable[Source], at: Key, faulty: Faulty
) -> None:
    """Check that a condition parses and uses what is known."""
    if where is None:
        return
    sources = tuple(sources)
    decimals = max((s.amount_decimals for s in sources), default=0)
    place = ".".join(str(part) for part in at)
    try:
        condition(where, _columns_of(sources), place=place, amount_decimals=decimals)
    except RetrobadgeError as error:
        for fault in error.faults:
            faulty(fault.code, fault.message, at)


def _columns_of(sources: Iterable[Source]) -> dict[str, pl.DataType]:
    """Return every column that a condition may use over these sources."""
    columns = dict(BUILT_INS)
    for source in sources:
        columns.update(activity_columns(source))
    return columns


def _check_held(held: Held, faulty: Faulty) -> None:
    at: Key = ("held", "columns")
    _check_files(held.files, ("held", "files"), faulty)
    required = ("badge_meta_id", "customer_id", "earn_event_date")
    for name in required:
        if name not in held.columns:
            message = f"'{name}' is missing: say which column of the file it is"
            faulty("missing_key", message, (*at, name))
    known = (*required, "earned_badge_id")
    for name in _unknown(held.columns, known):
        faulty("unknown_key", f"unknown key '{name}'{near(name, known)}", (*at, name))


def _unknown(names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    allowed = set(known)
    return (name for name in names if name not in allowed)
