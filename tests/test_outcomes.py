from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from factories_answers import (
    answer,
    decided,
    earned_id,
    error,
    new_body,
    new_item,
    old_body,
    old_item,
    refusal,
    shown,
)
from hypothesis import given
from hypothesis import strategies as st

from transforms.platform.outcomes import Failure, Result, wait_seconds
from transforms.statuses import AwardStatus, Proof

# What an answer says of customers 1 and 2, and what it decides.
PER_CUSTOMER = {
    "both listed, old shape": (old_body(old_item(1), old_item(2)), "1:issued 2:issued"),
    "both listed, new shape": (new_body(new_item(1), new_item(2)), "1:issued 2:issued"),
    "another order": (old_body(old_item(2), old_item(1)), "1:issued 2:issued"),
    "ids as text": (
        old_body(old_item(1, customerId="1"), old_item(2)),
        "1:issued 2:issued",
    ),
    "expired is no failure": (
        old_body(old_item(1, status="EXPIRED"), old_item(2)),
        "1:issued 2:issued",
    ),
    "an id beside an error means nothing": (
        old_body(old_item(1, error=error(1040)), old_item(2)),
        "1:already_earned 2:issued",
    ),
    "an error without a code waits for a person": (
        old_body(old_item(1, error={"message": "?"}), old_item(2)),
        "1:blocked 2:issued",
    ),
    "an unknown code waits for a person": (
        old_body(old_item(1, error=error(7777)), old_item(2)),
        "1:blocked 2:issued",
    ),
    "failed, new shape": (
        new_body(new_item(2), failed=({"customerId": 1, "errorCode": 1026},)),
        "1:blocked 2:issued",
    ),
    "failed, nested": (
        new_body(new_item(2), failed=({"customerId": 1, "error": error(750)},)),
        "1:failed 2:issued",
    ),
    "missing": (old_body(old_item(2)), "1:unknown 2:issued"),
    "nobody listed": (old_body(), "1:unknown 2:unknown"),
    "listed twice": (
        old_body(old_item(1), old_item(1), old_item(2)),
        "1:unknown 2:issued",
    ),
    "in both lists": (
        new_body(new_item(1), new_item(2), failed=({"customerId": 1, "code": 1040},)),
        "1:unknown 2:issued",
    ),
    "without an id": (
        old_body(old_item(1, issuedId=None), old_item(2)),
        "1:unknown 2:issued",
    ),
    "one id for both": (
        old_body(old_item(1, issuedId="x"), old_item(2, issuedId="x")),
        "1:unknown 2:unknown",
    ),
    "an unknown field": (
        old_body(old_item(1, zzz=1), old_item(2), extra=[1]),
        "1:issued 2:issued",
    ),
}


@pytest.mark.parametrize("case", PER_CUSTOMER)
def test_each_customer_gets_what_the_answer_says_of_it(case: str) -> None:
    """Every customer asked for gets exactly one outcome, whatever the list holds."""
    body, expected = PER_CUSTOMER[case]

    assert shown(decided(answer(body))) == expected


# HTTP status, body, and what the answer as a whole decides.
WHOLE = [
    (409, refusal(810), "1:blocked 2:blocked"),
    (409, refusal(811), "1:blocked 2:blocked"),
    (409, refusal(815), "1:blocked 2:blocked"),
    (403, refusal(4000), "1:blocked 2:blocked"),
    (400, refusal(400), "1:failed 2:failed"),
    (404, refusal(404), "1:failed 2:failed"),
    (400, refusal(1054), "1:failed 2:failed"),
    (400, refusal(750), "1:failed 2:failed"),
    (400, refusal(816), "1:failed 2:failed"),
    (200, refusal(810), "1:blocked 2:blocked"),
    (400, refusal(809), "repeated"),
    (400, refusal(1060), "too_large"),
    (413, b"<html>", "too_large"),
    (413, refusal(413), "too_large"),
    (429, b"", "not_processed"),
    (429, refusal(809), "not_processed"),
    (503, refusal(4001), "not_processed"),
    (503, b"<html>", "ambiguous"),
    (401, refusal(401), "login_refused"),
    (500, refusal(999999), "ambiguous"),
    (500, old_body(old_item(1), old_item(2)), "ambiguous"),
    (502, b"<html>", "ambiguous"),
    (504, b"", "ambiguous"),
    (521, b"<html>", "ambiguous"),
    (302, b"", "ambiguous"),
    (408, refusal(400), "ambiguous"),
    (409, refusal(7777), "ambiguous"),
    (400, refusal(7777), "ambiguous"),
    (200, {"data": None, "errors": [], "warnings": []}, "ambiguous"),
    (200, {"hello": 1}, "ambiguous"),
    (200, b'{"data": {"issuedBad', "ambiguous"),
    (200, old_body(old_item(1), old_item(2), requestId="other"), "ambiguous"),
    (200, old_body(old_item(1), old_item(2), badgeMetaId="other"), "ambiguous"),
]


@pytest.mark.parametrize(("status", "body", "expected"), WHOLE)
def test_an_answer_without_items_decides_by_code_and_status(
    status: int, body: Any, expected: str
) -> None:
    """Only a platform envelope with a known code decides; the rest is ambiguous."""
    assert shown(decided(answer(body, status=status))) == expected


