"""Builders for tests that talk to a sandbox over its socket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from flows.sandbox import Sandbox, Switches

BADGES = "/api_gateway/v1/badges"
EARN_BULK = f"{BADGES}/customer/earnBulk"
BADGE_ID = "653de334b3cda7078c7c68eb"
EARNED_ON = "2017-03-04T12:00:00-05:00"
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        """Return the instant it stands at."""
        return self.at

    def move(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.at += timedelta(seconds=seconds)


class Caller:
    """A client that is logged in by Basic, and the sandbox it calls."""

    def __init__(self, sandbox: Sandbox, http: httpx.Client) -> None:
        self.sandbox = sandbox
        self.http = http

    def earn(
        self,
        *customer_ids: Any,
        request_id: str = "request-1",
        date: Any = EARNED_ON,
        **changes: Any,
    ) -> httpx.Response:
        """Call earnBulk with a body that is right but for `changes`."""
        body = {
            "badgeMetaId": BADGE_ID,
            "customerIds": list(customer_ids),
            "requestId": request_id,
            "earnEventDateISO": date,
            "triggeredBy": trigger(),
            **changes,
        }
        return self.http.post(EARN_BULK, json=body)

    def read(self, customer_id: int = 1) -> dict[str, Any]:
        """Return `data` of one badge of one customer."""
        path = f"{BADGES}/management/{customer_id}/badge/{BADGE_ID}"
        answer = self.http.get(path, params={"includeStatistics": "true"})
        found: dict[str, Any] = answer.json()["data"]
        return found

    def earned(self) -> list[int]:
        """Return the customers whose earns were committed, in ascending order."""
        return sorted(earn.customer_id for earn in self.sandbox.earns())


def trigger(owner_type: str = "Historical_Import", reference_id: str = "retro") -> Any:
    """Return the `triggeredBy` of a body."""
    return {"ownerType": owner_type, "referenceId": reference_id}


@contextmanager
def calling(
    *, timeout: float = 5.0, clock: Any = None, badge: Any = None, **switches: Any
) -> Iterator[Caller]:
    """Run a sandbox with one badge and log in to it."""
    given = {"clock": clock} if clock else {}
    with Sandbox.running(switches=Switches(**switches), **given) as sandbox:
        sandbox.add_badge(BADGE_ID, "Regular", **(badge or {}))
        with logged_in(sandbox, timeout=timeout) as http:
            yield Caller(sandbox, http)


def logged_in(sandbox: Sandbox, *, timeout: float = 5.0) -> httpx.Client:
    """Return a client whose password goes as its MD5."""
    digest = hashlib.md5(sandbox.password.encode(), usedforsecurity=False).hexdigest()
    return httpx.Client(
        base_url=sandbox.base_url,
        auth=(sandbox.username, digest),
        timeout=httpx.Timeout(5.0, read=timeout),
        trust_env=False,
        verify=False,  # noqa: S501  plain HTTP: spares reading the certificates
    )


def code_of(answer: httpx.Response) -> tuple[int, int]:
    """Return the HTTP status and the code of a refusal of the whole request."""
    payload = answer.json()
    assert payload["data"] is None
    return answer.status_code, payload["errors"][0]["code"]


def listed(answer: httpx.Response) -> list[int]:
    """Return the customers of an answer in the old shape, in their order."""
    return [row["customerId"] for row in answer.json()["data"]["issuedBadges"]]


def errors_of(answer: httpx.Response) -> dict[int, int | None]:
    """Return the code of every customer in the old shape; None is well."""
    rows: Sequence[dict[str, Any]] = answer.json()["data"]["issuedBadges"]
    return {row["customerId"]: (row.get("error") or {}).get("code") for row in rows}
