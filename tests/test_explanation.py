"""An explanation says the same as the rules, activity by activity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from factories_rules import LATER, NEW_YORK, a_badge, a_badge_of, activity_frame
from hypothesis import given
from hypothesis import strategies as st
from oracle import Activity
from test_rules_properties import (
    KINDS,
    WAYS,
    ZONES,
    as_lines,
    histories,
    quickly,
    rules,
)

from transforms.definition.definition import Badge
from transforms.errors import DefinitionRefused
from transforms.reports.explanation import Explanation, Setting, explained
from transforms.rules.qualifications import qualifications
from transforms.rules.words import rule_words

FIFTY = 'rule = { kind = "activity_count", at_least = 3 }\nwhere = "amount > 0"'


def visit(number: int, *, amount: int = 100, **keys: Any) -> Activity:
    """Return the nth visit, at noon UTC on the nth of May."""
    return Activity(
        customer_id=7,
        activity_id=f"b{number}",
        occurred_at=datetime(2017, 5, number, 12, tzinfo=UTC),
        amount=amount,
        row_number=number,
        **keys,
    )


def explanation(
    badge: Badge,
    activity: list[Activity],
    *,
    timezone: str = NEW_YORK,
    as_of: datetime = LATER,
    superseded: dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
    line_sources: frozenset[str] = frozenset(),
) -> Explanation:
    """Explain a badge by a customer's activity."""
    newer = pl.col("activity_id").replace_strict(
        superseded or {"": ""}, default=None, return_dtype=pl.String
    )
    frame = activity_frame(activity, columns, line_sources).collect()
    setting = Setting(timezone=timezone, as_of=as_of, amount_decimals=2)
    return explained(frame.with_columns(superseded_by=newer), badge, setting)


def reasons(found: Explanation) -> dict[str, str | None]:
    """Return the reason of each activity of the only part."""
    (part,) = found.parts
    return {one.activity["activity_id"]: one.reason for one in part.verdicts}


def test_every_activity_has_a_reason_or_a_running_measure():
    """What counts is numbered, what doesn't says why, with the values that decided."""
    badge = a_badge_of(f'{FIFTY}\ncounted_from = "2017-05-02"')
    found = explanation(
        badge,
        [visit(1), visit(2), visit(3, amount=-250), visit(4), visit(5), visit(28)],
        as_of=datetime(2017, 5, 20, tzinfo=UTC),
        superseded={"b4": "june.csv"},
    )

    assert reasons(found) == {
        "b1": "bounds: before counted_from 2017-05-02",
        "b2": None,
        "b3": "where: amount > 0 does not hold (amount = -2.50)",
        "b4": "superseded: june.csv has this activity again",
        "b5": None,
        "b28": "too young: later than 2017-05-20T00:00:00+00:00",
    }
    (part,) = found.parts
    assert [one.running for one in part.verdicts if one.reason is None] == [1, 2]
    assert part.distance == "2 of 3 activities, last on 2017-05-05"
    assert found.met.is_empty()


def test_the_moment_is_the_one_of_the_rules():
    """The activity that meets the rule is marked, and nothing after it is."""
    found = explanation(a_badge_of(FIFTY), [visit(n) for n in (1, 2, 3, 4)])
    (part,) = found.parts

    assert [one.meets for one in part.verdicts] == [(), (), (1,), ()]
    assert part.qualified_at == datetime(2017, 5, 3, 12, tzinfo=UTC)
    assert part.distance == "met 2017-05-03 08:00:00: 3 of 3 activities"


def test_another_source_and_a_missing_value_do_not_count():
    """A rule of one source, counting different values, says what it passes over."""
    badge = a_badge_of(
        'rule = { kind = "distinct_count", of = "store", at_least = 2, '
        'source = "bills" }'
    )
    found = explanation(
        badge,
        [
            visit(1, source="bills", columns={"store": "S1"}),
            visit(2, source="visits", columns={"store": "S2"}),
            visit(3, source="bills", columns={"store": None}),
        ],
        columns={"store": pl.String},
    )

    assert reasons(found) == {
        "b1": None,
        "b2": "source: the rule counts bills, this is of visits",
        "b3": "value: it has no store",
    }
    assert found.parts[0].distance == "1 of 2 different store, last on 2017-05-01"


