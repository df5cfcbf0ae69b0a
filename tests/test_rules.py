"""What each rule means, as tables: a badge, the activity, and the awards it makes.

A rule that is covered here needs no other test of what it means; that the program does
the same on any activity is `test_rules_properties` and `test_rules_on_baskets`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from factories_rules import (
    LATER,
    NEW_YORK,
    a_badge_of,
    activity_frame,
    assert_awards,
)
from oracle import Activity

from transforms.errors import DefinitionRefused
from transforms.rules.qualifications import (
    QUALIFICATIONS,
    qualifications,
    required_columns,
)

# Counts


def test_count_is_met_by_the_nth_activity() -> None:
    """Each customer earns with their own Nth activity, whatever the rows' order."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2 }',
        """
        id  customer  occurred_at
        a4  8         2024-01-09 10:00
        a3  7         2024-01-08 10:00
        a1  7         2024-01-05 10:00
        a2  8         2024-01-06 10:00
        a5  7         2024-01-10 10:00
        """,
        """
        customer  occurrence  qualified_at      measure  threshold  evidence  source
        7         1           2024-01-08 10:00  2        2          a3        activity
        8         1           2024-01-09 10:00  2        2          a4        activity
        """,
    )


def test_count_is_not_met_by_one_fewer() -> None:
    """A customer with one activity too few earns nothing."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 3 }',
        """
        occurred_at
        2024-01-05 10:00
        2024-01-08 10:00
        """,
        """
        customer  occurrence
        """,
    )


def test_count_counts_returns_and_activity_without_amount() -> None:
    """A negative or missing amount lowers no count, unless `where` says otherwise."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 3 }',
        """
        id  occurred_at       amount
        a1  2024-01-05 10:00  10.00
        a2  2024-01-06 10:00  -10.00
        a3  2024-01-07 10:00  -
        """,
        """
        customer  qualified_at      evidence
        7         2024-01-07 10:00  a3
        """,
    )


def test_count_repeats_at_every_nth_activity() -> None:
    """With `repeat` the occurrence is the ordinal, and the count runs on."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "activity_count", at_least = 2 }
        """,
        """
        id  occurred_at
        a1  2024-01-05 10:00
        a2  2024-01-06 10:00
        a3  2024-01-07 10:00
        a4  2024-01-08 10:00
        a5  2024-01-09 10:00
        """,
        """
        occurrence  qualified_at      measure  threshold  evidence
        1           2024-01-06 10:00  2        2          a2
        2           2024-01-08 10:00  4        2          a4
        """,
    )


def test_max_occurrences_keeps_the_first_ones() -> None:
    """What would be earned after `max_occurrences` is not earned."""
    assert_awards(
        """
        repeat = true
        max_occurrences = 2
        rule = { kind = "activity_count", at_least = 1 }
        """,
        """
        id  occurred_at
        a1  2024-01-05 10:00
        a2  2024-01-06 10:00
        a3  2024-01-07 10:00
        """,
        """
        occurrence  evidence
        1           a1
        2           a2
        """,
    )


# Order


def test_ties_are_ordered_by_activity_id_file_and_row() -> None:
    """In one instant the order is by id as text, then the newer file, then the row."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "activity_count", at_least = 1 }
        """,
        """
        id   occurred_at       file  row  source
        b    2024-01-05 10:00  0     2    sixth
        a9   2024-01-05 10:00  0     3    fifth
        a10  2024-01-05 10:00  1     2    fourth
        a10  2024-01-05 10:00  0     9    third
        a10  2024-01-05 10:00  0     8    second
        z    2024-01-05 09:59  5     9    first
        """,
        """
        occurrence  source
        1           first
        2           second
        3           third
        4           fourth
        5           fifth
        6           sixth
        """,
    )


