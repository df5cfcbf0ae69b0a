"""Starting, stopping and remembering: what the owner of a sandbox can rely on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import pytest
from factories_definition import badge_text, definition
from factories_sandbox import (
    BADGE_ID,
    BADGES,
    EARN_BULK,
    Caller,
    Clock,
    calling,
    code_of,
    logged_in,
    trigger,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sandbox import (
    Badge,
    Claim,
    Expiry,
    Limit,
    Sandbox,
    Switches,
    badges_from_file,
    badges_of,
    serve,
    switches_described,
    switches_from,
)
from flows.sandbox.routes import ENDPOINTS
from transforms.errors import SettingsRefused

FIELDS = st.sampled_from(
    [
        "badgeMetaId",
        "customerIds",
        "customers",
        "customerId",
        "requestId",
        "triggeredBy",
        "ownerType",
        "referenceId",
        "earnEventDate",
        "earnEventDateISO",
        "issueEventDate",
        "earnExpiresOn",
        "earnedBadgeId",
        "key",
    ]
)
RIGHT = {
    "badgeMetaId": BADGE_ID,
    "customerIds": [5],
    "customers": [5],
    "customerId": 5,
    "requestId": "request-1",
    "triggeredBy": trigger(),
    **trigger(),
}
RULE = '{ kind = "activity_count", at_least = 2 }'


@pytest.fixture(scope="module")
def anvil():
    """Give one sandbox to all the requests that hammer on it."""
    with calling() as caller:
        yield caller


# What is remembered ---------------------------------------------------------------


def test_a_sandbox_started_on_its_memory_knows_everything_again(tmp_path):
    """Badges, claims, customers, enrolments, earns, revocations and ids come back."""
    memory = tmp_path / "deep" / "memory.jsonl"
    limits = (Limit(kind="rolling", unit="DAYS", value=7, max_earns=3),)
    expiry = Expiry(kind="relative", unit="WEEKS", value=2)
    with Sandbox.running(memory=memory) as first, logged_in(first) as http:
        first.add_badge(BADGE_ID, "Regular", limits=limits, expiry=expiry, claims=())
        enrolled = first.add_badge(earn_type="ISSUE_EARN").badge_meta_id
        first.add_customer(5, mobile="1", survivor_id=6)
        http.post(f"{BADGES}/badgeMeta/{BADGE_ID}/claim", json=trigger())
        http.post(
            f"{BADGES}/badgeMeta/customer/issueBulk",
            json={
                "badgeMetaId": enrolled,
                "customers": [5],
                "requestId": "issue-1",
                "issueEventDateISO": "2017-01-01T00:00:00Z",
                "triggeredBy": trigger(),
            },
        )
        caller = Caller(first, http)
        caller.earn(5, 6)
        revoked = first.earns()[0]
        http.post(
            f"{BADGES}/customer/revokeEarn",
            json={
                "badgeMetaId": BADGE_ID,
                "customerId": revoked.customer_id,
                "earnedBadgeId": revoked.earned_badge_id,
            },
        )
        earns, badges = first.earns(), first.badges
        page = http.get("/sandbox/memory").json()
    assert [earn.is_active for earn in earns] == [False, True]
    with Sandbox.running(memory=memory) as second, logged_in(second) as http:
        assert second.earns() == earns
        assert second.badges == badges
        assert second.badges[0].claims == (Claim(reference_id="retro"),)
        assert second.request_ids == ["issue-1", "request-1"]
        assert http.get("/sandbox/memory").json() == page
        caller = Caller(second, http)
        assert code_of(caller.earn(5)) == (400, 809)
        assert caller.earn(7, request_id="2").status_code == 200
        assert caller.earn(5, request_id="3", badgeMetaId=enrolled).status_code == 200
        assert len({earn.earned_badge_id for earn in second.earns()}) == 4
        query = {"identifierName": "mobile", "identifierValue": "1"}
        assert http.get("/v2/customers/lookup", params=query).json()["entity"] == 6


def test_a_line_that_was_being_written_when_it_was_killed_is_cut_off(tmp_path):
    """A torn last line belongs to a call that was never answered."""
    memory = tmp_path / "memory.jsonl"
    with Sandbox.running(memory=memory) as first:
        first.add_badge(BADGE_ID)
    whole = memory.read_bytes()
    memory.write_bytes(whole + b'{"what":"badge","badge":{"badge_me')
    with Sandbox.running(memory=memory) as second:
        assert [badge.badge_meta_id for badge in second.badges] == [BADGE_ID]
        second.add_customer(5)
    assert memory.read_bytes().startswith(whole + b'{"what":"customer"')


def test_earns_are_in_the_memory_before_they_are_answered(tmp_path):
    """Once a call is answered its earns stand in the file, whatever happens next."""
    memory = tmp_path / "memory.jsonl"
    with Sandbox.running(memory=memory) as sandbox, logged_in(sandbox) as http:
        sandbox.add_badge(BADGE_ID)
        Caller(sandbox, http).earn(5)
        (earn,) = sandbox.earns()
        lines = [orjson.loads(line) for line in memory.read_bytes().splitlines()]
    written = [line for line in lines if line["what"] == "earns"]
    assert [line["batch"][2] for line in written] == [[earn.earned_badge_id]]


def test_two_sandboxes_never_share_a_memory(tmp_path):
    """The second one is refused by name, and the first goes on."""
    memory = tmp_path / "memory.jsonl"
    with Sandbox.running(memory=memory) as first:
        with (
            pytest.raises(SettingsRefused) as refused,
            Sandbox.running(memory=memory),
        ):
            pass
        first.add_badge(BADGE_ID)
    assert refused.value.faults[0].code == "memory_in_use"
    assert refused.value.faults[0].file == str(memory)


def test_without_a_file_a_sandbox_forgets(tmp_path):
    """Nothing is written anywhere unless a memory is named."""
    with Sandbox.running() as sandbox:
        sandbox.add_badge(BADGE_ID)
    assert list(tmp_path.iterdir()) == []
    with Sandbox.running() as sandbox:
        assert sandbox.badges == []


# What can be asked of it ----------------------------------------------------------


def test_earns_can_be_picked_by_badge_and_customer():
    """earns() narrows down to a badge, a customer or both."""
    with calling() as caller:
        other = caller.sandbox.add_badge(name="Other").badge_meta_id
        caller.earn(5, 6)
        caller.earn(5, request_id="request-2", badgeMetaId=other)
        earns = caller.sandbox.earns
        assert [len(earns()), len(earns(BADGE_ID)), len(earns(customer_id=5))] == [
            3,
            2,
            2,
        ]
        (earn,) = earns(other, 5)
    assert earn.request_id == "request-2"


def test_every_call_is_listed_with_what_it_asked_and_what_came_of_it():
    """A refused and a dropped call are listed with their request ids too."""
    clock = Clock()
    with calling(clock=clock) as caller:
        caller.earn(5, 6)
        caller.earn(5)
        caller.sandbox.fault("drop_before")
        with pytest.raises(httpx.RemoteProtocolError):
            caller.earn(7, request_id="request-2")
        caller.read(5)
        caller.http.get(f"{BADGES}/nothing")
        calls = caller.sandbox.calls
    assert [
        (call.endpoint, call.status, call.request_id, call.customer_ids, call.fault)
        for call in calls
    ] == [
        ("earnBulk", 200, "request-1", (5, 6), None),
        ("earnBulk", 400, "request-1", (5,), None),
        ("earnBulk", None, "request-2", (7,), "drop_before"),
        ("customerBadge", 200, None, (5,), None),
        ("unknown", 404, None, (), None),
    ]
    assert (calls[0].method, calls[0].path, calls[0].at) == (
        "POST",
        EARN_BULK,
        clock.at,
    )


def test_memory_and_calls_can_be_read_over_http():
    """The sandbox's own pages show both; they are no calls of the platform."""
    with calling() as caller:
        caller.earn(5)
        memory = caller.http.get("/sandbox/memory").json()
        calls = caller.http.get("/sandbox/calls").json()
        missing = caller.http.get("/sandbox/nothing")
        assert len(caller.sandbox.calls) == 1
    assert memory["earns"][0]["customer_id"] == 5
    assert memory["earns"][0]["earn_event_date"] == "2017-03-04T17:00:00Z"
    assert memory["badges"][0]["badge_meta_id"] == BADGE_ID
    assert memory["request_ids"] == ["request-1"]
    assert calls[0]["endpoint"] == "earnBulk"
    assert calls[0]["customer_ids"] == [5]
    assert missing.status_code == 404


