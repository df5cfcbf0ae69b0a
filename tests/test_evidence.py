from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from transforms.platform.evidence import (
    Earn,
    Reading,
    Sought,
    Verdict,
    found_earns,
    is_absence_shown,
    last_earn_of,
    page_count,
    reading_of,
)
from transforms.statuses import AwardStatus

DAY = datetime(2017, 5, 3, 16, tzinfo=UTC)
OTHER_DAY = DAY + timedelta(days=1)
SENT = datetime(2026, 1, 5, 12, tzinfo=UTC)
BADGE = "653de334b3cda7078c7c68eb"


def made_id(when: datetime, number: int = 1) -> str:
    """Return an id as the platform makes them at an instant."""
    return f"{int(when.timestamp()):08x}{number:016x}"


def earn(day: datetime = DAY, when: datetime = SENT, number: int = 1) -> Earn:
    """Return an earn of an instant, made when it was sent."""
    return Earn(
        earned_badge_id=made_id(when, number), earn_event_date=day, created_at=when
    )


def sought(occurrence: int = 1, day: datetime = DAY) -> Sought:
    """Return an award that was sent first at `SENT`."""
    return Sought(
        award_id=f"award-{occurrence}",
        occurrence=occurrence,
        earn_event_date=day,
        since=SENT,
    )


def reading(*earns: Earn, count: int | None = None, is_listed: bool = True) -> Reading:
    """Return a reading whose count is right unless given."""
    counted = len(earns) if count is None else count
    return Reading(earn_count=counted, earns=earns, is_listed=is_listed)


def verdict(**fields: Any) -> Verdict:
    """Return the verdict of a canary that was listed and counted."""
    defaults = {
        "badge_meta_id": BADGE,
        "customer_id": 1,
        "lists_earns": True,
        "moves_count": True,
        "lag_seconds": 0.1,
        "decided_at": SENT,
    }
    return Verdict(**{**defaults, **fields})


def statuses(*args: Any, **kwargs: Any) -> dict[str, str]:
    """Return which awards are settled by a reading, and how."""
    found = found_earns(*args, **{"struck_out": (), **kwargs})
    return {one.award_id: str(one.status) for one in found}


def test_an_earn_with_our_date_made_since_is_our_award() -> None:
    """Presence is proof by itself."""
    assert statuses(reading(earn()), [sought()]) == {"award-1": "issued"}


def test_an_earn_of_another_date_proves_nothing() -> None:
    """Only our own instant counts, not the day or the badge alone."""
    assert statuses(reading(earn(OTHER_DAY)), [sought()]) == {}


def test_an_earn_that_the_ledger_has_proves_nothing_new() -> None:
    """Earns that are known are struck out before matching."""
    known = earn()

    assert (
        statuses(reading(known), [sought()], struck_out={known.earned_badge_id}) == {}
    )


def test_an_earn_without_id_of_a_date_that_is_known_proves_nothing_new() -> None:
    """An earn that can't be told apart from a known one is not counted twice."""
    bare = Earn(earned_badge_id=None, earn_event_date=DAY, created_at=SENT)

    assert statuses(reading(bare), [sought()], dates_known={DAY}) == {}
    assert statuses(reading(bare), [sought()]) == {"award-1": "issued"}


def test_an_earn_made_before_our_first_attempt_is_not_ours() -> None:
    """The badge is theirs already, by somebody else's doing."""
    older = earn(when=SENT - timedelta(hours=1))

    assert statuses(reading(older), [sought()]) == {"award-1": "already_earned"}


def test_clocks_may_differ_by_a_minute() -> None:
    """An earn made just before our clock's first attempt is still ours."""
    older = earn(when=SENT - timedelta(seconds=50))

    assert statuses(reading(older), [sought()]) == {"award-1": "issued"}


