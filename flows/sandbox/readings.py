"""What reads show of badges and of a customer's badges (contract 2.4, 2.5).

Belongs here: dictionaries that become JSON. Does not belong here: finding the customer
or filtering (`reading_endpoints`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.sandbox.moments import SECOND, iso, moment, seconds, start_of_day
from flows.sandbox.records import Badge, Expiry, Issue, Limit, StoredEarn
from flows.sandbox.switches import Switches
from flows.sandbox.work import Context

ORGANISATION_ID = 100


def status_of(badge: Badge, now: int) -> str:
    """Return LIVE, UPCOMING or EXPIRED, which follow from the badge's dates alone."""
    if moment(badge.starts_at) > now:
        return "UPCOMING"
    return "EXPIRED" if moment(badge.expires_at) <= now else "LIVE"


def shown_earns(context: Context, badge: Badge, customer_id: int) -> list[StoredEarn]:
    """Return the earns that reads show now: made before the lag, not revoked."""
    return [
        earn
        for earn in context.memory.active_earns(badge.badge_meta_id, customer_id)
        if earn.created_at <= context.shown_until
    ]


def active_earns(earns: Sequence[StoredEarn], now: int) -> list[StoredEarn]:
    """Return the earns that have not expired."""
    return [earn for earn in earns if earn.expires_at > now]


def badge_meta(context: Context, badge: Badge, *, has_counts: bool) -> dict[str, Any]:
    """Return a badge as badgeMeta shows it."""
    zone = context.switches.zone
    starts, expires = moment(badge.starts_at), moment(badge.expires_at)
    is_issue_earn = badge.earn_type == "ISSUE_EARN"
    shown = {
        "id": badge.badge_meta_id,
        "badgeNumericId": badge.numeric_id,
        "orgId": ORGANISATION_ID,
        "name": badge.name,
        "description": f"{badge.name} (sandbox)",
        "startOn": seconds(starts),
        "startOnISO": iso(starts, zone),
        "expiresOn": seconds(expires),
        "expiresOnISO": iso(expires, zone),
        "earnedBadgeExpiry": _expiry(badge.expiry),
        "issuedBadgeExpiry": _expiry(badge.issue_expiry) if is_issue_earn else None,
        "images": [],
        "ownership": ownership(badge),
        "customerConstraints": _constraints(badge, "customer"),
        "badgeConstraints": _constraints(badge, "badge"),
        "benefits": [],
        "tags": [],
        "badgeGroupId": None,
        "badgeRank": None,
        "earnType": badge.earn_type,
        "status": status_of(badge, context.memory.now()),
        "createdOn": seconds(starts),
        "createdBy": 1,
        "lastUpdatedOn": seconds(starts),
        "lastUpdatedBy": 1,
        "customFields": {},
        "active": badge.is_active,
    }
    if has_counts:
        shown["issuedCount"] = 0
        shown["earnedCount"] = context.memory.earns.count_of_badge(
            badge.badge_meta_id, context.shown_until
        )
    return shown


def ownership(badge: Badge) -> dict[str, Any]:
    """Return who may own a badge, and who claimed it."""
    return {
        "restrictedToOwners": list(badge.owners),
        "claims": [
            {
                "ownerType": claim.owner_type,
                "referenceId": claim.reference_id,
                "isActive": claim.is_active,
            }
            for claim in badge.claims
        ],
    }


def _expiry(expiry: Expiry) -> dict[str, Any]:
    if expiry.kind == "never":
        return {"expiryType": "NEVER"}
    if expiry.kind == "relative":
        return {
            "expiryType": "RELATIVE",
            "relativeExpirytype": expiry.unit,
            "value": expiry.value,
        }
    is_with_badge = expiry.kind == "with_badge" or expiry.expires_at is None
    return {
        "expiryType": "ABSOLUTE",
        "type": "WITH_BADGE_META" if is_with_badge else "FIXED_DATE",
        "expiresOn": None
        if expiry.expires_at is None
        else seconds(moment(expiry.expires_at)),
        "expireWithBadgeMeta": is_with_badge,
    }


def _constraints(badge: Badge, of: str) -> list[dict[str, Any]]:
    return [_constraint(limit) for limit in badge.limits if limit.of == of]


def _constraint(limit: Limit) -> dict[str, Any]:
    prefix = "CUSTOMER_BADGE" if limit.of == "customer" else "BADGE"
    if limit.kind == "total":
        return {
            "constraintType": f"{prefix}_FIXED_VALUE",
            "maxEarnLimit": limit.max_earns,
        }
    if limit.kind == "fixed":
        return {
            "constraintType": f"{prefix}_FIXED_WINDOW",
            "durationType": limit.unit,
            "refreshRate": limit.value if limit.unit == "DAYS" else None,
            "maxEarnLimit": limit.max_earns,
            "cycleStatus": "ACTIVE",
        }
    if limit.of == "badge":
        return {
            "constraintType": "BADGE_ROLLING_WINDOW",
            "rollType": limit.unit,
            "rollValue": limit.value,
            "maxEarnLimit": limit.max_earns,
        }
    unit = limit.unit.capitalize()
    return {
        "constraintType": "CUSTOMER_BADGE_ROLLING_WINDOW",
        f"maxEarnFor{unit}": limit.max_earns,
        f"rollFor{unit}": limit.value,
    }


