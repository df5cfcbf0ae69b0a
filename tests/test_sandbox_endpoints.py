"""Every endpoint of the sandbox over its socket, the switches at their defaults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from factories_sandbox import (
    BADGE_ID,
    BADGES,
    EARN_BULK,
    NOW,
    Clock,
    calling,
    code_of,
    errors_of,
    listed,
    logged_in,
    trigger,
)

from flows.sandbox import Claim, Expiry, Limit, Sandbox

# earnBulk -------------------------------------------------------------------------


def test_earn_bulk_lists_every_customer_and_commits_an_earn_for_each():
    """A good request is answered in the reference page's shape and remembered."""
    with calling(clock=Clock()) as caller:
        answer = caller.earn(5, 6, "7")
        payload = answer.json()
        earns = caller.sandbox.earns()
    assert answer.status_code == 200
    assert payload["errors"] == payload["warnings"] == []
    assert payload["data"]["badgeMetaId"] == BADGE_ID
    assert payload["data"]["requestId"] == "request-1"
    assert payload["data"]["triggeredBy"] == trigger()
    assert sorted(listed(answer)) == [5, 6, 7]
    assert {earn.customer_id for earn in earns} == {5, 6, 7}
    assert {earn.earn_event_date for earn in earns} == {
        datetime(2017, 3, 4, 17, tzinfo=UTC)
    }
    by_answer = {
        row["customerId"]: row["issuedId"] for row in payload["data"]["issuedBadges"]
    }
    assert by_answer == {earn.customer_id: earn.earned_badge_id for earn in earns}


def test_ids_open_with_the_second_they_were_made():
    """The first eight hex digits of an earned badge id are its creation time."""
    with calling(clock=Clock()) as caller:
        caller.earn(5)
        (earn,) = caller.sandbox.earns()
    assert len(earn.earned_badge_id) == 24
    assert int(earn.earned_badge_id[:8], 16) == int(NOW.timestamp())


def test_every_answer_says_that_it_is_a_sandbox():
    """Headers, request id and front page tell a sandbox from the platform."""
    with calling() as caller:
        first, second = caller.earn(5), caller.earn(6, request_id="request-2")
        page = caller.http.get("/")
    for answer in (first, second, page):
        assert answer.headers["X-Retrobadge-Sandbox"] == "true"
        assert answer.headers["Server"] == "retrobadge-sandbox"
    assert first.headers["X-CAP-REQUEST-ID"] != second.headers["X-CAP-REQUEST-ID"]
    assert "not the platform" in page.text


def test_customers_come_back_in_another_order():
    """The order of customers is shuffled, the same way for the same seed."""
    orders = []
    for _ in range(2):
        with calling(seed=3) as caller:
            orders.append(listed(caller.earn(*range(1, 21))))
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert sorted(orders[0]) == list(range(1, 21))


def test_expires_on_is_a_number_of_seconds_with_nine_decimals():
    """The instant of expiry is written as the platform writes it."""
    clock = Clock()
    clock.move(0.25)
    expiry = Expiry(kind="relative", unit="WEEKS", value=2)
    with calling(clock=clock, badge={"expiry": expiry}) as caller:
        text = caller.earn(5).text
    expected = (clock.at + timedelta(weeks=2)).timestamp()
    assert f'"expiresOn":{int(expected)}.250000000,' in text


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        (Expiry(), datetime(2126, 11, 23, 10, tzinfo=UTC)),
        (
            Expiry(kind="relative", unit="MONTHS", value=3),
            datetime(2027, 2, 23, 10, tzinfo=UTC),
        ),
        (Expiry(kind="with_badge"), datetime(2100, 1, 1, tzinfo=UTC)),
        (
            Expiry(kind="fixed_date", expires_at=datetime(2019, 1, 1, tzinfo=UTC)),
            datetime(2019, 1, 1, tzinfo=UTC),
        ),
    ],
)
def test_expiry_counts_from_the_processing_not_from_the_earn_date(expiry, expected):
    """Each kind of expiry gives its own instant, whatever the earn date."""
    with calling(clock=Clock(), badge={"expiry": expiry}) as caller:
        caller.earn(5)
        (earn,) = caller.sandbox.earns()
    assert earn.expires_on == expected


