"""The import definition: what to import, parsed from TOML into frozen models.

Belongs here: every key of the format, its type, and how a text becomes a definition.
Does not belong here: which keys go together (`definition.checks`), where a key stands
in the text (`definition.places`), finding or reading files (`flows.files`), what a rule
means (`rules`) or what a condition may say (`conditions`).
"""

from __future__ import annotations

import copy
import hashlib
import re
import tomllib
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from transforms.activity.identifiers import IdentifierKind
from transforms.definition.checks import checked_faults
from transforms.definition.places import (
    Key,
    Places,
    pydantic_faults,
    real_place,
    unknown_key,
)
from transforms.errors import DefinitionRefused, Fault

ColumnType = Literal["text", "integer", "decimal", "boolean", "date"]
RuleKind = Literal[
    "activity_count",
    "total_amount",
    "distinct_count",
    "streak",
    "elapsed",
    "all_of",
    "any_of",
]
Per = Literal["week", "month", "quarter", "year"]
Period = Literal["day", "week", "month"]
DurationUnit = Literal["h", "d", "w", "mo", "y"]

_MAX_EXPONENT = 30
# Python reads no whole number of more digits than 4,300.
_ENDLESS_NUMBER = re.compile(r"[0-9_]{4000,}|[0-9][eE][+-]?[0-9_]{2,}")
_DURATION = re.compile(r"([0-9]{1,6})(h|d|w|mo|y)")


def _as_tuple(value: object) -> object:
    """Return a TOML array as the tuple that a frozen model holds."""
    return tuple(value) if isinstance(value, list) else value


def _as_decimal(value: object) -> object:
    """Return a whole number as a Decimal: TOML writes 0 for 0.0."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return Decimal(value) if is_whole else value  # type: ignore[arg-type]


def _as_day(value: object) -> object:
    """Return an ISO day as a date; a TOML date is one already."""
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"'{value}' is no day: write it as 2024-01-31") from None


def _as_duration(value: object) -> object:
    """Return `36h`, `1d`, `2w`, `3mo` or `1y` as a Duration."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"'{value}' is no duration: write 36h, 1d, 2w, 3mo or 1y")
    return {"count": int(found[1]), "unit": found[2]}


class Strict(BaseModel):
    """Unknown keys are errors; a parsed definition never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Duration(Strict):
    """A length of time: `h d w` are exact, `mo y` follow the local calendar."""

    count: int
    unit: DurationUnit


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Share = Annotated[Decimal, BeforeValidator(_as_decimal)]
Day = Annotated[date, BeforeValidator(_as_day)]
Span = Annotated[Duration, BeforeValidator(_as_duration)]


class CsvFormat(Strict):
    """How a CSV file is written. `quote = ""` means that nothing is quoted."""

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    quote: str = '"'
    header: bool = True
    nulls: Texts = ("",)


class Source(Strict):
    """One kind of activity file. `columns` maps our names to theirs.

    Columns of a CSV without header are named by their position: "1", "2", ….
    """

    name: str = "activity"
    files: Texts
    columns: dict[str, str | Texts]
    constants: dict[str, str] = {}
    types: dict[str, ColumnType] = {}
    timezone: str | None = None
    occurred_at_format: str = "iso"
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"
    format: CsvFormat = CsvFormat()
    amount_decimals: int = 2
    grain: Literal["activity", "line_item"] = "activity"
    fresh_within: Span | None = None
    missing_files: Literal["refuse", "keep", "forget"] = "refuse"


class Rule(Strict):
    """When a badge is earned. Which keys a kind needs is checked at parsing."""

    kind: RuleKind
    at_least: int | Decimal | None = None
    of: str | None = None
    periods: int | None = None
    period: Period | None = None
    since: str | None = None
    after: Span | None = None
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_as_tuple)] = ()
    within: Span | None = None
    per: Per | None = None
    where: str | None = None
    source: str | None = None


class Badge(Strict):
    """One badge to award. Days are local to the definition, `until` is exclusive."""

    name: str
    badge_meta_id: str
    reference_id: str
    rule: Rule
    where: str | None = None
    series: str = ""
    repeat: bool = False
    max_occurrences: int | None = None
    counted_from: Day | None = None
    counted_until: Day | None = None
    earned_from: Day | None = None
    earned_until: Day | None = None
    precision: Literal["day", "exact"] = "day"
    before_window: Literal["skip", "window_start"] = "skip"
    hold: Span | None = None
    canary_customer_ids: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = ()
    enrolled: bool = False


class Quality(Strict):
    """How much may be wrong with the files before the plan is refused."""

    max_rejected_share: Share = Decimal("0.01")
    max_unmapped_share: Share = Decimal("0.05")
    min_rows: int | None = None


class Guards(Strict):
    """What must not happen unasked. Unset bounds do not hold."""

    max_awards: int | None = None
    max_awards_per_customer: int | None = None
    max_calls: int | None = None
    max_out_of_window_share: Share | None = None
    approve_above: int | None = None
    allow_relative_expiry: bool = False
    allow_rolling_limit: bool = False
    take_over: bool = False


class Returns(Strict):
    """Which rows are returns, and what they do to the activity that they name."""

    where: str
    parent: str
    amounts: Literal["negative", "positive"] = "negative"
    full: Literal["cancel", "keep"] = "cancel"
    partial: Literal["reduce", "keep"] = "reduce"


class Held(Strict):
    """The brand's own list of badges already earned."""

    files: Texts
    columns: dict[str, str]


