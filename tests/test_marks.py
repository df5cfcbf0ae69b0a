"""Marks: nothing goes out unmarked, and what is marked ahead may stay behind."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from factories_imports import BADGE, Brand, brand
from rig_ledger import awards, issue, opened

from flows.records.ledger import Entry, Ledger, open_ledger
from flows.sending.agenda import Agenda
from flows.sending.marks import LONGEST_AHEAD, Marks, is_allowed_ahead
from flows.sending.recorder import Recorder
from flows.sending.reserve import withdraw_never_sent
from flows.sending.settle import Step
from flows.sending.tracking import OpenAward, Rows, Tracked
from transforms.platform.requests import new_request
from transforms.statuses import AwardStatus

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def planned(*customer_ids: int) -> Tracked:
    """Return a request that waits to be sent."""
    made = [(f"award-{customer_id}", customer_id) for customer_id in customer_ids]
    request = new_request(
        made,
        badge="regular",
        badge_meta_id=BADGE,
        reference_id="retro",
        earn_event_date=NOW,
        date_text=NOW.isoformat(),
    )
    held = {c: OpenAward(a, c, 1, AwardStatus.PLANNED) for a, c in made}
    return Tracked(request=request, held=held)


def moves(ledger: Ledger) -> list[str | None]:
    """Return every move of every award in the order of the ledger."""
    return told(
        ledger,
        "SELECT award_id || ': ' || from_status || ' to ' || to_status "
        "FROM award_events ORDER BY event_seq",
    )


def attempts(ledger: Ledger) -> list[str | None]:
    """Return the result of every attempt in the order in which they began."""
    return told(
        ledger,
        "SELECT e.result FROM attempts AS a LEFT JOIN attempt_results AS e "
        "USING (attempt_id) ORDER BY a.started_at",
    )


def told(ledger: Ledger, query: str) -> list[str | None]:
    """Return the one column that a query asks for."""
    with closing(ledger.cursor()) as cursor:
        return [one for (one,) in cursor.sql(query).fetchall()]


PACES = [
    # senders, calls a minute, may one be marked ahead
    (8, 0, True),
    (8, 480, True),
    (8, 479, False),
    (8, 90, False),
    (1, 60, True),
]


@pytest.mark.parametrize(("senders", "calls_a_minute", "expected"), PACES)
def test_no_more_is_marked_ahead_than_a_second_of_pacing(
    senders: int, calls_a_minute: int, *, expected: bool
) -> None:
    """Each sender marks one ahead, or none does."""
    assert is_allowed_ahead(senders, calls_a_minute) is expected


@pytest.mark.parametrize(
    ("waited", "results", "moved"),
    [
        (
            LONGEST_AHEAD,
            [None],
            ["award-1: planned to sent", "award-2: planned to sent"],
        ),
        (
            LONGEST_AHEAD + timedelta(seconds=1),
            ["not_sent", None],
            [
                "award-1: planned to sent",
                "award-2: planned to sent",
                "award-1: sent to planned",
                "award-2: sent to planned",
                "award-1: planned to sent",
                "award-2: planned to sent",
            ],
        ),
    ],
    ids=["in time", "late"],
)
def test_a_mark_whose_turn_came_late_is_made_anew(
    tmp_path: Path, waited: timedelta, results: list[str | None], moved: list[str]
) -> None:
    """What an attempt's start tells is to be near its first byte."""
    now = [NOW]
    ledger, tracked = open_ledger(tmp_path / "l.duckdb", now=NOW), planned(1, 2)

    async def sent() -> None:
        async with Recorder(ledger) as recorder:
            marks = Marks(recorder, Rows("run"), clock=lambda: now[0])
            marks.make_ahead(tracked)
            assert (tracked.attempts, tracked.first_attempt_at) == (0, None)
            now[0] += waited
            mark = await marks.make(tracked)
            assert mark.written.done()
            assert now[0] - mark.made_at <= LONGEST_AHEAD

    asyncio.run(sent())

    assert tracked.attempts == 1
    assert attempts(ledger) == results
    assert moves(ledger) == moved
    ledger.close()