def test_an_expired_earn_is_listed_as_such_and_is_no_failure():
    """The status of a customer is no sign of success or failure."""
    expiry = Expiry(kind="fixed_date", expires_at=datetime(2019, 1, 1, tzinfo=UTC))
    with calling(badge={"expiry": expiry}) as caller:
        row = caller.earn(5).json()["data"]["issuedBadges"][0]
    assert row["status"] == "EXPIRED"
    assert "error" not in row


def test_the_same_request_id_is_refused_and_issues_nothing():
    """A repeated request id gets 809, not the first answer."""
    with calling() as caller:
        caller.earn(5)
        again = caller.earn(5)
        assert code_of(again) == (400, 809)
        assert caller.earned() == [5]
        assert caller.sandbox.request_ids == ["request-1"]


def test_another_request_id_earns_the_same_badge_and_date_again():
    """Nothing stops a second earn of one customer, badge and date."""
    with calling() as caller:
        caller.earn(5)
        caller.earn(5, request_id="request-2")
        assert caller.earned() == [5, 5]


def test_one_customer_twice_in_a_call_earns_twice():
    """The platform promises no deduplication inside a call either."""
    with calling() as caller:
        assert listed(caller.earn(5, 5)) == [5, 5]
        assert caller.earned() == [5, 5]


def test_ids_and_request_ids_may_be_numbers_or_texts():
    """Typing is lenient: answers give customers as numbers, request ids as texts."""
    with calling() as caller:
        answer = caller.earn("5", 6, request_id=1234)
    assert sorted(listed(answer)) == [5, 6]
    assert answer.json()["data"]["requestId"] == "1234"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"badgeMetaId": "0" * 24}, (404, 404)),
        ({"badgeMetaId": ""}, (400, 400)),
        ({"customerIds": []}, (400, 812)),
        ({"customerIds": None}, (400, 812)),
        ({"customerIds": ["x"]}, (400, 400)),
        ({"customerIds": [1.5]}, (400, 400)),
        ({"requestId": None}, (400, 804)),
        ({"requestId": " "}, (400, 804)),
        ({"triggeredBy": None}, (400, 716)),
        ({"triggeredBy": {"referenceId": "retro"}}, (400, 716)),
        ({"triggeredBy": {"ownerType": "Historical_Import"}}, (400, 717)),
        ({"triggeredBy": trigger("HISTORICAL_IMPORT")}, (400, 400)),
        ({"triggeredBy": trigger("Loyalty")}, (400, 714)),
        ({"triggeredBy": trigger(reference_id="another")}, (409, 810)),
        ({"earnEventDateISO": "yesterday"}, (400, 400)),
        ({"earnEventDateISO": "1999-12-31T23:59:59Z"}, (400, 816)),
        ({"earnEventDateISO": "2026-11-24T10:00:01Z"}, (400, 750)),
        ({"earnEventDateISO": 1488646800000}, (400, 750)),
    ],
)
def test_a_request_that_is_not_right_is_refused_as_a_whole(changes, refusal):
    """Each fault of a request has its code, and nothing is issued."""
    with calling(clock=Clock()) as caller:
        answer = caller.earn(5, **changes)
        assert code_of(answer) == refusal
        assert answer.json()["warnings"] is None
        assert caller.earned() == []


def test_a_wrong_owner_type_is_told_what_is_allowed():
    """Case matters in an owner type, and the refusal names the right ones."""
    with calling() as caller:
        answer = caller.earn(5, triggeredBy=trigger("LOYALTY"))
    assert "Historical_Import" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body):
    """Broken JSON gets HTTP 400 with code 400."""
    with calling() as caller:
        answer = caller.http.post(EARN_BULK, content=body)
    assert code_of(answer) == (400, 400)


@pytest.mark.parametrize(
    ("badge", "refusal"),
    [
        ({"is_active": False}, (409, 815)),
        ({"starts_at": NOW + timedelta(days=1)}, (409, 815)),
        ({"owners": ("Loyalty",)}, (400, 714)),
        ({"claims": ()}, (409, 810)),
        ({"claims": (Claim(reference_id="retro", is_active=False),)}, (409, 810)),
        ({"claims": (Claim(owner_type="Loyalty", reference_id="retro"),)}, (409, 810)),
        ({"earn_type": "ISSUE_EARN"}, (409, 811)),
    ],
)
def test_a_badge_that_cant_be_awarded_refuses_the_request(badge, refusal):
    """Activity, window, owner, claim and enrolment are checked."""
    with calling(clock=Clock(), badge=badge) as caller:
        assert code_of(caller.earn(5)) == refusal
        assert caller.earned() == []