def test_a_tie_decides_whether_a_sum_was_ever_reached() -> None:
    """A purchase before its return in the same second reaches the sum; after, never."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 10.00 }',
        """
        id  customer  occurred_at       amount
        a2  7         2024-01-05 10:00  -3.00
        a1  7         2024-01-05 10:00  10.00
        a1  8         2024-01-05 10:00  -3.00
        a2  8         2024-01-05 10:00  10.00
        """,
        """
        customer  measure  evidence
        7         10       a1
        """,
    )


# What counts


def test_as_of_is_the_last_instant_that_counts() -> None:
    """Activity at `as_of` counts, a second later it does not yet."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "activity_count", at_least = 1 }
        """,
        """
        id  occurred_at
        a1  2024-01-05 10:00:00
        a2  2024-01-05 10:00:01
        """,
        """
        occurrence  evidence
        1           a1
        """,
        as_of="2024-01-05 10:00:00",
    )


def test_counted_days_are_local_and_until_is_exclusive() -> None:
    """The first day counts from its local midnight, the last is not counted at all."""
    assert_awards(
        """
        repeat = true
        counted_from = 2024-03-10
        counted_until = 2024-03-12
        rule = { kind = "activity_count", at_least = 1 }
        """,
        """
        id  occurred_at
        a1  2024-03-09 23:59:59
        a2  2024-03-10 00:00:00
        a3  2024-03-11 23:59:59
        a4  2024-03-12 00:00:00
        """,
        """
        occurrence  evidence
        1           a2
        2           a3
        """,
    )


def test_a_condition_that_is_unknown_does_not_count() -> None:
    """An activity counts when the badge's and the rule's conditions are both true."""
    assert_awards(
        """
        repeat = true
        where = "kind = 'REGULAR'"
        rule = { kind = "activity_count", at_least = 1, where = "store <> 'S9'" }
        """,
        """
        id  occurred_at       kind     store
        a1  2024-01-05 10:00  REGULAR  S1
        a2  2024-01-06 10:00  RETURN   S1
        a3  2024-01-07 10:00  REGULAR  S9
        a4  2024-01-08 10:00  REGULAR  -
        a5  2024-01-09 10:00  -        S1
        a6  2024-01-10 10:00  REGULAR  S2
        """,
        """
        occurrence  evidence
        1           a1
        2           a6
        """,
    )


def test_a_condition_on_an_amount_is_exact_to_the_cent() -> None:
    """An amount equals the number that a condition writes, for every cent."""
    assert_awards(
        """
        repeat = true
        where = "amount = 46.55 OR amount >= 64.10"
        rule = { kind = "activity_count", at_least = 1 }
        """,
        """
        id  occurred_at       amount
        a1  2024-01-05 10:00  46.54
        a2  2024-01-06 10:00  46.55
        a3  2024-01-07 10:00  64.09
        a4  2024-01-08 10:00  64.10
        """,
        """
        occurrence  evidence
        1           a2
        2           a4
        """,
    )


def test_weekday_hour_and_day_are_local() -> None:
    """Built-in columns read the zone's clock, before and after it changes."""
    assert_awards(
        """
        repeat = true
        where = "weekday = 7 AND hour = 8 AND occurred_date < '2024-12-01'"
        rule = { kind = "activity_count", at_least = 1 }
        """,
        """
        id  occurred_at
        a1  2024-03-03 08:30
        a2  2024-03-10 08:30
        a3  2024-03-10 09:30
        a4  2024-03-11 08:30
        a5  2024-12-01 08:30
        """,
        """
        occurrence  evidence
        1           a1
        2           a2
        """,
    )


def test_source_bounds_what_a_rule_looks_at() -> None:
    """Activity of another source does not count."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2, source = "bills" }',
        """
        id  occurred_at       source
        a1  2024-01-05 10:00  bills
        a2  2024-01-06 10:00  visits
        a3  2024-01-07 10:00  bills
        """,
        """
        occurrence  evidence  source
        1           a3        bills
        """,
    )


# Sums


def test_sum_is_met_to_the_cent() -> None:
    """Cents are added exactly: ten dimes are a dollar, a cent less is not."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 0.30 }',
        """
        id  customer  occurred_at       amount
        a1  7         2024-01-05 10:00  0.10
        a2  7         2024-01-06 10:00  0.20
        a3  8         2024-01-05 10:00  0.10
        a4  8         2024-01-06 10:00  0.19
        """,
        """
        customer  qualified_at      measure  threshold  evidence
        7         2024-01-06 10:00  0.3      0.3        a2
        """,
    )