def test_different_days_are_explained():
    """A built-in column has its values in an explanation as in a rule."""
    badge = a_badge_of(
        'rule = { kind = "distinct_count", of = "occurred_date", at_least = 2 }'
    )
    again = replace(visit(1), activity_id="b9", amount=300)
    (part,) = explanation(badge, [visit(1), again, visit(2)]).parts

    assert [one.running for one in part.verdicts] == [1, 1, 2]


def test_lines_are_explained_with_their_activity():
    """Each line has a reason or what stood after its bill, which was at its first."""
    badge = a_badge_of(
        'rule = { kind = "total_amount", at_least = 5 }\nwhere = "amount < 9"'
    )
    bill = replace(visit(3), activity_id="b2", occurred_at=visit(2).occurred_at)
    lines = [visit(1), visit(2, amount=250), replace(bill, row_number=9, amount=200)]
    lines.append(replace(visit(4), activity_id="b2", amount=900, row_number=8))
    lines.append(replace(visit(5), activity_id="b2", amount=50, row_number=7))
    found = explanation(badge, lines, line_sources=frozenset({"activity"}))
    (part,) = found.parts

    assert [
        (one.activity["row_number"], one.running, one.meets) for one in part.verdicts
    ] == [
        (1, 1.0, ()),
        (2, 6.0, (1,)),
        (7, 6.0, (1,)),
        (8, None, ()),
        (9, 6.0, (1,)),
    ]
    assert part.distance == "met 2017-05-02 08:00:00: 6 of 5 in amounts"


def test_each_part_of_a_combined_rule_is_explained():
    """`all_of` shows what each of its parts lacks."""
    badge = a_badge_of(
        'rule = { kind = "all_of", where = "amount > 0", rules = ['
        '{ kind = "activity_count", at_least = 2 }, '
        '{ kind = "total_amount", at_least = 5.50, where = "amount < 9" }] }'
    )
    found = explanation(badge, [visit(1), visit(2, amount=250), visit(3, amount=900)])
    count, amount = found.parts

    assert count.distance == "met 2017-05-02 08:00:00: 2 of 2 activities"
    assert amount.distance == "3.50 of 5.50 in amounts, last on 2017-05-02"
    assert amount.verdicts[2].reason == (
        "where: amount < 9 does not hold (amount = 9.00)"
    )
    assert found.met.is_empty()


@pytest.mark.parametrize(
    ("rule", "days", "distance"),
    [
        (
            '{ kind = "activity_count", at_least = 3, within = "2d" }',
            (1, 2, 9),
            (
                "2 of 3 activities at best, on 2017-05-02; 1 on 2017-05-09, the last "
                "activity"
            ),
        ),
        (
            '{ kind = "streak", period = "day", periods = 3 }',
            (1, 2, 9),
            (
                "2 of 3 days in a row at best, on 2017-05-02; 1 on 2017-05-09, "
                "the last activity"
            ),
        ),
        (
            '{ kind = "elapsed", since = "first_activity", after = "1y" }',
            (4, 5),
            "1 year since 2017-05-04 have not passed yet",
        ),
        (
            '{ kind = "total_amount", at_least = 1234.5 }',
            (),
            "0 of 1,234.50 in amounts: no activity counts",
        ),
    ],
)
def test_how_far_it_is(rule, days, distance):
    """Where a rule isn't met, one sentence says how far it is, and since when."""
    found = explanation(
        a_badge_of(f"rule = {rule}"),
        [visit(day) for day in days],
        as_of=datetime(2017, 6, 1, tzinfo=UTC),
    )

    assert found.parts[0].distance == distance


