"""Taking one earned badge back (contract 2.7)."""

from __future__ import annotations

from flows.sandbox import answers, bodies
from flows.sandbox.codes import refusal
from flows.sandbox.messages import Reply, Request
from flows.sandbox.reading_endpoints import customer_of
from flows.sandbox.work import Context, Work, answered_by


def revoke_earn(context: Context, request: Request) -> Work:
    """`POST customer/revokeEarn`; 814 if the customer has no such active earn."""
    sent = bodies.object_of(request)
    badge_meta_id = bodies.text_of(sent, "badgeMetaId", 400)
    customer = bodies.text_of(sent, "customerId", 812)
    earned_badge_id = bodies.text_of(sent, "earnedBadgeId", 400)

    def reply() -> Reply:
        customer_id = customer_of(context, request, customer)
        earns = context.memory.active_earns(badge_meta_id, customer_id)
        if not any(earn.earned_badge_id == earned_badge_id for earn in earns):
            raise refusal(814, 409)
        context.memory.revoke(earned_badge_id)
        data = {
            "badgeMetaId": badge_meta_id,
            "customerId": customer_id,
            "earnedBadgeId": earned_badge_id,
            "isActive": False,
        }
        return answers.success(data, context.switches)

    return answered_by(reply)