def test_sum_is_lowered_by_a_return_and_not_by_a_missing_amount() -> None:
    """The sum so far is what was paid less what was returned."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 100 }',
        """
        id  occurred_at       amount
        a1  2024-01-05 10:00  80.00
        a2  2024-01-06 10:00  -50.00
        a3  2024-01-07 10:00  60.00
        a4  2024-01-08 10:00  -
        a5  2024-01-09 10:00  10.55
        """,
        """
        qualified_at      measure  evidence
        2024-01-09 10:00  100.55   a5
        """,
    )


def test_sum_repeats_at_every_multiple_and_is_never_unmet() -> None:
    """A return takes no occurrence back, and what it lowers is not met twice."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "total_amount", at_least = 100 }
        """,
        """
        id  occurred_at       amount
        a1  2024-01-05 10:00  100.00
        a2  2024-01-06 10:00  -60.00
        a3  2024-01-07 10:00  60.00
        a4  2024-01-08 10:00  99.99
        a5  2024-01-09 10:00  0.01
        """,
        """
        occurrence  qualified_at      measure  threshold  evidence
        1           2024-01-05 10:00  100      100        a1
        2           2024-01-09 10:00  200      100        a5
        """,
    )


def test_one_large_amount_meets_several_multiples() -> None:
    """Every multiple that one activity reaches is an occurrence of that instant."""
    assert_awards(
        """
        repeat = true
        max_occurrences = 4
        rule = { kind = "total_amount", at_least = 100 }
        """,
        """
        id  occurred_at       amount
        a1  2024-01-05 10:00  150.00
        a2  2024-01-06 10:00  400.00
        """,
        """
        occurrence  qualified_at      measure  evidence
        1           2024-01-05 10:00  150      a1
        2           2024-01-06 10:00  550      a2
        3           2024-01-06 10:00  550      a2
        4           2024-01-06 10:00  550      a2
        """,
    )


def test_sum_beyond_64_bits_is_still_right() -> None:
    """Amounts whose sum needs more than 64 bits neither wrap nor fail."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 150000000000000000 }',
        """
        id  customer  occurred_at       amount
        a1  7         2024-01-05 10:00  90000000000000000.00
        a2  7         2024-01-06 10:00  90000000000000000.00
        a3  8         2024-01-06 10:00  90000000000000000.00
        """,
        """
        customer  measure  threshold  evidence
        7         1.8e+17  1.5e+17    a2
        """,
    )


def test_a_bound_beyond_every_number_is_never_met() -> None:
    """What nobody can reach is no fault: nobody earns the badge."""
    for kind in ("activity_count", "total_amount"):
        for bound in (2**63, 10**40):
            rule = f'kind = "{kind}", at_least = {bound}'
            for within in ("", ', within = "1d"'):
                assert met(ONE_OF_NULLS, f"rule = {{ {rule}{within} }}").is_empty()


# Different values


def test_distinct_is_met_by_the_nth_new_value() -> None:
    """A value seen before brings nothing new, and a missing one is no value."""
    assert_awards(
        'rule = { kind = "distinct_count", of = "store", at_least = 3 }',
        """
        id  occurred_at       store
        a1  2024-01-05 10:00  S1
        a2  2024-01-06 10:00  S2
        a3  2024-01-07 10:00  S1
        a4  2024-01-08 10:00  -
        a5  2024-01-09 10:00  S3
        """,
        """
        qualified_at      measure  threshold  evidence
        2024-01-09 10:00  3        3          a5
        """,
    )


def test_distinct_repeats_at_every_kth_new_value() -> None:
    """With `repeat` and two values each, the second and the fourth new value count."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "distinct_count", of = "store", at_least = 2 }
        """,
        """
        id  occurred_at       store
        a1  2024-01-05 10:00  S1
        a2  2024-01-06 10:00  S2
        a3  2024-01-07 10:00  S1
        a4  2024-01-08 10:00  S3
        a5  2024-01-09 10:00  S4
        """,
        """
        occurrence  measure  evidence
        1           2        a2
        2           4        a5
        """,
    )


# Windows


def test_window_leaves_out_what_happened_exactly_its_length_ago() -> None:
    """The window is open at its start: 24 hours ago is out, a second less is in."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2, within = "1d" }',
        """
        id  customer  occurred_at
        a1  7         2024-01-05 10:00:00
        a2  7         2024-01-06 10:00:00
        a3  8         2024-01-05 10:00:00
        a4  8         2024-01-06 09:59:59
        """,
        """
        customer  qualified_at         measure  evidence
        8         2024-01-06 09:59:59  2        a4
        """,
    )


def test_days_of_a_window_are_24_hours_across_a_clock_change() -> None:
    """Where a night loses an hour, a day back is an hour earlier on the clock."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2, within = "1d" }',
        """
        id  customer  occurred_at
        a1  7         2024-03-09 10:00
        a2  7         2024-03-10 10:59
        a3  8         2024-03-09 10:00
        a4  8         2024-03-10 11:00
        """,
        """
        customer  qualified_at      evidence
        7         2024-03-10 10:59  a2
        """,
    )


