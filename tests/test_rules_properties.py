"""Rules give what the oracle gives, to the last bit, on any activity.

Small histories full of what is hard: ties, ids that repeat, nights in which clocks
change, month ends, returns, missing values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from factories_rules import LATER, a_badge, a_duration, activity_frame, assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Activity, Oracle

from transforms.definition.definition import Rule
from transforms.local_time import instants

ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/Sao_Paulo",  # until 2019 its clocks changed at midnight
    "Australia/Lord_Howe",  # by half an hour
    "UTC",
)
# Where clocks change in these zones, a leap day, and the turn of an ISO year.
HARD_DAYS = (
    datetime(2018, 11, 3, tzinfo=UTC),
    datetime(2018, 2, 17, tzinfo=UTC),
    datetime(2024, 3, 9, tzinfo=UTC),
    datetime(2024, 3, 30, tzinfo=UTC),
    datetime(2024, 4, 6, tzinfo=UTC),
    datetime(2024, 11, 2, tzinfo=UTC),
    datetime(2024, 2, 28, tzinfo=UTC),
    datetime(2024, 12, 28, tzinfo=UTC),
)
CONDITIONS = {
    "amount > 0.05": lambda one: None if one.amount is None else one.amount > 5,
    "store = 'S1' OR points >= 2": lambda one: any_true(
        None if one.columns["store"] is None else one.columns["store"] == "S1",
        None if one.columns["points"] is None else one.columns["points"] >= 2,
    ),
}
KINDS = ("activity_count", "total_amount", "distinct_count", "streak")
WAYS = ("plain", "within", "per")

quickly = settings(
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def any_true(*sides: bool | None) -> bool | None:
    """Return what OR makes of true, false and unknown."""
    return True if True in sides else None if None in sides else False


@st.composite
def histories(draw: st.DrawFn) -> list[Activity]:
    """Draw activity around one hard day: half hours, days and weeks from it."""
    day = draw(st.sampled_from(HARD_DAYS))
    hours = st.integers(-24, 72).map(lambda n: timedelta(hours=n))
    halves = st.integers(0, 96).map(lambda n: timedelta(minutes=30 * n))
    days = st.integers(-40, 40).map(lambda n: timedelta(days=n))
    odd = st.integers(-(10**13), 10**13).map(lambda n: timedelta(microseconds=n))
    moments = st.one_of(hours, halves, days, odd).map(lambda gap: day + gap)
    # Few different moments, so that many are tied.
    pool = draw(st.lists(moments, min_size=1, max_size=12))
    rows = st.builds(
        dict,
        customer_id=st.sampled_from((5, 7)),
        occurred_at=st.one_of(st.sampled_from(pool), moments),
        activity_id=st.sampled_from(("a", "b", "a1", "a10", "a9", "ä")),
        amount=st.one_of(st.none(), st.integers(-9, 20)),
        source=st.sampled_from(("bills", "visits")),
        file_order=st.integers(0, 1),
        store=st.sampled_from((None, "S1", "S2", "S3", "S4")),
        points=st.sampled_from((None, 0, 1, 2)),
    )
    return [
        Activity(
            row_number=number,
            columns={"store": row.pop("store"), "points": row.pop("points")},
            **row,
        )
        for number, row in enumerate(draw(st.lists(rows, max_size=25)))
    ]


def as_lines(activity: list[Activity]) -> list[Activity]:
    """Make each two rows lines of one activity, at their own times and with values."""
    bills = [activity[at - at % 2] for at in range(len(activity))]
    return [
        replace(
            one,
            customer_id=bill.customer_id,
            source=bill.source,
            activity_id=f"{bill.activity_id}{bill.row_number}",
        )
        for one, bill in zip(activity, bills, strict=True)
    ]


def durations() -> st.SearchStrategy[Any]:
    """Draw a duration that is about as long as the histories' gaps."""
    texts = ("1h", "24h", "36h", "1d", "2d", "7d", "1w", "3w", "1mo", "2mo", "1y")
    return st.sampled_from(texts).map(a_duration)


