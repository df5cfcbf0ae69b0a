"""What becomes of a qualification: its id, its earn date, and its one result."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from factories_awards import (
    AS_OF,
    BADGE_META_ID,
    NEW_YORK,
    TARGET,
    at,
    badge,
    classified,
    facts,
    held,
    hold,
    known,
    qualifications,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.awards.awards import PlanResult, award_id, drift
from transforms.definition.definition import Rule

MONTHLY = Rule(kind="activity_count", at_least=1, per="month")


def only(frame: pl.DataFrame) -> dict[str, Any]:
    """Return the one row of a frame."""
    assert frame.height == 1
    return frame.row(0, named=True)


def results(frame: pl.DataFrame) -> list[str]:
    """Return the results in the order of the frame."""
    return frame["result"].to_list()


def test_known_award_ids_stay_as_they_are():
    """A change of the id scheme would award everybody again: these are literals."""
    assert (
        award_id(
            target=TARGET,
            badge_meta_id=BADGE_META_ID,
            series="",
            customer_id=553162563,
            occurrence=1,
        )
        == "9d52ce5a691878623a4f8600"
    )
    assert (
        award_id(
            target=TARGET,
            badge_meta_id=BADGE_META_ID,
            series="2018",
            customer_id=553162563,
            occurrence=202406,
            generation=2,
        )
        == "67d09986e65b361e6ab6fd29"
    )


def test_the_frame_carries_the_same_ids():
    """The ids of a frame are those of the function for one award."""
    row = only(classified([(7, 3, "2017-05-03T12:00")], badge=badge(series="x")))
    assert row["award_id"] == award_id(
        target=TARGET,
        badge_meta_id=BADGE_META_ID,
        series="x",
        customer_id=7,
        occurrence=3,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"badge": badge(name="other")},
        {"badge": badge(reference_id="other")},
        {"badge": badge(precision="exact")},
        {"definition_timezone": "Asia/Tokyo"},
    ],
)
def test_names_dates_and_zones_are_no_part_of_an_id(changed):
    """A badge renamed, dated or referred to otherwise is the same award."""
    rows = [(7, 1, "2017-05-03T12:00")]
    same = classified(rows)["award_id"].to_list()
    assert classified(rows, **changed)["award_id"].to_list() == same


def test_a_planned_award_has_everything_a_request_needs():
    """A row says which badge, whom, when and why."""
    row = only(classified([(7, 1, "2017-05-03T02:30")], badge=badge(series="2017")))
    assert row == {
        "customer_id": 7,
        "occurrence": 1,
        "qualified_at": at("2017-05-03T02:30"),
        "measure": 1.0,
        "threshold": 1.0,
        "evidence_activity_id": "bill-7-1",
        "source": "activity",
        "award_id": row["award_id"],
        "generation": 1,
        "earn_event_date": at("2017-05-02T16:00"),  # noon in New York, the day before
        "earn_day": date(2017, 5, 2),
        "badge": "first",
        "badge_meta_id": BADGE_META_ID,
        "reference_id": "retro-2017",
        "series": "2017",
        "result": "planned",
        "reason": None,
        "held_earned_badge_id": None,
    }


def test_no_qualifications_make_no_awards():
    """An empty frame comes back empty, with all its columns and types."""
    empty = classified([])
    full = classified([(7, 1, "2017-05-03T12:00")])
    assert empty.is_empty()
    assert empty.schema == full.schema


# --- the earn date


@pytest.mark.parametrize(
    ("precision", "qualified_at", "earn_date"),
    [
        ("day", "2017-07-04T00:00:00.5-04:00", "2017-07-04T12:00-04:00"),
        ("day", "2017-07-04T23:59:59.9-04:00", "2017-07-04T12:00-04:00"),
        ("day", "2017-03-12T01:30-05:00", "2017-03-12T12:00-04:00"),  # 23 hours long
        ("day", "2017-11-05T01:30-05:00", "2017-11-05T12:00-05:00"),  # 25 hours long
        ("exact", "2017-07-04T09:15:59.999-04:00", "2017-07-04T09:15:59-04:00"),
        ("exact", "2017-07-04T09:15:00-04:00", "2017-07-04T09:15:00-04:00"),
        ("exact", "1969-12-31T23:59:59.5+00:00", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_the_earn_date_is_noon_of_the_day_or_the_second(
    precision, qualified_at, earn_date
):
    """Day gives noon in the definition's zone, exact the activity's own second."""
    row = only(classified([(1, 1, qualified_at)], badge=badge(precision=precision)))
    assert row["earn_event_date"] == at(earn_date)
    assert row["earn_day"] == at(qualified_at).astimezone(ZoneInfo(NEW_YORK)).date()


WINDOW = {
    "starts_at": at("2017-05-03T09:00-04:00"),
    "expires_at": at("2017-06-10T08:00-04:00"),
}


@pytest.mark.parametrize(
    ("qualified_at", "earn_date", "reason"),
    [
        ("2017-05-03T08:59:59.999999-04:00", None, "before_window"),
        ("2017-05-03T09:00-04:00", "2017-05-03T12:00-04:00", None),
        ("2017-06-09T23:00-04:00", "2017-06-09T12:00-04:00", None),
        ("2017-06-10T07:59:59.999999-04:00", "2017-06-10T07:59:59-04:00", None),
        ("2017-06-10T08:00-04:00", None, "after_window"),
    ],
)
def test_a_window_takes_its_start_and_not_its_end(qualified_at, earn_date, reason):
    """In or out is decided by the instant of qualifying, noon is moved inside."""
    row = only(classified([(1, 1, qualified_at)], facts=facts(**WINDOW)))
    assert row["result"] == ("out_of_window" if reason else "planned")
    assert row["reason"] == reason
    assert row["earn_event_date"] == (at(earn_date) if earn_date else None)


def test_noon_is_moved_up_to_a_window_that_opens_in_the_afternoon():
    """An award of the opening day is dated to the opening, in whole seconds."""
    opens = facts(starts_at=at("2017-05-03T15:00:00.25-04:00"))
    row = only(classified([(1, 1, "2017-05-03T18:00-04:00")], facts=opens))
    assert row["earn_event_date"] == at("2017-05-03T15:00:01-04:00")


def test_a_date_is_never_moved_to_another_day():
    """Where only a second of the next day is left, there is no date."""
    opens = facts(starts_at=at("2017-05-03T23:59:59.25-04:00"))
    row = only(classified([(1, 1, "2017-05-03T23:59:59.5-04:00")], facts=opens))
    assert row["result"] == "out_of_window"
    assert row["reason"] == "no_second_left"
    assert row["earn_day"] == date(2017, 5, 3)


def test_a_window_without_a_whole_second_takes_nothing():
    """An earn date has no fraction, so it can't lie inside such a window."""
    for precision in ("day", "exact"):
        row = only(
            classified(
                [(1, 1, "2017-05-03T09:00:00.5")],
                badge=badge(precision=precision),
                facts=facts(
                    starts_at=at("2017-05-03T09:00:00.25"),
                    expires_at=at("2017-05-03T09:00:00.75"),
                ),
            )
        )
        assert (row["result"], row["reason"]) == ("out_of_window", "no_second_left")