def test_months_of_a_window_follow_the_local_calendar() -> None:
    """A month back is the same clock time of the month before, whatever its length."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2, within = "1mo" }',
        """
        id  customer  occurred_at
        a1  7         2024-02-15 10:00
        a2  7         2024-03-15 10:00
        a3  8         2024-02-15 10:00
        a4  8         2024-03-15 09:59
        """,
        """
        customer  qualified_at      evidence
        8         2024-03-15 09:59  a4
        """,
    )


def test_a_month_back_from_the_31st_is_the_last_day_of_february() -> None:
    """A day that the earlier month lacks becomes its last one."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2, within = "1mo" }',
        """
        id  customer  occurred_at
        a1  7         2024-02-29 10:00
        a2  7         2024-03-31 10:00
        a3  8         2024-02-29 10:01
        a4  8         2024-03-31 10:00
        """,
        """
        customer  qualified_at      evidence
        8         2024-03-31 10:00  a4
        """,
    )


def test_a_window_holds_its_own_sum() -> None:
    """What has left the window no longer counts, a return inside it does."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 100, within = "7d" }',
        """
        id  occurred_at       amount
        a1  2024-01-01 10:00  60.00
        a2  2024-01-08 10:00  60.00
        a3  2024-01-09 10:00  -10.00
        a4  2024-01-10 10:00  45.00
        a5  2024-01-11 10:00  5.00
        """,
        """
        qualified_at      measure  threshold  evidence
        2024-01-11 10:00  100      100        a5
        """,
    )


def test_a_sum_can_be_met_because_a_return_left_the_window() -> None:
    """The first activity whose window reaches the sum meets it, even if it is small."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 100, within = "7d" }',
        """
        id  occurred_at       amount
        a1  2024-01-01 10:00  -50.00
        a2  2024-01-02 11:00  100.00
        a3  2024-01-08 10:30  0.00
        """,
        """
        qualified_at      measure  evidence
        2024-01-08 10:30  100      a3
        """,
    )


def test_in_one_instant_an_activity_sees_only_those_before_it() -> None:
    """Ties are ordered in a window too: the return with a later id is not seen yet."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 100, within = "7d" }',
        """
        id  occurred_at       amount
        a1  2024-01-05 10:00  60.00
        a2  2024-01-05 10:00  40.00
        a3  2024-01-05 10:00  -40.00
        """,
        """
        qualified_at      measure  evidence
        2024-01-05 10:00  100      a2
        """,
    )


def test_a_window_holds_its_own_different_values() -> None:
    """Values that have left the window no longer count."""
    assert_awards(
        """
        rule = { kind = "distinct_count", of = "store", at_least = 3, within = "7d" }
        """,
        """
        id  occurred_at       store
        a1  2024-01-01 10:00  S1
        a2  2024-01-04 10:00  S2
        a3  2024-01-08 10:00  S3
        a4  2024-01-09 10:00  S2
        a5  2024-01-10 10:00  S1
        """,
        """
        qualified_at      measure  evidence
        2024-01-10 10:00  3        a5
        """,
    )


def test_within_an_activity_serves_one_occurrence() -> None:
    """With `repeat` and `within`, counting starts again after the activity that met."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "activity_count", at_least = 3, within = "7d" }
        """,
        """
        id  occurred_at
        a1  2024-01-01 10:00
        a2  2024-01-02 10:00
        a3  2024-01-03 10:00
        a4  2024-01-04 10:00
        a5  2024-01-05 10:00
        a6  2024-01-12 09:00
        a7  2024-01-12 10:00
        a8  2024-01-13 10:00
        """,
        """
        occurrence  qualified_at      measure  threshold  evidence
        1           2024-01-03 10:00  3        3          a3
        2           2024-01-13 10:00  3        3          a8
        """,
    )


def test_within_a_sum_starts_again_at_nothing() -> None:
    """What was over the sum is not carried into the next occurrence."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "total_amount", at_least = 100, within = "30d" }
        """,
        """
        id  occurred_at       amount
        a1  2024-01-01 10:00  60.00
        a2  2024-01-02 10:00  240.00
        a3  2024-01-03 10:00  99.00
        a4  2024-01-04 10:00  1.00
        """,
        """
        occurrence  measure  evidence
        1           300      a2
        2           100      a4
        """,
    )


@pytest.mark.parametrize("unit", ["h", "d", "w", "mo", "y"])
@pytest.mark.parametrize("kind", ["activity_count", "total_amount"])
def test_a_window_longer_than_history_holds_all_of_it(kind: str, unit: str) -> None:
    """The longest durations that can be written are windows too."""
    long_ago, lately = (
        Activity(
            customer_id=7,
            activity_id=f"a{year}",
            occurred_at=datetime(year, 1, 5, tzinfo=UTC),
            amount=100,
        )
        for year in (1999, 2024)
    )
    rule = f'kind = "{kind}", at_least = 2, within = "999999{unit}"'
    found = met([long_ago, lately], f"rule = {{ {rule} }}")
    assert found["evidence_activity_id"].to_list() == ["a2024"]


# Calendar periods


def test_per_counts_anew_in_each_local_month() -> None:
    """With `repeat` the month is the occurrence; midnight is that of the zone."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "activity_count", at_least = 2, per = "month" }
        """,
        """
        id  occurred_at
        a1  2024-01-31 23:58:00
        a2  2024-01-31 23:59:59
        a3  2024-02-01 00:00:00
        a4  2024-03-01 00:00:00
        a5  2024-03-31 23:59:59
        a6  2024-03-31 23:59:59
        """,
        """
        occurrence  qualified_at         measure  threshold  evidence
        202401      2024-01-31 23:59:59  2        2          a2
        202403      2024-03-31 23:59:59  2        2          a5
        """,
    )


def test_per_without_repeat_is_the_first_period() -> None:
    """Without `repeat` the first period in which the rule is met is occurrence 1."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 50, per = "quarter" }',
        """
        id  occurred_at       amount
        a1  2024-03-31 10:00  49.00
        a2  2024-04-01 10:00  25.00
        a3  2024-06-30 10:00  25.00
        a4  2024-07-01 10:00  99.00
        """,
        """
        occurrence  qualified_at      measure  evidence
        1           2024-06-30 10:00  50       a3
        """,
    )