def test_our_earn_is_found_behind_an_older_one_of_the_same_date() -> None:
    """An older earn of the same instant must not hide ours."""
    older, ours = earn(when=SENT - timedelta(days=9)), earn(number=2)
    (found,) = found_earns(reading(older, ours), [sought()], struck_out=())

    assert found.earned_badge_id == ours.earned_badge_id
    assert found.status is AwardStatus.ISSUED


def test_one_earn_proves_one_award_and_the_lowest_occurrence_first() -> None:
    """Matching is one to one."""
    assert statuses(reading(earn()), [sought(2), sought(1)]) == {"award-1": "issued"}


# The verdict, the reading, earlier awards of ours, and whether absence is shown.
ABSENCE = [
    (verdict(), reading(), 0, True),
    (verdict(), reading(earn(OTHER_DAY)), 1, True),
    (None, reading(), 0, False),
    (verdict(decided_at=SENT - timedelta(days=8)), reading(), 0, False),
    (verdict(), reading(earn(OTHER_DAY), count=2), 0, False),
    (verdict(lists_earns=False), reading(count=0, is_listed=False), 0, True),
    (verdict(lists_earns=False), reading(count=1, is_listed=False), 0, False),
    (verdict(lists_earns=False), reading(count=0, is_listed=False), 1, False),
    (
        verdict(lists_earns=False, moves_count=False),
        reading(count=0, is_listed=False),
        0,
        False,
    ),
    (verdict(moves_count=False), reading(count=0, is_listed=False), 0, False),
]


@pytest.mark.parametrize(("known", "read", "before", "expected"), ABSENCE)
def test_absence_is_proof_only_by_a_way_that_the_canary_showed_to_work(
    known: Verdict | None, read: Reading, before: int, *, expected: bool
) -> None:
    """Without a verdict, with a partial list or an old count, nothing is proved."""
    shown = is_absence_shown(read, verdict=known, now=SENT, issued_before=before)

    assert shown is expected


@pytest.mark.parametrize("key", ["earnedBadgeId", "earnId", "issuedId", "id"])
@pytest.mark.parametrize(
    "date",
    [
        {"earnEventDateISO": "2017-05-03T21:30:00+05:30"},
        {"earnEventDate": "2017-05-03T16:00:00Z"},
        {"earnEventDate": 1493827200.0},
        {"earnEventDate": 1, "earnEventDateISO": "2017-05-03T16:00:00Z"},
    ],
)
def test_a_listed_earn_is_read_in_every_shape(key: str, date: dict[str, Any]) -> None:
    """The shape is undocumented: id and date are taken where they are found."""
    body = {"data": {"earnDetails": {"earnCount": 1, "earns": [{key: "x1"} | date]}}}
    found = reading_of(orjson.dumps(body))

    assert found is not None
    assert found.earns[0].earned_badge_id == "x1"
    assert found.earns[0].earn_event_date == DAY
    assert found.is_whole


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": null}', b'{"data": {}}', b"<"])
def test_an_answer_without_earn_details_is_no_reading(body: bytes) -> None:
    """What can't be read proves nothing."""
    assert reading_of(body) is None


@pytest.mark.parametrize(
    "data",
    [
        [{"badgeMetaId": BADGE, "lastEarnEventDateISO": "2017-05-03T16:00:00Z"}],
        {"badges": [{"id": BADGE, "lastEarnEventDate": 1493827200}]},
    ],
)
def test_the_last_earn_is_found_in_either_container(data: Any) -> None:
    """The container of the earned list is undocumented."""
    found = last_earn_of([orjson.dumps({"data": data})], BADGE)

    assert found is not None
    assert found.earns[0].earn_event_date == DAY


def test_pages_are_counted_wherever_the_pagination_stands() -> None:
    """Beside or inside the data; one page where nothing is said."""
    inside = {"data": {"pagination": {"totalPages": 3}}}
    beside = {"data": [], "pagination": {"totalPages": 2}}

    assert page_count(orjson.dumps(inside)) == 3
    assert page_count(orjson.dumps(beside)) == 2
    assert page_count(b"{}") == 1
