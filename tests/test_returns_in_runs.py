"""Returns on their way from the files to awards, drift and explanations."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from factories_imports import BADGE, Brand, brand

from flows.commands.explaining import as_json, explain
from flows.pipeline import plan_badges
from transforms.errors import DefinitionRefused

RETURNS = '[returns]\nwhere = "kind = \'RETURN\'"\nparent = "sale"\n'


def defined(rule: str, more: str = RETURNS) -> str:
    """Return a definition with such a rule, and returns."""
    return f"""
name = "visits"
timezone = "America/New_York"

[activity]
files = ["*.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid", kind = "kind", sale = "sale" }}

{more}
[badges.regular]
badge_meta_id = "{BADGE}"
reference_id = "retro"
rule = {rule}
"""


TWICE = '{ kind = "activity_count", at_least = 2 }'
FORTY = '{ kind = "total_amount", at_least = 40 }'
HEADER = "who,bill,at,paid,kind,sale\n"
SALES = HEADER + (
    "5,b1,2017-05-01T12:00:00,30.00,SALE,\n"
    "5,b2,2017-05-02T12:00:00,20.00,SALE,\n"
    "6,b3,2017-05-01T12:00:00,30.00,SALE,\n"
    "6,b4,2017-05-02T12:00:00,20.00,SALE,\n"
)
IN_FULL = "5,r1,2017-06-01T12:00:00,-20.00,RETURN,b2\n"
IN_PART = "5,r1,2017-06-01T12:00:00,-15.00,RETURN,b1\n"
OF_UNKNOWN = "5,r9,2017-06-01T12:00:00,-15.00,RETURN,b9\n"


def explained(shop: Brand, customer_id: int, **job: Any) -> dict[str, Any]:
    """Explain the badge to a customer."""
    work = shop.work(**job)
    answer = asyncio.run(explain(work, "regular", customer_id, is_online=False))
    return as_json(answer)


def told(shop: Brand, customer_id: int, **job: Any) -> dict[str, str | None]:
    """Return why each activity of a customer does not count."""
    (part,) = explained(shop, customer_id, **job)["parts"]
    return {one["activity_id"]: one["reason"] for one in part["activity"]}


def awarded(shop: Brand) -> set[int]:
    """Return the customers of the audit."""
    return set(shop.ask("SELECT customer_id FROM audit")["customer_id"])


def test_who_brought_a_visit_back_has_no_badge(tmp_path: Path) -> None:
    """A bill that came back in full is no visit; the row of its return is current."""
    with brand(tmp_path) as shop:
        shop.define(defined(TWICE))
        shop.write(may=SALES + IN_FULL)
        report = shop.run()

        assert awarded(shop) == {6}
        assert report.is_balanced
        files = shop.ask(
            "SELECT rows_read, rows_accepted, rows_current FROM source_files"
        )
        assert files.rows() == [(5, 5, 5)]
        assert told(shop, 5) == {
            "b1": None,
            "b2": "returned: it came back in full (sold 20.00, returned 20.00 by r1)",
            "r1": "a return: it is taken off what it names (b2)",
        }


def test_a_return_before_it_happened_takes_nothing_back(tmp_path: Path) -> None:
    """As of May the bill of May was not returned yet."""
    may = {"as_of": datetime(2017, 5, 20, tzinfo=UTC)}
    with brand(tmp_path) as shop:
        shop.define(defined(TWICE))
        shop.write(may=SALES + IN_FULL)
        assert explained(shop, 5, **may)["is_met"] is True
        assert told(shop, 5, **may)["r1"] == (
            "too young: later than 2017-05-20T00:00:00+00:00"
        )
        assert explained(shop, 5)["is_met"] is False


def test_a_moment_may_be_given_with_any_offset(tmp_path: Path) -> None:
    """Returns and rules see the instant, whatever clock it was read from."""
    kolkata = timezone(timedelta(hours=5, minutes=30))
    with brand(tmp_path) as shop:
        shop.define(defined(TWICE))
        shop.write(may=SALES + IN_FULL)
        noon = datetime(2017, 6, 1, 16, tzinfo=UTC)  # of New York: the return's time
        then = {"as_of": noon.astimezone(kolkata)}
        before = {"as_of": (noon - timedelta(seconds=1)).astimezone(kolkata)}
        assert explained(shop, 5, **before)["is_met"] is True
        assert explained(shop, 5, **then)["is_met"] is False


def test_a_return_of_a_later_file_is_drift(tmp_path: Path) -> None:
    """The badge that was issued stays; the audit says that it would not be earned."""
    with brand(tmp_path) as shop:
        shop.define(defined(TWICE))
        shop.write(may=SALES)
        shop.run()
        shop.write(june=HEADER + IN_FULL)
        report = shop.run()

        assert report.is_balanced
        assert shop.statuses() == {"issued": 2}
        assert len(shop.sandbox.earns(BADGE)) == 2
        drift = shop.ask(
            "SELECT customer_id, kind, was, would_be FROM drift JOIN audit "
            "USING (award_id)"
        )
        assert drift.rows() == [(5, "not_qualified", "2017-05-02T16:00:00+00:00", None)]


def test_a_corrected_return_gives_the_visit_back(tmp_path: Path) -> None:
    """A newer file with the return again, of another bill, replaces the first."""
    with brand(tmp_path) as shop:
        shop.define(defined(TWICE))
        shop.write(may=SALES + IN_FULL)
        shop.write(newer=HEADER + IN_FULL.replace("b2", "b9"))
        report = shop.run()

        assert awarded(shop) == {5, 6}
        assert report.as_json()["rows_superseded"] == 1
        found = told(shop, 5)
        assert found["b2"] is None
        # Both rows have the id; the older is superseded, the newer names nothing.
        assert found["r1"] == (
            "a return: it names no activity of the files, so it only lowers sums (b9)"
        )


def test_what_came_back_in_part_is_less_at_its_own_time(tmp_path: Path) -> None:
    """50.00 less 15.00 never reached 40; the note says what is left, and why."""
    with brand(tmp_path) as shop:
        shop.define(defined(FORTY))
        shop.write(may=SALES + IN_PART)
        shop.run()

        assert awarded(shop) == {6}
        (part,) = explained(shop, 5)["parts"]
        assert part["distance"] == "35 of 40 in amounts, last on 2017-05-02"
        assert [
            (one["activity_id"], one["running"], one["note"])
            for one in part["activity"]
        ] == [
            ("b1", 15.0, "sold 30.00, returned 15.00 by r1"),
            ("b2", 35.0, None),
            ("r1", None, None),
        ]


def test_a_return_of_nothing_known_lowers_sums_at_its_time(tmp_path: Path) -> None:
    """It is no visit, and what had been reached before it stays reached."""
    with brand(tmp_path) as shop:
        shop.define(defined('{ kind = "total_amount", at_least = 60 }'))
        shop.write(may=SALES + OF_UNKNOWN + "5,b7,2017-06-03T12:00:00,20.00,SALE,\n")
        plan, _ = asyncio.run(plan_badges(shop.work()))
        (warning,) = [text for text in plan.warnings if "returns:" in text]
        assert "1 of 1 name no activity" in warning
        assert plan.planned.is_empty()
        (part,) = explained(shop, 5)["parts"]
        assert [(one["activity_id"], one["running"]) for one in part["activity"]] == [
            *(("b1", 30.0), ("b2", 50.0), ("r9", 35.0), ("b7", 55.0)),
        ]

        shop.define(defined(FORTY))
        plan, _ = asyncio.run(plan_badges(shop.work()))
        assert set(plan.planned["customer_id"]) == {5, 6}


@pytest.mark.parametrize(
    ("rule", "visits"),
    [
        ('{ kind = "activity_count", at_least = 3 }', 0),
        ('{ kind = "distinct_count", of = "kind", at_least = 2 }', 0),
        ('{ kind = "streak", period = "month", periods = 2 }', 0),
        ('{ kind = "elapsed", since = "first_activity", after = "1d" }', 2),
        ('{ kind = "total_amount", at_least = 51 }', 0),
    ],
)
def test_a_return_of_nothing_known_is_no_activity(
    tmp_path: Path, rule: str, visits: int
) -> None:
    """It is no third visit, no second value, no further month, and no first day."""
    early = "5,r9,2017-04-01T12:00:00,-1.00,RETURN,b9\n"
    with brand(tmp_path) as shop:
        shop.define(defined(rule))
        shop.write(may=SALES + early)
        plan, _ = asyncio.run(plan_badges(shop.work()))

    assert plan.planned.height == visits
    if visits:
        assert set(plan.planned["evidence_activity_id"]) == {"b1", "b3"}


def test_a_badge_sees_what_is_left_of_an_amount(tmp_path: Path) -> None:
    """A bill of 30.00 of which 15.00 came back is no bill of 20.00 or more."""
    rule = '{ kind = "activity_count", at_least = 2, where = "amount >= 20" }'
    with brand(tmp_path) as shop:
        shop.define(defined(rule))
        shop.write(may=SALES + IN_PART)
        shop.run()
        assert awarded(shop) == {6}
        assert told(shop, 5)["b1"] == (
            "where: amount >= 20 does not hold (amount = 15.00)"
        )


def test_without_returns_a_return_is_an_amount_below_zero(tmp_path: Path) -> None:
    """It lowers a sum at its own time, and counts as an activity."""
    with brand(tmp_path) as shop:
        shop.define(defined('{ kind = "activity_count", at_least = 3 }', more=""))
        shop.write(may=SALES + IN_FULL)
        shop.run()
        assert awarded(shop) == {5}


def test_a_wrong_sign_refuses_the_run(tmp_path: Path) -> None:
    """File and row are named, and nothing was sent."""
    with brand(tmp_path) as shop:
        shop.define(defined(TWICE, more=f'{RETURNS}amounts = "positive"\n'))
        shop.write(may=SALES + IN_FULL)
        with pytest.raises(DefinitionRefused, match=r"may\.csv:6: returns\.amounts"):
            shop.run()
        assert shop.sandbox.earns() == []
