"""Enrolling customers for a badge that wants it: issueBulk (contract 2.6)."""

from __future__ import annotations

from typing import Any

from flows.sandbox import answers, bodies
from flows.sandbox.bodies import refusal
from flows.sandbox.earning import is_in_window, live_badge
from flows.sandbox.messages import RefusalError, Reply, Request
from flows.sandbox.records import Badge, Issue
from flows.sandbox.request_ids import RequestId
from flows.sandbox.windows import expires_at
from flows.sandbox.work import Context, Orders, Work


def begin_issue_bulk(context: Context, request: Request) -> Work:
    """Check an enrolment of many and return the work that commits it."""
    sent = bodies.object_of(request)
    customer_ids = bodies.customer_ids_of(sent, "customers")
    body: dict[str, Any] = {
        "badgeMetaId": bodies.text_of(sent, "badgeMetaId", 400),
        "requestId": bodies.text_of(sent, "requestId", 804),
        "triggeredBy": bodies.trigger_of(sent),
    }
    asked = bodies.date_of(sent, "issueEventDate", context.switches)
    used = RequestId(
        context,
        body["requestId"],
        endpoint="issueBulk",
        badge_meta_id=body["badgeMetaId"],
    )
    try:
        badge = live_badge(context, body["badgeMetaId"], body["triggeredBy"])
        starts = context.memory.now() if asked is None else asked
        if not is_in_window(context, badge, starts):
            raise refusal(816)
    except RefusalError:
        used.failed()
        raise

    def commit(_orders: Orders) -> Reply:
        expires = expires_at(
            badge.issue_expiry, badge, context.memory.now(), context.switches.zone
        )
        issued = [
            _issued(context, badge, customer_id, starts, expires, body["triggeredBy"])
            for customer_id in customer_ids
        ]
        used.succeeded()
        if context.switches.shuffles:
            context.order.shuffle(issued)
        return answers.issue_bulk(body, issued, expires, context.switches)

    return Work(
        commit=commit,
        fail=used.failed,
        customer_ids=tuple(customer_ids),
        badge_meta_id=badge.badge_meta_id,
        request_id=body["requestId"],
    )


def _issued(
    context: Context,
    badge: Badge,
    customer_id: int,
    starts: int,
    expires: int,
    trigger: dict[str, str],
) -> tuple[int, str | None, int | None]:
    """Enrol one customer, unless an enrolment overlaps this one."""
    for earlier in context.memory.issues(badge.badge_meta_id, customer_id):
        if earlier.starts_at < expires and starts < earlier.expires_at:
            is_refused = context.switches.second_issue == "refused"
            return customer_id, earlier.issue_id, 1040 if is_refused else None
    now = context.memory.now()
    issue = Issue(
        context.memory.ids.take(1, now)[0],
        customer_id,
        starts,
        expires,
        now,
        trigger["ownerType"],
        trigger["referenceId"],
    )
    context.memory.add_issue(badge.badge_meta_id, issue)
    return customer_id, issue.issue_id, None