def test_an_expired_badge_can_still_be_awarded_for_its_time():
    """Retro issue of a badge that has ended is no fault."""
    with calling(badge={"expires_at": datetime(2018, 1, 1, tzinfo=UTC)}) as caller:
        assert caller.earn(5).status_code == 200
        late = caller.earn(6, request_id="request-2", date="2018-01-01T00:00:01Z")
        assert code_of(late) == (400, 816)


def test_both_edges_of_the_window_are_inside():
    """An earn date at the very start or the very end is taken."""
    with calling(clock=Clock()) as caller:
        caller.sandbox.add_badge(BADGE_ID, expires_at=datetime(2018, 1, 1, tzinfo=UTC))
        first = caller.earn(5, date="2000-01-01T00:00:00Z", request_id="a")
        last = caller.earn(5, date="2018-01-01T00:00:00Z", request_id="b")
    assert first.status_code == last.status_code == 200


def test_the_iso_date_wins_over_the_legacy_one():
    """EarnEventDate only counts where earnEventDateISO is missing."""
    with calling() as caller:
        caller.earn(1, earnEventDate="2016-01-01T00:00:00Z")
        caller.earn(
            2,
            date=None,
            request_id="request-2",
            earnEventDate="2016-01-01T00:00:00.192Z",
        )
        caller.earn(3, date=1488646800, request_id="request-3")
        dates = [earn.earn_event_date for earn in caller.sandbox.earns()]
    assert dates[0] == dates[2] == datetime(2017, 3, 4, 17, tzinfo=UTC)
    assert dates[1] == datetime(2016, 1, 1, 0, 0, 0, 192000, tzinfo=UTC)


def test_without_a_date_now_is_taken():
    """A request without any date earns at the time of its processing."""
    with calling(clock=Clock()) as caller:
        caller.earn(1, date=None)
        (earn,) = caller.sandbox.earns()
    assert earn.earn_event_date == earn.created_at == NOW


def test_a_date_within_a_day_ahead_is_taken():
    """The newer page allows 24 hours into the future."""
    with calling(clock=Clock()) as caller:
        assert caller.earn(1, date="2026-11-24T09:59:59Z").status_code == 200


@pytest.mark.parametrize(
    ("limit", "dates", "expected"),
    [
        (Limit(max_earns=2), ["2017-01-01", "2018-01-01", "2019-01-01"], 2),
        # Fixed windows count on the earn date, rolling ones on today's.
        (
            Limit(kind="fixed", unit="MONTHS"),
            ["2017-01-05", "2017-01-25", "2017-02-01"],
            2,
        ),
        (
            Limit(kind="fixed", unit="WEEKS"),
            ["2017-01-02", "2017-01-08", "2017-01-09"],
            2,
        ),
        (
            Limit(kind="fixed", unit="DAYS", value=3),
            ["2000-01-01", "2000-01-03", "2000-01-04"],
            2,
        ),
        (
            Limit(kind="rolling", unit="DAYS", value=7),
            ["2017-01-05", "2018-01-25", "2019-02-01"],
            1,
        ),
        (
            Limit(of="badge", kind="rolling", unit="MONTHS", value=1, max_earns=2),
            ["2017-01-05", "2018-01-25", "2019-02-01"],
            2,
        ),
    ],
)
def test_limits_stop_further_earns_of_a_customer(limit, dates, expected):
    """What a limit lets through is earned; the rest fails customer by customer."""
    with calling(badge={"limits": (limit,)}) as caller:
        answers = [caller.earn(5, date=day, request_id=day) for day in dates]
        assert all(answer.status_code == 200 for answer in answers)
        codes = [errors_of(answer)[5] for answer in answers]
        assert codes.count(None) == len(caller.earned()) == expected
        assert set(codes) - {None} == {1041}