@pytest.mark.parametrize("code", [404, 810, 811, 815, 1054])
def test_a_refusal_of_the_badge_stops_the_badge(code: int) -> None:
    """What is wrong with the badge is wrong for its other requests too."""
    assert decided(answer(refusal(code), status=409)).stops_badge


@pytest.mark.parametrize("code", [400, 714, 716, 717, 750, 804, 812, 816])
def test_a_refusal_of_the_request_leaves_the_badge_going(code: int) -> None:
    """What is wrong with one request says nothing of the others."""
    assert not decided(answer(refusal(code), status=400)).stops_badge


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure.NOT_CONNECTED, Result.NOT_PROCESSED),
        (Failure.TIMED_OUT, Result.AMBIGUOUS),
        (Failure.CUT, Result.AMBIGUOUS),
    ],
)
def test_only_a_missing_connection_surely_did_nothing(
    failure: Failure, expected: Result
) -> None:
    """A call that may have reached the platform is ambiguous."""
    found = decided(answer(b"", status=None, failure=failure))

    assert found.result is expected


def test_1040_of_a_customer_with_another_award_waits_for_a_person() -> None:
    """Where we hold another award of the badge, 1040 does not prove this one."""
    body = old_body(old_item(1, error=error(1040)), old_item(2, error=error(1040)))
    found = decided(answer(body), doubly_awarded=(1,))

    assert shown(found) == "1:blocked 2:already_earned"
    assert [one.proof for one in found.outcomes] == [None, Proof.CODE]


def test_an_issued_customer_keeps_id_status_and_expiry() -> None:
    """What the platform gave is kept: the id for undo, the expiry for people."""
    body = old_body(old_item(1), expiresOn=1717935013.121711)
    (found,) = decided(answer(body), asked=(1,)).outcomes

    assert found.earned_badge_id == earned_id(1)
    assert found.badge_status == "LIVE"
    assert found.proof is Proof.ANSWER
    assert found.expires_on == datetime(2024, 6, 9, 12, 10, 13, 121711, tzinfo=UTC)


def test_odd_answers_raise_alarms_and_change_no_status() -> None:
    """A stranger in the list and wrong counters are shown, and decide nothing."""
    body = new_body(new_item(1), new_item(2), new_item(3), earnedCount=7)
    found = decided(answer(body))

    assert shown(found) == "1:issued 2:issued"
    assert len(found.alarms) == 2


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3.0),
        ("Mon, 05 Jan 2026 12:00:10 GMT", 10.0),
        ("Mon, 05 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    header: str | None, expected: float | None
) -> None:
    """Both forms of Retry-After give the seconds to wait."""
    now = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

    assert wait_seconds(header, now=now) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "errors",
                    "issuedBadges",
                    "customerId",
                    "error",
                    "code",
                    "issuedId",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=JSON, status=st.sampled_from([200, 400, 404, 409, 500, 503]))
def test_whatever_comes_back_decides_without_failing(body: Any, status: int) -> None:
    """No answer breaks the reading, and outcomes are for all customers or none."""
    found = decided(answer(body, status=status))

    assert [one.customer_id for one in found.outcomes] in ([], [1, 2])
    if found.result is Result.ANSWERED:
        total = found.listed_well + found.listed_failed + found.missing
        assert total == 2
    for one in found.outcomes:
        assert (one.earned_badge_id is not None) == (one.status is AwardStatus.ISSUED)


LISTED = st.lists(
    st.fixed_dictionaries(
        {"customerId": st.sampled_from([1, 2, 1, 2, "1", 1.0, True, None, 3])},
        optional={
            "earnedBadgeId": st.sampled_from(["a", "b", "c", "", None, 7]),
            "issuedId": st.sampled_from(["a", "d", None]),
            "status": st.sampled_from(["LIVE", "EXPIRED", "", None, 1]),
        },
    ),
    max_size=3,
)


@given(
    listed=LISTED,
    name=st.sampled_from(["issuedBadges", "earnedBadgesList"]),
    count=st.sampled_from([None, 2, 3]),
)
def test_an_answer_without_oddities_is_read_as_if_it_had_some(
    listed: list[dict[str, Any]], name: str, count: int | None
) -> None:
    """What is read all at once says the same as what is taken apart item by item."""
    data = {name: listed, "totalCount": count, "expiresOn": 1_800_000_000}
    odd = {name: [item | {"note": "odd"} for item in listed]}

    plain = decided(answer({"data": data}))

    assert plain == decided(answer({"data": data | odd}))


def test_most_answers_are_read_all_at_once() -> None:
    """The order of the answer is no matter, that of the request is kept."""
    listed = [new_item(3), new_item(1), new_item(2, status="LIVE")]
    body = new_body(*listed, expiresOnISO="2027-01-01T00:00:00Z")

    found = decided(answer(body), asked=(2, 3, 1))

    assert shown(found) == "2:issued 3:issued 1:issued"
    assert [one.earned_badge_id for one in found.outcomes] == [
        earned_id(customer_id) for customer_id in (2, 3, 1)
    ]
    assert [one.badge_status for one in found.outcomes] == ["LIVE", None, None]
    assert {one.expires_on for one in found.outcomes} == {
        datetime(2027, 1, 1, tzinfo=UTC)
    }
    assert {one.proof for one in found.outcomes} == {Proof.ANSWER}
    assert not found.alarms
