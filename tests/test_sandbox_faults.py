"""Every kind of fault over the sandbox's socket: what was committed, what came back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import get_args

import httpx
import pytest
from factories_sandbox import (
    BADGE_ID,
    BADGES,
    NOW,
    Clock,
    calling,
    code_of,
    errors_of,
    listed,
    logged_in,
)
from pydantic import ValidationError

from flows.sandbox import Fault, random_faults
from flows.sandbox.faults import EFFECTS, Kind

TEN = tuple(range(1, 11))


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait, two seconds at most, for something that a fault does later."""
    until = time.monotonic() + 2
    while not is_so():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.005)


def test_every_kind_has_its_effect():
    """No kind can be scripted without a way to carry it out."""
    assert set(EFFECTS) == set(get_args(Kind))


# The connection -------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("kind", "earned"),
    [
        ("drop_before", []),
        ("crash", []),
        ("drop_after", list(TEN)),
        ("part_drop", [1, 2, 3, 4, 5]),
    ],
)
def test_a_dropped_call_commits_what_its_kind_says(kind, earned, reset):
    """Nothing is answered; all, a part or nothing is committed."""
    with calling() as caller:
        caller.sandbox.fault(kind, reset=reset)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            caller.earn(*TEN)
        assert caller.earned() == earned
        (call,) = caller.sandbox.calls
        assert (call.status, call.fault) == (None, kind)


@pytest.mark.parametrize(
    ("kind", "registered_at", "again"),
    [
        ("drop_before", "start", 200),
        ("drop_before", "end", 200),
        ("crash", "start", 400),
        ("crash", "end", 200),
        ("drop_after", "start", 400),
        ("drop_after", "end", 400),
        ("part_drop", "start", 400),
        ("part_drop", "end", 200),
    ],
)
def test_the_id_of_a_dropped_call_is_used_up_or_not(kind, registered_at, again):
    """A request that never arrived leaves no trace; a crash leaves what it had done."""
    with calling(ids_registered_at=registered_at) as caller:
        caller.sandbox.fault(kind)
        with pytest.raises(httpx.RemoteProtocolError):
            caller.earn(*TEN)
        assert caller.earn(*TEN).status_code == again


def test_a_connection_can_be_hung_up_before_anything_is_read():
    """hang_up closes a connection as soon as it is accepted; the next one works."""
    with calling() as caller:
        caller.sandbox.fault("hang_up")
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            caller.earn(5)
        assert caller.sandbox.calls == []
        assert caller.earn(5).status_code == 200


def test_connections_are_refused_from_a_call_on():
    """Refuse answers its call, on a connection that it ends, and lets nobody in."""
    with calling() as caller:
        caller.sandbox.fault("refuse", seconds=60)
        answer = caller.earn(5)
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        with pytest.raises(httpx.ConnectError):
            caller.earn(6, request_id="request-2")
        assert caller.earned() == [5]


def test_refused_connections_are_accepted_again_after_a_while():
    """Once its seconds are over everybody gets in, at the same address."""
    with calling() as caller:
        caller.sandbox.fault("refuse", seconds=0.05)
        caller.earn(5)

        def connects() -> bool:
            try:
                return caller.http.get("/").status_code == 200
            except httpx.ConnectError:
                return False

        eventually(connects)


def test_connections_can_be_refused_at_will():
    """Inside refusing_connections nobody gets through, after it everybody does."""
    with calling() as caller:
        caller.earn(5)
        with caller.sandbox.refusing_connections(), pytest.raises(httpx.ConnectError):
            caller.earn(6, request_id="request-2")
        assert caller.earn(6, request_id="request-2").status_code == 200


@pytest.mark.parametrize("reset", [False, True])
def test_a_body_can_break_off(reset):
    """cut_body commits all and sends half of the body that it announced."""
    with calling() as caller:
        caller.sandbox.fault("cut_body", reset=reset)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            caller.earn(*TEN)
        assert caller.earned() == list(TEN)
        assert caller.earn(*TEN).status_code == 400