def test_a_limit_of_the_badge_counts_inside_a_call_too():
    """Of more customers than a badge's limit allows, only so many earn."""
    with calling(badge={"limits": (Limit(of="badge", max_earns=2),)}) as caller:
        codes = list(errors_of(caller.earn(1, 2, 3, 4)).values())
        assert codes.count(None) == len(caller.earned()) == 2


# The other writing endpoints ------------------------------------------------------


def test_a_single_earn_is_answered_with_number_and_text():
    """`earn` takes texts and numbers either way and has an answer of its own."""
    body = {
        "badgeMetaId": BADGE_ID,
        "customerId": "5",
        "requestId": 77,
        "triggeredBy": trigger(),
        "earnEventDateISO": "2017-03-04T12:00:00-05:00",
    }
    with calling(badge={"limits": (Limit(),)}) as caller:
        first = caller.http.post(f"{BADGES}/customer/earn", json=body)
        repeated = caller.http.post(f"{BADGES}/customer/earn", json=body)
        limited = caller.http.post(
            f"{BADGES}/customer/earn", json={**body, "requestId": 78}
        )
        (earn,) = caller.sandbox.earns()
    data = first.json()["data"]
    assert (data["customerId"], data["requestId"]) == (5, "77")
    assert data["earnedBadgeId"] == earn.earned_badge_id
    assert data["issuedId"] is None
    assert code_of(repeated) == (400, 809)
    assert code_of(limited) == (400, 1041)


def test_enrolled_customers_can_earn_a_badge_that_wants_enrolment():
    """After issueBulk the earn date must lie within the enrolment."""
    path = f"{BADGES}/badgeMeta/customer/issueBulk"
    body = {
        "badgeMetaId": BADGE_ID,
        "customers": [5, 6],
        "requestId": "issue-1",
        "issueEventDate": 1483228800,
        "triggeredBy": trigger(),
    }
    with calling(badge={"earn_type": "ISSUE_EARN"}) as caller:
        issued = caller.http.post(path, json=body)
        assert code_of(caller.http.post(path, json=body)) == (400, 809)
        again = caller.http.post(path, json={**body, "requestId": "issue-2"})
        early = caller.earn(5, date="2016-12-31T00:00:00Z", request_id="early")
        late = caller.earn(5, 6, request_id="late")
        issuals = caller.read(5)["issualDetails"]
    rows = issued.json()["data"]["issuedBadges"]
    assert {row["customerId"]: row["error"] for row in rows} == {5: None, 6: None}
    assert {row["error"]["code"] for row in again.json()["data"]["issuedBadges"]} == {
        1040
    }
    assert code_of(early) == (400, 816)
    assert late.status_code == 200
    assert issuals["issuedCount"] == 1
    assert issuals["issuals"][0]["issueId"] in {row["issuedId"] for row in rows}


def test_an_enrolment_outside_the_badge_is_refused():
    """IssueBulk answers 816 for an event date outside the badge's window."""
    body = {
        "badgeMetaId": BADGE_ID,
        "customers": [5],
        "requestId": "issue-1",
        "issueEventDateISO": "1999-01-01T00:00:00Z",
        "triggeredBy": trigger(),
    }
    with calling(badge={"earn_type": "ISSUE_EARN"}) as caller:
        answer = caller.http.post(f"{BADGES}/badgeMeta/customer/issueBulk", json=body)
    assert code_of(answer) == (400, 816)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_import_keeps_date_and_expiry_and_looks_for_no_doubles(method):
    """Equal rows become two earns, each with the batch's id and its number."""
    row = {
        "badgeMetaId": BADGE_ID,
        "customerId": 382442802,
        "earnEventDate": 1674292011,
        "earnExpiresOn": 1705828011,
    }
    with calling() as caller:
        answer = caller.http.request(
            method,
            f"{BADGES}/import/customerBadges",
            json=[row, row, {**row, "earnExpiresOn": None}],
            headers={"X-CAP-REQUEST-ID": "batch"},
        )
        earns = caller.sandbox.earns()
    first, second, third = answer.json()
    assert first["data"]["requestId"] == "batch_1"
    assert second["data"]["requestId"] == "batch_2"
    assert third["data"] is None
    assert first["data"]["earnedBadgeId"] != second["data"]["earnedBadgeId"]
    assert [earn.expires_on for earn in earns] == [
        datetime(2024, 1, 21, 9, 6, 51, tzinfo=UTC)
    ] * 2
    assert [earn.is_active for earn in earns] == [True, True]