def test_per_week_is_the_iso_week_of_the_iso_year() -> None:
    """Weeks start on Monday; the last days of a year may be week 1 of the next."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "activity_count", at_least = 1, per = "week" }
        """,
        """
        id  occurred_at
        a1  2021-01-03 23:59
        a2  2021-01-04 00:00
        a3  2024-12-29 10:00
        a4  2024-12-30 10:00
        a5  2025-01-05 10:00
        a6  2025-01-06 10:00
        """,
        """
        occurrence  evidence
        202053      a1
        202101      a2
        202452      a3
        202501      a4
        202502      a6
        """,
    )


def test_per_quarter_and_year_are_written_as_whole_numbers() -> None:
    """The third quarter of 2024 is 20243."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "distinct_count", of = "store", at_least = 2, per = "quarter" }
        """,
        """
        id  occurred_at       store
        a1  2024-06-30 10:00  S1
        a2  2024-07-01 10:00  S2
        a3  2024-09-30 10:00  S1
        """,
        """
        occurrence  measure  evidence
        20243       2        a3
        """,
    )
    assert_awards(
        """
        repeat = true
        max_occurrences = 1
        rule = { kind = "activity_count", at_least = 1, per = "year" }
        """,
        """
        id  occurred_at
        a1  2024-12-31 23:59
        a2  2025-01-01 00:00
        """,
        """
        occurrence  evidence
        2024        a1
        """,
    )


# Streaks


def test_streak_of_days_is_completed_by_the_last_day() -> None:
    """A day without activity breaks it; the clock change on the way does not."""
    assert_awards(
        'rule = { kind = "streak", period = "day", periods = 3 }',
        """
        id  occurred_at
        a1  2024-03-06 10:00
        a2  2024-03-07 10:00
        a3  2024-03-09 23:59
        a4  2024-03-10 00:00
        a5  2024-03-10 23:59
        a6  2024-03-11 00:00
        """,
        """
        qualified_at      measure  threshold  evidence
        2024-03-11 00:00  3        3          a6
        """,
    )


def test_streak_of_weeks_goes_from_monday_to_sunday() -> None:
    """Sunday and the Monday after it are in two weeks, across New Year too."""
    assert_awards(
        'rule = { kind = "streak", period = "week", periods = 3 }',
        """
        id  occurred_at
        a1  2024-12-29 23:59
        a2  2024-12-30 00:00
        a3  2025-01-05 10:00
        a4  2025-01-12 10:00
        """,
        """
        qualified_at      evidence
        2025-01-12 10:00  a4
        """,
    )


