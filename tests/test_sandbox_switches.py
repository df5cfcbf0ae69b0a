"""Every switch of the sandbox, over its socket: what it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from factories_sandbox import (
    BADGE_ID,
    BADGES,
    EARNED_ON,
    NOW,
    Clock,
    calling,
    code_of,
    errors_of,
    listed,
    trigger,
)
from pydantic import ValidationError

from flows.sandbox import Claim, Limit, Switches

LIMITED = {"limits": (Limit(),)}
EARNED_AT = datetime.fromisoformat(EARNED_ON).astimezone(UTC)


def test_every_switch_has_a_description_and_no_other_name_is_taken():
    """A switch without its meaning in words would be a guess nobody can see."""
    assert all(field.description for field in Switches.model_fields.values())
    with pytest.raises(ValidationError):
        Switches(response_shap="new")
    with pytest.raises(ValidationError):
        Switches(server_zone="Mars/Olympus")


# The answer of earnBulk -----------------------------------------------------------


def test_the_new_shape_has_lists_and_counts():
    """earnedBadgesList, failedEarnBadgeErrorList and counts; no request id."""
    with calling(response_shape="new", badge=LIMITED) as caller:
        caller.earn(5)
        data = caller.earn(5, 6, 7, request_id="request-2").json()["data"]
    assert {row["customerId"] for row in data["earnedBadgesList"]} == {6, 7}
    assert set(data["earnedBadgesList"][0]) == {"customerId", "earnedBadgeId"}
    assert data["failedEarnBadgeErrorList"][0]["customerId"] == 5
    assert data["failedEarnBadgeErrorList"][0]["code"] == 1041
    counts = (data["totalCount"], data["earnedCount"], data["failedCount"])
    assert counts == (3, 2, 1)
    assert "requestId" not in data
    assert data["expiresOnISO"].endswith("Z")


def test_the_new_shape_may_repeat_the_request_id():
    """new_shape_has_request_id puts it into the new shape."""
    with calling(response_shape="new", new_shape_has_request_id=True) as caller:
        assert caller.earn(5).json()["data"]["requestId"] == "request-1"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("flat", {"customerId", "code", "message"}),
        ("prefixed", {"customerId", "errorCode", "errorMessage"}),
        ("nested", {"customerId", "error"}),
    ],
)
def test_failed_elements_of_the_new_shape_have_three_forms(shape, expected):
    """failed_element names the keys of a failed customer."""
    with calling(response_shape="new", failed_element=shape, badge=LIMITED) as caller:
        data = caller.earn(5, 5).json()["data"]
    assert set(data["failedEarnBadgeErrorList"][0]) == expected


@pytest.mark.parametrize("is_beside", [True, False])
def test_an_id_may_stand_beside_an_error(is_beside):
    """The old shape's failed element has an id, which means nothing, or null."""
    with calling(id_beside_error=is_beside, badge=LIMITED) as caller:
        caller.earn(5)
        row = caller.earn(5, request_id="request-2").json()["data"]["issuedBadges"][0]
        (earn,) = caller.sandbox.earns()
    assert row["error"]["code"] == 1041
    assert row["issuedId"] == (earn.earned_badge_id if is_beside else None)


def test_good_elements_may_carry_a_null_error():
    """null_error_beside_id adds `error: null` to customers that are well."""
    with calling(null_error_beside_id=True) as caller:
        row = caller.earn(5).json()["data"]["issuedBadges"][0]
    assert row["error"] is None


def test_a_partly_failed_call_may_have_another_status():
    """partial_status is the HTTP status as soon as one customer failed."""
    with calling(partial_status=207, badge=LIMITED) as caller:
        assert caller.earn(5).status_code == 200
        assert caller.earn(5, 6, request_id="request-2").status_code == 207


def test_customers_may_keep_their_order():
    """Without shuffles the answer has the order that was sent."""
    with calling(shuffles=False) as caller:
        assert listed(caller.earn(9, 3, 7)) == [9, 3, 7]


@pytest.mark.parametrize(
    ("empty_as", "good", "refused"),
    [("documented", [], None), ("list", [], []), ("null", None, None)],
)
def test_no_errors_and_no_warnings_may_be_null_or_a_list(empty_as, good, refused):
    """empty_as decides between [] and null."""
    with calling(empty_as=empty_as) as caller:
        first, second = caller.earn(5).json(), caller.earn(5).json()
    assert first["errors"] == first["warnings"] == good
    assert second["warnings"] == refused


