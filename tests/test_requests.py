"""Requests: who goes together, under which id, as which bytes, and what follows."""

from __future__ import annotations

import json
from collections import Counter

import polars as pl
import pytest
from factories_awards import BADGE_META_ID, INSTANT, at, badge, classified, planned
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.awards.batches import cut_requests, fewest_calls, minutes_at_limit
from transforms.platform.request_frames import frames_of, requests_from_frames
from transforms.platform.requests import (
    REQUEST_AWARDS_SCHEMA,
    REQUESTS_SCHEMA,
    Request,
    RequestAward,
    body,
    new_request,
    request_id,
    split,
    split_off,
    successor,
)

DAY = "2017-05-03T16:00"
DATE_TEXT = "2017-05-03T16:00:00+00:00"
PINNED = "81da6b0168ab2c7f94c3eaae1a771c75"
PINNED_SUCCESSOR = "5afc877cd9d689ae978440e83a693c01"


def request(*customer_ids: int) -> Request:
    """Return a request of award-a for the first customer, award-b for the next."""
    pairs = zip("abcdefghij", customer_ids, strict=False)
    return new_request(
        [(f"award-{letter}", customer_id) for letter, customer_id in pairs],
        badge="first",
        badge_meta_id=BADGE_META_ID,
        reference_id="retro-2017",
        earn_event_date=at(DAY),
        date_text=DATE_TEXT,
    )


def cut(frame: pl.DataFrame, **arguments) -> list[Request]:
    """Return the requests of a cut, three customers each unless said otherwise."""
    return requests_from_frames(*cut_requests(frame, **{"batch_size": 3, **arguments}))


def customers(requests: list[Request]) -> list[list[int]]:
    """Return the customers of each request in the order of sending."""
    return [list(one.customer_ids) for one in requests]


# --- ids and bytes


def test_known_request_ids_stay_as_they_are():
    """The ids fence against sending twice across versions: these are literals."""
    first = request(7, 8)
    assert first.request_id == PINNED
    assert successor(first, first.awards[1:]).request_id == PINNED_SUCCESSOR


def test_an_id_does_not_depend_on_the_order_of_awards():
    """The platform gets one id for one set of awards."""
    told = {
        "badge_meta_id": BADGE_META_ID,
        "reference_id": "retro-2017",
        "date_text": DATE_TEXT,
    }
    assert request_id(["award-b", "award-a"], **told) == PINNED


@pytest.mark.parametrize(
    "changed",
    [
        {"badge_meta_id": "other"},
        {"reference_id": "other"},
        {"date_text": "2017-05-04T16:00:00+00:00"},
        {"owner_type": "Loyalty"},
        {"predecessor_request_id": "other"},
        {"award_ids": ["award-a"]},
    ],
)
def test_everything_that_is_sent_is_part_of_the_id(changed):
    """Two requests that differ in anything the platform sees have two ids."""
    told = {
        "award_ids": ["award-a", "award-b"],
        "badge_meta_id": BADGE_META_ID,
        "reference_id": "retro-2017",
        "date_text": DATE_TEXT,
        **changed,
    }
    assert request_id(told.pop("award_ids"), **told) != PINNED


def test_the_body_is_pinned_byte_for_byte():
    """Resending repeats the same bytes: both dates, the trigger, no fraction."""
    assert body(request(8, 7)).decode() == (
        f'{{"badgeMetaId":"{BADGE_META_ID}","customerIds":[8,7],'
        f'"requestId":"{request(8, 7).request_id}",'
        f'"earnEventDate":"{DATE_TEXT}","earnEventDateISO":"{DATE_TEXT}",'
        '"triggeredBy":{"ownerType":"Historical_Import","referenceId":"retro-2017"}}'
    )


def test_text_in_a_body_is_escaped():
    """A reference with quotes or letters beyond ASCII stays what it is."""
    odd = 'retro "2017" ñ'
    one = new_request(
        [("a", 1)],
        badge="first",
        badge_meta_id=BADGE_META_ID,
        reference_id=odd,
        earn_event_date=at(DAY),
        date_text=DATE_TEXT,
    )
    assert json.loads(body(one))["triggeredBy"]["referenceId"] == odd


def test_a_resend_asks_only_for_the_customers_still_missing():
    """Id and all else stay the same; strangers and nobody are refused."""
    whole = request(7, 8, 9)
    sent = json.loads(body(whole, [9, 7]))
    assert sent == {**json.loads(body(whole)), "customerIds": [9, 7]}
    with pytest.raises(ValueError, match="not in request"):
        body(whole, [10])
    for nobody_or_twice in ([], [7, 7]):
        with pytest.raises(ValueError, match="no customer to send, or one twice"):
            body(whole, nobody_or_twice)


