"""Says what stands in the way of awarding a badge, and what a person should know.

Belongs here: preflight (settlement 2) and warnings in words. Does not belong here:
reading a badge (`badges`), calling the platform, and a definition's guards (`guards`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from transforms.errors import Fault
from transforms.platform.requests import OWNER_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from transforms.definition.definition import Badge
    from transforms.platform.badges import BadgeFacts


def preflight_faults(
    facts: BadgeFacts, badge: Badge, *, as_of: datetime
) -> list[Fault]:
    """Return what must be changed before this badge can be awarded.

    An expired badge is no obstacle. That the badge exists at all is seen by whoever
    read it.
    """
    faults = [
        *_identity_faults(facts, badge),
        *_opening_faults(facts, as_of),
        *_ownership_faults(facts, badge),
        *_earn_type_faults(facts, badge),
    ]
    place = f"badges.{badge.name}"
    return [Fault(code=code, message=text, column=place) for code, text in faults]


def _identity_faults(facts: BadgeFacts, badge: Badge) -> Iterator[tuple[str, str]]:
    if facts.badge_meta_id not in ("", badge.badge_meta_id):
        text = (
            f"asked for badge {badge.badge_meta_id}, the platform answered with "
            f"{facts.badge_meta_id}: check CAPILLARY_BASE_URL and the badge's id"
        )
        yield "badge_other", text
    for date in facts.unreadable:
        text = (
            f"badge {badge.badge_meta_id} has a date that can't be read, {date} (13 "
            "digits were set in milliseconds): correct it on the platform"
        )
        yield "badge_dates", text


def _opening_faults(facts: BadgeFacts, as_of: datetime) -> Iterator[tuple[str, str]]:
    if not facts.is_active:
        text = f"badge {facts.name!r} is deactivated: activate it on the platform"
        yield "badge_inactive", text
    remedy = "move its start into the past on the platform, or wait"
    starts_at = facts.starts_at
    if starts_at is not None and starts_at > as_of:
        text = (
            f"badge {facts.name!r} starts at {starts_at.isoformat()}, after "
            f"{as_of.isoformat()}, and can't be awarded yet: {remedy}"
        )
        yield "badge_upcoming", text
    elif starts_at is None and facts.status == "UPCOMING":
        yield "badge_upcoming", f"badge {facts.name!r} is upcoming: {remedy}"


def _ownership_faults(facts: BadgeFacts, badge: Badge) -> Iterator[tuple[str, str]]:
    if OWNER_TYPE not in facts.owners:
        owners = ", ".join(facts.owners) or "nobody"
        text = (
            f"badge {facts.name!r} may be owned by {owners}, not by {OWNER_TYPE}: add "
            f"{OWNER_TYPE} to its owners on the platform"
        )
        yield "badge_not_ours", text
    ours = [claim for claim in facts.claims if claim.owner_type == OWNER_TYPE]
    same = [claim for claim in ours if claim.reference_id == badge.reference_id]
    if any(claim.is_active for claim in same):
        return
    others = ", ".join(repr(claim.reference_id) for claim in ours if claim.is_active)
    told = "its claim is no longer active" if same else "nobody claimed it so"
    told += f" (active claims of ours: {others})" if others else ""
    text = (
        f"badge {facts.name!r} has no active claim of {OWNER_TYPE} for reference_id "
        f"{badge.reference_id!r}, {told}: run `retrobadge claim DEFINITION --yes`, or "
        "correct reference_id"
    )
    yield "badge_not_claimed", text


def _earn_type_faults(facts: BadgeFacts, badge: Badge) -> Iterator[tuple[str, str]]:
    if facts.earn_type == "ISSUE_EARN" and not badge.enrolled:
        text = (
            f"badge {facts.name!r} is ISSUE_EARN, its customers must be enrolled first:"
            " enrol them on the platform, then set `enrolled = true`"
        )
        yield "badge_wants_enrolment", text
    if facts.earn_type not in ("EARN", "ISSUE_EARN", ""):
        text = (
            f"badge {facts.name!r} has the earn type {facts.earn_type!r}, which this "
            "version does not know: leave the badge out"
        )
        yield "badge_earn_type", text


def warnings(
    facts: BadgeFacts,
    badge: Badge,
    *,
    as_of: datetime,
    timezone: str,
    planned: pl.DataFrame | None = None,
) -> list[str]:
    """Return what a person should know before saying yes, a sentence or two each.

    `planned`: the badge's planned awards, with earn_day Date in `timezone`.
    """
    return [
        *_expiry_warnings(facts, as_of),
        *_limit_warnings(facts),
        *_window_warnings(facts, badge, as_of),
        *_edge_warnings(facts, timezone, planned),
    ]


def _expiry_warnings(facts: BadgeFacts, as_of: datetime) -> Iterator[str]:
    if facts.is_expiry_relative:
        yield (
            f"It expires {facts.expiry_text}, not after it was earned: achievements of "
            "the past become active now."
        )
    ends_at = facts.earned_expires_at
    if ends_at is not None and ends_at <= as_of:
        yield f"Earned badges expired at {ends_at.isoformat()}: these arrive expired."
    if facts.has_benefits:
        yield "Benefits hang on it; whether they fire for past earns is not documented."
    if facts.earn_type == "ISSUE_EARN":
        yield (
            "Each customer's enrolment has a period of its own, which is not read: "
            "earn dates outside of it are refused."
        )
    if not facts.earn_type:
        yield "The platform does not say whether it wants enrolment: taken for EARN."


def _limit_warnings(facts: BadgeFacts) -> Iterator[str]:
    if facts.has_rolling_limit:
        yield "A rolling limit counts on the day of sending, whatever the earn date."
    if facts.limits:
        yield f"Limits: {'; '.join(facts.limits)}. What goes beyond them is refused."


def _window_warnings(facts: BadgeFacts, badge: Badge, as_of: datetime) -> Iterator[str]:
    expires_at = facts.expires_at
    if expires_at is not None and expires_at <= as_of:
        yield (
            f"It expired at {expires_at.isoformat()}. Past earn dates should still be "
            "taken; one page says otherwise (code 815), and the canary will tell."
        )
    if badge.before_window == "window_start" and facts.starts_at is not None:
        yield "What was achieved before its window is dated to the window's first day."


def _edge_warnings(
    facts: BadgeFacts, timezone: str, planned: pl.DataFrame | None
) -> Iterator[str]:
    if planned is None:
        return
    last = facts.expires_at and facts.expires_at - timedelta(microseconds=1)
    edges = [edge for edge in (facts.starts_at, last) if edge is not None]
    days = {edge.astimezone(ZoneInfo(timezone)).date() for edge in edges}
    near = planned.filter(pl.col("earn_day").is_in(sorted(days))).height if days else 0
    if near:
        yield (
            f"{near} awards lie on the first or last day of its window: make sure that "
            f"{timezone} is the zone its dates are meant in."
        )
