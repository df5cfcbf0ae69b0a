"""What is a proof and what is not, where the general suites can't tell it apart."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from rig_faults import BADGE, Bench, Due, audited, bench

from flows.sandbox import Fault, Limit
from flows.sandbox.moments import moment
from transforms.platform.evidence import Earn, Reading, has_unexplained, is_missing
from transforms.platform.outcomes import Answer, decision

share, rest = pytest.mark.faults(share=True), pytest.mark.faults(share=False)
TWELVE = [Due(customer) for customer in range(1, 13)]


def _calls(made: Bench, endpoint: str) -> list[tuple[int, ...]]:
    """Return the customers of every call of an endpoint, in their order."""
    return [one.customer_ids for one in made.sandbox.calls if one.endpoint == endpoint]


@share
def test_a_customer_who_earned_under_another_id_is_left_for_a_person(
    tmp_path: Path,
) -> None:
    """A merged customer is missing, a stranger listed: absence proves nothing then."""
    with bench(tmp_path, switches={"merged_customer": "survivor"}, due=TWELVE) as made:
        made.sandbox.add_customer(900)
        made.sandbox.add_customer(8, survivor_id=900)
        for _ in range(3):
            made.send()
        (row,) = [r for r in audited(made.home).awards if r["customer_id"] == 8]

        assert row["status"] == "unknown"
        assert len(made.sandbox.earns(BADGE, 900)) == 1
        assert len(made.sandbox.earns()) == 12
        reasons = {e["reason"] for e in audited(made.home).events if e["reason"]}
        assert any("not asked for" in reason for reason in reasons)


@share
def test_a_platform_that_takes_another_date_gets_one_award_only(tmp_path: Path) -> None:
    """The canary shows it, and the badge stops with both dates in words."""
    with bench(tmp_path, switches={"earn_date_read": "ignored"}, due=TWELVE) as made:
        report = made.send()

        assert len(made.sandbox.earns()) == 1
        (told,) = report.stopped_badges.values()
        assert "2017-05-01T16:00:00+00:00" in told
        assert str(datetime.now(tz=UTC).date()) in told


class _Clock:
    """The platform's clock, which can be put ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(tz=UTC) + self.ahead


@rest
@pytest.mark.parametrize("kind", ["crash", "drop_after", "part_drop"])
@pytest.mark.parametrize("listed", ["all", "empty"])
def test_after_hours_an_id_is_no_fence_and_absence_must_be_proved(
    tmp_path: Path, kind: Any, listed: str
) -> None:
    """A request left open is settled by reading alone; the platform forgot its id."""
    clock = _Clock()
    switches = {"ids_forgotten_after_seconds": 3600, "earns_listed": listed}
    fault = Fault(kind, nth=3, badge_meta_id=BADGE)
    with bench(tmp_path, switches=switches, clock=clock, faults=[fault]) as made:
        # The first run stops before the request that was struck has rested.
        made.send(stop_at=datetime.now(tz=UTC) + timedelta(seconds=0.45))
        assert made.score().statuses["unknown"] + made.score().statuses["planned"] > 0
        clock.ahead = timedelta(hours=3)
        _put_back(made.home.ledger, timedelta(hours=3))
        for _ in range(3):
            made.send()
        score = made.score()

    assert score.four == (0, 0, 0, 0), score.told
    assert set(score.statuses) <= {"issued", "unknown"}
    assert listed == "empty" or score.statuses == {"issued": 26}


def _put_back(ledger: Path, by: timedelta) -> None:
    """Let everything that a ledger holds have happened so much earlier."""
    changes = {
        "attempts": "started_at",
        "attempt_results": "ended_at",
        "award_events": "changed_at",
        "request_events": "changed_at",
        "verdicts": "decided_at",
    }
    with duckdb.connect(ledger) as connection:
        for table, column in changes.items():
            change = f"UPDATE {table} SET {column} = {column} - $by"
            connection.execute(change, {"by": by})