def test_a_request_refuses_two_awards_of_one_customer():
    """An answer names customers: two awards of one could not be told apart."""
    with pytest.raises(ValueError, match="two awards of one customer"):
        request(7, 7)


# --- what follows a request


def test_halves_keep_everything_but_the_awards():
    """Both name their parent, have ids of their own, and lose nobody."""
    whole = request(1, 2, 3)
    first, second = split(whole)
    assert customers([first, second]) == [[1, 2], [3]]
    assert {one.parent_request_id for one in (first, second)} == {whole.request_id}
    assert len({one.request_id for one in (whole, first, second)}) == 3
    assert [award.position for award in second.awards] == [0]
    assert first.date_text == whole.date_text
    assert json.loads(body(second))["requestId"] == second.request_id


def test_only_the_awards_still_open_are_halved():
    """Those that came to an end stay with the parent."""
    whole = request(1, 2, 3)
    assert customers(list(split(whole, whole.awards[1:]))) == [[2], [3]]
    with pytest.raises(ValueError, match="one customer can't be halved"):
        split(whole, whole.awards[:1])


def test_a_successor_names_the_request_whose_id_is_burnt():
    """It takes the chosen awards; its halves go on naming it."""
    whole = request(1, 2, 3, 4)
    heir = successor(whole, whole.awards[2:])
    assert customers([heir]) == [[3, 4]]
    assert heir.predecessor_request_id == whole.request_id
    assert heir.parent_request_id is None
    assert successor(heir).request_id != heir.request_id
    for half in split(heir):
        assert half.predecessor_request_id == whole.request_id
        assert half.parent_request_id == heir.request_id


def test_awards_of_another_request_are_refused():
    """A request can't pass on what it never had."""
    stranger = RequestAward(award_id="award-x", customer_id=1, position=0)
    for follow in (successor, split):
        with pytest.raises(ValueError, match="not in request"):
            follow(request(1, 2), [stranger])


def test_the_next_canary_is_split_off():
    """It goes alone, as a canary, and the others follow."""
    whole = request(1, 2, 3)
    canary, others = split_off(whole, whole.awards[1])
    assert customers([canary, others]) == [[2], [1, 3]]
    assert (canary.is_canary, others.is_canary) == (True, False)
    with pytest.raises(ValueError, match="nothing is left"):
        split_off(canary, canary.awards[0])


def test_frames_give_the_same_requests_back():
    """What the ledger keeps is enough to send, settle and retry."""
    whole = request(3, 1, 2)
    requests = [whole, *split(whole), successor(whole)]
    kept, members = frames_of(requests)
    assert kept.schema == REQUESTS_SCHEMA
    assert members.schema == REQUEST_AWARDS_SCHEMA
    assert kept["customers"].to_list() == [3, 2, 1, 3]
    shuffled = members.sample(fraction=1.0, shuffle=True, seed=3)
    wider = kept.with_columns(status=pl.lit("planned"))
    assert requests_from_frames(wider, shuffled) == requests


def test_requests_cut_together_are_as_each_would_be_alone():
    """One id and one body for one content, however many are made at once."""
    rows = [(customer, 1, DAY) for customer in range(1, 6)]
    odd = 'retro "2017" \\ ñ\x7f'
    frame = pl.concat([planned(*rows), planned(*rows, badge="odd", reference_id=odd)])
    frame = frame.with_columns(pl.concat_str("badge", "award_id").alias("award_id"))
    requests = cut(frame, canaries=["firstaward-2-1-" + DAY])
    assert len(requests) == 5
    for one in requests:
        alone = new_request(
            ((award.award_id, award.customer_id) for award in one.awards),
            badge=one.badge,
            badge_meta_id=one.badge_meta_id,
            reference_id=one.reference_id,
            earn_event_date=one.earn_event_date,
            date_text=DATE_TEXT,
            is_canary=one.is_canary,
        )
        assert one == alone
        assert json.loads(body(one))["triggeredBy"]["referenceId"] == one.reference_id


def test_no_requests_are_two_empty_frames():
    """Nothing planned is nothing reserved, with the right columns."""
    kept, members = cut_requests(planned(), batch_size=3)
    assert (kept.schema, members.schema) == (REQUESTS_SCHEMA, REQUEST_AWARDS_SCHEMA)
    assert kept.is_empty()
    assert requests_from_frames(kept, members) == []
    assert fewest_calls(planned(), 3) == 0


# --- the cut