def test_streak_needs_enough_in_every_period() -> None:
    """A period counts with its `at_least`th activity, the last one at that moment."""
    assert_awards(
        'rule = { kind = "streak", period = "month", periods = 2, at_least = 2 }',
        """
        id  occurred_at
        a1  2024-01-01 10:00
        a2  2024-02-01 10:00
        a3  2024-02-02 10:00
        a4  2024-03-01 10:00
        a5  2024-03-31 23:00
        a6  2024-03-31 23:30
        """,
        """
        qualified_at      measure  evidence
        2024-03-31 23:00  2        a5
        """,
    )


def test_streak_starts_again_after_the_activity_that_completed_it() -> None:
    """With `repeat`, what follows in the same period counts for the next streak."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "streak", period = "day", periods = 2 }
        """,
        """
        id  customer  occurred_at
        a1  7         2024-01-01 10:00
        a2  7         2024-01-02 10:00
        a3  7         2024-01-03 10:00
        a4  7         2024-01-04 10:00
        b1  8         2024-01-01 10:00
        b2  8         2024-01-02 10:00
        b3  8         2024-01-02 11:00
        b4  8         2024-01-03 10:00
        """,
        """
        customer  occurrence  evidence
        7         1           a2
        7         2           a4
        8         1           b2
        8         2           b4
        """,
    )


# Time that has passed


def test_elapsed_is_met_when_the_local_day_begins() -> None:
    """A year after the first activity is a day, and a day begins at local midnight."""
    assert_awards(
        'rule = { kind = "elapsed", since = "first_activity", after = "1y" }',
        """
        id  customer  occurred_at
        a1  7         2023-03-15 18:00
        a2  7         2023-04-15 18:00
        b1  8         2024-02-29 23:30
        """,
        """
        customer  qualified_at      measure  threshold  evidence
        7         2024-03-15 00:00  1        1          a1
        8         2025-02-28 00:00  1        1          b1
        """,
    )


def test_elapsed_waits_for_the_day() -> None:
    """Before the day has begun, nothing is earned."""
    activity = """
        id  customer  occurred_at
        a1  7         2023-03-15 18:00
        b1  8         2023-03-16 00:00
        """
    awards = """
        customer  qualified_at
        7         2024-03-15 00:00
        """
    rule = 'rule = { kind = "elapsed", since = "first_activity", after = "1y" }'
    assert_awards(rule, activity, awards, as_of="2024-03-15 00:00:00")
    nobody = "customer  qualified_at"
    assert_awards(rule, activity, nobody, as_of="2024-03-14 23:59:59")


def test_elapsed_repeats_at_every_multiple() -> None:
    """Months count from the first day: the 31st, the 28th or 29th, the 31st again."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "elapsed", since = "first_activity", after = "1mo" }
        """,
        """
        id  occurred_at
        a1  2024-01-31 10:00
        """,
        """
        occurrence  qualified_at      measure  threshold
        1           2024-02-29 00:00  1        1
        2           2024-03-31 00:00  2        1
        3           2024-04-30 00:00  3        1
        """,
        as_of="2024-05-30 12:00",
    )


def test_elapsed_days_are_exact_time() -> None:
    """Over a clock change, 24 hours later can be the day after the next one."""
    assert_awards(
        'rule = { kind = "elapsed", since = "first_activity", after = "1d" }',
        """
        id  customer  occurred_at
        a1  7         2024-03-09 22:59
        b1  8         2024-03-09 23:00
        """,
        """
        customer  qualified_at
        7         2024-03-10 00:00
        8         2024-03-11 00:00
        """,
    )


def test_elapsed_is_never_dated_before_the_activity_that_proves_it() -> None:
    """A few hours that end on the day of the activity are met with the activity."""
    assert_awards(
        'rule = { kind = "elapsed", since = "first_activity", after = "2h" }',
        """
        id  customer  occurred_at
        a1  7         2024-01-05 10:00
        b1  8         2024-01-05 23:00
        """,
        """
        customer  qualified_at
        7         2024-01-05 10:00
        8         2024-01-06 00:00
        """,
    )


def test_a_day_without_midnight_begins_when_its_clock_does() -> None:
    """In São Paulo the 4th of November 2018 began at one o'clock."""
    assert_awards(
        'rule = { kind = "elapsed", since = "first_activity", after = "1mo" }',
        """
        id  occurred_at
        a1  2018-10-04 10:00
        """,
        """
        qualified_at
        2018-11-04 01:00
        """,
        timezone="America/Sao_Paulo",
    )


