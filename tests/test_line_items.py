"""Rows with one activity id are one activity, where a source has lines."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from factories_imports import BADGE, brand
from factories_rules import assert_awards

BILLS = frozenset({"activity"})

SHOPPING = """
    id  occurred_at       amount  category
    b1  2024-01-05 10:00  10.00   fruit
    b1  2024-01-05 10:05  15.00   bread
    b2  2024-01-06 09:30  20.00   fruit
    b2  2024-01-06 09:00  -       milk
    b3  2024-01-09 10:00  5.00    bread
"""


def test_a_bill_is_one_visit_at_its_earliest_line() -> None:
    """Two bills of two lines are two visits; the second began at nine."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 2 }',
        SHOPPING,
        """
        customer  qualified_at      measure  evidence
        7         2024-01-06 09:00  2        b2
        """,
        line_sources=BILLS,
    )


def test_the_amounts_of_the_lines_are_added_up() -> None:
    """A bill counts as a whole: 25.00, then 45.00 at its first line."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 26 }',
        SHOPPING,
        """
        qualified_at      measure  evidence
        2024-01-06 09:00  45       b2
        """,
        line_sources=BILLS,
    )


def test_only_the_lines_that_pass_are_added_up() -> None:
    """Of fruit there is 10.00, then 30.00; the bill's time is that of all its lines."""
    assert_awards(
        """
        where = "category = 'fruit'"
        rule = { kind = "total_amount", at_least = 11 }
        """,
        SHOPPING,
        """
        qualified_at      measure  evidence
        2024-01-06 09:00  30       b2
        """,
        line_sources=BILLS,
    )


def test_a_bill_counts_if_one_of_its_lines_does() -> None:
    """Bread stands on the first and the third bill."""
    assert_awards(
        """
        where = "category = 'bread'"
        rule = { kind = "activity_count", at_least = 2 }
        """,
        SHOPPING,
        """
        qualified_at      evidence
        2024-01-09 10:00  b3
        """,
        line_sources=BILLS,
    )


def test_different_values_are_those_of_the_lines() -> None:
    """The second bill brings the third category, and all its values at once."""
    assert_awards(
        'rule = { kind = "distinct_count", of = "category", at_least = 3 }',
        SHOPPING,
        """
        qualified_at      measure  evidence
        2024-01-06 09:00  3        b2
        """,
        line_sources=BILLS,
    )
    assert_awards(
        'rule = { kind = "distinct_count", of = "category", at_least = 1 }',
        SHOPPING,
        """
        qualified_at      measure  evidence
        2024-01-05 10:00  2        b1
        """,
        line_sources=BILLS,
    )


def test_one_bill_may_bring_several_occurrences() -> None:
    """Four new values at once are twice two, by the same bill."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "distinct_count", of = "category", at_least = 2 }
        """,
        """
        id  occurred_at       category
        b1  2024-01-05 10:00  fruit
        b1  2024-01-05 10:00  bread
        b1  2024-01-05 10:00  milk
        b1  2024-01-05 10:00  wine
        b2  2024-01-06 10:00  wine
        """,
        """
        occurrence  measure  evidence
        1           4        b1
        2           4        b1
        """,
        line_sources=BILLS,
    )


def test_a_bill_serves_one_occurrence_with_all_of_its_lines() -> None:
    """Within a window the rest of a bill does not count for the next occurrence."""
    assert_awards(
        """
        repeat = true
        [rule]
        kind = "distinct_count"
        of = "category"
        at_least = 2
        within = "7d"
        """,
        """
        id  occurred_at       category
        b1  2024-01-05 10:00  fruit
        b1  2024-01-05 10:00  bread
        b1  2024-01-05 10:00  milk
        b2  2024-01-06 10:00  wine
        b3  2024-01-07 10:00  cheese
        """,
        """
        occurrence  measure  evidence
        1           3        b1
        2           2        b3
        """,
        line_sources=BILLS,
    )


def test_a_streak_counts_bills_and_not_lines() -> None:
    """Two lines of one bill are one activity of the day."""
    assert_awards(
        'rule = { kind = "streak", period = "day", periods = 1, at_least = 2 }',
        """
        id  occurred_at       amount
        b1  2024-01-05 10:00  1.00
        b1  2024-01-05 10:00  1.00
        b2  2024-01-06 10:00  1.00
        b3  2024-01-06 11:00  1.00
        """,
        """
        qualified_at      evidence
        2024-01-06 11:00  b3
        """,
        line_sources=BILLS,
    )