def test_awards_are_cut_by_badge_and_date_in_the_order_of_customers():
    """Full requests first, the rest last; dates and badges never mix."""
    frame = pl.concat(
        [
            planned(*((c, 1, DAY) for c in (5, 3, 1, 4, 2))),
            planned((9, 1, "2017-05-04T16:00")),
            planned((1, 1, DAY), badge="other", badge_meta_id="f" * 24),
        ]
    )
    requests = cut(frame)
    assert customers(requests) == [[1, 2, 3], [4, 5], [9], [1]]
    assert [one.badge for one in requests] == ["first"] * 3 + ["other"]
    assert requests[2].date_text == "2017-05-04T16:00:00+00:00"
    assert not any(one.is_canary or one.after_request_id for one in requests)


def test_classified_awards_can_be_cut_as_they_are():
    """What a plan calls planned has all that a request needs."""
    frame = classified([(c, 1, "2017-05-03T12:00") for c in (1, 2)], badge=badge())
    (one,) = cut(frame)
    assert one.customer_ids == (1, 2)
    assert one.earn_event_date == at(DAY)


def test_a_canary_goes_alone_and_first():
    """Canaries come on top of the fewest calls."""
    frame = planned(*((c, 1, DAY) for c in range(1, 7)))
    requests = cut(frame, canaries={frame["award_id"][4]})
    assert customers(requests) == [[5], [1, 2, 3], [4, 6]]
    assert [one.is_canary for one in requests] == [True, False, False]
    assert fewest_calls(frame, 3) == 2


def test_two_awards_of_one_customer_go_out_one_after_the_other():
    """They never share a request, and the second waits for the first."""
    frame = planned((1, 1, DAY), (1, 2, DAY), (2, 1, DAY))
    first, second = cut(frame)
    assert customers([first, second]) == [[1, 2], [1]]
    assert second.after_request_id == first.request_id
    assert first.after_request_id is None


def test_requests_that_share_nobody_do_not_wait():
    """Only the queue of the customer who is in it twice is a queue."""
    frame = planned((1, 1, DAY), (1, 2, DAY), *((c, 1, DAY) for c in range(2, 9)))
    requests = cut(frame)
    assert customers(requests) == [[1, 3, 6], [1, 4, 7], [2, 5, 8]]
    after = [one.after_request_id for one in requests]
    assert after == [None, requests[0].request_id, None]


def test_a_batch_size_below_one_is_refused():
    """Nobody can be sent in requests of nobody."""
    with pytest.raises(ValueError, match="at least 1"):
        cut_requests(planned((1, 1, DAY)), batch_size=0)


def test_minutes_at_the_limit():
    """The limit counts calls per minute; no limit takes no time."""
    assert minutes_at_limit(180, 90) == 2.0
    assert minutes_at_limit(180, 0) == 0.0


AWARDS = st.lists(
    st.tuples(
        st.integers(1, 12), st.integers(1, 6), st.sampled_from(["01", "02", "03"])
    ),
    unique_by=lambda award: award[:2],
    max_size=60,
)


@settings(max_examples=120, deadline=None)
@given(
    awards=AWARDS,
    batch_size=st.integers(1, 9),
    canary_of=st.sets(st.integers(0, 59), max_size=3),
    seed=st.integers(0, 99),
)
def test_every_cut_is_a_partition_with_the_fewest_calls(
    awards, batch_size, canary_of, seed
):
    """Every award is in one request, none too large, and no call is wasted."""
    frame = planned(*((c, n, f"2017-05-{day}T16:00") for c, n, day in awards))
    ids = frame["award_id"].to_list()
    canaries = {ids[place] for place in canary_of if place < len(ids)}
    requests = cut(frame, batch_size=batch_size, canaries=canaries)
    sent = [award.award_id for one in requests for award in one.awards]
    assert sorted(sent) == sorted(ids)
    assert len({one.request_id for one in requests}) == len(requests)
    for one in requests:
        assert 1 <= one.customers <= batch_size
        assert len(set(one.customer_ids)) == one.customers
        assert list(one.customer_ids) == sorted(one.customer_ids)
        assert one.is_canary == (one.awards[0].award_id in canaries)
    others = frame.filter(~pl.col("award_id").is_in(sorted(canaries)))
    fewest = fewest_calls(others, batch_size)
    assert len(requests) == fewest + len(canaries)
    assert fewest == _formula(others, batch_size)
    assert _queues_hold(requests)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    assert cut(shuffled, batch_size=batch_size, canaries=canaries) == requests


_FAR = 2**62  # ids so far apart that no one number holds all that is sorted by
_badges = st.sampled_from(
    [("first", "f" * 24, "retro"), ("first", "e" * 24, "retro"), ("a", "g" * 24, "r 1")]
)
_planned = st.tuples(
    _badges,
    st.one_of(st.integers(-3, 12), st.sampled_from([-_FAR, _FAR, 2**40])),
    st.integers(1, 3),
    st.sampled_from(["01", "02", "31"]),
)