def test_an_import_of_an_unknown_badge_fails_as_a_whole():
    """Code 1054 for a badge that isn't known; a body that is no array gets `{}`."""
    row = {"badgeMetaId": BADGE_ID, "customerId": 5, "earnExpiresOn": 1705828011}
    path = f"{BADGES}/import/customerBadges"
    with calling() as caller:
        unknown = caller.http.post(path, json=[row, {**row, "badgeMetaId": "f" * 24}])
        broken = caller.http.post(path, json={"rows": []})
        assert caller.earned() == []
    assert code_of(unknown) == (400, 1054)
    assert (broken.status_code, broken.json()) == (400, {})


def test_milliseconds_are_taken_for_seconds_and_never_refused():
    """13 digits are read as the year 57906, as the platform does."""
    row = {
        "badgeMetaId": BADGE_ID,
        "customerId": 5,
        "earnEventDate": 1674292011,
        "earnExpiresOn": 1765119600000,
    }
    with calling() as caller:
        answer = caller.http.post(f"{BADGES}/import/customerBadges", json=[row])
        (earn,) = caller.sandbox.earns()
    assert answer.json()[0]["data"]["expiresOnISO"].startswith("+57904-")
    assert earn.expires_on.year == 9999


def test_claim_and_unclaim_open_and_close_a_badge():
    """A claim makes earning possible, claiming again warns, unclaiming ends it."""
    path = f"{BADGES}/badgeMeta/{BADGE_ID}"
    with calling(badge={"claims": ()}) as caller:
        first = caller.http.post(f"{path}/claim", json=trigger())
        again = caller.http.post(f"{path}/claim", json=trigger())
        assert caller.earn(5).status_code == 200
        ended = caller.http.post(f"{path}/unclaim", json=trigger())
        assert code_of(caller.earn(5, request_id="request-2")) == (409, 810)
        gone = caller.http.post(f"{path}/unclaim", json=trigger())
        assert [claim.is_active for claim in caller.sandbox.badges[0].claims] == [False]
    assert first.json()["data"] == {**trigger(), "isActive": True}
    assert first.json()["warnings"] == []
    assert again.status_code == 200
    assert again.json()["warnings"][0]["code"] == 900
    assert ended.json()["data"]["isActive"] is False
    assert code_of(gone) == (400, 737)


@pytest.mark.parametrize(
    ("body", "badge", "refusal"),
    [
        ({"ownerType": "Historical_Import"}, {}, (400, 717)),
        (trigger("loyalty"), {}, (400, 400)),
        (trigger("Loyalty"), {}, (400, 714)),
        (trigger(), {"is_active": False}, (409, 815)),
    ],
)
def test_a_claim_that_is_not_right_is_refused(body, badge, refusal):
    """A claim needs a reference, an allowed owner and an active badge."""
    with calling(badge=badge) as caller:
        answer = caller.http.post(f"{BADGES}/badgeMeta/{BADGE_ID}/claim", json=body)
    assert code_of(answer) == refusal


def test_a_claim_of_an_unknown_badge_is_not_found():
    """Claims of a badge that does not exist are HTTP 404, code 404."""
    with calling() as caller:
        answer = caller.http.post(
            f"{BADGES}/badgeMeta/{'f' * 24}/claim", json=trigger()
        )
    assert code_of(answer) == (404, 404)


def test_an_earn_can_be_taken_back_once():
    """RevokeEarn strikes an earn out; a second time is 814."""
    with calling() as caller:
        caller.earn(5)
        (earn,) = caller.sandbox.earns()
        body = {
            "badgeMetaId": BADGE_ID,
            "customerId": 5,
            "earnedBadgeId": earn.earned_badge_id,
        }
        path = f"{BADGES}/customer/revokeEarn"
        first = caller.http.post(path, json=body)
        second = caller.http.post(path, json=body)
        another = caller.http.post(path, json={**body, "customerId": 6})
        read = caller.read(5)
        (kept,) = caller.sandbox.earns()
    assert first.json()["data"] == {**body, "isActive": False}
    assert code_of(second) == code_of(another) == (409, 814)
    assert read["earnDetails"] == {"earnCount": 0, "earns": []}
    assert not kept.is_active


