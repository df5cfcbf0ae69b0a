"""Requests as they are found in the ledger: what is still open of them, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rig_ledger import awards

from flows.records.ledger import Entry, Ledger, open_ledger
from flows.sending.loading import planned, unsettled
from flows.sending.reserve import Reservation, reserve
from flows.sending.tracking import Rows, Tracked
from transforms.awards.batches import cut_requests
from transforms.platform.outcomes import Outcome
from transforms.platform.requests import body, successor
from transforms.statuses import AwardStatus, Proof, RequestStatus

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ROWS = Rows("run")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give a ledger with five customers in requests of three, as they were reserved."""
    opened = open_ledger(tmp_path / "l.duckdb", now=NOW)
    frame = awards([5, 3, 1, 2, 4])
    requests, members = cut_requests(frame, batch_size=3)
    reserve(opened, "run", Reservation(frame, requests, members), NOW)
    yield opened
    opened.close()


def first_of(requests: list[Tracked]) -> Tracked:
    """Return the request of customers 1, 2 and 3."""
    return next(one for one in requests if 1 in one.request.customer_ids)


def sent_and_issued(ledger: Ledger, *customers: int) -> Tracked:
    """Send the first request: these customers are issued, others get no answer."""
    tracked = first_of(planned(ledger, timeout=1))
    ledger.write([ROWS.marked(tracked, "attempt", tracked.customer_ids, NOW)])
    entry = Entry()
    good = [Outcome(c, AwardStatus.ISSUED, Proof.ANSWER) for c in customers]
    ROWS.outcomes(entry, tracked, good, NOW)
    left = list(tracked.awards)
    told = "no answer"
    ROWS.moved(entry, tracked, AwardStatus.UNKNOWN, NOW, customer_ids=left, reason=told)
    ROWS.request(entry, tracked, RequestStatus.UNKNOWN, NOW)
    ledger.write([entry])
    return tracked


def test_what_waits_is_counted_and_named_without_an_object_for_each(
    ledger: Ledger,
) -> None:
    """Millions may wait: their awards are made when their request's turn comes."""
    waiting = planned(ledger, timeout=1)

    assert sorted(one.size for one in waiting) == [2, 3]
    assert sorted(sorted(one.customers) for one in waiting) == [[1, 2, 3], [4, 5]]
    assert not any("awards" in vars(one) for one in waiting)
    assert {c: a.status for c, a in first_of(waiting).awards.items()} == dict.fromkeys(
        (1, 2, 3), AwardStatus.PLANNED
    )


def test_a_request_is_sent_as_it_was_reserved(ledger: Ledger) -> None:
    """Its bytes are those that were written down, customers in their order."""
    for one in planned(ledger, timeout=1):
        cut = [award.customer_id for award in one.request.awards]
        assert one.customer_ids == list(one.request.customer_ids) == cut == sorted(cut)
        listed = ",".join(map(str, cut))
        whole = f"{one.request.body_head}{listed}{one.request.body_tail}"
        assert body(one.request) == whole.encode()


def test_only_what_is_open_of_a_request_comes_back(ledger: Ledger) -> None:
    """A customer at a known end stays in the request, and is not settled again."""
    sent_and_issued(ledger, 2)

    assert [one.size for one in planned(ledger, timeout=1)] == [2]
    (left,) = unsettled(ledger, timeout=1)
    assert left.size == 2
    assert set(left.customers) == {1, 3}
    assert {c: a.status for c, a in left.awards.items()} == dict.fromkeys(
        (1, 3), AwardStatus.UNKNOWN
    )
    assert left.customer_ids == [1, 3]
    assert left.request.customer_ids == (1, 2, 3)
    assert (left.attempts, left.is_ambiguous) == (1, True)


def test_a_request_of_which_all_came_to_an_end_does_not_come_back(
    ledger: Ledger,
) -> None:
    """Even if the request itself was left open: nothing is to be settled."""
    sent_and_issued(ledger, 1, 2, 3)

    assert unsettled(ledger, timeout=1) == []


def test_an_award_that_another_request_took_is_that_ones(ledger: Ledger) -> None:
    """Two requests hold it; only the later may settle it."""
    tracked = sent_and_issued(ledger, 2)
    taken = [award for award in tracked.request.awards if award.customer_id == 3]
    entry = Entry()
    (child,) = ROWS.replaced(
        entry,
        tracked,
        [successor(tracked.request, taken)],
        NOW,
        status=RequestStatus.SUCCEEDED,
        reason="proved absent",
    )
    ROWS.request(entry, tracked, RequestStatus.UNKNOWN, NOW)
    ledger.write([entry])

    (left,) = unsettled(ledger, timeout=1)
    assert set(left.awards) == {1}
    waiting = {one.request.request_id: one for one in planned(ledger, timeout=1)}
    assert set(waiting[child.request.request_id].awards) == {3}
    assert waiting[child.request.request_id].succession == 1


def test_awards_as_rows_are_a_sequence_like_any_other(ledger: Ledger) -> None:
    """Counted, asked for by position, compared: as the awards themselves are."""
    stored = first_of(planned(ledger, timeout=1)).request.awards
    made = tuple(stored)

    assert [award.position for award in made] == [0, 1, 2]
    assert (len(stored), stored[1], stored[1:]) == (3, made[1], made[1:])
    assert stored == made
    assert hash(stored) == hash(made)
    assert stored != made[:2]