# Time -----------------------------------------------------------------------------


def test_a_slow_answer_was_committed_at_once():
    """Slow commits, and answers only after the client has given up."""
    with calling(timeout=0.02) as caller:
        caller.sandbox.fault("slow", seconds=0.2)
        with pytest.raises(httpx.ReadTimeout):
            caller.earn(5)
        assert caller.earned() == [5]


def test_a_late_call_is_committed_after_the_client_has_gone():
    """Late commits long after the client's timeout, with nobody listening."""
    with calling(timeout=0.02) as caller:
        caller.sandbox.fault("late", seconds=0.2)
        with pytest.raises(httpx.ReadTimeout):
            caller.earn(5)
        assert caller.earned() == []
        eventually(lambda: caller.earned() == [5])


def test_a_late_call_is_answered_if_the_client_waits():
    """A patient client gets the whole answer."""
    with calling() as caller:
        caller.sandbox.fault("late", seconds=0.05)
        assert listed(caller.earn(5)) == [5]


@pytest.mark.parametrize(
    ("registered_at", "again", "earned"), [("start", 400, [5]), ("end", 200, [5, 5])]
)
def test_a_resend_races_a_call_that_still_runs(registered_at, again, earned):
    """An id that counts from the end lets a resend through while the first runs."""
    with calling(timeout=0.02, ids_registered_at=registered_at) as caller:
        caller.sandbox.fault("late", seconds=0.2)
        with pytest.raises(httpx.ReadTimeout):
            caller.earn(5)
        with logged_in(caller.sandbox) as patient:
            caller.http = patient
            assert caller.earn(5).status_code == again
        eventually(lambda: caller.earned() == earned)


def test_a_sandbox_stops_while_calls_still_wait():
    """What was to be committed late is not, once the sandbox has stopped."""
    with calling(timeout=0.02) as caller:
        caller.sandbox.fault("late", seconds=60)
        with pytest.raises(httpx.ReadTimeout):
            caller.earn(5)
    assert caller.earned() == []


# Replies that are the fault's own -------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "too_many"}, 429),
        ({"kind": "html"}, 502),
        ({"kind": "html", "status": 504}, 504),
        ({"kind": "html", "status": 503}, 503),
        ({"kind": "html", "status": 520}, 520),
        ({"kind": "html", "status": 302}, 302),
        ({"kind": "too_large"}, 413),
    ],
)
def test_pages_of_proxies_come_in_the_place_of_an_answer(fault, status):
    """HTML with a status, and the same request goes through afterwards."""
    with calling() as caller:
        caller.sandbox.fault(Fault(**fault))
        answer = caller.earn(5)
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith("text/html")
        assert caller.earned() == []
        assert caller.earn(5).status_code == 200


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        ({"kind": "unavailable"}, (503, 4001)),
        ({"kind": "internal"}, (500, 999999)),
        ({"kind": "refusal"}, (409, 810)),
        ({"kind": "refusal", "status": 403, "code": 4000}, (403, 4000)),
        ({"kind": "used_id"}, (400, 809)),
        ({"kind": "too_large", "code": 1060}, (400, 1060)),
        ({"kind": "token_expired"}, (401, 401)),
    ],
)
def test_envelopes_refuse_a_request_that_was_right(fault, refusal):
    """The code is the fault's, nothing is issued, and the next call is well."""
    with calling() as caller:
        caller.sandbox.fault(Fault(**fault))
        assert code_of(caller.earn(5)) == refusal
        assert caller.earned() == []
        assert caller.earn(5).status_code == 200


@pytest.mark.parametrize(
    ("commit", "earned", "again"), [(True, [5], 400), (False, [], 200)]
)
@pytest.mark.parametrize("kind", ["html", "internal", "used_id"])
def test_such_a_reply_may_come_after_the_commit(kind, commit, earned, again):
    """With commit the earns are there, whatever the answer says."""
    with calling() as caller:
        caller.sandbox.fault(kind, commit=commit)
        assert caller.earn(5).status_code >= 400
        assert caller.earned() == earned
        assert caller.earn(5).status_code == again