def test_an_exact_second_that_falls_before_the_window_is_moved_up():
    """The floor of an instant just inside may lie outside; it is moved in."""
    row = only(
        classified(
            [(1, 1, "2017-05-03T09:00:00.75")],
            badge=badge(precision="exact"),
            facts=facts(starts_at=at("2017-05-03T09:00:00.5")),
        )
    )
    assert row["earn_event_date"] == at("2017-05-03T09:00:01")


@pytest.mark.parametrize(
    ("precision", "earn_date"),
    [("day", "2017-05-03T12:00-04:00"), ("exact", "2017-05-03T09:00-04:00")],
)
def test_what_came_before_the_window_may_be_dated_to_its_start(precision, earn_date):
    """window_start counts early achievements as achieved when the badge opened."""
    early = badge(before_window="window_start", precision=precision)
    row = only(
        classified([(1, 1, "2016-01-01T00:00")], badge=early, facts=facts(**WINDOW))
    )
    assert row["result"] == "planned"
    assert row["earn_event_date"] == at(earn_date)
    assert row["earn_day"] == date(2017, 5, 3)


def test_window_start_does_not_help_what_came_too_late():
    """Only the early are moved."""
    late = badge(before_window="window_start")
    row = only(
        classified([(1, 1, "2017-07-01T00:00")], badge=late, facts=facts(**WINDOW))
    )
    assert (row["result"], row["reason"]) == ("out_of_window", "after_window")


