"""Builders of platform answers: valid by default, a test says only what differs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from transforms.platform.outcomes import Answer, Decision, Failure, decision

BADGE = "653de334b3cda7078c7c68eb"
REQUEST = "a" * 32
STARTED = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def earned_id(customer_id: int) -> str:
    """Return an id as the platform makes them, different for each customer."""
    return f"65980000{customer_id:016x}"


def old_item(customer_id: int, **fields: Any) -> dict[str, Any]:
    """Return an element of `issuedBadges`."""
    item = {"customerId": customer_id, "issuedId": earned_id(customer_id)}
    return item | {"status": "LIVE"} | fields


def new_item(customer_id: int, **fields: Any) -> dict[str, Any]:
    """Return an element of `earnedBadgesList`."""
    return {"customerId": customer_id, "earnedBadgeId": earned_id(customer_id)} | fields


def error(code: Any, message: str = "no") -> dict[str, Any]:
    """Return an error as it stands beside an item or in `errors`."""
    return {"code": code, "message": message, "reference": None}


def old_body(*items: dict[str, Any], **data: Any) -> dict[str, Any]:
    """Return an envelope of the old shape."""
    held = {"badgeMetaId": BADGE, "requestId": REQUEST, "issuedBadges": list(items)}
    return {"data": held | data, "errors": [], "warnings": []}


def new_body(
    *items: dict[str, Any], failed: tuple[dict[str, Any], ...] = (), **data: Any
) -> dict[str, Any]:
    """Return an envelope of the new shape, its counters right."""
    held = {
        "badgeMetaId": BADGE,
        "earnedBadgesList": list(items),
        "failedEarnBadgeErrorList": list(failed),
        "totalCount": len(items) + len(failed),
        "earnedCount": len(items),
        "failedCount": len(failed),
    }
    return {"data": held | data, "errors": None, "warnings": None}


def refusal(code: Any, message: str = "no") -> dict[str, Any]:
    """Return an envelope that refuses the whole request."""
    return {"data": None, "errors": [error(code, message)], "warnings": None}


def answer(
    body: Any = None,
    *,
    status: int | None = 200,
    failure: Failure | None = None,
    retry_after: str | None = None,
) -> Answer:
    """Return an answer; a dict is sent as JSON, bytes as they are."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Answer(
        started_at=STARTED,
        ended_at=STARTED + timedelta(seconds=2),
        http_status=status,
        body=raw,
        failure=failure,
        retry_after=retry_after,
    )


def decided(
    given: Answer, asked: tuple[int, ...] = (1, 2), doubly_awarded: tuple[int, ...] = ()
) -> Decision:
    """Return what an answer decides about the customers asked for."""
    return decision(
        given,
        asked,
        badge_meta_id=BADGE,
        request_id=REQUEST,
        doubly_awarded=doubly_awarded,
    )


def shown(found: Decision) -> str:
    """Return a decision as one short text: each customer's status, or the result."""
    if not found.outcomes:
        return str(found.result)
    return " ".join(f"{one.customer_id}:{one.status}" for one in found.outcomes)