# Rules of rules

BOTH = """
    [rule]
    kind = "{kind}"
    rules = [
      {{ kind = "activity_count", at_least = 2 }},
      {{ kind = "total_amount", at_least = 100 }},
    ]
    """
MIXED = """
    id  customer  occurred_at       amount
    a1  7         2024-01-05 10:00  100.00
    a2  7         2024-01-06 10:00  0.00
    b1  8         2024-01-05 10:00  1.00
    b2  8         2024-01-06 10:00  2.00
    c1  9         2024-01-06 10:00  70.00
    c2  9         2024-01-06 10:00  30.00
    """


def test_all_of_is_met_by_the_last_of_its_parts() -> None:
    """The part that was met last gives instant, measure and evidence."""
    assert_awards(
        BOTH.format(kind="all_of"),
        MIXED,
        """
        customer  occurrence  qualified_at      measure  threshold  evidence
        7         1           2024-01-06 10:00  2        2          a2
        9         1           2024-01-06 10:00  100      100        c2
        """,
    )


def test_any_of_is_met_by_the_first_of_its_parts() -> None:
    """The part that was met first decides; of two in one activity, the first listed."""
    assert_awards(
        BOTH.format(kind="any_of"),
        MIXED,
        """
        customer  qualified_at      measure  threshold  evidence
        7         2024-01-05 10:00  100      100        a1
        8         2024-01-06 10:00  2        2          b2
        9         2024-01-06 10:00  2        2          c2
        """,
    )


def test_parts_have_conditions_of_their_own() -> None:
    """What badge, rule and part demand holds together for each part."""
    assert_awards(
        """
        where = "store <> 'S9'"
        [rule]
        kind = "all_of"
        where = "amount > 0"
        rules = [
          { kind = "activity_count", at_least = 1, where = "store = 'S1'" },
          { kind = "activity_count", at_least = 2 },
        ]
        """,
        """
        id  occurred_at       amount  store
        a1  2024-01-05 10:00  1.00    S2
        a2  2024-01-06 10:00  1.00    S9
        a3  2024-01-07 10:00  0.00    S1
        a4  2024-01-08 10:00  1.00    S1
        """,
        """
        qualified_at      measure  evidence
        2024-01-08 10:00  2        a4
        """,
    )


# Frames


RULES = [
    'kind = "activity_count", at_least = 1',
    'kind = "activity_count", at_least = 1, per = "week"',
    'kind = "activity_count", at_least = 1, within = "1mo"',
    'kind = "total_amount", at_least = 1',
    'kind = "total_amount", at_least = 1, per = "year"',
    'kind = "total_amount", at_least = 1, within = "1d"',
    'kind = "distinct_count", of = "store", at_least = 1',
    'kind = "distinct_count", of = "store", at_least = 1, within = "1d"',
    'kind = "streak", period = "day", periods = 2',
    'kind = "elapsed", since = "first_activity", after = "1d"',
]

ONE_OF_NULLS = [
    Activity(
        customer_id=7, activity_id="a", occurred_at=datetime(2024, 1, 5, tzinfo=UTC)
    )
]