def test_a_day_whose_noon_the_clocks_skipped_still_has_a_date():
    """Juneau left local mean time at noon of 20 August 1900."""
    row = only(
        classified(
            [(1, 1, "1900-08-20T23:00:00.5+00:00")],
            definition_timezone="America/Juneau",
        )
    )
    assert row["result"] == "planned"
    assert row["earn_day"] == date(1900, 8, 20)


INSTANTS = st.datetimes(
    min_value=at("2016-01-01").replace(tzinfo=None),
    max_value=at("2019-01-01").replace(tzinfo=None),
)


@settings(max_examples=60, deadline=None)
@given(
    qualified_at=INSTANTS,
    starts_at=INSTANTS,
    length=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=900)),
    precision=st.sampled_from(["day", "exact"]),
    zone=st.sampled_from([NEW_YORK, "Asia/Kolkata", "Pacific/Auckland", "UTC"]),
)
def test_a_date_lies_inside_the_window_and_on_its_day(
    qualified_at, starts_at, length, precision, zone
):
    """Whatever the window: whole seconds, inside, and with `day` the same local day."""
    opens, closes = at(starts_at.isoformat()), at((starts_at + length).isoformat())
    row = only(
        classified(
            [(1, 1, qualified_at.isoformat())],
            badge=badge(precision=precision),
            facts=facts(starts_at=opens, expires_at=closes),
            definition_timezone=zone,
            as_of=at("2030-01-01"),
        )
    )
    earn_date, instant = row["earn_event_date"], row["qualified_at"]
    assert (row["result"] == "planned") == (earn_date is not None)
    if earn_date is None:
        return
    assert opens <= instant < closes
    assert opens <= earn_date < closes
    assert earn_date.microsecond == 0
    local = earn_date.astimezone(ZoneInfo(zone))
    assert row["earn_day"] == local.date()
    if precision == "day":
        assert local.date() == instant.astimezone(ZoneInfo(zone)).date()
    else:
        assert abs(earn_date - instant) < timedelta(seconds=1)


# --- one result each


def test_each_qualification_has_the_first_result_that_applies():
    """Bounds before selection, window, due date, hold and held: the order is fixed."""
    frame = classified(
        [
            (1, 1, "2017-05-03T12:00"),
            (2, 1, "2015-05-03T12:00"),
            (3, 1, "2017-05-03T12:00"),
            (4, 1, "2016-12-31T12:00"),
            (5, 1, "2018-06-01T11:00"),
            (6, 1, "2018-05-31T12:00"),
            (7, 1, "2017-05-03T12:00"),
            (8, 1, "2017-05-03T12:00"),
        ],
        badge=badge(hold=hold(2, "d"), earned_from=date(2016, 1, 1)),
        facts=facts(starts_at=at("2017-01-01")),
        as_of=at("2018-06-01T12:00"),
        known=known({"award_id": "a1", "customer_id": 1}),
        held=held((7, "2012-01-01", "earn-7"), (6, "2012-01-01", "earn-6")),
        selected_customers=[1, 2, 4, 5, 6, 7, 8],
    )
    assert dict(zip(frame["customer_id"], frame["result"], strict=True)) == {
        1: "in_ledger",
        2: "outside_bounds",
        3: "not_selected",
        4: "out_of_window",
        5: "not_yet_due",
        6: "held_back",
        7: "held",
        8: "planned",
    }
    assert set(results(frame)) == {str(result) for result in PlanResult}


def test_an_award_of_the_ledger_stays_in_it_whatever_a_run_asks_for():
    """Bounds and selections choose what is planned, they forget nothing."""
    frame = classified(
        [(1, 1, "2017-05-03T12:00")],
        known=known({"award_id": "a1", "customer_id": 1, "status": "failed"}),
        earned_from=date(2018, 1, 1),
        is_badge_selected=False,
    )
    assert results(frame) == ["in_ledger"]
    assert frame["award_id"].to_list() == ["a1"]