def customer_badge(
    context: Context, badge: Badge, customer_id: int, *, has_statistics: bool
) -> dict[str, Any]:
    """Return one badge of one customer (`management/{id}/badge/{badgeId}`)."""
    now, zone = context.memory.now(), context.switches.zone
    earns = shown_earns(context, badge, customer_id)
    active = active_earns(earns, now)
    counted = active if context.switches.earns_counted == "active" else earns
    starts, expires = moment(badge.starts_at), moment(badge.expires_at)
    issues = context.memory.issues(badge.badge_meta_id, customer_id)
    shown: dict[str, Any] = {
        "id": badge.badge_meta_id,
        "name": badge.name,
        "startsOn": seconds(starts),
        "startsOnISO": iso(starts, zone),
        "expiresOn": seconds(expires),
        "expiresOnISO": iso(expires, zone),
        "action": "ACTIVATED" if badge.is_active else "DE_ACTIVATED",
        "badgeType": badge.earn_type,
        "badgeStatus": status_of(badge, now),
        "owner": list(badge.owners),
        "claimedBy": [c.owner_type for c in badge.claims if c.is_active],
        "earnExpiry": _expiry(badge.expiry),
        "issueExpiry": _expiry(badge.issue_expiry),
        "issualDetails": {
            "issuedCount": len(issues),
            "issuals": [_issual(issue, now) for issue in issues],
        },
        "earnDetails": {
            "earnCount": len(counted),
            **_listed_earns(counted, context.switches),
        },
        "activeEarnedCount": len(active),
        "customFields": {},
    }
    if has_statistics:
        shown["customerConstraints"] = _constraints(badge, "customer")
        shown["badgeConstraints"] = _constraints(badge, "badge")
    return shown


def _issual(issue: Issue, now: int) -> dict[str, Any]:
    return {
        "issuedOn": seconds(issue.created_at),
        "issuedStatus": "EXPIRED" if issue.expires_at <= now else "ACTIVE",
        "issueExpiresOn": seconds(issue.expires_at),
        "issueId": issue.issue_id,
        "ownerType": issue.owner_type,
        "ownerReferenceId": issue.reference_id,
        "revokedOn": None,
        "issueEventDate": seconds(issue.starts_at),
    }


def _listed_earns(earns: Sequence[StoredEarn], switches: Switches) -> dict[str, Any]:
    listed = switches.earns_listed
    if listed == "absent":
        return {}
    newest_first = sorted(earns, key=lambda earn: earn.earned_badge_id, reverse=True)
    if listed == "newest":
        newest_first = newest_first[: switches.earns_newest]
    shown = [] if listed == "empty" else newest_first
    return {"earns": [_earn(earn, switches) for earn in shown]}


def _earn(earn: StoredEarn, switches: Switches) -> dict[str, Any]:
    at = read_back(earn.earn_event_at, switches)
    element: dict[str, Any] = {
        switches.earn_id_key: earn.earned_badge_id,
        "earnedOn": seconds(earn.created_at),
        "expiresOn": seconds(earn.expires_at),
    }
    if switches.earn_date_as == "text":
        element["earnEventDate"] = iso(at, switches.zone)
    if switches.earn_date_as in {"seconds", "twin"}:
        element["earnEventDate"] = seconds(at)
    if switches.earn_date_as == "twin":
        element["earnEventDateISO"] = iso(at, switches.zone)
    return element


def read_back(at: int, switches: Switches) -> int:
    """Return an earn date as reads show it."""
    if switches.dates_read_back == "day":
        at = start_of_day(at, switches.zone)
    return at + switches.dates_shifted_seconds * SECOND


def list_element(
    context: Context, badge: Badge, earns: Sequence[StoredEarn], *, count_key: str
) -> dict[str, Any]:
    """Return one badge of a customer's list of badges."""
    starts, expires = moment(badge.starts_at), moment(badge.expires_at)
    start_key = "startOn" if count_key == "earnedCount" else "startsOn"
    return {
        "badgeMetaId": badge.badge_meta_id,
        "orgId": ORGANISATION_ID,
        "name": badge.name,
        "description": f"{badge.name} (sandbox)",
        start_key: seconds(starts),
        "expiresOn": seconds(expires),
        "images": [],
        "tags": [],
        "badgeGroupId": None,
        "badgeGroupName": None,
        "badgeRank": None,
        "ownership": ownership(badge),
        "customFields": {},
        "active": badge.is_active,
        **_last_earn(earns, context.switches, count_key=count_key),
    }


def _last_earn(
    earns: Sequence[StoredEarn], switches: Switches, *, count_key: str
) -> dict[str, Any]:
    """Return what a list of badges says of a customer's earns: the last one only."""
    if not earns:
        return {
            count_key: 0,
            "lastEarnedOnDate": None,
            "lastEarnEventDate": None,
        }
    last = max(earns, key=lambda earn: earn.created_at)
    posted, happened = last.created_at, last.earn_event_at
    if switches.last_earn_is == "newest_event":
        happened = max(earn.earn_event_at for earn in earns)
    happened = read_back(happened, switches)
    return {
        count_key: len(earns),
        "lastEarnedOnDate": seconds(posted),
        "lastEarnedOnDateISO": iso(posted, switches.zone),
        "lastEarnEventDate": seconds(happened),
        "lastEarnEventDateISO": iso(happened, switches.zone),
    }