class Customers(Strict):
    """Whose the identifiers in the activity are, by the brand's customer files."""

    identifier: IdentifierKind
    files: Texts
    columns: dict[str, str]
    types: dict[str, ColumnType] = {}
    country_code: str | None = None
    where: str | None = None
    exclude: Texts = ()
    timezone: str | None = None
    enrolled_at_format: str = "iso"
    format: CsvFormat = CsvFormat()


class Definition(Strict):
    """A parsed import definition. `text` is what was parsed, byte for byte."""

    name: str
    description: str = ""
    owner: str = ""
    ticket: str = ""
    timezone: str
    sources: tuple[Source, ...]
    badges: tuple[Badge, ...]
    quality: Quality = Quality()
    guards: Guards = Guards()
    returns: Returns | None = None
    held: Held | None = None
    customers: Customers | None = None
    path: str = ""
    text: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


_HEAD_KEYS = ("name", "description", "owner", "ticket", "timezone")
_PLAIN_TABLES = ("quality", "guards", "returns", "held", "customers")
_TABLES = ("activity", "badges", "defaults", *_PLAIN_TABLES)
_MODELS: dict[str, type[Strict]] = {
    "sources": Source,
    "format": CsvFormat,
    "badges": Badge,
    "rule": Rule,
    "rules": Rule,
    "quality": Quality,
    "guards": Guards,
    "returns": Returns,
    "held": Held,
    "customers": Customers,
}
# Needed for a table to be one, and nothing else is checked by them.
_STAND_INS: dict[str | int, object] = {"identifier": "external_id", "files": ["-"]}
_FIELDS = {
    table: tuple(field for field in model.model_fields if field != "name")
    for table, model in _MODELS.items()
}


def parse_definition(text: str, *, path: str) -> Definition:
    """Return the definition that a TOML text holds.

    `path` is the name of the file, for messages. Raises DefinitionRefused with every
    fault that was found: `column` is the dotted key (`badges.regular.rule.at_least`;
    the second of several `[[activity]]` is `activity.1`), `row` the line of that key.
    """
    data = _toml(text, path=path)
    places = Places(text=text, path=path)
    raw, faults = _arranged(data, places)
    definition: Definition | None = None
    try:
        definition = Definition.model_validate({**raw, "path": path, "text": text})
    except ValidationError as error:
        faults += pydantic_faults(
            error, raw, places, inherited=_inherited(data), fields=_FIELDS
        )
        definition = _what_parses({**raw, "path": path, "text": text})
    if definition is not None:
        # What was left out for not parsing is not missing as well.
        said = {fault.column for fault in faults}
        checked = checked_faults(definition, places)
        faults += [fault for fault in checked if fault.column not in said]
    if faults or definition is None:
        raise DefinitionRefused(*_in_order(faults))
    return definition