@pytest.mark.parametrize(
    ("own", "run", "expected"),
    [
        ((None, None), (None, None), ["planned"] * 3),
        ((date(2017, 5, 2), None), (None, None), [None, "planned", "planned"]),
        ((None, date(2017, 5, 3)), (None, None), ["planned", "planned", None]),
        ((None, None), (date(2017, 5, 2), date(2017, 5, 3)), [None, "planned", None]),
        ((date(2017, 5, 2), None), (None, date(2017, 5, 3)), [None, "planned", None]),
        ((date(2017, 5, 3), None), (date(2017, 5, 1), None), [None, None, "planned"]),
    ],
)
def test_bounds_are_local_days_the_last_one_excluded(own, run, expected):
    """The badge's and the run's bounds both hold; days are those of the earn date."""
    frame = classified(
        [
            (1, 1, "2017-05-02T03:59-00:00"),  # 1 May in New York
            (2, 1, "2017-05-02T04:00-00:00"),
            (3, 1, "2017-05-03T04:00-00:00"),
        ],
        badge=badge(earned_from=own[0], earned_until=own[1]),
        earned_from=run[0],
        earned_until=run[1],
    )
    assert results(frame) == [one or "outside_bounds" for one in expected]


def test_awards_and_customers_can_be_selected():
    """Both selections hold together, and an empty one selects nothing."""
    rows = [(1, 1, "2017-05-03T12:00"), (2, 1, "2017-05-03T12:00")]
    first = classified(rows)["award_id"][0]
    assert results(classified(rows, selected_awards={first})) == [
        "planned",
        "not_selected",
    ]
    assert results(classified(rows, selected_customers=pl.Series([2]))) == [
        "not_selected",
        "planned",
    ]
    frame = classified(rows, selected_customers=[2], selected_awards=[first])
    assert results(frame) == ["not_selected"] * 2
    assert frame["reason"].to_list() == ["customer", "award"]
    assert results(classified(rows, selected_customers=[])) == ["not_selected"] * 2
    assert results(classified(rows, is_badge_selected=False)) == ["not_selected"] * 2


def test_a_date_after_as_of_waits_and_is_not_moved():
    """Noon of today is not due in the morning, an exact second is."""
    rows = [(1, 1, "2018-06-01T09:00-04:00")]
    morning = at("2018-06-01T10:00-04:00")
    assert results(classified(rows, as_of=morning)) == ["not_yet_due"]
    assert results(classified(rows, as_of=at("2018-06-01T12:00-04:00"))) == ["planned"]
    exact = classified(rows, as_of=morning, badge=badge(precision="exact"))
    assert results(exact) == ["planned"]


@pytest.mark.parametrize(
    ("qualified_at", "result"),
    [("2018-05-30T12:00:00", "planned"), ("2018-05-30T12:00:00.000001", "held_back")],
)
def test_younger_activity_than_hold_is_held_back(qualified_at, result):
    """An activity exactly as old as `hold` counts."""
    row = only(
        classified(
            [(1, 1, qualified_at)],
            badge=badge(hold=hold(2, "d")),
            as_of=at("2018-06-01T12:00"),
        )
    )
    assert row["result"] == result
    assert row["reason"] == ("hold" if result == "held_back" else None)


def test_a_month_of_hold_is_a_month_of_the_calendar():
    """Days and weeks are lengths; months keep the wall clock of the zone."""
    rows = [(1, 1, "2018-02-28T12:00-05:00"), (2, 1, "2018-02-28T12:00:01-05:00")]
    arguments = {"as_of": at("2018-03-31T12:00-04:00")}
    monthly = classified(rows, badge=badge(hold=hold(1, "mo")), **arguments)
    assert results(monthly) == ["planned", "held_back"]
    exact = classified(rows, badge=badge(hold=hold(31, "d")), **arguments)
    assert results(exact) == ["held_back", "held_back"]


# --- what the ledger has


def test_a_released_award_makes_way_for_the_next_generation():
    """The newest generation decides, and a released one frees the next."""
    rows = [(1, 1, "2017-05-03T12:00"), (2, 1, "2017-05-03T12:00")]
    frame = classified(
        rows,
        known=known(
            {"award_id": "a1", "customer_id": 1, "status": "released"},
            {"award_id": "a2", "customer_id": 2, "status": "released"},
            {"award_id": "a3", "customer_id": 2, "generation": 2},
        ),
    )
    assert results(frame) == ["planned", "in_ledger"]
    assert frame["generation"].to_list() == [2, 2]
    assert frame["award_id"].to_list() == [
        award_id(
            target=TARGET,
            badge_meta_id=BADGE_META_ID,
            series="",
            customer_id=1,
            occurrence=1,
            generation=2,
        ),
        "a3",
    ]