def test_what_is_taken_back_was_never_sent(tmp_path: Path) -> None:
    """Only a request that was marked ahead has anything to take back."""
    ledger, tracked = open_ledger(tmp_path / "l.duckdb", now=NOW), planned(1)

    async def sent() -> None:
        async with Recorder(ledger) as recorder:
            marks = Marks(recorder, Rows("run"), clock=lambda: NOW)
            marks.make_ahead(tracked)
            marks.take_back(tracked, "the run was stopped")
            marks.take_back(tracked, "the run was stopped")

    asyncio.run(sent())

    assert attempts(ledger) == ["not_sent"]
    assert moves(ledger) == ["award-1: planned to sent", "award-1: sent to planned"]
    assert (tracked.attempts, tracked.awards[1].status) == (0, AwardStatus.PLANNED)
    ledger.close()


def test_a_sender_takes_two_only_if_the_others_find_one() -> None:
    """With eight senders, nine ready requests are one for each and one more."""
    agenda = Agenda(lambda: NOW)
    for number in range(9):
        agenda.add(Step(planned(number), "send"))

    assert agenda.take_ahead(lambda _: False, others=8) is None
    assert agenda.take_ahead(lambda _: True, others=9) is None
    assert agenda.take_ahead(lambda _: True, others=8) is not None
    assert agenda.take_ahead(lambda _: True, others=8) is None


def test_what_is_due_goes_before_what_would_be_taken_ahead() -> None:
    """A request to be read back doesn't wait until all others are sent."""
    now = [NOW]
    agenda = Agenda(lambda: now[0])
    for number in range(9):
        agenda.add(Step(planned(number), "send"))
    due = Step(planned(9), "read", NOW + timedelta(seconds=1))
    agenda.add(due)

    assert agenda.take_ahead(lambda _: True, others=1) is not None
    now[0] += timedelta(seconds=1)
    assert agenda.take_ahead(lambda _: True, others=1) is None
    assert asyncio.run(agenda.take()) is due


def test_a_stopped_badge_leaves_what_was_marked_ahead_unsent(tmp_path: Path) -> None:
    """The ledger says so, and the next run withdraws it like all that never went."""
    one_by_one = {
        "CAPILLARY_BATCH_SIZE": "1",
        "CAPILLARY_MAX_IN_FLIGHT": "1",
        "CAPILLARY_CANARY": "false",
    }
    with brand(tmp_path, environ=one_by_one) as shop:
        shop.sandbox.fault("refusal", nth=3, code=810)
        issue(shop, awards(range(1, 9)))
        assert _results(shop) == {"answered": 2, "refused": 1, "not_sent": 1}
        assert shop.statuses() == {"issued": 2, "blocked": 1, "planned": 5}
        assert len(shop.sandbox.earns()) == 2

        with opened(shop) as run:
            assert withdraw_never_sent(run.ledger, run.run_id, NOW) == 5


def _results(shop: Brand) -> dict[str, int]:
    found = shop.ask("SELECT result, count(*) FROM attempts GROUP BY result")
    return dict(found.iter_rows())


def test_rows_are_written_as_they_were_added(tmp_path: Path) -> None:
    """A list is a column, anything else is in every row; the numbers have no gap."""
    ledger = open_ledger(tmp_path / "l.duckdb", now=NOW)
    same = {"changed_at": NOW, "run_id": "run", "actor": "me"}
    entry = Entry()
    entry.add_many("award_events", 2, award_id=["a", "b"], to_status="sent", **same)
    entry.add("award_events", award_id="c", to_status="issued", proof="answer", **same)
    entry.add_many(
        "award_events", 2, award_id=["d", "e"], to_status=["sent", "failed"], **same
    )
    entry.add_many("award_events", 1, award_id=["f"], to_status="sent", **same)
    single = Entry().add("award_events", award_id="g", to_status="sent", **same)

    ledger.write([entry])
    ledger.write([single])

    cursor = ledger.cursor()
    found = cursor.sql(
        "SELECT event_seq, award_id, to_status, proof, changed_at, actor, reason "
        "FROM award_events ORDER BY event_seq"
    ).pl()
    cursor.close()
    ledger.close()
    assert found.select("event_seq", "award_id", "to_status", "proof").rows() == [
        (1, "a", "sent", None),
        (2, "b", "sent", None),
        (3, "c", "issued", "answer"),
        (4, "d", "sent", None),
        (5, "e", "failed", None),
        (6, "f", "sent", None),
        (7, "g", "sent", None),
    ]
    assert set(found["changed_at"]) == {NOW}
    assert set(found["actor"]) == {"me"}
    assert found["reason"].null_count() == found.select(pl.len()).item()