def test_iso_texts_are_in_the_servers_zone():
    """server_zone is the zone of every ISO twin, whatever offset was sent."""
    with calling(server_zone="Asia/Kolkata") as caller:
        caller.earn(5)
        earn = caller.read(5)["earnDetails"]["earns"][0]
    assert earn["earnEventDateISO"] == "2017-03-04T22:30:00+05:30"


def test_seeds_change_ids_and_order():
    """Two seeds give two orders and two kinds of ids."""
    found = []
    for seed in (1, 2):
        with calling(seed=seed, clock=Clock()) as caller:
            order = listed(caller.earn(*range(20)))
            found.append((order, caller.sandbox.earns()[0].earned_badge_id))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]


# Request ids ----------------------------------------------------------------------


@pytest.mark.parametrize(("burns", "expected"), [(False, 200), (True, 400)])
@pytest.mark.parametrize("registered_at", ["start", "end"])
def test_a_refused_call_may_use_up_its_id(burns, expected, registered_at):
    """failed_calls_burn_id decides whether the id can be used after a refusal."""
    with calling(failed_calls_burn_id=burns, ids_registered_at=registered_at) as caller:
        assert code_of(caller.earn(5, triggeredBy=trigger("Loyalty"))) == (400, 714)
        assert caller.earn(5).status_code == expected


def test_an_id_may_be_forgotten_after_a_time():
    """ids_forgotten_after_seconds lets an old id through, which issues again."""
    clock = Clock()
    with calling(clock=clock, ids_forgotten_after_seconds=60) as caller:
        caller.earn(5)
        clock.move(59)
        assert code_of(caller.earn(5)) == (400, 809)
        clock.move(2)
        assert caller.earn(5).status_code == 200
        assert caller.earned() == [5, 5]


@pytest.mark.parametrize(
    ("scope", "other_badge", "other_endpoint"),
    [("organisation", 400, 400), ("badge", 200, 400), ("endpoint", 400, 200)],
)
def test_an_id_is_unique_within_its_scope(scope, other_badge, other_endpoint):
    """request_id_scope says where the same id counts as a repeat."""
    with calling(request_id_scope=scope) as caller:
        other = caller.sandbox.add_badge(name="Other")
        caller.earn(5)
        assert (
            caller.earn(5, badgeMetaId=other.badge_meta_id).status_code == other_badge
        )
        single = {
            "badgeMetaId": BADGE_ID,
            "customerId": 5,
            "requestId": "request-1",
            "triggeredBy": trigger(),
        }
        answer = caller.http.post(f"{BADGES}/customer/earn", json=single)
        assert answer.status_code == other_endpoint


# Dates and windows ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("iso_first", EARNED_AT),
        ("legacy_only", datetime(2016, 1, 1, tzinfo=UTC)),
        ("ignored", NOW),
    ],
)
def test_another_date_field_may_be_read_or_none(read, expected):
    """earn_date_read decides which date the earn gets."""
    with calling(clock=Clock(), earn_date_read=read) as caller:
        caller.earn(5, earnEventDate="2016-01-01T00:00:00Z")
        (earn,) = caller.sandbox.earns()
    assert earn.earn_event_date == expected


def test_no_future_date_may_be_allowed():
    """future_allowed_seconds moves the line of code 750."""
    with calling(clock=Clock(), future_allowed_seconds=0) as caller:
        assert code_of(caller.earn(5, date="2026-11-23T10:00:01Z")) == (400, 750)


@pytest.mark.parametrize(
    ("switch", "date"),
    [
        ("window_start_inclusive", "2000-01-01T00:00:00Z"),
        ("window_end_inclusive", "2018-01-01T00:00:00Z"),
    ],
)
def test_the_windows_edges_may_be_outside(switch, date):
    """Either edge can be made exclusive."""
    badge = {"expires_at": datetime(2018, 1, 1, tzinfo=UTC)}
    with calling(badge=badge, **{switch: False}) as caller:
        assert code_of(caller.earn(5, date=date)) == (400, 816)


# Refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "changes", "refusal"),
    [
        ({"unknown_badge_code": 1054}, {"badgeMetaId": "f" * 24}, (400, 1054)),
        (
            {"out_of_window_code": 750, "out_of_window_status": 422},
            {"earnEventDateISO": "1999-01-01T00:00:00Z"},
            (422, 750),
        ),
        ({"max_customers": 2}, {"customerIds": [1, 2, 3]}, (400, 1060)),
        (
            {"max_customers": 2, "too_large": "413"},
            {"customerIds": [1, 2, 3]},
            (413, 413),
        ),
        ({"max_body_bytes": 100}, {}, (400, 1060)),
        ({"forbidden": frozenset({"earnBulk"})}, {}, (403, 4000)),
        ({"basic_allowed": False}, {}, (401, 401)),
    ],
)
def test_a_request_may_be_refused_in_other_ways(switches, changes, refusal):
    """Codes, statuses and sizes follow the switches; nothing is issued."""
    with calling(**switches) as caller:
        assert code_of(caller.earn(5, **changes)) == refusal
        assert caller.earned() == []


def test_as_many_customers_as_allowed_are_taken():
    """max_customers is the largest number that passes."""
    with calling(max_customers=2) as caller:
        assert caller.earn(1, 2).status_code == 200


def test_what_is_not_forbidden_stays_open():
    """An access group without earnBulk can still read."""
    with calling(forbidden="earnBulk") as caller:
        assert caller.http.get(f"{BADGES}/badgeMeta").status_code == 200


@pytest.mark.parametrize(
    ("switches", "badge"),
    [
        ({"not_live_status": 400}, {"is_active": False}),
        (
            {"not_live_status": 400, "expired_badge_refused": True},
            {"expires_at": datetime(2018, 1, 1, tzinfo=UTC)},
        ),
    ],
)
def test_a_badge_that_is_not_live_may_be_refused_otherwise(switches, badge):
    """not_live_status goes with 815; expired badges can count as not live."""
    with calling(badge=badge, **switches) as caller:
        assert code_of(caller.earn(5)) == (400, 815)


def test_a_missing_enrolment_may_fail_its_customer_alone():
    """not_enrolled_refuses customer turns 811 into that customer's error."""
    badge = {"earn_type": "ISSUE_EARN"}
    with calling(badge=badge, not_enrolled_refuses="customer") as caller:
        body = {
            "badgeMetaId": BADGE_ID,
            "customers": [5],
            "requestId": "issue-1",
            "issueEventDateISO": "2017-01-01T00:00:00Z",
            "triggeredBy": trigger(),
        }
        caller.http.post(f"{BADGES}/badgeMeta/customer/issueBulk", json=body)
        assert errors_of(caller.earn(5, 6)) == {5: None, 6: 811}
        assert caller.earned() == [5]


def test_a_limit_may_have_another_code_or_refuse_the_request():
    """limit_code, limit_refuses and limit_status decide what a limit looks like."""
    with calling(badge=LIMITED, limit_code=8888) as caller:
        assert set(errors_of(caller.earn(5, 5)).values()) >= {8888}
    with calling(
        badge=LIMITED, limit_code=8888, limit_refuses="request", limit_status=422
    ) as caller:
        assert code_of(caller.earn(5, 5)) == (422, 8888)
        assert caller.earned() == []


@pytest.mark.parametrize(
    ("refused", "same", "other"),
    [("never", None, None), ("same_date", 1040, None), ("any_date", 1040, 1040)],
)
def test_a_second_earn_may_be_refused(refused, same, other):
    """second_earn_refused gives 1040 for the same date, or for any."""
    with calling(second_earn_refused=refused) as caller:
        caller.earn(5)
        second = caller.earn(5, request_id="a")
        third = caller.earn(5, request_id="b", date="2018-01-01T00:00:00Z")
    assert errors_of(second) == {5: same}
    assert errors_of(third) == {5: other}


def test_a_second_enrolment_may_give_the_earlier_id():
    """second_issue earlier_id answers an overlap without an error."""
    path = f"{BADGES}/badgeMeta/customer/issueBulk"
    body = {
        "badgeMetaId": BADGE_ID,
        "customers": [5],
        "requestId": "issue-1",
        "triggeredBy": trigger(),
    }
    with calling(second_issue="earlier_id") as caller:
        rows = [
            caller.http.post(path, json={**body, "requestId": request_id}).json()
            for request_id in ("issue-1", "issue-2")
        ]
    first, second = (row["data"]["issuedBadges"][0] for row in rows)
    assert first == second


def test_customers_may_be_unknown():
    """customers_known added leaves only those that were added, with a code."""
    with calling(customers_known="added", unknown_customer_code=9999) as caller:
        caller.sandbox.add_customer(5)
        assert errors_of(caller.earn(5, 6)) == {5: None, 6: 9999}
        assert code_of(caller.http.get(f"{BADGES}/customer/6")) == (404, 1026)


