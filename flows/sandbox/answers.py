"""The envelopes and the shapes of what writing endpoints answer (contract 1, 2).

Belongs here: dictionaries that become JSON. Does not belong here: reads (`readings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flows.sandbox.bodies import Addressed
from flows.sandbox.codes import MESSAGES
from flows.sandbox.messages import RefusalError, Reply
from flows.sandbox.moments import iso, seconds
from flows.sandbox.switches import Switches


class Listed(NamedTuple):
    """One customer of an answer. `code` is None unless the customer failed."""

    customer_id: int
    earned_badge_id: str | None
    expires_at: int
    is_expired: bool
    code: int | None = None


def error(code: int, message: str | None = None) -> dict[str, Any]:
    """Return one element of `errors` or `warnings`."""
    text = message or MESSAGES.get(code, "The request was refused.")
    return {"code": code, "message": text, "reference": None}


def success(data: Any, switches: Switches) -> Reply:
    """Return HTTP 200 with `data`."""
    empty: list[Any] | None = None if switches.empty_as == "null" else []
    return Reply(200, {"data": data, "errors": empty, "warnings": empty})


def refused(refusal: RefusalError, switches: Switches) -> Reply:
    """Return the reply to a request that is refused as a whole (contract 1.7)."""
    warnings: list[Any] | None = [] if switches.empty_as == "list" else None
    errors = [error(refusal.code, refusal.message or None)]
    return Reply(refusal.status, {"data": None, "errors": errors, "warnings": warnings})


def earn_bulk(
    addressed: Addressed, listed: Sequence[Listed], expires: int, switches: Switches
) -> Reply:
    """Return the answer of earnBulk in the shape that is switched on."""
    shape = _new_shape if switches.response_shape == "new" else _old_shape
    reply = success(shape(addressed, listed, expires, switches), switches)
    if any(one.code is not None for one in listed):
        reply.status = switches.partial_status
    return reply


def _old_shape(
    addressed: Addressed, listed: Sequence[Listed], expires: int, switches: Switches
) -> dict[str, Any]:
    return {
        "badgeMetaId": addressed.badge_meta_id,
        "triggeredBy": addressed.triggered_by,
        "expiresOn": seconds(expires),
        "issuedBadges": [_issued(one, switches) for one in listed],
        "requestId": addressed.request_id,
    }


def _issued(one: Listed, switches: Switches) -> dict[str, Any]:
    element: dict[str, Any] = {
        "customerId": one.customer_id,
        "issuedId": one.earned_badge_id,
    }
    if switches.null_error_beside_id:
        element["error"] = None
    if one.code is not None:
        element["error"] = error(one.code)
        if not switches.id_beside_error:
            element["issuedId"] = None
    element["status"] = "EXPIRED" if one.is_expired else "LIVE"
    return element


def _new_shape(
    addressed: Addressed, listed: Sequence[Listed], expires: int, switches: Switches
) -> dict[str, Any]:
    failed = [_failed(one, switches) for one in listed if one.code is not None]
    data = {
        "badgeMetaId": addressed.badge_meta_id,
        "expiresOn": seconds(expires),
        "expiresOnISO": iso(expires, switches.zone),
        "earnedBadgesList": [
            {"customerId": one.customer_id, "earnedBadgeId": one.earned_badge_id}
            for one in listed
            if one.code is None
        ],
        "totalCount": len(listed),
        "earnedCount": len(listed) - len(failed),
        "failedCount": len(failed),
        "triggeredBy": addressed.triggered_by,
        "failedEarnBadgeErrorList": failed,
    }
    if switches.new_shape_has_request_id:
        data["requestId"] = addressed.request_id
    return data


def _failed(one: Listed, switches: Switches) -> dict[str, Any]:
    told = error(one.code or 0)
    if switches.failed_element == "nested":
        return {"customerId": one.customer_id, "error": told}
    prefix = switches.failed_element == "prefixed"
    code, message = ("errorCode", "errorMessage") if prefix else ("code", "message")
    return {
        "customerId": one.customer_id,
        code: told["code"],
        message: told["message"],
    }


def single_earn(addressed: Addressed, one: Listed, switches: Switches) -> Reply:
    """Return the answer of `earn`: number and text whatever was sent (contract 2.1)."""
    data = {
        "badgeMetaId": addressed.badge_meta_id,
        "customerId": one.customer_id,
        "earnedBadgeId": one.earned_badge_id,
        "expiresOn": seconds(one.expires_at),
        "expiresOnISO": iso(one.expires_at, switches.zone),
        "requestId": addressed.request_id,
        "issuedId": None,
    }
    return success(data, switches)


def issue_bulk(
    addressed: Addressed,
    issued: Sequence[tuple[int, str | None, int | None]],
    expires: int,
    switches: Switches,
) -> Reply:
    """Return the answer of issueBulk: customer, issue id, code each (contract 2.6)."""
    elements = [
        {
            "customerId": customer_id,
            "issuedId": issue_id,
            "error": None if code is None else error(code),
        }
        for customer_id, issue_id, code in issued
    ]
    data = {
        "badgeMetaId": addressed.badge_meta_id,
        "triggeredBy": addressed.triggered_by,
        "expiresOn": seconds(expires),
        "issuedBadges": elements,
        "requestId": addressed.request_id,
    }
    return success(data, switches)


def imported(rows: Sequence[dict[str, Any] | RefusalError]) -> Reply:
    """Return the answer of the import: an envelope for each row (contract 2.2)."""
    payload = [
        {"data": None, "errors": [error(row.code, row.message)], "warnings": None}
        if isinstance(row, RefusalError)
        else {"data": row, "errors": None, "warnings": None}
        for row in rows
    ]
    return Reply(200, payload)
