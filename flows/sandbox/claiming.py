"""Claiming and unclaiming a badge (contract 2.3)."""

from __future__ import annotations

from flows.sandbox import answers, bodies
from flows.sandbox.bodies import refusal
from flows.sandbox.messages import Reply, Request
from flows.sandbox.records import Badge, Claim
from flows.sandbox.work import Context, Work, answered_by


def claim(context: Context, request: Request, *, badge: str) -> Work:
    """`POST badgeMeta/{id}/claim`; claiming again is a success with warning 900."""
    trigger = bodies.trigger_of({"triggeredBy": bodies.object_of(request)})

    def reply() -> Reply:
        known = _open_badge(context, badge, trigger["ownerType"])
        is_repeated = _is_claimed(known, trigger)
        wanted = Claim(
            owner_type=trigger["ownerType"], reference_id=trigger["referenceId"]
        )
        context.memory.put_claim(badge, wanted)
        answer = answers.success({**trigger, "isActive": True}, context.switches)
        if is_repeated:
            answer.payload["warnings"] = [answers.error(900)]
        return answer

    return answered_by(reply)


def unclaim(context: Context, request: Request, *, badge: str) -> Work:
    """`POST badgeMeta/{id}/unclaim`; 737 without such a claim."""
    trigger = bodies.trigger_of({"triggeredBy": bodies.object_of(request)})

    def reply() -> Reply:
        known = _open_badge(context, badge, trigger["ownerType"])
        if not _is_claimed(known, trigger):
            raise refusal(737)
        ended = Claim(
            owner_type=trigger["ownerType"],
            reference_id=trigger["referenceId"],
            is_active=False,
        )
        context.memory.put_claim(badge, ended)
        return answers.success({**trigger, "isActive": False}, context.switches)

    return answered_by(reply)


def _open_badge(context: Context, badge_meta_id: str, owner_type: str) -> Badge:
    known = context.memory.badges.get(badge_meta_id)
    if known is None:
        raise refusal(404, 404)
    if owner_type not in known.owners:
        raise refusal(714)
    if not known.is_active:
        raise refusal(815, context.switches.not_live_status)
    return known


def _is_claimed(badge: Badge, trigger: dict[str, str]) -> bool:
    pair = (trigger["ownerType"], trigger["referenceId"])
    return any(
        claim.is_active and (claim.owner_type, claim.reference_id) == pair
        for claim in badge.claims
    )
