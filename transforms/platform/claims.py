"""Which badges of a definition are still to be claimed for us.

Belongs here: what a claim needs and whether there is one (contract 2.3), and the answer
to claiming. Does not belong here: calling the platform (`flows.commands.claiming`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from transforms.platform.outcomes import Answer, whole_number
from transforms.platform.preflight import preflight_faults
from transforms.platform.requests import OWNER_TYPE

if TYPE_CHECKING:
    from datetime import datetime

    from transforms.definition.definition import Badge
    from transforms.errors import Fault
    from transforms.platform.badges import BadgeFacts

# What stands in the way of a claim; an upcoming badge can be claimed.
_IN_THE_WAY = frozenset({"badge_inactive", "badge_not_ours", "badge_other"})


@dataclass(frozen=True, kw_only=True)
class Claiming:
    """A badge of the definition, and whether its claim is there already."""

    badge: str
    badge_meta_id: str
    badge_name: str
    reference_id: str
    is_claimed: bool


def claims_of(
    badges: Iterable[Badge], facts: Mapping[str, BadgeFacts], *, as_of: datetime
) -> tuple[list[Claiming], list[Fault]]:
    """Return the claims that a definition needs, one for each badge and reference.

    And what must be changed on the platform before they can be made.
    """
    needed: dict[tuple[str, str], Claiming] = {}
    faults: list[Fault] = []
    for badge in badges:
        one = facts[badge.name]
        found = preflight_faults(one, badge, as_of=as_of)
        faults += [fault for fault in found if fault.code in _IN_THE_WAY]
        codes = {fault.code for fault in found}
        needed.setdefault(
            (badge.badge_meta_id, badge.reference_id),
            Claiming(
                badge=badge.name,
                badge_meta_id=badge.badge_meta_id,
                badge_name=one.name,
                reference_id=badge.reference_id,
                is_claimed="badge_not_claimed" not in codes,
            ),
        )
    return list(needed.values()), faults


def claim_body(reference_id: str) -> bytes:
    """Return the JSON to send; the owner's spelling matters (contract 1.3)."""
    return orjson.dumps({"ownerType": OWNER_TYPE, "referenceId": reference_id})


def claim_refusal(answer: Answer) -> str | None:
    """Return why a badge is not claimed by this answer, or None if it is.

    Claiming again gives a success with warning 900.
    """
    envelope = _envelope(answer.body)
    errors = envelope.get("errors")
    told = errors[0] if isinstance(errors, list) and errors else None
    if isinstance(told, Mapping):
        return f"{whole_number(told.get('code'))}: {told.get('message')}"
    data = envelope.get("data")
    if answer.http_status == 200 and isinstance(data, Mapping):
        is_active = data.get("isActive") is not False
        return None if is_active else "the platform shows the claim as inactive"
    return str(answer.failure or f"HTTP {answer.http_status}")


def _envelope(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