@pytest.mark.parametrize(("burns", "again"), [(False, 200), (True, 400)])
def test_a_failed_call_may_use_up_its_id_without_issuing(burns, again):
    """After a 500 nothing is there, and yet the id may be refused: the worst case."""
    with calling(failed_calls_burn_id=burns) as caller:
        caller.sandbox.fault("internal")
        assert code_of(caller.earn(5)) == (500, 999999)
        assert caller.earned() == []
        assert caller.earn(5).status_code == again


@pytest.mark.parametrize(("burns", "again"), [(False, 200), (True, 400)])
def test_a_part_of_the_customers_may_be_committed_before_a_500(burns, again):
    """Part commits the first customers and fails; resending may issue them again."""
    with calling(failed_calls_burn_id=burns) as caller:
        caller.sandbox.fault("part", share=0.3)
        assert code_of(caller.earn(*TEN)) == (500, 999999)
        assert caller.earned() == [1, 2, 3]
        assert caller.earn(*TEN).status_code == again


@pytest.mark.parametrize("how", ["none", "seconds", "date"])
def test_a_429_says_how_long_to_wait_or_not(how):
    """Retry-After is missing, a number of seconds or a date."""
    with calling(clock=Clock()) as caller:
        caller.sandbox.fault("too_many", retry_after=how, retry_after_seconds=7)
        given = caller.earn(5).headers.get("Retry-After")
    if how == "none":
        assert given is None
    if how == "seconds":
        assert given == "7"
    if how == "date":
        assert (parsedate_to_datetime(given) - NOW).total_seconds() == 7


def test_an_expired_token_stays_expired():
    """token_expired makes the token worthless; a new one is good."""
    with calling() as caller:
        login = {
            "key": caller.sandbox.client_key,
            "secret": caller.sandbox.client_secret,
        }

        def new_token() -> dict[str, str]:
            answer = caller.http.post("/v3/oauth/token/generate", json=login)
            return {"X-CAP-API-OAUTH-TOKEN": answer.json()["data"]["accessToken"]}

        caller.http.auth = None
        caller.http.headers.update(new_token())
        caller.sandbox.fault("token_expired")
        assert [caller.earn(5).status_code for _ in range(2)] == [401, 401]
        caller.http.headers.update(new_token())
        assert caller.earn(5).status_code == 200


# Answers that are not quite right -------------------------------------------------


@pytest.mark.parametrize("shape", ["old", "new"])
@pytest.mark.parametrize(
    "kind",
    [
        "bad_json",
        "errors_only",
        "empty",
        "missing",
        "doubled",
        "in_both",
        "stranger",
        "error_with_id",
        "no_id",
        "counters",
        "odd_fields",
        "wrong_echo",
    ],
)
def test_an_odd_answer_comes_after_a_whole_commit(kind, shape):
    """Whatever the answer looks like, everything asked for is committed."""
    with calling(response_shape=shape) as caller:
        caller.sandbox.fault(kind)
        answer = caller.earn(*TEN)
        assert answer.status_code == 200
        assert caller.earned() == list(TEN)
        assert code_of(caller.earn(*TEN)) == (400, 809)


def test_json_can_break_off_in_a_whole_body():
    """bad_json is HTTP 200 with its right length and half a document."""
    with calling() as caller:
        caller.sandbox.fault("bad_json")
        answer = caller.earn(*TEN)
        assert answer.headers["Content-Type"] == "application/json"
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()


def test_errors_can_come_with_http_200():
    """errors_only has no data and an error in the envelope."""
    with calling() as caller:
        caller.sandbox.fault("errors_only", code=810)
        assert code_of(caller.earn(5)) == (200, 810)


def test_nobody_may_be_listed():
    """Empty answers with empty lists in either shape."""
    with calling(response_shape="new") as caller:
        caller.sandbox.fault("empty")
        data = caller.earn(*TEN).json()["data"]
    assert data["earnedBadgesList"] == data["failedEarnBadgeErrorList"] == []