def test_revoked_awards_stay_known():
    """Revoking frees nothing: only a release does."""
    frame = classified(
        [(1, 1, "2017-05-03T12:00")],
        known=known({"award_id": "a1", "customer_id": 1, "status": "revoked"}),
    )
    assert results(frame) == ["in_ledger"]


def test_a_ledger_without_merged_customers_needs_no_second_id():
    """ledger_customer_id is only there where a survivor map was used."""
    frame = classified(
        [(1, 1, "2017-05-03T12:00")],
        known=known({"award_id": "a1", "customer_id": 1}).drop("ledger_customer_id"),
    )
    assert frame["award_id"].to_list() == ["a1"]


def test_a_survivor_holds_what_both_parts_held_and_gains_no_more():
    """Two merged customers with one award each hold two; the third is held back."""
    frame = classified(
        [
            (1, 1, "2017-05-03T12:00"),
            (1, 2, "2017-06-03T12:00"),
            (1, 3, "2017-07-03T12:00"),
            (2, 1, "2017-05-03T12:00"),
        ],
        badge=badge(repeat=True),
        known=known(
            {"award_id": "own", "customer_id": 1},
            {"award_id": "gone", "customer_id": 1, "ledger_customer_id": 9},
        ),
    )
    assert results(frame) == ["in_ledger", "in_ledger", "held_back", "planned"]
    assert frame["award_id"].to_list()[:2] == ["own", "gone"]
    assert frame["reason"].to_list() == [None, None, "merged", None]


def test_periods_of_merged_customers_are_not_exchanged():
    """An award of one month covers that month only; other months are held back."""
    frame = classified(
        [(1, 201705, "2017-05-03T12:00"), (1, 201706, "2017-06-03T12:00")],
        badge=badge(repeat=True, rule=MONTHLY),
        known=known(
            {"award_id": "own", "customer_id": 1, "occurrence": 201705},
            {
                "award_id": "gone",
                "customer_id": 1,
                "occurrence": 201705,
                "ledger_customer_id": 9,
            },
        ),
    )
    assert results(frame) == ["in_ledger", "held_back"]


# --- what the brand's own list has


def test_the_nth_held_earn_covers_the_nth_occurrence():
    """Held earns are counted by date, not by their order in the file."""
    frame = classified(
        [(1, n, f"2017-0{n}-03T12:00") for n in (1, 2, 3)],
        badge=badge(repeat=True),
        held=held((1, "2016-05-01", "later"), (1, "2015-05-01", "earlier")),
    )
    assert results(frame) == ["held", "held", "planned"]
    assert frame["held_earned_badge_id"].to_list() == ["earlier", "later", None]


def test_with_periods_an_earn_inside_the_period_covers_it():
    """The local day of the earn decides its period."""
    frame = classified(
        [(1, 201705, "2017-05-03T12:00"), (1, 201706, "2017-06-03T12:00")],
        badge=badge(repeat=True, rule=MONTHLY),
        held=held((1, "2017-06-01T03:00", "may"), (1, "2017-05-20T12:00", "earlier")),
    )
    assert results(frame) == ["held", "planned"]
    assert frame["held_earned_badge_id"].to_list() == ["earlier", None]


@pytest.mark.parametrize(
    ("per", "occurrence", "earned"),
    [
        ("week", 201701, "2017-01-02T12:00"),
        ("week", 201652, "2017-01-01T12:00"),  # a Sunday: still the old year's week
        ("month", 201702, "2017-02-28T12:00"),
        ("quarter", 20173, "2017-07-01T12:00"),
        ("year", 2017, "2017-12-31T12:00"),
    ],
)
def test_periods_are_numbered_by_the_calendar(per, occurrence, earned):
    """Week 201701 opens on the first Monday that the ISO year has."""
    rule = Rule(kind="activity_count", at_least=1, per=per)
    row = only(
        classified(
            [(1, occurrence, "2017-06-03T12:00")],
            badge=badge(repeat=True, rule=rule),
            held=held((1, earned, "e")),
        )
    )
    assert row["result"] == "held"


def test_per_without_repeat_counts_earns_and_not_periods():
    """Such a badge has one occurrence, numbered 1."""
    row = only(
        classified(
            [(1, 1, "2017-06-03T12:00")],
            badge=badge(rule=MONTHLY),
            held=held((1, "2011-01-01", None)),
        )
    )
    assert row["result"] == "held"
    assert row["held_earned_badge_id"] is None


