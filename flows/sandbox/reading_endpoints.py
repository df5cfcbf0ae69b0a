"""The reading endpoints: which customer, which badges, which page (contract 2.4, 2.5).

Belongs here: paths, filters, paging, and their traps: lists show what is *available*
unless asked for what was earned, and ten a page. Does not belong here: shapes
(`readings`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flows.sandbox import answers, readings
from flows.sandbox.codes import refusal
from flows.sandbox.memory import IDENTIFIERS
from flows.sandbox.messages import RefusalError, Reply, Request
from flows.sandbox.records import Badge, StoredEarn
from flows.sandbox.work import Context, Work, answered_by

T = TypeVar("T")

# The names that a lookup uses for the identifiers of `IDENTIFIERS`.
_LOOKUP_NAMES = {name.lower(): name for name in IDENTIFIERS}


def badge_list(context: Context, request: Request, **_: str) -> Work:
    """`GET badgeMeta`: every badge, filtered, ten a page."""
    query = request.query

    def reply() -> Reply:
        now = context.memory.now()
        found = [
            badge
            for badge in context.memory.badges.values()
            if _is_wanted(badge, query, readings.status_of(badge, now))
        ]
        page, pagination = _page(found, query, default_size=10)
        shown = [readings.badge_meta(context, b, has_counts=True) for b in page]
        data = {"metaBasicDetails": shown, "pagination": pagination}
        return answers.success(data, context.switches)

    return answered_by(reply)


def _is_wanted(badge: Badge, query: Mapping[str, str], status: str) -> bool:
    action = "ACTIVATED" if badge.is_active else "DE_ACTIVATED"
    claimed_by = {claim.owner_type for claim in badge.claims if claim.is_active}
    wants = {
        "status": query.get("status", status) in {status, _ended(status)},
        "earnType": query.get("earnType", badge.earn_type) == badge.earn_type,
        "action": query.get("action", action) == action,
        "owner": "owner" not in query or query["owner"] in badge.owners,
        "claimedBy": "claimedBy" not in query or query["claimedBy"] in claimed_by,
        "unclaimed": query.get("unclaimed") != "true" or not claimed_by,
        "name": query.get("name", "").lower() in badge.name.lower(),
    }
    return all(wants.values())


def _ended(status: str) -> str:
    """Return the other name that some pages have for EXPIRED."""
    return "ENDED" if status == "EXPIRED" else status


def badge_by_id(context: Context, request: Request, *, badge: str) -> Work:
    """`GET badgeMeta/{id}`."""
    has_counts = request.query.get("includeStatistics") == "true"

    def reply() -> Reply:
        known = context.memory.badges.get(badge)
        if known is None:
            raise refusal(404, 404)
        shown = readings.badge_meta(context, known, has_counts=has_counts)
        return answers.success(shown, context.switches)

    return answered_by(reply)


def customer_badge(
    context: Context, request: Request, *, customer: str, badge: str
) -> Work:
    """`GET management/{id}/badge/{badgeId}`; what it does not know is a 400 `{}`."""
    has_statistics = request.query.get("includeStatistics") == "true"

    def reply() -> Reply:
        known = context.memory.badges.get(badge)
        try:
            customer_id = customer_of(context, request, customer)
        except RefusalError:
            known = None
        if known is None:
            return Reply(400, {})
        shown = readings.customer_badge(
            context, known, customer_id, has_statistics=has_statistics
        )
        return answers.success(shown, context.switches)

    return answered_by(reply)


def customer_list(context: Context, request: Request, *, customer: str) -> Work:
    """`GET customer/{id}`: AVAILABLE unless badgeType says EARNED."""
    query = request.query
    badge_type = query.get("badgeType", "AVAILABLE")
    has_expired = query.get("includeExpired") == "true"

    def reply() -> Reply:
        customer_id = customer_of(context, request, customer)
        now = context.memory.now()

        def shown(badge: Badge, earns: Sequence[StoredEarn]) -> dict[str, Any] | None:
            if badge_type != "EARNED":
                is_live = readings.status_of(badge, now) == "LIVE"
                earns = ()
                wanted = badge.is_active and is_live
            else:
                active = readings.active_earns(earns, now)
                earns = earns if has_expired else active
                wanted = bool(earns)
            if not wanted:
                return None
            return readings.list_element(
                context, badge, earns, count_key="earnedCount"
            ) | {"earnType": badge.earn_type}

        return _list_reply(context, query, customer_id, "badges", shown)

    return answered_by(reply)


def management_list(context: Context, request: Request, *, customer: str) -> Work:
    """`GET management/{id}`: AVAILABLE_TO_ISSUE unless badgeType says otherwise.

    EARNED are those active now; EXPIRED is a filter of its own.
    """
    query = request.query
    badge_type = query.get("badgeType", "AVAILABLE_TO_ISSUE")

    def reply() -> Reply:
        customer_id = customer_of(context, request, customer)
        now = context.memory.now()

        def shown(badge: Badge, earns: Sequence[StoredEarn]) -> dict[str, Any] | None:
            active = readings.active_earns(earns, now)
            is_live = readings.status_of(badge, now) == "LIVE"
            wanted = {
                "EARNED": bool(active),
                "EXPIRED": bool(earns) and not active,
            }.get(badge_type, badge.is_active and is_live)
            if not wanted:
                return None
            return readings.list_element(
                context, badge, earns, count_key="earnCount"
            ) | {
                "badgeType": badge.earn_type,
                "badgeStatus": readings.status_of(badge, now),
                "issueStatus": None,
            }

        return _list_reply(context, query, customer_id, "customerBadges", shown)

    return answered_by(reply)


def _list_reply(
    context: Context,
    query: Mapping[str, str],
    customer_id: int,
    key: str,
    shown: Callable[[Badge, Sequence[StoredEarn]], dict[str, Any] | None],
) -> Reply:
    elements = []
    for badge in context.memory.badges.values():
        earns = readings.shown_earns(context, badge, customer_id)
        if (element := shown(badge, earns)) is not None:
            elements.append(element)
    page, pagination = _page(elements, query, default_size=10)
    data: Any = page
    if context.switches.list_container == "object":
        data = {key: page}
        if context.switches.pagination_inside:
            data["pagination"] = pagination
    reply = answers.success(data, context.switches)
    if context.switches.list_container == "list" or "pagination" not in data:
        reply.payload["pagination"] = pagination
    return reply


def _page(
    found: Sequence[T], query: Mapping[str, str], *, default_size: int
) -> tuple[list[T], dict[str, int]]:
    """Return a 0-based page and what `pagination` says of it."""
    given = next((query[k] for k in ("size", "limit", "Limit") if k in query), "")
    size = max(1, int(given)) if given.isdecimal() else default_size
    asked = query.get("page", "0")
    page = int(asked) if asked.isdecimal() else 0
    return list(found[page * size : (page + 1) * size]), {
        "page": page,
        "size": size,
        "total": len(found),
        "totalPages": -(-len(found) // size),
    }


def customer_of(context: Context, request: Request, value: str) -> int:
    """Return the customer that a path or body names, by id or by identifier header."""
    identifier = request.headers.get("x-cap-customer-identifier")
    if identifier is None:
        if not value.isdecimal():
            raise refusal(1026, 404)
        known = int(value)
        if (
            context.switches.customers_known == "added"
            and known not in context.memory.customers
        ):
            raise refusal(1026, 404)
        return known
    if identifier not in IDENTIFIERS:
        raise refusal(1028)
    found = context.memory.customer_by(identifier, value)
    if found is None:
        raise refusal(1026, 404)
    return found


def lookup(context: Context, request: Request, **_: str) -> Work:
    """`GET /v2/customers/lookup`: an identifier to the id, `entity` (contract 9)."""
    name = request.query.get("identifierName", "")
    value = request.query.get("identifierValue", "")

    def reply() -> Reply:
        identifier = _LOOKUP_NAMES.get(name.lower())
        if identifier is None:
            raise refusal(1028)
        customer_id = context.memory.customer_by(identifier, value)
        if customer_id is None:
            raise refusal(8015, 404)
        warnings = []
        survivor_id = context.memory.customers[customer_id].survivor_id
        if survivor_id is not None:
            customer_id = survivor_id
            warnings.append(answers.error(91009))
        return Reply(200, {"entity": customer_id, "warnings": warnings, "errors": []})

    return answered_by(reply)