@st.composite
def rules(draw: st.DrawFn, kind: str, way: str) -> Rule:
    """Draw a rule of one kind, counted in one way."""
    small = st.integers(1, 4)
    keys: dict[str, Any] = {"kind": kind, "at_least": draw(small)}
    if kind == "total_amount":
        keys["at_least"] = Decimal(draw(st.integers(1, 40))) / 100
    if kind == "distinct_count":
        keys["of"] = draw(st.sampled_from(("store", "points")))
    if kind == "streak":
        keys["periods"] = draw(st.integers(1, 3))
        keys["period"] = draw(st.sampled_from(("day", "week", "month")))
    if way == "within":
        keys["within"] = draw(durations())
    if way == "per":
        keys["per"] = draw(st.sampled_from(("week", "month", "quarter", "year")))
    keys["where"] = draw(st.sampled_from((None, None, *CONDITIONS)))
    keys["source"] = draw(st.sampled_from((None, None, "bills")))
    return Rule(**keys)


@dataclass(frozen=True)
class Situation:
    """Activity, and what besides its rule decides what a badge makes of it."""

    activity: list[Activity]
    zone: str
    as_of: datetime
    keys: dict[str, Any]

    def assert_as_the_oracle_says(
        self, rule: Rule, line_sources: frozenset[str] = frozenset(), **keys: Any
    ) -> None:
        """Compare what both make of a badge."""
        columns = {"store": pl.String, "points": pl.Int64}
        oracle = Oracle(
            badge=a_badge(rule, **self.keys, **keys),
            timezone=self.zone,
            as_of=self.as_of,
            conditions=CONDITIONS,
            line_sources=line_sources,
        )
        # All lines of an activity come from one file.
        activity = [
            replace(one, file_order=0) if one.source in line_sources else one
            for one in self.activity
        ]
        frame = activity_frame(activity, columns, line_sources)
        assert_same(activity, oracle, frame)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Draw activity, a zone, a moment of planning, and what a badge counts."""
    early = st.sampled_from(HARD_DAYS).map(lambda day: day + timedelta(hours=5))
    days = st.one_of(st.none(), st.dates(date(2024, 2, 25), date(2024, 4, 20)))
    return Situation(
        activity=draw(histories()),
        zone=draw(st.sampled_from(ZONES)),
        as_of=draw(st.one_of(st.just(LATER), early)),
        keys={
            "where": draw(st.sampled_from((None, None, *CONDITIONS))),
            "counted_from": draw(days),
            "counted_until": draw(days),
        },
    )


@pytest.mark.parametrize("repeat", [False, True], ids=["once", "repeat"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_rule_is_met_as_the_oracle_says(kind: str, way: str, *, repeat: bool) -> None:
    """Every kind of rule, counted in every way, gives exactly what the oracle gives."""

    @quickly
    @given(situations(), rules(kind, way), st.sampled_from((None, None, 1, 2)))
    def holds(situation: Situation, rule: Rule, most: int | None) -> None:
        situation.assert_as_the_oracle_says(
            rule, repeat=repeat, max_occurrences=most if repeat else None
        )

    holds()


@pytest.mark.parametrize("repeat", [False, True], ids=["once", "repeat"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_activities_as_the_oracle_says(
    kind: str, way: str, *, repeat: bool
) -> None:
    """Rows with one id count as one activity, whatever the rule and the way."""

    @quickly
    @given(
        situations(),
        rules(kind, way),
        st.sampled_from((None, None, 1, 2)),
        st.sampled_from((frozenset({"bills"}), frozenset({"bills", "visits"}))),
    )
    def holds(
        situation: Situation, rule: Rule, most: int | None, lines: frozenset[str]
    ) -> None:
        most = most if repeat else None
        situation = replace(situation, activity=as_lines(situation.activity))
        situation.assert_as_the_oracle_says(
            rule, lines, repeat=repeat, max_occurrences=most
        )

    holds()


@quickly
@given(situations(), durations(), st.sampled_from((None, 30)))
def test_time_elapses_as_the_oracle_says(
    situation: Situation, after: Any, most: int | None
) -> None:
    """Every multiple of a duration is met on the local day that the oracle names."""
    rule = Rule(kind="elapsed", since="first_activity", after=after)
    repeat = most is not None
    situation.assert_as_the_oracle_says(rule, repeat=repeat, max_occurrences=most)


def any_rules() -> st.SearchStrategy[Rule]:
    """Draw a rule of any kind that can be a part."""
    elapsed = st.builds(
        Rule,
        kind=st.just("elapsed"),
        since=st.just("first_activity"),
        after=durations(),
    )
    return st.one_of(elapsed, *(rules(kind, way) for kind in KINDS for way in WAYS))


@quickly
@given(
    situations(),
    st.sampled_from(("all_of", "any_of")),
    st.lists(any_rules(), min_size=1, max_size=3),
    st.sampled_from((None, *CONDITIONS)),
    st.sampled_from((frozenset(), frozenset({"bills"}))),
)
def test_parts_decide_as_the_oracle_says(
    situation: Situation,
    kind: Any,
    parts: list[Rule],
    where: str | None,
    lines: frozenset[str],
) -> None:
    """The last or first part decides, ties included, with what holds for all parts."""
    rule = Rule(kind=kind, rules=tuple(parts), where=where)
    situation.assert_as_the_oracle_says(rule, lines)


@quickly
@given(
    situations(),
    st.one_of(*(rules("total_amount", way) for way in WAYS)),
    st.sampled_from((1, 10**15, 2**58)),
    st.booleans(),
)
def test_sums_are_exact_at_any_size(
    situation: Situation,
    rule: Rule,
    scale: int,
    repeat: bool,  # noqa: FBT001
) -> None:
    """Sums beyond 64 bits are as exact as small ones."""
    large = [
        replace(one, amount=None if one.amount is None else one.amount * scale)
        for one in situation.activity
    ]
    situation = replace(situation, activity=large, keys={})
    bound = (rule.at_least or 0) * scale
    rule = rule.model_copy(update={"at_least": bound, "where": None})
    situation.assert_as_the_oracle_says(rule, repeat=repeat)


@pytest.mark.parametrize("within", ["1d", "1mo"])
@pytest.mark.parametrize("most", [None, 40])
def test_who_earns_very_often_earns_as_the_oracle_says(
    within: str, most: int | None
) -> None:
    """A long history with returns is served to its end, and no further than asked."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    busy = [
        Activity(
            customer_id=customer,
            activity_id=f"a{number}",
            occurred_at=start + timedelta(hours=number * number % 7 + number),
            amount=(-3, 5, 2, None, 4)[number * customer % 5],
            columns={"store": None, "points": None},
        )
        for customer, length in ((1, 400), (2, 30), (3, 150))
        for number in range(length)
    ]
    rule = Rule(
        kind="total_amount", at_least=Decimal("0.06"), within=a_duration(within)
    )
    situation = Situation(busy, "Europe/Berlin", LATER, keys={})
    situation.assert_as_the_oracle_says(rule, repeat=True, max_occurrences=most)


@quickly
@given(
    zone=st.sampled_from(ZONES),
    local=st.lists(
        st.one_of(
            st.datetimes(datetime(1900, 1, 2), datetime(2099, 12, 30)),  # noqa: DTZ001
            st.sampled_from(HARD_DAYS).flatmap(
                lambda day: st.integers(0, 288).map(
                    lambda n: (day + timedelta(minutes=10 * n)).replace(tzinfo=None)
                )
            ),
        ),
        max_size=30,
    ),
)
def test_local_times_are_the_instants_that_zoneinfo_gives(
    zone: str, local: list[datetime]
) -> None:
    """Doubled local times are the first, left out ones move on, until 2099 at least."""
    found = pl.DataFrame({"local": local}, schema={"local": pl.Datetime("us")}).select(
        instants(pl.col("local"), zone)
    )
    oracle = Oracle(badge=None, timezone=zone, as_of=LATER)
    assert found.to_series().to_list() == [oracle.instant(one) for one in local]