def test_customers_may_be_missing():
    """Missing leaves out those it names, or its share of the call."""
    with calling() as caller:
        caller.sandbox.fault("missing", customers=(2, 4))
        assert sorted(listed(caller.earn(*TEN))) == [1, 3, 5, 6, 7, 8, 9, 10]
        caller.sandbox.fault("missing", share=0.3)
        assert len(listed(caller.earn(*TEN, request_id="request-2"))) == 7


def test_customers_may_be_listed_twice():
    """Doubled repeats whole elements."""
    with calling() as caller:
        caller.sandbox.fault("doubled", customers=(2,))
        assert listed(caller.earn(*TEN)).count(2) == 2


def test_customers_may_be_earned_and_failed_at_once():
    """in_both lists them well and with an error, in either shape."""
    with calling() as caller:
        caller.sandbox.fault("in_both", customers=(2,))
        rows = caller.earn(1, 2).json()["data"]["issuedBadges"]
    assert [("error" in row) for row in rows if row["customerId"] == 2] == [False, True]
    with calling(response_shape="new") as caller:
        caller.sandbox.fault("in_both", customers=(2,), code=4711)
        data = caller.earn(1, 2).json()["data"]
    assert 2 in {row["customerId"] for row in data["earnedBadgesList"]}
    assert data["failedEarnBadgeErrorList"][0]["error"]["code"] == 4711


def test_a_stranger_may_be_listed():
    """Stranger lists somebody who was not asked for."""
    with calling() as caller:
        caller.sandbox.fault("stranger")
        assert set(listed(caller.earn(1, 2))) - {1, 2} == {999_999_999_999}


def test_an_id_may_stand_beside_an_error_although_the_earn_is_there():
    """error_with_id and no_id change elements of customers who did earn."""
    with calling() as caller:
        caller.sandbox.fault("error_with_id", customers=(2,), code=1040)
        assert errors_of(caller.earn(1, 2)) == {1: None, 2: 1040}
        caller.sandbox.fault("no_id", customers=(2,))
        rows = caller.earn(1, 2, request_id="request-2").json()["data"]["issuedBadges"]
    assert {row["customerId"]: row["issuedId"] is None for row in rows} == {
        1: False,
        2: True,
    }


def test_counters_may_disagree_with_the_lists():
    """Counters says more than there is."""
    with calling(response_shape="new") as caller:
        caller.sandbox.fault("counters")
        data = caller.earn(1, 2).json()["data"]
    assert (data["totalCount"], len(data["earnedBadgesList"])) == (9, 2)


def test_unknown_fields_may_be_anywhere():
    """odd_fields adds fields to the envelope, to data and to every element."""
    with calling() as caller:
        caller.sandbox.fault("odd_fields")
        payload = caller.earn(1).json()
    assert "traceId" in payload
    assert "campaign" in payload["data"]
    assert "loyaltyTier" in payload["data"]["issuedBadges"][0]


def test_an_answer_may_speak_of_another_request():
    """wrong_echo repeats another badge and request id."""
    with calling() as caller:
        caller.sandbox.fault("wrong_echo")
        data = caller.earn(1).json()["data"]
    assert data["badgeMetaId"] != BADGE_ID
    assert data["requestId"] != "request-1"


@pytest.mark.parametrize("shape", ["old", "new"])
@pytest.mark.parametrize(
    ("kind", "code"), [("customer_error", 1040), ("unknown_code", 7777)]
)
def test_some_customers_may_be_refused(kind, code, shape):
    """They get the code, earn nothing, and all the others earn."""
    with calling(response_shape=shape) as caller:
        caller.sandbox.fault(kind, customers=(2, 3))
        answer = caller.earn(*TEN)
        assert caller.earned() == [1, 4, 5, 6, 7, 8, 9, 10]
    assert answer.text.count(f'"code":{code}') == 2


# The script -----------------------------------------------------------------------