@pytest.mark.parametrize(
    ("merged", "answered", "earned"),
    [
        ("issued", {6: None}, [6]),
        ("refused", {6: 8070}, []),
        ("survivor", {5: None}, [5]),
    ],
)
def test_a_merged_customer_may_be_treated_in_three_ways(merged, answered, earned):
    """merged_customer: as sent, refused by a code, or the survivor's."""
    with calling(merged_customer=merged, merged_customer_code=8070) as caller:
        caller.sandbox.add_customer(5)
        caller.sandbox.add_customer(6, survivor_id=5)
        assert errors_of(caller.earn(6)) == answered
        assert caller.earned() == earned


# Logins and pace ------------------------------------------------------------------


def test_the_short_token_header_may_be_accepted():
    """One page's header name logs in only if it is switched on."""
    statuses = []
    for is_on in (False, True):
        with calling(short_token_header=is_on) as caller:
            login = {
                "key": caller.sandbox.client_key,
                "secret": caller.sandbox.client_secret,
            }
            token = caller.http.post("/v3/oauth/token/generate", json=login).json()
            caller.http.auth = None
            header = {"CAP-API-ACCESS-TOKEN": token["data"]["accessToken"]}
            answer = caller.http.get(f"{BADGES}/badgeMeta", headers=header)
            statuses.append(answer.status_code)
    assert statuses == [401, 200]


@pytest.mark.parametrize("how", ["none", "seconds", "date"])
def test_too_many_calls_in_a_minute_get_429(how):
    """The limit holds over any 60 s; Retry-After says what it is told to."""
    clock = Clock()
    with calling(clock=clock, rate_limit_per_minute=2, retry_after=how) as caller:
        assert caller.earn(1, request_id="1").status_code == 200
        clock.move(20)
        assert caller.earn(2, request_id="2").status_code == 200
        third = caller.earn(3, request_id="3")
        assert third.status_code == 429
        clock.move(41)
        assert caller.earn(3, request_id="3").status_code == 200
        assert caller.earn(4, request_id="4").status_code == 429
        assert caller.earned() == [1, 2, 3]
    given = third.headers.get("Retry-After")
    if how == "none":
        assert given is None
    if how == "seconds":
        assert given == "40"
    if how == "date":
        assert parsedate_to_datetime(given) == NOW + timedelta(seconds=60)


def test_every_call_may_take_its_time():
    """latency_seconds is added to every answer."""
    with calling(latency_seconds=0.1) as caller:
        assert caller.earn(5).elapsed >= timedelta(seconds=0.1)


# Reading back ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "count", "shown"),
    [
        ({"earns_listed": "all"}, 3, 3),
        ({"earns_listed": "newest"}, 3, 1),
        ({"earns_listed": "newest", "earns_newest": 2}, 3, 2),
        ({"earns_listed": "empty"}, 3, 0),
        ({"earns_listed": "absent"}, 3, None),
        ({"earns_expire_at_once": True}, 3, 3),
        ({"earns_expire_at_once": True, "earns_counted": "active"}, 0, 0),
    ],
)
def test_reads_may_list_and_count_less(switches, count, shown):
    """What `earns` holds and what is counted follow the switches."""
    with calling(**switches) as caller:
        for number in range(3):
            caller.earn(5, request_id=str(number))
        details = caller.read(5)["earnDetails"]
    assert details["earnCount"] == count
    listed_earns = details.get("earns")
    assert (None if listed_earns is None else len(listed_earns)) == shown


def test_an_earn_that_expires_at_once_is_answered_as_expired():
    """The customer is listed well, with the status EXPIRED, and is not active."""
    with calling(earns_expire_at_once=True) as caller:
        row = caller.earn(5).json()["data"]["issuedBadges"][0]
        data = caller.read(5)
    assert (row["status"], "error" in row) == ("EXPIRED", False)
    assert data["activeEarnedCount"] == 0