def test_faults_can_be_scripted_over_http():
    """POST adds one or several, DELETE clears them, a wrong one is told."""
    with calling() as caller:
        one = caller.http.post("/sandbox/faults", json={"kind": "html"})
        several = caller.http.post(
            "/sandbox/faults", json=[{"kind": "html"}, {"kind": "internal"}]
        )
        wrong = caller.http.post("/sandbox/faults", json={"kind": "explode"})
        broken = caller.http.post("/sandbox/faults", content=b"{")
        assert caller.earn(5).status_code == 502
        cleared = caller.http.delete("/sandbox/faults")
        assert caller.earn(5).status_code == 200
    assert (one.json(), several.json()) == ({"added": 1}, {"added": 2})
    assert (wrong.status_code, broken.status_code) == (400, 400)
    assert cleared.status_code == 200


def test_seeding_leaves_known_badges_as_they_are():
    """A badge that the memory has keeps its claims; new ones are added."""
    with Sandbox.running() as sandbox:
        sandbox.add_badge(BADGE_ID, "Regular")
        sandbox.seed(
            [
                Badge(badge_meta_id=BADGE_ID, name="Changed"),
                Badge(badge_meta_id="f" * 24, name="New"),
            ]
        )
        assert [badge.name for badge in sandbox.badges] == ["Regular", "New"]


