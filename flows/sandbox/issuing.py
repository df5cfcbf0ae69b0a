"""Enrolling customers for a badge that wants it: issueBulk (contract 2.6)."""

from __future__ import annotations

from flows.sandbox import answers, bodies
from flows.sandbox.codes import refusal
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
    addressed = bodies.addressed(sent)
    asked = bodies.date_of(sent, "issueEventDate", context.switches)
    used = RequestId(context, addressed, endpoint="issueBulk")
    try:
        badge = live_badge(context, addressed)
        starts = context.memory.now() if asked is None else asked
        if not is_in_window(context, badge, starts):
            raise refusal(816)
    except RefusalError:
        used.failed()
        raise

    def commit(orders: Orders) -> Reply:
        now = context.memory.now()
        expires = expires_at(badge.issue_expiry, badge, now, context.switches.zone)
        issued = []
        for customer_id in customer_ids:
            wanted = Issue(
                context.memory.ids.take(1, now)[0],
                customer_id,
                starts,
                expires,
                now,
                addressed.owner_type,
                addressed.reference_id,
            )
            issued.append(_issued(context, badge, wanted))
        used.end(orders.ends)
        if context.switches.shuffles:
            context.order.shuffle(issued)
        return answers.issue_bulk(addressed, issued, expires, context.switches)

    return Work(commit, used.failed, tuple(customer_ids))


def _issued(
    context: Context, badge: Badge, wanted: Issue
) -> tuple[int, str | None, int | None]:
    """Enrol one customer, unless an earlier enrolment overlaps this one."""
    for earlier in context.memory.issues(badge.badge_meta_id, wanted.customer_id):
        if (
            earlier.starts_at < wanted.expires_at
            and wanted.starts_at < earlier.expires_at
        ):
            is_refused = context.switches.second_issue == "refused"
            return wanted.customer_id, earlier.issue_id, 1040 if is_refused else None
    context.memory.add_issue(badge.badge_meta_id, wanted)
    return wanted.customer_id, wanted.issue_id, None
