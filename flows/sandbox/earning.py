"""earnBulk and earn: every check the platform makes, then the commit (contract 1, 2.1).

Belongs here: what is refused, in which order, and what is committed. Does not belong
here: shapes (`answers`), reading bodies (`bodies`), one customer's checks
(`customer_checks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flows.sandbox import answers, bodies
from flows.sandbox.answers import Listed
from flows.sandbox.bodies import refusal
from flows.sandbox.customer_checks import CustomerChecks
from flows.sandbox.messages import RefusalError, Reply, Request
from flows.sandbox.moments import SECOND, moment
from flows.sandbox.records import Badge
from flows.sandbox.request_ids import RequestId
from flows.sandbox.windows import expires_at
from flows.sandbox.work import Context, Orders, Work


def begin_earn_bulk(context: Context, request: Request) -> Work:
    """Check a bulk earn and return the work that commits it."""
    _refuse_size(context, request)
    sent = bodies.object_of(request)
    customer_ids = bodies.customer_ids_of(sent, "customerIds")
    most = context.switches.max_customers
    if most is not None and len(customer_ids) > most:
        raise _too_large(context)
    return _begin(context, sent, customer_ids, is_bulk=True)


def begin_earn(context: Context, request: Request) -> Work:
    """Check a single earn and return the work that commits it."""
    sent = bodies.object_of(request)
    customer_id = bodies.whole_number(bodies.text_of(sent, "customerId", 812))
    return _begin(context, sent, [customer_id], is_bulk=False)


def _refuse_size(context: Context, request: Request) -> None:
    most = context.switches.max_body_bytes
    if most is not None and len(request.body) > most:
        raise _too_large(context)


def _too_large(context: Context) -> RefusalError:
    if context.switches.too_large == "413":
        return refusal(413, 413, "Payload too large.")
    return refusal(1060)


def _begin(
    context: Context, sent: dict[str, Any], customer_ids: list[int], *, is_bulk: bool
) -> Work:
    body = {
        "badgeMetaId": bodies.text_of(sent, "badgeMetaId", 400),
        "requestId": bodies.text_of(sent, "requestId", 804),
        "triggeredBy": bodies.trigger_of(sent),
    }
    asked = _asked_date(context, sent)
    endpoint = "earnBulk" if is_bulk else "earn"
    used = RequestId(
        context,
        body["requestId"],
        endpoint=endpoint,
        badge_meta_id=body["badgeMetaId"],
    )
    try:
        badge = live_badge(context, body["badgeMetaId"], body["triggeredBy"])
        earn_event_at = context.memory.now() if asked is None else asked
        _check_date(context, badge, earn_event_at)
        if context.switches.not_enrolled_refuses == "request" or not is_bulk:
            checks = CustomerChecks(context, badge, earn_event_at)
            for customer_id in customer_ids:
                checks.refuse_not_enrolled(customer_id)
    except RefusalError:
        used.failed()
        raise

    def commit(orders: Orders) -> Reply:
        try:
            listed = _committed(
                context, badge, customer_ids, earn_event_at, body["requestId"], orders
            )
            if not is_bulk and (code := listed[0].code) is not None:
                raise refusal(code, 409 if code == 811 else 400)  # noqa: PLR2004
        except RefusalError:
            used.failed()
            raise
        used.succeeded()
        if not is_bulk:
            return answers.single_earn(body, listed[0], context.switches)
        if context.switches.shuffles:
            context.order.shuffle(listed)
        expires = _expires(context, badge)
        return answers.earn_bulk(body, listed, expires, context.switches)

    return Work(
        commit=commit,
        fail=used.failed,
        customer_ids=tuple(customer_ids),
        badge_meta_id=badge.badge_meta_id,
        request_id=body["requestId"],
    )


def _asked_date(context: Context, sent: dict[str, Any]) -> int | None:
    read = context.switches.earn_date_read
    if read == "ignored":
        return None
    has_iso = read == "iso_first"
    return bodies.date_of(sent, "earnEventDate", context.switches, has_iso=has_iso)


def live_badge(
    context: Context, badge_meta_id: str, trigger: dict[str, str]
) -> Badge:
    """Return the badge, if it is live, open to this owner and claimed by it."""
    switches, now = context.switches, context.memory.now()
    badge = context.memory.badges.get(badge_meta_id)
    if badge is None:
        code = switches.unknown_badge_code
        raise refusal(code, 404 if code == 404 else 400)  # noqa: PLR2004
    is_upcoming = moment(badge.starts_at) > now
    is_over = switches.expired_badge_refused and moment(badge.expires_at) <= now
    if not badge.is_active or is_upcoming or is_over:
        raise refusal(815, switches.not_live_status)
    if trigger["ownerType"] not in badge.owners:
        raise refusal(714)
    pair = (trigger["ownerType"], trigger["referenceId"])
    if not any(
        claim.is_active and (claim.owner_type, claim.reference_id) == pair
        for claim in badge.claims
    ):
        raise refusal(810, 409)
    return badge


def _check_date(context: Context, badge: Badge, earn_event_at: int) -> None:
    switches = context.switches
    ahead = round(switches.future_allowed_seconds * SECOND)
    if earn_event_at > context.memory.now() + ahead:
        raise refusal(750)
    # An enrolment has a window of its own, checked customer by customer.
    if badge.earn_type == "EARN" and not is_in_window(context, badge, earn_event_at):
        raise refusal(switches.out_of_window_code, switches.out_of_window_status)


def is_in_window(context: Context, badge: Badge, at: int) -> bool:
    """Tell whether an instant lies in a badge's window, edges as they are switched."""
    starts, ends = moment(badge.starts_at), moment(badge.expires_at)
    if at == starts:
        return context.switches.window_start_inclusive
    if at == ends:
        return context.switches.window_end_inclusive
    return starts < at < ends


def _expires(context: Context, badge: Badge) -> int:
    now = context.memory.now()
    if context.switches.earns_expire_at_once:
        return now
    return expires_at(badge.expiry, badge, now, context.switches.zone)


def _committed(
    context: Context,
    badge: Badge,
    customer_ids: Sequence[int],
    earn_event_at: int,
    request_id: str,
    orders: Orders,
) -> list[Listed]:
    """Commit earns for those customers nothing speaks against; list all of them."""
    reached = customer_ids[: math.ceil(len(customer_ids) * orders.share)]
    refused: list[tuple[int, int, str | None]] = []
    accepted = list(reached)
    checks = CustomerChecks(context, badge, earn_event_at)
    if checks.are_needed or orders.codes:
        accepted = []
        for customer_id in reached:
            code = orders.codes.get(customer_id) or checks.code_against(customer_id)
            if code is None:
                accepted.append(checks.accept(customer_id))
            else:
                refused.append((customer_id, code, checks.earlier_id(customer_id)))
    now, expires = context.memory.now(), _expires(context, badge)
    earns = context.memory.add_earns(
        badge.badge_meta_id,
        accepted,
        earn_event_at=earn_event_at,
        created_at=now,
        expires_at=expires,
        request_id=request_id,
    )
    is_expired = expires <= now
    listed = [
        Listed(earn.customer_id, earn.earned_badge_id, expires, is_expired)
        for earn in earns
    ]
    for customer_id, code, earlier_id in refused:
        shown_id = earlier_id or context.memory.ids.take(1, now)[0]
        listed.append(Listed(customer_id, shown_id, expires, is_expired, code))
    return listed