# Reading --------------------------------------------------------------------------


def test_a_badge_is_read_with_all_that_preflight_needs():
    """BadgeMeta shows window, owners, claims, earn type, expiry and constraints."""
    badge = {
        "expiry": Expiry(kind="relative", unit="WEEKS", value=2),
        "limits": (
            Limit(max_earns=9),
            Limit(kind="rolling", unit="DAYS", value=5, max_earns=50),
            Limit(kind="fixed", unit="DAYS", value=3, max_earns=2),
            Limit(of="badge", kind="rolling", unit="WEEKS", max_earns=300),
        ),
    }
    with calling(badge=badge) as caller:
        caller.earn(5)
        path = f"{BADGES}/badgeMeta/{BADGE_ID}"
        plain = caller.http.get(path).json()["data"]
        counted = caller.http.get(path, params={"includeStatistics": "true"}).json()
    assert plain["id"] == BADGE_ID
    assert plain["name"] == "Regular"
    assert plain["startOn"] == 946684800
    assert plain["startOnISO"] == "2000-01-01T00:00:00Z"
    assert plain["expiresOnISO"] == "2100-01-01T00:00:00Z"
    assert (plain["earnType"], plain["status"], plain["active"]) == (
        "EARN",
        "LIVE",
        True,
    )
    assert plain["ownership"] == {
        "restrictedToOwners": ["Historical_Import"],
        "claims": [{**trigger(), "isActive": True}],
    }
    assert plain["earnedBadgeExpiry"] == {
        "expiryType": "RELATIVE",
        "relativeExpirytype": "WEEKS",
        "value": 2,
    }
    assert plain["issuedBadgeExpiry"] is None
    assert [one["constraintType"] for one in plain["customerConstraints"]] == [
        "CUSTOMER_BADGE_FIXED_VALUE",
        "CUSTOMER_BADGE_ROLLING_WINDOW",
        "CUSTOMER_BADGE_FIXED_WINDOW",
    ]
    assert plain["customerConstraints"][1]["rollForDays"] == 5
    assert plain["badgeConstraints"][0]["rollType"] == "WEEKS"
    assert "earnedCount" not in plain
    assert counted["data"]["earnedCount"] == 1


def test_an_unknown_badge_is_not_found():
    """BadgeMeta of an unknown id is HTTP 404 with code 404."""
    with calling() as caller:
        assert code_of(caller.http.get(f"{BADGES}/badgeMeta/{'f' * 24}")) == (404, 404)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["Regular", "Old", "Asleep"]),
        ({"name": "OLD"}, ["Old"]),
        ({"status": "ENDED"}, ["Old"]),
        ({"status": "LIVE"}, ["Regular", "Asleep"]),
        ({"action": "DE_ACTIVATED"}, ["Asleep"]),
        ({"earnType": "ISSUE_EARN"}, ["Old"]),
        ({"owner": "Loyalty"}, ["Old"]),
        ({"claimedBy": "Historical_Import"}, ["Regular", "Asleep"]),
        ({"unclaimed": "true"}, ["Old"]),
        ({"limit": "1", "page": "1"}, ["Old"]),
    ],
)
def test_the_list_of_badges_can_be_filtered(query, names):
    """BadgeMeta lists ten a page, filtered by what the query says."""
    with calling() as caller:
        caller.sandbox.add_badge(
            name="Old",
            expires_at=datetime(2018, 1, 1, tzinfo=UTC),
            earn_type="ISSUE_EARN",
            owners=("Loyalty",),
            claims=(),
        )
        caller.sandbox.add_badge(name="Asleep", is_active=False)
        answer = caller.http.get(f"{BADGES}/badgeMeta", params=query)
    found = answer.json()["data"]["metaBasicDetails"]
    assert [badge["name"] for badge in found] == names


