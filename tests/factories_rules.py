"""Makes badges and activity for the tests of rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from oracle import Activity, Earned, Oracle
from transforms.definition import Badge, Duration, Rule
from transforms.rules import qualifications

INSTANT = pl.Datetime("us", "UTC")
_CORE = {
    "customer_id": pl.Int64,
    "activity_id": pl.String,
    "occurred_at": INSTANT,
    "amount": pl.Int64,
    "source": pl.String,
    "file_order": pl.Int32,
    "row_number": pl.Int64,
}


def a_badge(rule: Rule, **keys: Any) -> Badge:
    """Return a badge with this rule."""
    return Badge(
        name="test",
        badge_meta_id="653de334b3cda7078c7c68eb",
        reference_id="retro",
        rule=rule,
        **keys,
    )


def a_duration(text: str) -> Duration:
    """Return a duration as a definition writes it."""
    digits = text.rstrip("hdwmoy")
    return Duration(count=int(digits), unit=text.removeprefix(digits))


def activity_frame(
    activity: Sequence[Activity], columns: dict[str, Any] | None = None
) -> pl.LazyFrame:
    """Return activity as a frame; `columns` are further ones with their types."""
    schema = {**_CORE, **(columns or {})}
    rows = [{**vars(one), **one.columns} for one in activity]
    data = {name: [row.get(name) for row in rows] for name in schema}
    return pl.LazyFrame(data, schema=schema)


def assert_same(
    activity: Sequence[Activity], oracle: Oracle, frame: pl.LazyFrame
) -> list[Earned]:
    """Compare the program with the oracle, to the last bit; return what was earned."""
    found = qualifications(
        frame,
        oracle.badge,
        timezone=oracle.timezone,
        as_of=oracle.as_of,
        amount_decimals=oracle.amount_decimals,
    )
    expected = oracle.earned(activity)
    assert found.rows() == list(_as_rows(expected))
    return expected


def _as_rows(earned: Iterable[Earned]) -> Iterable[tuple[Any, ...]]:
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