def test_a_bill_past_midnight_is_of_the_day_it_began() -> None:
    """The day, and so the year, is that of the earliest line."""
    assert_awards(
        """
        repeat = true
        rule = { kind = "total_amount", at_least = 10, per = "year" }
        """,
        """
        id  occurred_at       amount
        b1  2023-12-31 23:59  4.00
        b1  2024-01-01 00:01  6.00
        """,
        """
        occurrence  qualified_at      measure
        2023        2023-12-31 23:59  10
        """,
        line_sources=BILLS,
    )


def test_lines_of_two_customers_are_an_activity_of_each() -> None:
    """A bill that two cards share is one visit of each, with its own lines."""
    assert_awards(
        'rule = { kind = "total_amount", at_least = 1 }',
        """
        id  customer  occurred_at       amount
        b1  7         2024-01-05 10:00  4.00
        b1  8         2024-01-05 10:01  6.00
        """,
        """
        customer  qualified_at      measure
        7         2024-01-05 10:00  4
        8         2024-01-05 10:01  6
        """,
        line_sources=BILLS,
    )


def test_only_the_source_that_says_so_has_lines() -> None:
    """Beside lines, other sources keep a row an activity."""
    assert_awards(
        'rule = { kind = "activity_count", at_least = 3 }',
        """
        id  source    occurred_at       amount
        b1  activity  2024-01-05 10:00  4.00
        b1  activity  2024-01-05 10:01  6.00
        b1  web       2024-01-06 10:00  6.00
        b2  web       2024-01-07 10:00  6.00
        """,
        """
        qualified_at      evidence
        2024-01-07 10:00  b2
        """,
        line_sources=BILLS,
    )


DEFINITION = f"""
name = "visits"
timezone = "America/New_York"

[activity]
files = ["*.csv"]
grain = "line_item"
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid", category = "category" }}

[badges.three]
badge_meta_id = "{BADGE}"
reference_id = "retro"
rule = {{ kind = "distinct_count", of = "category", at_least = 3 }}
"""
LINES = """who,bill,at,paid,category
5,b1,2017-05-01T12:00:00,1.00,fruit
5,b1,2017-05-01T12:00:00,1.00,fruit
5,b1,2017-05-01T12:01:00,2.00,bread
6,b2,2017-05-01T12:01:00,2.00,bread
"""
CORRECTED = """who,bill,at,paid,category
5,b1,2017-05-02T12:00:00,1.00,fruit
5,b1,2017-05-02T12:00:00,1.00,milk
5,b1,2017-05-02T12:00:00,1.00,wine
"""


def test_all_lines_come_from_the_newest_file(tmp_path: Path) -> None:
    """Equal lines are no duplicates; a newer file has the whole bill again."""
    with brand(tmp_path) as shop:
        shop.define(DEFINITION)
        shop.write(a=LINES)
        first = shop.run()
        shop.write(b=CORRECTED)
        report = shop.run()

        assert first.as_json()["awards_qualified"] == 0
        found = report.as_json()
        assert (found["rows_accepted"], found["rows_duplicate"]) == (7, 0)
        assert (found["rows_superseded"], found["balanced"]) == (3, True)
        award = shop.ask(
            "SELECT customer_id, measure, qualified_at::TEXT AS at FROM audit"
        )
        assert award.rows() == [(5, 3.0, "2017-05-02 16:00:00+00")]


def test_a_repeated_rule_of_lines_never_counts_a_line_twice(tmp_path: Path) -> None:
    """Every line is in one count of the books, and the books balance."""
    with brand(tmp_path) as shop:
        shop.define(DEFINITION)
        shop.write(a=LINES + "x,b4,2017-05-01T12:01:00,2.00,bread\n")
        shop.define(f"{DEFINITION}\n[quality]\nmax_rejected_share = 0.5\n")
        shop.run()
        files = shop.ask("SELECT * FROM source_files")

    (row,) = files.to_dicts()
    assert row["rows_read"] == 5
    assert (row["rows_current"], row["rows_rejected"]) == (4, 1)


@pytest.mark.parametrize("rows", [0, 1])
def test_no_lines_at_all_are_no_activity(rows: int) -> None:
    """An empty history earns nothing, one line does what one activity does."""
    lines = "b1  2024-01-05 10:00  1.00\n" * rows
    assert_awards(
        'rule = { kind = "activity_count", at_least = 1 }',
        f"id  occurred_at  amount\n{lines}",
        "customer  occurrence\n" + "7  1\n" * rows,
        line_sources=BILLS,
    )


def test_lines_are_marked_where_they_are_loaded(tmp_path: Path) -> None:
    """The audit's evidence names the bill, whichever of its lines was the last."""
    with brand(tmp_path) as shop:
        shop.define(DEFINITION)
        shop.write(a=CORRECTED)
        shop.run()
        found = shop.ask("SELECT evidence_activity_id, threshold FROM audit")
    assert found.equals(
        pl.DataFrame({"evidence_activity_id": ["b1"], "threshold": [3.0]})
    )
