"""Which earn is which award, and what a difference is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from transforms.platform.reconciliation import FOUND, OURS, THEIRS, Finding, reconciled

BADGE = "653de334b3cda7078c7c68eb"


def at(day: int) -> datetime:
    """Return noon UTC of a day in May."""
    return datetime(2017, 5, day, 12, tzinfo=UTC)


def ours(*awards: tuple[int, int, str | None, str]) -> pl.DataFrame:
    """Return awards: customer, day, earned_badge_id, status."""
    rows = [
        {
            "award_id": f"a{number}",
            "badge": "regular",
            "badge_meta_id": BADGE,
            "customer_id": customer,
            "occurrence": number,
            "earn_event_date": at(day),
            "earn_day": at(day).date(),
            "status": status,
            "earned_badge_id": earned,
            "settled_at": at(28),
        }
        for number, (customer, day, earned, status) in enumerate(awards)
    ]
    return pl.DataFrame(rows, schema=OURS)


def theirs(*earns: tuple[int, int | None, str | None]) -> pl.DataFrame:
    """Return earns: customer, day (None: only counted), earned_badge_id."""
    rows = [
        {
            "badge_meta_id": BADGE,
            "customer_id": customer,
            "earn_event_date": None if day is None else at(day),
            "earn_day": None,
            "earned_badge_id": earned,
            "is_listed": day is not None,
        }
        for customer, day, earned in earns
    ]
    return pl.DataFrame(rows, schema=THEIRS)


def found(mine: pl.DataFrame, yours: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Return customer, award and finding of each row."""
    rows = reconciled(mine, yours)
    assert rows.schema == FOUND
    return rows.select("customer_id", "award_id", "finding").rows()


@pytest.mark.parametrize(
    ("mine", "yours", "expected"),
    [
        # The same id: matched, and the date only decides whether it differs.
        ([(1, 2, "e1", "issued")], [(1, 2, "e1")], ["matched"]),
        ([(1, 2, "e1", "issued")], [(1, 3, "e1")], ["date_differs"]),
        # One of the two has no id: the date decides, then the order.
        ([(1, 2, "e1", "issued")], [(1, 2, None)], ["matched"]),
        ([(1, 2, None, "issued")], [(1, 2, "e1")], ["matched"]),
        ([(1, 2, None, "issued")], [(1, 3, "e1")], ["date_differs"]),
        # Two ids that are not the same are two earns, whatever their dates.
        ([(1, 2, "e1", "issued")], [(1, 2, "e2")], ["theirs_only", "ours_only"]),
        # Only one side.
        ([(1, 2, "e1", "issued")], [], ["ours_only"]),
        ([], [(1, 2, "e1")], ["theirs_only"]),
        # A count proves that something is there.
        ([(1, 2, "e1", "issued")], [(1, None, None)], ["matched"]),
        (
            [(1, 2, "e1", "issued")],
            [(1, None, None), (1, None, None)],
            ["theirs_only", "matched"],
        ),
        # What covers an award is no earn of ours, and its date is its own.
        ([(1, 2, None, "already_earned")], [(1, 9, "e1")], ["matched"]),
        ([(1, 2, None, "already_earned")], [], ["ours_only"]),
        # What should not be there.
        ([(1, 2, "e1", "revoked")], [(1, 2, "e1")], ["theirs_only"]),
        ([(1, 2, None, "unknown")], [(1, 2, "e1")], ["theirs_only"]),
        ([(1, 2, None, "failed")], [], []),
    ],
)
def test_one_customer(mine, yours, expected):
    """Each case of one customer comes to what a person would say."""
    rows = found(ours(*mine), theirs(*yours))

    assert [finding for _, _, finding in rows] == expected


def test_equal_dates_pair_one_to_one():
    """Two awards of one date and one earn of it: one is missing."""
    rows = found(
        ours((1, 2, None, "issued"), (1, 2, None, "issued")), theirs((1, 2, "e1"))
    )

    assert sorted(finding for _, _, finding in rows) == ["matched", "ours_only"]


def test_an_id_under_another_customer_is_the_same_earn():
    """A merged customer's earn is found under the survivor, and said so."""
    rows = reconciled(ours((1, 2, "e1", "issued")), theirs((7, 2, "e1")))

    assert rows["finding"].to_list() == ["matched"]
    assert "customer 7" in rows["note"].item()


def test_an_earn_of_an_award_that_is_not_settled_is_noted():
    """What reading back would settle is told apart from a stranger's earn."""
    rows = reconciled(ours((1, 2, None, "unknown")), theirs((1, 2, "e1")))

    assert rows["award_id"].to_list() == ["a0"]
    assert rows["note"].item() == "the audit has this award as unknown"


def test_a_day_pairs_where_no_instant_is_known():
    """An export of days matches by day."""
    yours = theirs((1, 2, None)).with_columns(
        earn_event_date=pl.lit(None, dtype=THEIRS["earn_event_date"]),
        earn_day=pl.lit(at(2).date()),
    )
    other = yours.with_columns(earn_day=pl.lit(at(3).date()))
    award = ours((1, 2, "e1", "issued"))

    assert reconciled(award, yours)["finding"].to_list() == ["matched"]
    differs = reconciled(award, other)
    assert differs["finding"].to_list() == ["date_differs"]
    assert differs["note"].item() == "there it is of 2017-05-03"


def test_what_is_a_difference():
    """Everything but a match and what the export is too old for."""
    assert {f for f in Finding if not f.is_difference} == {"matched", "too_new"}


def test_nobody_is_lost_or_made_up():
    """Every present award and every earn is in exactly one row."""
    mine = ours(
        (1, 2, "e1", "issued"),
        (1, 3, None, "issued"),
        (2, 2, "e3", "issued"),
        (3, 2, None, "already_earned"),
        (4, 2, "e5", "revoked"),
    )
    yours = theirs(
        (1, 2, "e1"), (1, 9, None), (2, 2, "x"), (3, 1, "y"), (4, 2, "e5"), (5, 1, "z")
    )
    rows = reconciled(mine, yours)

    assert rows["award_id"].drop_nulls().sort().to_list() == [
        "a0",
        "a1",
        "a2",
        "a3",
        "a4",
    ]
    assert rows["their_earn_event_date"].drop_nulls().len() == yours.height