def test_a_fault_strikes_the_calls_it_is_meant_for():
    """Nth and times count the calls of its endpoint and badge alone."""
    with calling() as caller:
        other = caller.sandbox.add_badge(name="Other").badge_meta_id
        caller.sandbox.fault("html", nth=2, times=2, badge_meta_id=BADGE_ID)
        statuses = []
        for number, badge in enumerate((BADGE_ID, other, BADGE_ID, other, BADGE_ID)):
            caller.read(5)
            answer = caller.earn(5, request_id=str(number), badgeMetaId=badge)
            statuses.append(answer.status_code)
        last = caller.earn(5, request_id="last")
    assert statuses == [200, 200, 502, 200, 502]
    assert last.status_code == 200


def test_a_fault_may_strike_any_endpoint_for_ever():
    """On any and times None strike until the faults are cleared."""
    with calling() as caller:
        caller.sandbox.fault("html", on="any", times=None, status=503)
        for _ in range(3):
            assert caller.http.get(f"{BADGES}/badgeMeta").status_code == 503
        assert caller.earn(5).status_code == 503
        caller.sandbox.clear_faults()
        assert caller.earn(5).status_code == 200


def test_a_fault_may_strike_reads():
    """A read can fail like any other call."""
    with calling() as caller:
        caller.sandbox.fault("drop_before", on="customerBadge")
        assert caller.earn(5).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            caller.read(5)
        assert caller.read(5)["earnDetails"]["earnCount"] == 1


def test_chance_is_the_same_for_the_same_seed():
    """A probable fault strikes the same calls in every run of a seed."""

    def struck(seed: int) -> list[bool]:
        with calling(seed=seed) as caller:
            caller.sandbox.fault("html", times=None, probability=0.5)
            answers = [caller.earn(5, request_id=str(n)) for n in range(20)]
        return [answer.status_code == 502 for answer in answers]

    first = struck(1)
    assert struck(1) == first
    assert struck(2) != first
    assert 3 < sum(first) < 17


def test_the_first_fault_added_strikes_where_two_would():
    """Faults take turns in the order they were added."""
    with calling() as caller:
        caller.sandbox.fault("html", status=502)
        caller.sandbox.fault("html", status=504)
        statuses = [caller.earn(5).status_code for _ in range(3)]
    assert statuses == [502, 504, 200]


def test_a_fault_with_a_wrong_name_is_refused():
    """Kinds, endpoints and fields that do not exist are errors at once."""
    with pytest.raises(ValidationError):
        Fault("explode")
    with pytest.raises(ValidationError):
        Fault("html", on="earnBulks")
    with pytest.raises((ValidationError, TypeError)):
        Fault("html", colour="red")


def test_random_faults_are_the_same_for_the_same_seed():
    """A sequence is given by its seed and leaves out what refuses for good."""
    assert random_faults(7, count=30) == random_faults(7, count=30)
    assert random_faults(7, count=30) != random_faults(8, count=30)
    kinds = {
        fault.kind for seed in range(30) for fault in random_faults(seed, count=20)
    }
    assert kinds == set(get_args(Kind)) - {"refusal", "used_id", "customer_error"}
    only = random_faults(1, count=9, kinds=["slow"], seconds=0.01)
    assert {(fault.kind, fault.seconds) for fault in only} == {("slow", 0.01)}


@pytest.mark.parametrize("seed", range(8))
def test_the_sandbox_survives_any_random_sequence(seed):
    """Whatever strikes, the sandbox stays up and answers the next plain call."""
    with calling(timeout=1) as caller:
        for fault in random_faults(seed, count=12, calls=12, seconds=0.01):
            caller.sandbox.fault(fault)
        for number in range(14):
            try:
                caller.earn(*TEN, request_id=str(number))
            except httpx.HTTPError:
                continue
        caller.sandbox.clear_faults()

        def answers() -> bool:
            try:
                return caller.http.get("/").status_code == 200
            except httpx.HTTPError:
                return False

        eventually(answers)
        assert len(caller.sandbox.calls) <= 14