def test_one_badge_of_a_customer_lists_its_earns_newest_first():
    """`earns` hold id and dates; the counts tell how many there are."""
    with calling() as caller:
        caller.earn(5)
        caller.earn(5, request_id="request-2", date="2018-01-01T00:00:00Z")
        details = caller.read(5)
        none = caller.read(6)
        earns = caller.sandbox.earns()
    assert details["earnDetails"]["earnCount"] == details["activeEarnedCount"] == 2
    shown = [
        (earn["earnedBadgeId"], earn["earnEventDateISO"])
        for earn in details["earnDetails"]["earns"]
    ]
    assert shown == [
        (earns[1].earned_badge_id, "2018-01-01T00:00:00Z"),
        (earns[0].earned_badge_id, "2017-03-04T17:00:00Z"),
    ]
    assert none["earnDetails"] == {"earnCount": 0, "earns": []}


def test_one_badge_that_nobody_knows_is_an_empty_object():
    """The page documents HTTP 400 and `{}` for it."""
    with calling() as caller:
        answer = caller.http.get(f"{BADGES}/management/5/badge/{'f' * 24}")
    assert (answer.status_code, answer.json()) == (400, {})


def test_lists_show_what_is_available_unless_asked_for_earned():
    """The default filters are a trap; last dates and counts come with EARNED."""
    with calling() as caller:
        caller.sandbox.add_badge(name="Another")
        caller.earn(5)
        available = caller.http.get(f"{BADGES}/customer/5").json()["data"]["badges"]
        earned = caller.http.get(
            f"{BADGES}/customer/5", params={"badgeType": "EARNED"}
        ).json()["data"]
        managed = caller.http.get(
            f"{BADGES}/management/5", params={"badgeType": "EARNED"}
        ).json()["data"]["customerBadges"]
        issuable = caller.http.get(f"{BADGES}/management/5").json()["data"]
    assert [badge["name"] for badge in available] == ["Regular", "Another"]
    assert {badge["earnedCount"] for badge in available} == {0}
    assert [badge["name"] for badge in earned["badges"]] == ["Regular"]
    assert earned["badges"][0]["earnedCount"] == 1
    assert earned["badges"][0]["lastEarnEventDateISO"] == "2017-03-04T17:00:00Z"
    assert earned["pagination"] == {"page": 0, "size": 10, "total": 1, "totalPages": 1}
    assert managed[0]["earnCount"] == 1
    assert managed[0]["badgeType"] == "EARN"
    assert len(issuable["customerBadges"]) == 2


def test_an_expired_earn_shows_only_where_expired_ones_are_asked_for():
    """EARNED means active; expired ones want includeExpired, or their own filter."""
    expiry = Expiry(kind="fixed_date", expires_at=datetime(2019, 1, 1, tzinfo=UTC))
    with calling(badge={"expiry": expiry}) as caller:
        caller.earn(5)

        def count(path: str, key: str, **query: str) -> int:
            answer = caller.http.get(f"{BADGES}/{path}", params=query)
            return len(answer.json()["data"][key])

        assert count("customer/5", "badges", badgeType="EARNED") == 0
        everything = {"badgeType": "EARNED", "includeExpired": "true"}
        assert count("customer/5", "badges", **everything) == 1
        assert count("management/5", "customerBadges", badgeType="EARNED") == 0
        assert count("management/5", "customerBadges", badgeType="EXPIRED") == 1


def test_lists_have_pages_of_ten_that_begin_with_nought():
    """The second page has what the first has not."""
    with calling() as caller:
        for number in range(11):
            badge = caller.sandbox.add_badge(name=f"Badge {number}")
            caller.earn(5, badgeMetaId=badge.badge_meta_id, request_id=str(number))
        pages = [
            caller.http.get(
                f"{BADGES}/customer/5", params={"badgeType": "EARNED", "page": page}
            ).json()["data"]
            for page in (0, 1, 2)
        ]
    assert [len(page["badges"]) for page in pages] == [10, 1, 0]
    assert pages[0]["pagination"]["totalPages"] == 2


