"""Every kind of rule on the sample's 155,848 baskets gives what the oracle gives.

The files are read here by plain Python, so that nothing of the program stands between
them and the oracle.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow.parquet as pq
import pytest
from factories_rules import LATER, NEW_YORK, a_badge_of, activity_frame, assert_same
from oracle import Activity, Oracle

ACTIVITY = Path(__file__).parent.parent / "data" / "activity"
BASKETS = 155_848
ZONE = ZoneInfo(NEW_YORK)
CONDITIONS = {
    "amount > 0": lambda one: one.amount > 0,
    "amount >= 46.55": lambda one: one.amount >= 4655,
    "weekday IN (6, 7)": lambda one: local(one).isoweekday() >= 6,
    "hour < 9 OR hour > 20": lambda one: not 9 <= local(one).hour <= 20,
}
RULES = {
    "count": 'rule = { kind = "activity_count", at_least = 50 }',
    "count-where": """
        where = "amount > 0"
        rule = { kind = "activity_count", at_least = 20, where = "weekday IN (6, 7)" }
        """,
    "count-repeat": """
        repeat = true
        rule = { kind = "activity_count", at_least = 25, where = "amount >= 46.55" }
        """,
    "count-counted": """
        counted_from = 2017-03-12
        counted_until = 2017-11-05
        rule = { kind = "activity_count", at_least = 10 }
        """,
    "count-within": """
        rule = { kind = "activity_count", at_least = 8, within = "14d" }
        """,
    "count-within-month": """
        rule = { kind = "activity_count", at_least = 12, within = "1mo" }
        """,
    "count-within-repeat": """
        repeat = true
        rule = { kind = "activity_count", at_least = 5, within = "2w" }
        """,
    "count-per": 'rule = { kind = "activity_count", at_least = 10, per = "month" }',
    "count-per-repeat": """
        repeat = true
        rule = { kind = "activity_count", at_least = 4, per = "week" }
        """,
    "sum": 'rule = { kind = "total_amount", at_least = 1234.56 }',
    "sum-repeat": """
        repeat = true
        max_occurrences = 5
        rule = { kind = "total_amount", at_least = 250 }
        """,
    "sum-within": 'rule = { kind = "total_amount", at_least = 300, within = "7d" }',
    "sum-within-repeat": """
        repeat = true
        rule = { kind = "total_amount", at_least = 200.50, within = "1mo" }
        """,
    "sum-per-repeat": """
        repeat = true
        rule = { kind = "total_amount", at_least = 500, per = "quarter" }
        """,
    "distinct": 'rule = { kind = "distinct_count", of = "store", at_least = 8 }',
    "distinct-repeat": """
        repeat = true
        rule = { kind = "distinct_count", of = "store", at_least = 3 }
        """,
    "distinct-within": """
        rule = { kind = "distinct_count", of = "store", at_least = 5, within = "30d" }
        """,
    "distinct-within-repeat": """
        repeat = true
        rule = { kind = "distinct_count", of = "store", at_least = 3, within = "3w" }
        """,
    "distinct-per-repeat": """
        repeat = true
        rule = { kind = "distinct_count", of = "store", at_least = 4, per = "year" }
        """,
    "streak-days": 'rule = { kind = "streak", period = "day", periods = 5 }',
    "streak-weeks-repeat": """
        repeat = true
        rule = { kind = "streak", period = "week", periods = 6, at_least = 2 }
        """,
    "streak-months": """
        rule = { kind = "streak", period = "month", periods = 12, at_least = 2 }
        """,
    "streak-per": """
        repeat = true
        rule = { kind = "streak", period = "day", periods = 3, per = "month" }
        """,
    "streak-within": """
        rule = { kind = "streak", period = "week", periods = 3, within = "16d" }
        """,
    "elapsed": """
        rule = { kind = "elapsed", since = "first_activity", after = "6mo" }
        """,
    "elapsed-repeat": """
        repeat = true
        rule = { kind = "elapsed", since = "first_activity", after = "90d" }
        """,
    "all-of": """
        [rule]
        kind = "all_of"
        rules = [
          { kind = "activity_count", at_least = 4, where = "hour < 9 OR hour > 20" },
          { kind = "total_amount", at_least = 200, per = "month" },
          { kind = "streak", period = "day", periods = 2 },
        ]
        """,
    "any-of": """
        [rule]
        kind = "any_of"
        rules = [
          { kind = "activity_count", at_least = 60 },
          { kind = "total_amount", at_least = 1500 },
          { kind = "distinct_count", of = "store", at_least = 6 },
        ]
        """,
}


def local(one: Activity) -> datetime:
    """Return the shop's clock."""
    return one.occurred_at.astimezone(ZONE)


def raw_baskets() -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield file, row and values of every basket, as the files hold them."""
    for order, path in enumerate(sorted(ACTIVITY.glob("baskets-*"))):
        yield from ((order, row, raw) for row, raw in enumerate(rows_of(path)))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of one file by column name."""
    if path.suffix == ".parquet":
        yield from pq.read_table(path).to_pylist()
        return
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as lines:
        if path.suffix == ".ndjson":
            yield from (json.loads(line, parse_float=Decimal) for line in lines)
        else:
            yield from csv.DictReader(lines)


def basket(file_order: int, row_number: int, raw: dict[str, Any]) -> Activity:
    """Return a basket as the definition of the sample maps it."""
    at = raw["purchased_at"]
    clock = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    dollars = raw["sales_value"]
    if isinstance(dollars, float):
        dollars = repr(dollars)
    return Activity(
        customer_id=int(raw["household_id"]),
        activity_id=str(raw["basket_id"]),
        occurred_at=clock.replace(tzinfo=ZONE).astimezone(UTC),
        amount=int(Decimal(dollars) * 100),
        file_order=file_order,
        row_number=row_number,
        columns={"store": str(raw["store_id"])},
    )


@pytest.fixture(scope="module")
def baskets() -> list[Activity]:
    """Return all baskets of the sample."""
    return [basket(*raw) for raw in raw_baskets()]


@pytest.fixture(scope="module")
def frame(baskets: list[Activity]) -> pl.LazyFrame:
    """Return the baskets as the program is given them, in one frame."""
    return activity_frame(baskets, {"store": pl.String}).collect().lazy()


def test_all_baskets_are_there(baskets: list[Activity]) -> None:
    """The files hold what their README says, ties included."""
    assert len(baskets) == BASKETS
    assert sum(one.amount for one in baskets) == 459_603_958
    moments = Counter((one.customer_id, one.occurred_at) for one in baskets)
    assert sum(size - 1 for size in moments.values()) == 84


@pytest.mark.parametrize("name", RULES)
def test_rule_on_all_baskets_is_met_as_the_oracle_says(
    name: str, baskets: list[Activity], frame: pl.LazyFrame
) -> None:
    """Who, when, how far and by which basket: all equal, and neither none nor all."""
    oracle = Oracle(
        badge=a_badge_of(RULES[name]),
        timezone=NEW_YORK,
        as_of=LATER if "repeat" not in name else datetime(2017, 12, 1, tzinfo=UTC),
        conditions=CONDITIONS,
    )
    earned = assert_same(baskets, oracle, frame)
    assert earned