@rest
def test_a_refusal_beside_a_new_id_is_read_back_until_it_means_nothing(
    tmp_path: Path,
) -> None:
    """Where every refusal has a new id beside it, a sample is read and no more."""
    due = [Due(customer) for customer in range(1, 141)]
    with bench(tmp_path, due=due, CAPILLARY_MAX_IN_FLIGHT="2") as made:
        made.sandbox.add_badge(
            BADGE, reference_id="retro", limits=(Limit(of="badge", max_earns=1),)
        )
        made.send()
        score = made.score()
        reads = _calls(made, "customerBadge")

    assert score.four == (0, 0, 0, 0), score.told
    assert score.statuses == {"issued": 1, "blocked": 139}
    # Twenty are enough, of each of the two requests that are under way, and a control.
    assert 20 <= len(reads) <= 50


@share
@pytest.mark.parametrize("is_oauth", [False, True])
def test_resuming_without_a_verdict_sends_a_canary_first(
    tmp_path: Path, *, is_oauth: bool
) -> None:
    """What was reserved and never sent waits for a canary in a later run too."""
    with bench(tmp_path, is_oauth=is_oauth) as made:
        made.send(stop_at=datetime(2020, 1, 1, tzinfo=UTC))
        assert made.sandbox.earns() == []
        made.send(resumes=True)
        earns = _calls(made, "earnBulk")

        assert made.score().statuses == {"issued": 26}
        assert [len(customers) for customers in earns[:2]] == [1, 1]
        assert Counter(len(customers) for customers in earns)[1] <= 3


@rest
def test_a_canary_that_was_lost_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    """One that a run left open is settled, and what waited for it is not forgotten."""
    with bench(tmp_path, faults=[Fault("drop_before", nth=1, times=2)]) as made:
        made.send(stop_at=datetime.now(tz=UTC) + timedelta(seconds=0.3))
        made.send(resumes=True)
        made.send(resumes=True)

        assert made.score().four == (0, 0, 0, 0)
        assert made.score().statuses == {"issued": 26}


@rest
def test_a_limit_that_is_kept_trips_no_breaker(tmp_path: Path) -> None:
    """So many 429 in a row are no outage: the platform answers, and is obeyed."""
    with bench(tmp_path, faults=[Fault("too_many", nth=3, times=20)]) as made:
        report = made.send()

        assert report.stopped_by is None
        assert made.score().statuses == {"issued": 26}


@share
def test_one_renewal_of_a_token_serves_all_senders(tmp_path: Path) -> None:
    """A token that was refused is dropped once, however many senders had it."""
    fault = Fault("token_expired", nth=3, badge_meta_id=BADGE)
    with bench(tmp_path, faults=[fault], is_oauth=True) as made:
        made.send()
        tokens = _calls(made, "token")

        assert made.score().statuses == {"issued": 26}
        assert len(tokens) == 2


@rest
@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "part_drop"])
def test_an_older_earn_of_our_own_date_covers_the_award(
    tmp_path: Path, kind: Any
) -> None:
    """What the platform made before our first attempt is theirs, and is enough."""
    clock = _Clock()
    clock.ahead = -timedelta(days=2)
    fault = Fault(kind, nth=3, badge_meta_id=BADGE)
    with bench(tmp_path, due=TWELVE, clock=clock, faults=[fault]) as made:
        _earn_live(made, [6, 7, 8, 9], TWELVE[0].earn_event_date)
        made.theirs = made.sandbox.earns()
        clock.ahead = timedelta()
        made.send()
        score = made.score()

    assert score.four == (0, 0, 0, 0), score.told
    assert set(score.statuses) <= {"issued", "already_earned"}


@share
def test_a_customer_who_holds_the_badge_is_told_apart(tmp_path: Path) -> None:
    """Refused by 1040 with an earn of their own: theirs, not ours, and said so."""
    clock = _Clock()
    clock.ahead = -timedelta(days=2)
    switches = {"second_earn_refused": "any_date"}
    with bench(tmp_path, switches=switches, due=TWELVE, clock=clock) as made:
        _earn_live(made, [5, 6, 7])
        made.theirs = made.sandbox.earns()
        clock.ahead = timedelta()
        made.send()
        score = made.score()
        proofs = {
            (row["status"], row["proof"], row["error_code"])
            for row in audited(made.home).awards
        }

    assert score.four == (0, 0, 0, 0), score.told
    assert score.statuses == {"issued": 9, "already_earned": 3}
    assert proofs == {("issued", "answer", None), ("already_earned", "code", 1040)}