def test_a_condition_that_is_wrong_is_refused_as_the_rules_refuse_it():
    """An explanation reads no condition that a run would not."""
    with pytest.raises(DefinitionRefused):
        explanation(a_badge_of(FIFTY.replace("amount > 0", "now() > 0")), [visit(1)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_the_running_measure_is_the_one_of_the_rules(kind, way):
    """Where a rule is met, what was running then is what the rules measured."""

    @quickly
    @given(
        activity=histories(),
        rule=rules(kind, way),
        zone=st.sampled_from(ZONES),
        repeat=st.booleans(),
        lines=st.sampled_from((frozenset(), frozenset({"bills", "visits"}))),
    )
    def holds(activity, rule, zone, repeat, lines):
        mine = [one for one in activity if one.customer_id == 7]
        mine = list({(one.activity_id, one.source): one for one in mine}.values())
        if lines:
            mine = [replace(one, file_order=0) for one in as_lines(mine)]
        badge = a_badge(rule, repeat=repeat)
        columns = {"store": pl.String, "points": pl.Int64}
        found = explanation(
            badge, mine, timezone=zone, columns=columns, line_sources=lines
        )
        (part,) = found.parts
        running = {
            (one.activity["activity_id"], one.activity["source"]): one.running
            for one in part.verdicts
            if one.reason is None
        }
        expected = qualifications(
            activity_frame(mine, columns, lines),
            badge,
            timezone=zone,
            as_of=LATER,
            amount_decimals=2,
        )
        assert found.met.equals(expected)
        for row in expected.iter_rows(named=True):
            key = row["evidence_activity_id"], row["source"]
            assert running[key] == pytest.approx(row["measure"])
        counted = [one for one in part.verdicts if one.reason is None]
        assert [one for one in counted if one.running is None] == []

    holds()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FIFTY, "the 3rd activity; only activity where amount > 0"),
        (
            (
                'rule = { kind = "total_amount", at_least = 99.5, per = "month" }\n'
                "repeat = true\nmax_occurrences = 5"
            ),
            (
                "amounts that add up to 99.5 or more, counted anew each month; "
                "5 times at most"
            ),
        ),
        (
            (
                'rule = { kind = "any_of", rules = ['
                '{ kind = "activity_count", at_least = 11 }, '
                '{ kind = "elapsed", since = "first_activity", after = "1y" }] }\n'
                'hold = "2d"'
            ),
            (
                "the first of these to be met: (1) the 11th activity; (2) 1 year since "
                "the first activity; nothing younger than 2 days is awarded yet"
            ),
        ),
        (
            (
                'rule = { kind = "streak", period = "week", periods = 26, '
                "at_least = 2 }\n"
                'earned_from = "2017-07-01"'
            ),
            (
                "26 weeks in a row with 2 activities or more in each; awarded if "
                "earned from 2017-07-01"
            ),
        ),
        (
            (
                'rule = { kind = "distinct_count", of = "store", at_least = 2 }\n'
                "repeat = true"
            ),
            "every 2nd different store; as often as it is met",
        ),
    ],
)
def test_rules_in_words(text, words):
    """A manager reads the rule without reading the definition."""
    assert rule_words(a_badge_of(text)) == words


def test_bounds_are_days_of_the_zone():
    """An activity of the evening before counts by the local clock."""
    badge = a_badge_of(f"{FIFTY}")
    badge = badge.model_copy(update={"counted_until": date(2017, 5, 2)})
    evening = Activity(
        customer_id=7,
        activity_id="late",
        occurred_at=datetime(2017, 5, 2, 3, tzinfo=UTC),  # 23:00 in New York
        amount=100,
    )
    found = explanation(badge, [evening, visit(2)])

    assert reasons(found) == {
        "late": None,
        "b2": "bounds: not before counted_until 2017-05-02",
    }