@pytest.mark.parametrize("key", ["earnedBadgeId", "earnId", "issuedId", "id"])
def test_the_id_of_a_listed_earn_has_one_of_four_names(key):
    """earn_id_key names it."""
    with calling(earn_id_key=key) as caller:
        caller.earn(5)
        (shown,) = caller.read(5)["earnDetails"]["earns"]
        (earn,) = caller.sandbox.earns()
    assert shown[key] == earn.earned_badge_id


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            "twin",
            {
                "earnEventDate": EARNED_AT.timestamp(),
                "earnEventDateISO": "2017-03-04T17:00:00Z",
            },
        ),
        ("text", {"earnEventDate": "2017-03-04T17:00:00Z"}),
        ("seconds", {"earnEventDate": EARNED_AT.timestamp()}),
        ("none", {}),
    ],
)
def test_the_date_of_a_listed_earn_has_one_of_four_forms(how, expected):
    """earn_date_as gives number and text, one of them, or nothing."""
    with calling(earn_date_as=how) as caller:
        caller.earn(5)
        (shown,) = caller.read(5)["earnDetails"]["earns"]
    dates = {key: value for key, value in shown.items() if "EventDate" in key}
    assert dates == expected


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({"dates_read_back": "day"}, "2017-03-04T00:00:00Z"),
        (
            {"dates_read_back": "day", "server_zone": "Asia/Kolkata"},
            "2017-03-04T00:00:00+05:30",
        ),
        ({"dates_shifted_seconds": 19800}, "2017-03-04T22:30:00Z"),
    ],
)
def test_dates_may_be_read_back_wrong(switches, expected):
    """A date can be cut to its day or moved by an offset, in every read."""
    with calling(**switches) as caller:
        caller.earn(5)
        (shown,) = caller.read(5)["earnDetails"]["earns"]
        answer = caller.http.get(
            f"{BADGES}/customer/5", params={"badgeType": "EARNED"}
        ).json()
        (kept,) = caller.sandbox.earns()
    assert shown["earnEventDateISO"] == expected
    assert answer["data"]["badges"][0]["lastEarnEventDateISO"] == expected
    assert kept.earn_event_date == EARNED_AT


def test_reads_may_lag_behind():
    """For so many seconds no read shows a new earn."""
    clock = Clock()
    with calling(clock=clock, reads_lag_seconds=30) as caller:
        caller.earn(5)
        meta = f"{BADGES}/badgeMeta/{BADGE_ID}?includeStatistics=true"

        def counts() -> tuple[int, int, int]:
            earned = caller.http.get(
                f"{BADGES}/customer/5", params={"badgeType": "EARNED"}
            ).json()
            return (
                caller.read(5)["earnDetails"]["earnCount"],
                len(earned["data"]["badges"]),
                caller.http.get(meta).json()["data"]["earnedCount"],
            )

        clock.move(29)
        assert counts() == (0, 0, 0)
        clock.move(1)
        assert counts() == (1, 1, 1)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("newest_event", "2018-01-01T00:00:00Z"),
        ("newest_posted", "2016-01-01T00:00:00Z"),
    ],
)
def test_the_last_earn_is_the_latest_or_the_one_posted_last(last, expected):
    """last_earn_is decides whose date a list of badges shows."""
    clock = Clock()
    with calling(clock=clock, last_earn_is=last) as caller:
        for date in ("2018-01-01T00:00:00Z", "2016-01-01T00:00:00Z"):
            caller.earn(5, date=date, request_id=date)
            clock.move(1)
        answer = caller.http.get(
            f"{BADGES}/management/5", params={"badgeType": "EARNED"}
        ).json()
    assert answer["data"]["customerBadges"][0]["lastEarnEventDateISO"] == expected


def test_a_list_may_be_bare_and_its_pagination_beside_it():
    """list_container and pagination_inside change the container of both lists."""

    def earned(caller: Any) -> dict[str, Any]:
        path = f"{BADGES}/customer/5"
        answer = caller.http.get(path, params={"badgeType": "EARNED"})
        payload: dict[str, Any] = answer.json()
        return payload

    with calling(list_container="list") as caller:
        caller.earn(5)
        bare = earned(caller)
    with calling(pagination_inside=False) as caller:
        caller.earn(5)
        beside = earned(caller)
    assert bare["data"][0]["badgeMetaId"] == BADGE_ID
    assert bare["pagination"]["total"] == 1
    assert set(beside["data"]) == {"badges"}
    assert beside["pagination"]["total"] == 1


def test_a_badge_may_have_several_owners_and_claims():
    """Each pair of owner and reference earns on its own claim."""
    claims = (Claim(reference_id="a"), Claim(owner_type="Loyalty", reference_id="b"))
    badge = {"owners": ("Historical_Import", "Loyalty"), "claims": claims}
    with calling(badge=badge) as caller:
        pairs = [
            ("Historical_Import", "a", 200),
            ("Loyalty", "b", 200),
            ("Loyalty", "a", 409),
        ]
        for owner_type, reference_id, status in pairs:
            answer = caller.earn(
                5,
                request_id=f"{owner_type} {reference_id}",
                triggeredBy=trigger(owner_type, reference_id),
            )
            assert answer.status_code == status
