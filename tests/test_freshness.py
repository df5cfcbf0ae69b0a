"""A source that ends too long ago refuses the plan."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from factories_imports import DEFINITION, brand, visits
from factories_rules import a_duration

from flows.pipeline import plan_badges
from transforms.activity.freshness import newest_instants, stale_faults
from transforms.definition.definition import Source
from transforms.errors import PlanRefused

NOON = datetime(2024, 3, 11, 16, tzinfo=UTC)  # noon of New York, a day after its clocks


def a_source(fresh_within: str | None, name: str = "shop") -> Source:
    """Return a source that may be so old."""
    return Source(
        name=name,
        files=("f",),
        columns={"customer_id": "c", "occurred_at": "t"},
        fresh_within=None if fresh_within is None else a_duration(fresh_within),
    )


def stale(
    newest: dict[str, datetime], *sources: Source, as_of: datetime = NOON
) -> list[Any]:
    """Return the faults of sources with this newest activity."""
    return stale_faults(
        newest, sources, as_of=as_of, timezone="America/New_York", path="import.toml"
    )


@pytest.mark.parametrize(
    ("fresh_within", "newest", "is_fresh"),
    [
        ("36h", "2024-03-10T04:00:00+00:00", True),  # to the second
        ("36h", "2024-03-10T03:59:59+00:00", False),
        ("1d", "2024-03-10T16:00:00+00:00", True),
        ("1d", "2024-03-10T15:59:59+00:00", False),
        ("1mo", "2024-02-11T17:00:00+00:00", True),  # noon of winter time
        ("1mo", "2024-02-11T16:59:59+00:00", False),
    ],
)
def test_a_source_is_fresh_up_to_the_second(
    fresh_within: str,
    newest: str,
    is_fresh: bool,  # noqa: FBT001
) -> None:
    """Hours and days are exact, months follow the definition's calendar."""
    found = stale({"shop": datetime.fromisoformat(newest)}, a_source(fresh_within))
    assert (found == []) is is_fresh


def test_the_fault_names_source_instant_and_what_to_do() -> None:
    """Whoever is called at night sees which file is late, and by how much."""
    (fault,) = stale({"shop": NOON - timedelta(days=3)}, a_source("36h"))
    assert (fault.code, fault.file) == ("not_fresh", "import.toml")
    assert fault.column == "activity.fresh_within"
    assert fault.message == (
        "source 'shop': its newest activity is of 2024-03-08 11:00:00-05:00, and "
        "fresh_within wants some of the last 36h before 2024-03-11 12:00:00-04:00: put "
        "the missing files there, or raise fresh_within"
    )


def test_each_source_answers_for_itself() -> None:
    """A fresh source does not excuse another, nor does one that may be old."""
    sources = a_source("36h", "shop"), a_source("36h", "web"), a_source(None, "old")
    found = stale({"shop": NOON}, *sources)
    assert [(f.column, f.message[:37]) for f in found] == [
        ("activity.1.fresh_within", "source 'web': it has no activity, and"),
    ]


def test_activity_of_the_future_makes_nothing_fresh() -> None:
    """A wrong date far ahead does not hide that the files are old."""
    old, ahead = NOON - timedelta(days=9), NOON + timedelta(seconds=1)
    activity = pl.LazyFrame(
        {"source": ["a", "a", "b"], "occurred_at": [old, ahead, ahead]},
        schema={"source": pl.String, "occurred_at": pl.Datetime("us", "UTC")},
    )
    assert newest_instants(activity, NOON) == {"a": old}


def test_an_old_file_refuses_the_plan(tmp_path: Path) -> None:
    """The plan is written and says why it is refused; a run sends nothing."""
    text = DEFINITION.replace("[badges", 'fresh_within = "36h"\n\n[badges')
    with brand(tmp_path) as shop:
        shop.define(text)
        shop.write(may=visits([1]))
        fresh = {"as_of": datetime(2017, 5, 3, 12, tzinfo=UTC)}
        late = {"as_of": datetime(2017, 5, 9, 12, tzinfo=UTC)}
        plan, _ = asyncio.run(plan_badges(shop.work(**fresh)))
        assert plan.refused_by == []
        plan, _ = asyncio.run(plan_badges(shop.work(**late)))
        assert [fault.code for fault in plan.refused_by] == ["not_fresh"]
        with pytest.raises(PlanRefused, match="source 'activity': its newest"):
            shop.run(**late)
        assert shop.sandbox.earns() == []