@settings(max_examples=120, deadline=None)
@given(
    rows=st.lists(_planned, max_size=40),
    twins=st.integers(0, 9),
    batch_size=st.integers(1, 5),
    canary_of=st.sets(st.integers(0, 39), max_size=3),
)
def test_a_cut_is_the_one_that_plain_python_makes(rows, twins, batch_size, canary_of):
    """Badges, dates, canaries, customers, occurrences and at last ids give the order.

    Whatever lies beside whatever, and though two awards differ in nothing but the id.
    """
    frame = pl.concat(
        [
            planned(
                (customer, occurrence, f"2017-05-{day}T16:00"),
                **dict(zip(_BADGE, badge_of, strict=True)),
                award_id=f"{place * 7919 % 101:03}",
            )
            for place, (badge_of, customer, occurrence, day) in enumerate(
                rows + rows[:twins]
            )
        ]
        or [planned()]
    )
    ids = frame["award_id"].to_list()
    canaries = {ids[place] for place in canary_of if place < len(ids)}
    requests = cut(frame, batch_size=batch_size, canaries=canaries)
    told = [
        (
            (one.badge, one.badge_meta_id, one.reference_id),
            one.earn_event_date,
            one.is_canary,
            [(award.customer_id, award.award_id) for award in one.awards],
        )
        for one in requests
    ]
    assert told == _cut_plainly(frame, batch_size, canaries)


_BADGE = ("badge", "badge_meta_id", "reference_id")


def _cut_plainly(
    frame: pl.DataFrame, batch_size: int, canaries: set[str]
) -> list[tuple]:
    """Cut award by award, as the contract and `cut_requests` say it."""
    parts: dict[tuple, list[tuple]] = {}
    for row in frame.iter_rows(named=True):
        is_canary = row["award_id"] in canaries
        badge_of = tuple(row[name] for name in _BADGE)
        award = row["customer_id"], row["occurrence"], row["award_id"]
        part = badge_of, row["earn_event_date"], not is_canary
        parts.setdefault(part, []).append(award)
    found = []
    for (badge_of, date, is_other), members in sorted(parts.items()):
        members.sort()
        most = max(Counter(customer for customer, _, _ in members).values())
        calls = max(-(-len(members) // batch_size), most)
        if not is_other:
            cuts = [[one] for one in members]
        elif most == 1:
            starts = range(0, len(members), batch_size)
            cuts = [members[start : start + batch_size] for start in starts]
        else:
            cuts = [members[turn::calls] for turn in range(calls)]
        found += [
            (badge_of, date, not is_other, [(c, award_id) for c, _, award_id in one])
            for one in cuts
        ]
    return found


def _formula(frame: pl.DataFrame, batch_size: int) -> int:
    """Count the fewest calls in plain Python."""
    total = 0
    for date in set(frame["earn_event_date"]):
        of_date = frame.filter(pl.col("earn_event_date") == date)["customer_id"]
        most = max(Counter(of_date.to_list()).values())
        total += max(-(-len(of_date) // batch_size), most)
    return total


def _queues_hold(requests: list[Request]) -> bool:
    """Tell whether requests that share a customer and date stand in one queue."""
    ahead: dict[str, set[str]] = {}
    for one in requests:
        before = one.after_request_id
        ahead[one.request_id] = {before, *ahead[before]} if before else set()
    plain = [one for one in requests if not one.is_canary]
    return all(
        one.request_id in ahead[other.request_id]
        or other.request_id in ahead[one.request_id]
        for place, one in enumerate(plain)
        for other in plain[:place]
        if one.earn_event_date == other.earn_event_date
        and set(one.customer_ids) & set(other.customer_ids)
    )


@settings(max_examples=60, deadline=None)
@given(size=st.integers(2, 10), keep=st.integers(2, 10))
def test_halves_are_a_partition_however_often_they_are_halved(size, keep):
    """Halving down to one customer loses nobody and repeats no id."""
    whole = request(*range(1, size + 1))
    queue, alone, ids = [whole], [], {whole.request_id}
    chosen = whole.awards[:keep]
    while queue:
        parent = queue.pop()
        halves = split(parent, chosen if parent is whole else None)
        ids |= {half.request_id for half in halves}
        queue += [half for half in halves if half.customers > 1]
        alone += [half for half in halves if half.customers == 1]
    assert sorted(one.customer_ids[0] for one in alone) == [
        award.customer_id for award in chosen
    ]
    assert len(ids) == 1 + 2 * (len(chosen) - 1)


def test_an_earn_date_column_is_in_utc_microseconds():
    """The ledger and the platform's text are made of the same instants."""
    kept, _ = cut_requests(planned((1, 1, DAY)), batch_size=1)
    assert kept.schema["earn_event_date"] == INSTANT
    assert kept["date_text"].to_list() == [DATE_TEXT]