def _earn_live(
    made: Bench, customer_ids: list[int], earn_event_date: datetime | None = None
) -> None:
    """Let customers earn the badge by other means than ours."""
    memory = made.sandbox._memory
    at = memory.now() if earn_event_date is None else moment(earn_event_date)
    memory.add_earns(
        BADGE,
        customer_ids,
        earn_event_at=at,
        created_at=memory.now(),
        expires_at=memory.now() * 2,
        request_id=None,
    )


SENT = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = TWELVE[0].earn_event_date
OTHER_DAY = DAY + timedelta(days=1)


def _earn(
    earned_badge_id: str | None = "a" * 24,
    day: datetime | None = DAY,
    made: datetime | None = SENT,
) -> Earn:
    return Earn(earned_badge_id=earned_badge_id, earn_event_date=day, created_at=made)


@pytest.mark.parametrize(
    ("earn", "is_unexplained"),
    [
        (_earn("known"), False),
        (_earn(day=OTHER_DAY), False),
        (_earn(), True),
        (_earn(day=None), True),
        (_earn(made=None), True),
        (_earn(made=SENT - timedelta(hours=1)), False),
        (_earn(day=None, made=SENT - timedelta(hours=1)), False),
        (_earn(None, day=None, made=None), True),
    ],
)
def test_an_earn_made_since_that_no_award_explains_may_be_ours(
    earn: Earn, *, is_unexplained: bool
) -> None:
    """Under another date, or without one: absence is no proof beside it."""
    reading = Reading(earn_count=1, earns=(earn,), is_listed=True)
    found = has_unexplained(
        reading, struck_out={"known"}, our_dates={OTHER_DAY}, since=SENT
    )

    assert found is is_unexplained


def _listed(*earns: Earn, count: int | None = None) -> Reading:
    counted = len(earns) if count is None else count
    return Reading(earn_count=counted, earns=earns, is_listed=True)


def _counted(count: int | None, *earns: Earn) -> Reading:
    return Reading(earn_count=count, earns=earns)


# The reading, awards of ours before, whether all is explained, whether there is room.
MISSING = [
    (_listed(), 0, True, True),
    (_listed(_earn()), 1, True, True),
    (_listed(_earn()), 0, False, False),
    (_listed(_earn(), count=2), 0, True, False),
    (_counted(0), 0, True, True),
    (_counted(0), 1, True, False),
    (_counted(1), 0, True, False),
    (_counted(1, _earn(None)), 1, True, True),
    (_counted(1, _earn(None)), 0, True, True),
    (_counted(1, _earn(None)), 0, False, False),
    (_counted(1, _earn(None)), 2, True, False),
    (_counted(2, _earn(None)), 1, True, False),
    (_counted(None), 0, True, False),
]


@pytest.mark.parametrize(("reading", "before", "is_explained", "is_out"), MISSING)
def test_what_has_no_room_for_our_earn(
    reading: Reading, before: int, *, is_explained: bool, is_out: bool
) -> None:
    """A whole list, or a count that is accounted for: else it may be hidden."""
    found = is_missing(reading, issued_before=before, is_explained=is_explained)

    assert found is is_out


def test_a_list_is_no_proof_where_only_counts_were_shown_to_move() -> None:
    """The verdict says by which way a reading is to be taken."""
    reading = _listed(_earn(day=OTHER_DAY))

    assert is_missing(reading, issued_before=0, is_explained=True)
    assert not is_missing(
        _listed(count=0), issued_before=1, is_explained=True, by_list=False
    )


@pytest.mark.parametrize(
    ("made", "is_doubtful"),
    [
        (SENT, True),
        (SENT - timedelta(seconds=50), True),
        (SENT - timedelta(days=1), False),
    ],
)
def test_an_id_beside_an_error_is_a_reason_to_read_only_if_it_is_new(
    made: datetime, *, is_doubtful: bool
) -> None:
    """An id that was there before is the earn that the error speaks of."""
    shown_id = f"{int(made.timestamp()):08x}{1:016x}"
    row = {"customerId": 1, "issuedId": shown_id, "error": {"code": 1040}}
    answer = Answer(
        started_at=SENT,
        ended_at=SENT,
        http_status=200,
        body=orjson.dumps({"data": {"issuedBadges": [row]}}),
    )
    (outcome,) = decision(answer, [1], badge_meta_id=BADGE, request_id="r").outcomes

    assert (str(outcome.status), outcome.is_doubtful) == ("already_earned", is_doubtful)
    assert outcome.earned_badge_id is None