def test_many_clients_at_once_are_all_served():
    """Calls on many connections are worked one after the other and none is lost."""
    with calling() as caller, ThreadPoolExecutor(8) as pool:

        def send(number: int) -> int:
            return caller.earn(
                *range(number * 100, number * 100 + 50), request_id=str(number)
            ).status_code

        assert set(pool.map(send, range(64))) == {200}
        assert len(caller.sandbox.earns()) == 64 * 50
        assert len(caller.sandbox.request_ids) == 64


# Starting and stopping ------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])  # noqa: S104
def test_a_sandbox_listens_on_loopback_only(host):
    """Any other address is refused before anything is opened."""
    with pytest.raises(SettingsRefused) as refused, Sandbox.running(host=host):
        pass
    assert refused.value.faults[0].code == "not_loopback"
    with pytest.raises(SettingsRefused):
        serve(host=host)


def test_localhost_is_loopback():
    """The name stands for 127.0.0.1."""
    with Sandbox.running(host="localhost") as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_an_error_of_the_system():
    """Starting on a used port fails at once and leaves nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="address already in use"):
            Sandbox.running(port=port).__enter__()


def test_a_port_can_be_named_and_used_again():
    """A sandbox started again on its port has the same address."""
    with Sandbox.running() as first:
        port = int(first.base_url.rpartition(":")[2])
    with Sandbox.running(port=port) as second:
        assert second.base_url == first.base_url
        assert httpx.get(second.base_url, trust_env=False).status_code == 200


def test_a_defect_of_the_sandbox_fails_the_test_that_met_it():
    """An error inside the sandbox ends the call and is raised at the end."""

    def broken() -> datetime:
        raise ZeroDivisionError

    def meets_it() -> None:
        with (
            Sandbox.running(clock=broken) as sandbox,
            logged_in(sandbox) as http,
            contextlib.suppress(httpx.HTTPError),
        ):
            http.get(f"{BADGES}/badgeMeta")

    with pytest.raises(ZeroDivisionError):
        meets_it()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(
    path=st.sampled_from([one.path.pattern for one in ENDPOINTS]),
    method=st.sampled_from(["POST", "PUT", "GET"]),
    right=st.booleans(),
    body=st.dictionaries(FIELDS, JSON, max_size=5) | JSON,
)
def test_no_request_makes_the_sandbox_fail(anvil, path, method, right, body):
    """Whatever is sent is answered in JSON; a defect would end the connection."""
    sent = {**RIGHT, **body} if right and isinstance(body, dict) else body
    url = re.sub(r"\(\?P<badge>.*?\)", BADGE_ID, path)
    url = re.sub(r"\(\?P<customer>.*?\)", "5", url).removesuffix("/?")
    answer = anvil.http.request(method, url, content=json.dumps(sent))
    assert answer.status_code in {200, 400, 401, 404, 405, 409}
    answer.json()


def test_what_is_no_http_is_hung_up_on():
    """Bytes that are no request close the connection and nothing else."""
    with calling() as caller:
        host, port = caller.sandbox.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(b"\x16\x03\x01 this is no request\r\n\r\n")
            assert raw.recv(100) == b""
        assert caller.earn(5).status_code == 200


def test_two_requests_may_come_in_one_piece():
    """A client that sends ahead is answered in order."""
    with calling() as caller:
        host, port = caller.sandbox.base_url.removeprefix("http://").split(":")
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(request + last)
            received = b"".join(iter(lambda: raw.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 2


def test_the_foreground_sandbox_says_what_it_is_and_stops_on_ctrl_c(tmp_path):
    """Serve announces address and login, serves, and ends well on an interrupt."""
    memory = tmp_path / "memory.jsonl"
    program = (
        "import sys; from pathlib import Path; "
        "from flows.sandbox import Badge, Switches, serve; "
        f"serve(switches=Switches(response_shape='new'), memory=Path({str(memory)!r}), "
        f"badges=[Badge(badge_meta_id={BADGE_ID!r}, name='Regular')])"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    told = [process.stdout.readline() for _ in range(5)]
    values = dict(line.strip().split("=", 1) for line in told if "=" in line)
    answer = httpx.get(
        values["CAPILLARY_BASE_URL"] + "/sandbox/memory", trust_env=False
    )
    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=10)
    assert "SANDBOX" in told[0]
    assert "not the platform" in told[0]
    assert answer.json()["badges"][0]["name"] == "Regular"
    assert "stopped" in rest
    assert (process.returncode, errors) == (0, "")
    assert BADGE_ID in memory.read_text()


# What an operator writes down -----------------------------------------------------


def test_switches_are_read_from_texts():
    """Numbers, truths, none, choices and sets are read as their switches want them."""
    assert switches_from([]) == Switches()
    assert switches_from(
        [
            "response_shape=new",
            "shuffles=false",
            "max_customers=20",
            "ids_forgotten_after_seconds = none",
            "retry_after=none",
            "forbidden=earn,claim",
        ]
    ) == Switches(
        response_shape="new",
        shuffles=False,
        max_customers=20,
        forbidden=frozenset({"earn", "claim"}),
    )


def test_every_wrong_switch_is_named_with_what_to_do():
    """All faults come at once; a near name is suggested."""
    with pytest.raises(SettingsRefused) as refused:
        switches_from(["response_shap=new", "shuffles", "max_customers=many"])
    first, second, third = refused.value.faults
    assert "response_shape" in first.message
    assert second.code == "switch_unknown"
    assert (third.code, third.column) == ("switch_value", "max_customers")


def test_every_switch_is_described_with_its_default():
    """The list that a help page prints holds each switch once."""
    described = switches_described()
    assert {name for name, _, _ in described} == set(Switches.model_fields)
    assert ("response_shape", "old") in {
        (name, default) for name, default, _ in described
    }
    assert all(meaning and "\n" not in meaning for _, _, meaning in described)


def test_badges_are_read_from_a_file(tmp_path):
    """Objects have the keys of a badge; reference_id stands for a claim."""
    path = tmp_path / "badges.json"
    path.write_bytes(
        orjson.dumps(
            [
                {"badge_meta_id": BADGE_ID, "name": "Regular", "reference_id": "r"},
                {
                    "badge_meta_id": "f" * 24,
                    "name": "Expiring",
                    "starts_at": "2017-01-01T00:00:00+05:30",
                    "expiry": {"kind": "relative", "unit": "WEEKS", "value": 2},
                    "limits": [{"of": "badge", "kind": "total", "max_earns": 9}],
                },
            ]
        )
    )
    first, second = badges_from_file(path)
    assert first.claims == (Claim(reference_id="r"),)
    assert (first.numeric_id, second.numeric_id) == (1, 2)
    assert second.starts_at == datetime(2016, 12, 31, 18, 30, tzinfo=UTC)
    assert second.limits == (Limit(of="badge", max_earns=9),)


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        (None, "badges_file", None),
        (b"{", "badges_file", None),
        (b"{}", "badges_file", None),
        (b'[{"badge_meta_id":"x"}]', "badge_value", "name"),
        (b'[{"badge_meta_id":"x","name":"y","colour":1}]', "badge_value", "colour"),
        (
            b'[{"badge_meta_id":"x","name":"y","starts_at":"2017-01-01T00:00:00"}]',
            "badge_value",
            "starts_at",
        ),
    ],
)
def test_a_wrong_file_of_badges_is_named(tmp_path, text, code, column):
    """File, place and reason are told; a time without an offset is a fault."""
    path = tmp_path / "badges.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SettingsRefused) as refused:
        badges_from_file(path)
    fault = refused.value.faults[0]
    assert (fault.code, fault.file, fault.column) == (code, str(path), column)


def test_a_definition_gives_its_badges():
    """One badge per id, claimed for each of its references, ready to be awarded."""
    text = badge_text(RULE) + badge_text(RULE, name="again", more='series = "2018"')
    other = badge_text(RULE, name="other").replace(BADGE_ID, "f" * 24)
    text += other.replace("retro-2017", "retro-2018")
    badges = badges_of(definition(badges=text), expiry=Expiry(kind="with_badge"))
    assert [(badge.badge_meta_id, badge.name) for badge in badges] == [
        (BADGE_ID, "regular"),
        ("f" * 24, "other"),
    ]
    assert badges[0].claims == (Claim(reference_id="retro-2017"),)
    assert badges[1].claims == (Claim(reference_id="retro-2018"),)
    assert badges[1].expiry.kind == "with_badge"
    with Sandbox.running() as sandbox, logged_in(sandbox) as http:
        sandbox.seed(badges)
        answer = Caller(sandbox, http).earn(
            5, triggeredBy=trigger("Historical_Import", "retro-2017")
        )
    assert answer.status_code == 200
