"""The historical import of earned badges, which looks for no doubles (contract 2.2)."""

from __future__ import annotations

from typing import Any

from flows.sandbox import answers, bodies
from flows.sandbox.codes import refusal
from flows.sandbox.messages import RefusalError, Reply, Request
from flows.sandbox.moments import iso, seconds
from flows.sandbox.work import Context, Orders, Work, answered_by


def begin_import(context: Context, request: Request) -> Work:
    """Check an import and return the work that commits it, row by row.

    A row names its badge, customer, earn date and expiry. A badge that is not known
    refuses the whole import (1054); any other fault is the row's own.
    """
    try:
        rows = bodies.json_of(request)
    except RefusalError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return answered_by(lambda: Reply(400, {}))
    for row in rows:
        if bodies.text_of(row, "badgeMetaId", 400) not in context.memory.badges:
            raise refusal(1054)

    def commit(orders: Orders) -> Reply:
        batch_id = request.headers.get("x-cap-request-id") or _batch_id(context)
        reached = rows[: round(len(rows) * orders.share)]
        results: list[dict[str, Any] | RefusalError] = []
        for number, row in enumerate(reached, start=1):
            try:
                results.append(_imported(context, row, f"{batch_id}_{number}"))
            except RefusalError as refused:
                results.append(refused)
        return answers.imported(results)

    return Work(commit=commit)


def _batch_id(context: Context) -> str:
    return f"{context.order.getrandbits(128):032x}"


def _imported(context: Context, row: dict[str, Any], request_id: str) -> dict[str, Any]:
    badge_meta_id = bodies.text_of(row, "badgeMetaId", 400)
    customer_id = bodies.whole_number(bodies.text_of(row, "customerId", 812))
    earned = bodies.date_of(row, "earnEventDate", context.switches)
    expires = bodies.date_of(row, "earnExpiresOn", context.switches)
    if expires is None:
        raise refusal(400, message="earnExpiresOn is missing.")
    now = context.memory.now()
    (earned_badge_id,) = context.memory.add_earns(
        badge_meta_id,
        [customer_id],
        earn_event_at=now if earned is None else earned,
        created_at=now,
        expires_at=expires,
        request_id=request_id,
    )
    return {
        "badgeMetaId": badge_meta_id,
        "customerId": customer_id,
        "earnedBadgeId": earned_badge_id,
        "expiresOn": seconds(expires),
        "expiresOnISO": iso(expires, context.switches.zone),
        "requestId": request_id,
        "issuedId": None,
    }