def test_a_customer_may_be_named_by_another_identifier():
    """The identifier header switches what the path means, on reads and revokeEarn."""
    with calling() as caller:
        caller.sandbox.add_customer(5, email="tom@example.com", mobile="15550001")
        caller.earn(5)
        (earn,) = caller.sandbox.earns()
        by_email = {"X-CAP-CUSTOMER-IDENTIFIER": "email"}
        path = f"{BADGES}/management/tom@example.com/badge/{BADGE_ID}"
        found = caller.http.get(path, headers=by_email)
        unknown = caller.http.get(f"{BADGES}/customer/x@example.com", headers=by_email)
        plain = caller.http.get(f"{BADGES}/customer/x@example.com")
        odd = caller.http.get(
            f"{BADGES}/customer/5", headers={"X-CAP-CUSTOMER-IDENTIFIER": "shoe"}
        )
        revoked = caller.http.post(
            f"{BADGES}/customer/revokeEarn",
            headers={"X-CAP-CUSTOMER-IDENTIFIER": "mobile"},
            json={
                "badgeMetaId": BADGE_ID,
                "customerId": "15550001",
                "earnedBadgeId": earn.earned_badge_id,
            },
        )
    assert found.json()["data"]["earnDetails"]["earnCount"] == 1
    assert code_of(unknown) == code_of(plain) == (404, 1026)
    assert code_of(odd) == (400, 1028)
    assert revoked.json()["data"]["customerId"] == 5


def test_a_lookup_turns_an_identifier_into_an_id():
    """The lookup gives the id, and the survivor of a merged customer with a warning."""

    def lookup(value: str, name: str = "mobile") -> dict[str, object]:
        query = {"source": "INSTORE", "identifierName": name, "identifierValue": value}
        answer = caller.http.get("/v2/customers/lookup", params=query).json()
        problems = [*(answer["warnings"] or []), *answer["errors"]]
        return {
            "entity": answer.get("entity"),
            "codes": [problem["code"] for problem in problems],
        }

    with calling() as caller:
        caller.sandbox.add_customer(5, mobile="1")
        caller.sandbox.add_customer(6, mobile="2", survivor_id=5)
        assert lookup("1") == {"entity": 5, "codes": []}
        assert lookup("2") == {"entity": 5, "codes": [91009]}
        assert lookup("3") == {"entity": None, "codes": [8015]}
        assert lookup("1", "shoe") == {"entity": None, "codes": [1028]}


# Logins ---------------------------------------------------------------------------


def test_a_wrong_password_and_no_login_are_refused():
    """Basic wants the MD5 of the password in the password's place."""
    with Sandbox.running() as sandbox, logged_in(sandbox) as http:
        plain = http.get(
            f"{BADGES}/badgeMeta", auth=(sandbox.username, sandbox.password)
        )
        nobody = http.get(f"{BADGES}/badgeMeta", auth=lambda request: request)
        right = http.get(f"{BADGES}/badgeMeta")
    assert code_of(plain) == code_of(nobody) == (401, 401)
    assert right.status_code == 200


def test_a_token_logs_in_until_its_life_is_over():
    """OAuth gives a new token each time, good for ttlSeconds."""
    clock = Clock()
    with calling(clock=clock, token_ttl_seconds=60) as caller:
        login = {
            "key": caller.sandbox.client_key,
            "secret": caller.sandbox.client_secret,
        }
        tokens = [
            caller.http.post("/v3/oauth/token/generate", json=login).json()["data"]
            for _ in range(2)
        ]
        wrong = caller.http.post(
            "/v3/oauth/token/generate", json={**login, "secret": "x"}
        )
        caller.http.auth = None
        header = {"X-CAP-API-OAUTH-TOKEN": tokens[0]["accessToken"]}
        good = caller.http.get(f"{BADGES}/badgeMeta", headers=header)
        clock.move(60)
        over = caller.http.get(f"{BADGES}/badgeMeta", headers=header)
        odd = caller.http.get(
            f"{BADGES}/badgeMeta", headers={"X-CAP-API-OAUTH-TOKEN": "x"}
        )
    assert tokens[0]["accessToken"] != tokens[1]["accessToken"]
    assert tokens[0]["ttlSeconds"] == 60
    assert good.status_code == 200
    assert code_of(wrong) == code_of(over) == code_of(odd) == (401, 401)


def test_what_is_nowhere_is_said_so():
    """Unknown paths are 404, known ones with another method 405."""
    with calling() as caller:
        assert code_of(caller.http.get(f"{BADGES}/nothing")) == (404, 404)
        assert code_of(caller.http.get(EARN_BULK.replace("earnBulk", ""))) == (404, 404)
        assert code_of(caller.http.put(EARN_BULK, json={})) == (405, 405)
