"""Makes badges, activity and expectations for the tests of rules, from plain text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from oracle import Activity, Earned, Oracle

from transforms.activity.accepted import IS_LINE
from transforms.definition.definition import Badge, Duration, Rule
from transforms.rules.qualifications import qualifications

INSTANT = pl.Datetime("us", "UTC")
NEW_YORK = "America/New_York"
LATER = datetime(2099, 1, 1, tzinfo=UTC)
_CORE = {
    "customer_id": pl.Int64,
    "activity_id": pl.String,
    "occurred_at": INSTANT,
    "amount": pl.Int64,
    "source": pl.String,
    "file_order": pl.Int32,
    "row_number": pl.Int64,
}
_CORE_NAMES = ("id", "customer", "occurred_at", "amount", "source", "file", "row")


def a_badge(rule: Rule, **keys: Any) -> Badge:
    """Return a badge with this rule."""
    return Badge(
        name="test",
        badge_meta_id="653de334b3cda7078c7c68eb",
        reference_id="retro",
        rule=rule,
        **keys,
    )


def a_badge_of(text: str) -> Badge:
    """Return the badge whose keys stand in the text as in a definition."""
    keys = tomllib.loads(text, parse_float=Decimal)
    rule = Rule(**keys.pop("rule"))
    return a_badge(rule, **keys)


def a_duration(text: str) -> Duration:
    """Return a duration as a definition writes it."""
    digits, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()
    return Duration(count=int(digits), unit=unit)


def activity_frame(
    activity: Sequence[Activity],
    columns: dict[str, Any] | None = None,
    line_sources: Collection[str] = (),
) -> pl.LazyFrame:
    """Return activity as a frame; `columns` are further ones with their types.

    Rows of a file have different numbers: who has none has that of its place.
    """
    schema = {**_CORE, **(columns or {})}
    rows = [
        {**vars(one), **one.columns, "row_number": one.row_number or -place}
        for place, one in enumerate(activity, start=1)
    ]
    data = {name: [row.get(name) for row in rows] for name in schema}
    if line_sources:
        schema |= {IS_LINE: pl.Boolean}
        data |= {IS_LINE: [one.source in line_sources for one in activity]}
    return pl.LazyFrame(data, schema=schema)


def assert_same(
    activity: Sequence[Activity], oracle: Oracle, frame: pl.LazyFrame
) -> list[Earned]:
    """Compare the program with the oracle, to the last bit; return what was earned.

    Slices are small, so that customers are in different ones, and of different sizes.
    """
    rows = len(activity)
    found = qualifications(
        frame,
        oracle.badge,
        timezone=oracle.timezone,
        as_of=oracle.as_of,
        amount_decimals=oracle.amount_decimals,
        rows_a_slice=max(1, rows // (3, 12, 30)[rows % 3]),
    )
    expected = oracle.earned(activity)
    assert found.rows() == list(_as_rows(expected))
    return expected


def _as_rows(earned: Iterable[Earned]) -> Iterator[tuple[Any, ...]]:
    for one in earned:
        yield (
            one.customer_id,
            one.occurrence,
            one.qualified_at,
            one.measure,
            one.threshold,
            one.evidence.activity_id,
            one.evidence.source,
        )


def assert_awards(
    badge: str,
    activity: str,
    awards: str,
    *,
    timezone: str = NEW_YORK,
    as_of: str | None = None,
    line_sources: frozenset[str] = frozenset(),
) -> None:
    """Compare what a badge makes of a table of activity with a table of awards.

    Columns are two or more blanks apart, `-` is null. Times are on the zone's clock; an
    offset behind one says which of two it is. The table of awards has the columns that
    a test is about. Where there is no condition the oracle is held to the table too.
    """
    keys, zone = a_badge_of(badge), ZoneInfo(timezone)
    happened = [_activity(row, n, zone) for n, row in enumerate(_rows(activity))]
    moment = LATER if as_of is None else _instant(as_of, zone)
    further = {name: pl.String for one in happened for name in one.columns}
    found = qualifications(
        activity_frame(happened, further, line_sources),
        keys,
        timezone=timezone,
        as_of=moment,
        amount_decimals=2,
    )
    expected = _rows(awards)
    names = list(expected[0]) if expected else ["customer", "occurrence"]
    assert _shown(found.rows(), names, zone) == expected
    if "where" not in badge:
        oracle = Oracle(
            badge=keys, timezone=timezone, as_of=moment, line_sources=line_sources
        )
        assert _shown(_as_rows(oracle.earned(happened)), names, zone) == expected


def _rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a table as texts by column."""
    lines = [line.strip() for line in text.strip().splitlines()]
    names, *rows = (re.split(r"\s{2,}", line) for line in lines)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _activity(row: dict[str, str], number: int, zone: ZoneInfo) -> Activity:
    amount = row.get("amount", "-")
    return Activity(
        customer_id=int(row.get("customer", "7")),
        activity_id=row.get("id", f"a{number}"),
        occurred_at=_instant(row["occurred_at"], zone),
        amount=None if amount == "-" else int(Decimal(amount) * 100),
        source=row.get("source", "activity"),
        file_order=int(row.get("file", "0")),
        row_number=int(row.get("row", number + 2)),
        columns={
            name: None if text == "-" else text
            for name, text in row.items()
            if name not in _CORE_NAMES
        },
    )


def _instant(text: str, zone: ZoneInfo) -> datetime:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)


def _shown(
    rows: Iterable[tuple[Any, ...]], names: list[str], zone: ZoneInfo
) -> list[dict[str, str]]:
    """Return qualifications as texts, of the columns that were asked for."""
    shown = []
    for customer, occurrence, instant, measure, threshold, evidence, source in rows:
        texts = {
            "customer": str(customer),
            "occurrence": str(occurrence),
            "qualified_at": _local_text(instant, zone),
            "measure": f"{measure:g}" if measure.is_integer() else str(measure),
            "threshold": f"{threshold:g}" if threshold.is_integer() else str(threshold),
            "evidence": evidence,
            "source": source,
        }
        shown.append({name: texts[name] for name in names})
    return shown


def _local_text(instant: datetime, zone: ZoneInfo) -> str:
    """Return the time on the zone's clock, with its offset in a doubled hour."""
    local = instant.astimezone(zone)
    again = {local.replace(fold=fold).utcoffset() for fold in (0, 1)}
    # In a doubled hour both offsets lead back to the same clock; in none they agree.
    text = local.replace(tzinfo=None).isoformat(" ").removesuffix(":00")
    return text if again == {local.utcoffset()} else f"{text}{local.isoformat()[-6:]}"
