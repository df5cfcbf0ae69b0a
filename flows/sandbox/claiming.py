"""Claiming and unclaiming a badge (contract 2.3)."""

from __future__ import annotations

from typing import Any

from flows.sandbox import answers, bodies
from flows.sandbox.codes import refusal
from flows.sandbox.messages import Reply, Request
from flows.sandbox.records import Badge, Claim
from flows.sandbox.work import Context, Work, answered_by


def claim(context: Context, request: Request, *, badge: str) -> Work:
    """`POST badgeMeta/{id}/claim`; claiming again is a success with warning 900."""
    owner_type, reference_id = bodies.owner_of(bodies.object_of(request))

    def reply() -> Reply:
        known = _open_badge(context, badge, owner_type)
        is_repeated = known.is_claimed_by(owner_type, reference_id)
        wanted = Claim(owner_type=owner_type, reference_id=reference_id)
        context.memory.put_claim(badge, wanted)
        answer = answers.success(_shown(wanted), context.switches)
        if is_repeated:
            answer.payload["warnings"] = [answers.error(900)]
        return answer

    return answered_by(reply)


def unclaim(context: Context, request: Request, *, badge: str) -> Work:
    """`POST badgeMeta/{id}/unclaim`; 737 without such a claim."""
    owner_type, reference_id = bodies.owner_of(bodies.object_of(request))

    def reply() -> Reply:
        known = _open_badge(context, badge, owner_type)
        if not known.is_claimed_by(owner_type, reference_id):
            raise refusal(737)
        ended = Claim(owner_type=owner_type, reference_id=reference_id, is_active=False)
        context.memory.put_claim(badge, ended)
        return answers.success(_shown(ended), context.switches)

    return answered_by(reply)


def _shown(claim: Claim) -> dict[str, Any]:
    return {
        "ownerType": claim.owner_type,
        "referenceId": claim.reference_id,
        "isActive": claim.is_active,
    }


def _open_badge(context: Context, badge_meta_id: str, owner_type: str) -> Badge:
    known = context.memory.badges.get(badge_meta_id)
    if known is None:
        raise refusal(404, 404)
    if owner_type not in known.owners:
        raise refusal(714)
    if not known.is_active:
        raise refusal(815, context.switches.not_live_status)
    return known