def _toml(text: str, *, path: str) -> dict[str, Any]:
    """Return what the TOML says; decimals are exact."""

    def refused(why: str, row: int | None) -> DefinitionRefused:
        message = f"this is not TOML: {why}"
        return DefinitionRefused.of("not_toml", message, file=path, row=row)

    try:
        return tomllib.loads(text.removeprefix("\ufeff"), parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise refused(str(error), int(found[1]) if found else None) from None
    except ValueError:
        place = _ENDLESS_NUMBER.search(text)
        row = text.count("\n", 0, place.start()) + 1 if place else None
        raise refused("a number is too long: write it with fewer digits", row) from None
    except RecursionError:
        raise refused("lists or tables are nested too deeply", None) from None


def _decimal(text: str) -> Decimal:
    """Return a decimal of a size that can be reckoned with."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if number.is_finite() and abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError(text)
    return number


def _arranged(
    data: dict[str, Any], places: Places
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the file's tables in the shape of the models, and what has no place."""
    known = (*_HEAD_KEYS, *_TABLES)
    faults = [unknown_key((key,), known, places) for key in data if key not in known]
    raw = {key: data[key] for key in _HEAD_KEYS if key in data}
    raw |= {key: data[key] for key in _PLAIN_TABLES if key in data}
    raw["sources"] = _sources(data, places, faults)
    raw["badges"] = _badges(data, places, faults)
    return raw, faults


def _sources(
    data: dict[str, Any], places: Places, faults: list[Fault]
) -> tuple[Any, ...]:
    """Return `[activity]` or the `[[activity]]` as a tuple of tables."""
    activity = data.get("activity")
    if isinstance(activity, dict):
        return (activity,)
    if not isinstance(activity, list) or not activity:
        faults.append(
            places.fault(
                "missing_key",
                "no activity: add a table [activity] with files and columns",
                ("activity",),
            )
        )
        return ()
    faults += [
        places.fault(
            "missing_key",
            "each of several [[activity]] needs a name of its own",
            ("activity", index, "name"),
        )
        for index, source in enumerate(activity)
        if isinstance(source, dict) and "name" not in source and len(activity) > 1
    ]
    return tuple(activity)


def _badges(
    data: dict[str, Any], places: Places, faults: list[Fault]
) -> tuple[Any, ...]:
    """Return the badges as a tuple of tables, `[defaults]` merged under each."""
    badges = data.get("badges")
    if not isinstance(badges, dict) or not badges:
        message = "no badge: add a table [badges.NAME]"
        faults.append(places.fault("missing_key", message, ("badges",)))
        return ()
    defaults = data.get("defaults", {})
    if not isinstance(defaults, dict):
        faults.append(places.fault("wrong_type", "must be a table", ("defaults",)))
        defaults = {}
    common = tuple(key for key in Badge.model_fields if key != "name")
    faults += [
        unknown_key(("defaults", key), common, places)
        for key in defaults
        if key not in common
    ]
    merged = {key: value for key, value in defaults.items() if key in common}
    tables: list[Any] = []
    for name, table in badges.items():
        if not isinstance(table, dict):
            message = "must be a table: write [badges.NAME]"
            faults.append(places.fault("wrong_type", message, ("badges", name)))
            continue
        if "name" in table:
            message = "the name of a badge is the name of its table: remove this key"
            faults.append(
                places.fault("unknown_key", message, ("badges", name, "name"))
            )
        tables.append({**merged, **table, "name": name})
    return tuple(tables)


def _inherited(data: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return, per badge, the keys that it has from `[defaults]` alone."""
    defaults, badges = data.get("defaults"), data.get("badges")
    if not isinstance(defaults, dict) or not isinstance(badges, dict):
        return {}
    return {
        name: frozenset(defaults) - frozenset(table)
        for name, table in badges.items()
        if isinstance(table, dict)
    }


def _what_parses(raw: dict[str, Any]) -> Definition | None:
    """Return the definition without the keys that don't parse, or None.

    One wrong key must not hide what is wrong with the others. Where the columns of a
    source don't parse the rest can't be checked.
    """
    rest = {"name": "unnamed", "timezone": "UTC", **copy.deepcopy(raw)}
    while True:
        try:
            return Definition.model_validate(rest)
        except ValidationError as error:
            place = real_place(error.errors()[0], rest)
        needs = {"files", "columns", "constants", "types"}
        is_blind = place[0] == "sources" and (len(place) < 3 or place[2] in needs)
        is_blind |= place[0] == "customers" and (len(place) < 2 or place[1] in needs)
        if place[0] == "customers" and place[1:2] and place[1] in _STAND_INS:
            rest["customers"][place[1]] = _STAND_INS[place[1]]
        elif is_blind or not _drop(rest, place):
            return None


def _drop(raw: dict[str, Any], place: Key) -> bool:
    """Take out the key at a place, or what it belongs to when it is needed there."""
    whole = place[:2] if place[0] == "badges" else place[:1]
    is_needed = place[-1] in {"kind", "rule", "badge_meta_id", "reference_id", "name"}
    place = whole if is_needed or not _holds(raw, place) else place
    node: Any = raw
    for part in place[:-1]:
        node = node[part]
    if isinstance(node, tuple):  # a badge
        raw["badges"] = tuple(b for n, b in enumerate(node) if n != place[-1])
    elif isinstance(node, list):
        node[:] = [part for n, part in enumerate(node) if n != place[-1]]
    elif place[-1] in node:
        del node[place[-1]]
    else:
        return False
    return True


def _holds(raw: Any, place: Key) -> bool:
    node = raw
    for part in place:
        is_there = (
            part in node
            if isinstance(node, dict)
            else isinstance(node, list | tuple) and int(part) < len(node)
        )
        if not is_there:
            return False
        node = node[part]
    return True


def _in_order(faults: list[Fault]) -> list[Fault]:
    """Return the faults as the file has them, each once."""
    unique = {(fault.column, fault.message): fault for fault in faults}
    return sorted(unique.values(), key=lambda fault: fault.row or 0)
