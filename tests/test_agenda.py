from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.sending.agenda import Queues, in_turn
from flows.sending.tracking import OpenAward, Tracked
from transforms.platform.requests import new_request
from transforms.statuses import AwardStatus

BADGE = "653de334b3cda7078c7c68eb"
DAY = datetime(2017, 5, 1, 16, tzinfo=UTC)


def tracked(
    name: str,
    *customer_ids: int,
    day: datetime = DAY,
    after: Tracked | None = None,
    is_canary: bool = False,
) -> Tracked:
    """Return a planned request; `after` is the one it was reserved to follow."""
    awards = [(f"{name}-{customer_id}", customer_id) for customer_id in customer_ids]
    request = new_request(
        awards,
        badge="regular",
        badge_meta_id=BADGE,
        reference_id="retro",
        earn_event_date=day,
        date_text=day.isoformat(),
        is_canary=is_canary,
    )
    if after is not None:
        object.__setattr__(request, "after_request_id", after.request.request_id)
    return Tracked(
        request=request,
        held={
            customer_id: OpenAward(award_id, customer_id, 1, AwardStatus.PLANNED)
            for award_id, customer_id in awards
        },
    )


def test_requests_that_share_a_customer_and_date_wait_for_each_other() -> None:
    """The second goes when the first, and all that took over from it, is over."""
    first, second = tracked("a", 1, 2), tracked("b", 2, 3)
    queues = Queues([first, second], [], {BADGE: frozenset({2})})

    assert not queues.parks(first)
    assert queues.parks(second)
    first.family.live = 0
    assert queues.freed(first.family) == [second]
    assert not queues.parks(second)


@pytest.mark.parametrize(
    ("second", "doubles"),
    [
        (tracked("b", 3), {3}),
        (tracked("b", 2, day=DAY.replace(day=2)), {2}),
        (tracked("b", 2), set()),
    ],
    ids=["nobody in common", "another date", "nobody twice"],
)
def test_requests_that_share_nobody_are_free(
    second: Tracked, doubles: set[int]
) -> None:
    """Only a customer with several awards, of one badge and date, keeps them apart."""
    queues = Queues([tracked("a", 1, 2), second], [], {BADGE: frozenset(doubles)})

    assert not queues.parks(second)


def test_what_an_earlier_run_left_open_comes_first() -> None:
    """An earn that is read back may be the earlier request's: it is settled first."""
    earlier, canary = tracked("a", 1), tracked("b", 1, is_canary=True)
    queues = Queues([canary], [earlier], {BADGE: frozenset({1})})

    assert not queues.parks(earlier)
    assert queues.parks(canary)


def test_a_request_may_wait_for_several() -> None:
    """It is freed by the last of those that it shares customers with."""
    one, other, third = tracked("a", 1), tracked("b", 2), tracked("c", 1, 2)
    queues = Queues([one, other, third], [], {BADGE: frozenset({1, 2})})

    assert queues.parks(third)
    one.family.live = 0
    assert [queues.parks(freed) for freed in queues.freed(one.family)] == [True]
    other.family.live = 0
    assert [queues.parks(freed) for freed in queues.freed(other.family)] == [False]


@pytest.mark.parametrize("seed", range(5))
def test_in_turn_nobody_waits_for_one_that_comes_later(seed: int) -> None:
    """However requests are listed, canaries come first, and chains in their order."""
    canary = tracked("canary", 1, is_canary=True)
    chain = [tracked("first", 1, 2)]
    for name in ("second", "third", "fourth"):
        chain.append(tracked(name, 1, 2, after=chain[-1]))
    free = tracked("free", 9)
    planned = [canary, free, *chain]
    random.Random(seed).shuffle(planned)  # noqa: S311  no secret
    ordered = in_turn(planned)

    assert ordered[0] is canary
    assert [one for one in ordered if one in chain] == chain
    queues = Queues(ordered, [], {BADGE: frozenset({1, 2})})
    waiting = [one for one in ordered if queues.parks(one)]
    for over in ordered:
        over.family.live = 0
        for freed in queues.freed(over.family):
            if not queues.parks(freed):
                waiting.remove(freed)
    assert waiting == []


@given(
    asked=st.lists(
        st.tuples(st.sets(st.integers(1, 5), min_size=1), st.integers(1, 2)),
        max_size=8,
    ),
    doubles=st.frozensets(st.integers(1, 5)),
    open_before=st.integers(0, 3),
)
def test_a_request_waits_for_all_before_it_that_share_a_doubled_customer(
    asked: list[tuple[set[int], int]], doubles: frozenset[int], open_before: int
) -> None:
    """And for no other, however many there are and whichever came to its end."""
    requests = [
        tracked(str(number), *customers, day=DAY.replace(day=day))
        for number, (customers, day) in enumerate(asked)
    ]
    unsettled, planned = requests[:open_before], requests[open_before:]
    queues = Queues(planned, unsettled, {BADGE: doubles})

    for number, one in enumerate(planned, len(unsettled)):
        customers, day = asked[number]
        before = [
            earlier
            for earlier, (others, other_day) in zip(
                requests, asked[:number], strict=False
            )
            if day == other_day and customers & others & doubles
        ]
        for earlier in before:
            assert queues.parks(one)
            earlier.family.live = 0
        assert not queues.parks(one)
        for earlier in before:
            earlier.family.live = 1