def met(activity: list[Activity], badge: str) -> pl.DataFrame:
    """Return the qualifications of activity that has a column `store`."""
    return qualifications(
        activity_frame(activity, {"store": pl.String}),
        a_badge_of(badge),
        timezone=NEW_YORK,
        as_of=LATER,
        amount_decimals=2,
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("repeat", ["true", "false"])
def test_no_activity_makes_no_awards(rule: str, repeat: str) -> None:
    """Without activity there are no rows, and the columns are those of all others."""
    found = met([], f"repeat = {repeat}\nrule = {{ {rule} }}")
    assert found.schema == QUALIFICATIONS
    assert found.is_empty()


@pytest.mark.parametrize("rule", RULES)
def test_one_activity_of_nulls_meets_only_what_needs_no_value(rule: str) -> None:
    """It counts as one activity and time passes, but it adds nothing to a sum."""
    found = met(ONE_OF_NULLS, f"rule = {{ {rule} }}")
    assert found.schema == QUALIFICATIONS
    is_met = "activity_count" in rule or "elapsed" in rule
    assert found["evidence_activity_id"].to_list() == (["a"] if is_met else [])


def test_rows_come_sorted_whatever_the_order_of_the_activity() -> None:
    """The same activity in another order gives the same frame, sorted by customer."""
    activity = [
        Activity(
            customer_id=customer,
            activity_id=f"a{day}",
            occurred_at=datetime(2024, 1, day, tzinfo=UTC),
        )
        for customer in (9, 11, 7)
        for day in (3, 1, 2)
    ]
    badge = 'repeat = true\nrule = { kind = "activity_count", at_least = 1 }'
    found = met(activity, badge)
    assert found.equals(met(activity[::-1], badge))
    assert found.equals(found.sort("customer_id", "occurrence"))
    assert found.height == len(activity)


# What a badge looks at, and what has no meaning


def test_required_columns_are_those_of_rule_and_conditions() -> None:
    """Only what is looked at has to be read; built-in columns are made, not read."""
    badge = a_badge_of(
        """
        where = "kind = 'REGULAR' AND weekday > 5"
        [rule]
        kind = "all_of"
        where = "lower(region) = 'north'"
        rules = [
          { kind = "total_amount", at_least = 10 },
          { kind = "distinct_count", of = "store", at_least = 2, where = "points > 1" },
        ]
        """
    )
    always = {"customer_id", "occurred_at", "activity_id", "file_order", "row_number"}
    assert required_columns(badge) == {
        *always,
        *("source", "kind", "region", "amount", "store", "points"),
    }


MEANINGLESS = {
    "rule.within": """
        [rule]
        kind = "elapsed"
        since = "first_activity"
        after = "1y"
        within = "1y"
        """,
    "rule.since": """
        rule = { kind = "elapsed", since = "enrolled_at", after = "1y" }
        """,
    "rule.per": """
        [rule]
        kind = "activity_count"
        at_least = 1
        within = "1d"
        per = "week"
        """,
    "rule.at_least": """
        rule = { kind = "total_amount" }
        """,
    "repeat": """
        repeat = true
        [rule]
        kind = "all_of"
        rules = [{ kind = "activity_count", at_least = 1 }]
        """,
    "rule.rules.0.kind": """
        [rule]
        kind = "all_of"
        rules = [{ kind = "any_of", rules = [] }]
        """,
    "rule.rules": """
        rule = { kind = "any_of", rules = [] }
        """,
}


@pytest.mark.parametrize("key", MEANINGLESS)
def test_a_rule_without_meaning_is_refused(key: str) -> None:
    """No key is passed over in silence: the fault names it."""
    with pytest.raises(DefinitionRefused) as refused:
        met([], MEANINGLESS[key])
    assert f"badges.test.{key}" in [fault.column for fault in refused.value.faults]


def test_a_column_that_is_not_there_is_refused() -> None:
    """A rule that looks at a column the activity lacks names it, and its own place."""
    with pytest.raises(DefinitionRefused, match="no column 'shop'") as refused:
        met([], 'rule = { kind = "distinct_count", of = "shop", at_least = 2 }')
    assert refused.value.faults[0].column == "badges.test.rule"


def test_a_flood_of_occurrences_is_refused() -> None:
    """A slip in a bound is a fault and does not fill the memory."""
    one = Activity(
        customer_id=7,
        activity_id="a",
        occurred_at=datetime(2024, 1, 5, tzinfo=UTC),
        amount=10**12,
    )
    rule = 'rule = { kind = "total_amount", at_least = 0.01 }'
    with pytest.raises(DefinitionRefused, match="1,000,000,000,000 times"):
        met([one], f"repeat = true\n{rule}")
    assert met([one], f"repeat = true\nmax_occurrences = 3\n{rule}").height == 3


def test_slices_whose_sums_differ_in_width_are_met_together() -> None:
    """One customer's sums beyond 64 bits change nothing for another's small ones."""
    amounts = [(1, 500), (2, 2**62), (2, 2**62), (2, 2**62), (3, 900)]
    history = [
        Activity(
            customer_id=customer_id,
            activity_id=f"a{number}",
            occurred_at=datetime(2024, 1, 1 + number, tzinfo=UTC),
            amount=amount,
        )
        for number, (customer_id, amount) in enumerate(amounts)
    ]
    badge = a_badge_of('rule = { kind = "total_amount", at_least = 2 }')
    whole, sliced = (
        qualifications(
            activity_frame(history),
            badge,
            timezone=NEW_YORK,
            as_of=LATER,
            amount_decimals=2,
            rows_a_slice=rows,
        )
        for rows in (100, 1)
    )
    assert sliced.equals(whole)
    assert whole["evidence_activity_id"].to_list() == ["a0", "a1", "a4"]