def test_held_earns_of_other_badges_cover_nothing():
    """The list may hold every badge of the brand."""
    others = held((1, "2017-05-01", "e")).with_columns(badge_meta_id=pl.lit("other"))
    assert results(classified([(1, 1, "2017-05-03T12:00")], held=others)) == ["planned"]


# --- properties and drift

CASES = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 4), INSTANTS),
    unique_by=lambda case: case[:2],
    max_size=12,
)


@settings(max_examples=50, deadline=None)
@given(cases=CASES, in_ledger=st.sets(st.tuples(st.integers(1, 5), st.integers(1, 4))))
def test_every_qualification_has_one_result_and_one_id(cases, in_ledger):
    """No row is lost or doubled, ids are unique, and what is known is in_ledger."""
    rows = sorted((c, n, instant.isoformat()) for c, n, instant in cases)
    frame = classified(
        rows,
        badge=badge(repeat=True, hold=hold(30, "d")),
        facts=facts(starts_at=at("2016-06-01")),
        known=known(
            *(
                {"award_id": f"a{c}-{n}", "customer_id": c, "occurrence": n}
                for c, n in sorted(in_ledger)
            )
        ),
        held=held((1, "2016-01-01", "h")),
    )
    keys = list(zip(frame["customer_id"], frame["occurrence"], strict=True))
    assert keys == [row[:2] for row in rows]
    assert set(results(frame)) <= {str(result) for result in PlanResult}
    assert frame["award_id"].n_unique() == len(rows)
    for key, result in zip(keys, results(frame), strict=True):
        assert (result == "in_ledger") == (key in in_ledger)


def test_the_same_plan_comes_out_in_any_order():
    """Ids and results depend on the row, not on its place."""
    frame = qualifications(
        *((c, n, f"2017-0{n}-0{c}T12:00") for c in range(1, 6) for n in range(1, 5))
    )
    plan = classified(
        frame, badge=badge(repeat=True), held=held((3, "2015-01-01", "h"))
    )
    shuffled = classified(
        frame.sample(fraction=1.0, shuffle=True, seed=7),
        badge=badge(repeat=True),
        held=held((3, "2015-01-01", "h")),
    )
    assert shuffled.sort("customer_id", "occurrence").equals(plan)


def test_drift_names_awards_that_would_be_dated_otherwise_or_not_at_all():
    """Only awards that stand are compared; the same date is no drift."""
    ledger = known(
        {"award_id": "same", "customer_id": 1},
        {"award_id": "moved", "customer_id": 2},
        {"award_id": "gone", "customer_id": 3},
        {"award_id": "out", "customer_id": 4},
        {"award_id": "revoked", "customer_id": 5, "status": "revoked"},
        {"award_id": "released", "customer_id": 6, "status": "released"},
    )
    now = classified(
        [
            (1, 1, "2017-05-03T12:00"),
            (2, 1, "2017-05-09T12:00"),
            (4, 1, "2012-05-03T12:00"),
            (7, 1, "2017-05-03T12:00"),
        ],
        known=ledger,
        facts=facts(starts_at=at("2017-01-01")),
    )
    found = drift(now, ledger)
    was = "2017-05-03T16:00:00+00:00"
    assert found.rows() == [
        ("moved", "earn_date", was, "2017-05-09T16:00:00+00:00"),
        ("gone", "not_qualified", was, None),
        ("out", "not_qualified", was, None),
    ]
    assert found.schema == dict.fromkeys(found.columns, pl.String)


def test_drift_shows_what_a_survivor_would_gain():
    """A merge is drift too: a person decides about the surplus."""
    ledger = known({"award_id": "gone", "customer_id": 1, "ledger_customer_id": 9})
    now = classified(
        [(1, 1, "2017-05-03T12:00"), (1, 2, "2017-06-03T12:00")],
        badge=badge(repeat=True),
        known=ledger,
    )
    found = drift(now, ledger)
    assert found["kind"].to_list() == ["merged"]
    assert found["would_be"].to_list() == ["2017-06-03T16:00:00+00:00"]


def test_drift_of_nothing_is_nothing():
    """An empty ledger drifts nowhere."""
    now = classified([(1, 1, "2017-05-03T12:00")], as_of=AS_OF)
    assert drift(now, known()).is_empty()
