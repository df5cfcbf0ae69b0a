"""earnBulk and earn: every check the platform makes, then the commit (contract 1, 2.1).

Belongs here: what is refused, in which order, and what is committed. Does not belong
here: shapes (`answers`), reading bodies (`bodies`), one customer's checks
(`customer_checks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flows.sandbox import answers, bodies
from flows.sandbox.answers import Listed
from flows.sandbox.bodies import Addressed
from flows.sandbox.codes import refusal
from flows.sandbox.customer_checks import CustomerChecks
from flows.sandbox.messages import RefusalError, Reply, Request
from flows.sandbox.moments import SECOND, moment
from flows.sandbox.records import Badge
from flows.sandbox.request_ids import RequestId
from flows.sandbox.switches import Switches
from flows.sandbox.windows import expires_at
from flows.sandbox.work import Context, Orders, Work


def begin_earn_bulk(context: Context, request: Request) -> Work:
    """Check a bulk earn and return the work that commits it."""
    switches = context.switches
    _refuse_too_large(switches.max_body_bytes, len(request.body), switches)
    sent = bodies.object_of(request)
    customer_ids = bodies.customer_ids_of(sent, "customerIds")
    _refuse_too_large(switches.max_customers, len(customer_ids), switches)
    earning = _Earning(context, sent, customer_ids, endpoint="earnBulk")

    def commit(orders: Orders) -> Reply:
        listed, expires = earning.committed(orders)
        if switches.shuffles:
            context.order.shuffle(listed)
        return answers.earn_bulk(earning.addressed, listed, expires, switches)

    return earning.work(commit)


def begin_earn(context: Context, request: Request) -> Work:
    """Check a single earn and return the work that commits it."""
    sent = bodies.object_of(request)
    customer_id = bodies.whole_number(bodies.text_of(sent, "customerId", 812))
    earning = _Earning(context, sent, [customer_id], endpoint="earn")

    def commit(orders: Orders) -> Reply:
        listed, _ = earning.committed(orders, fails_whole=True)
        return answers.single_earn(earning.addressed, listed[0], context.switches)

    return earning.work(commit)


def _refuse_too_large(most: int | None, size: int, switches: Switches) -> None:
    if most is None or size <= most:
        return
    if switches.too_large == "413":
        raise refusal(413, 413, "Payload too large.")
    raise refusal(1060)


class _Earning:
    """One request to earn: checked when it is made, committed when it is told to."""

    def __init__(
        self,
        context: Context,
        sent: dict[str, Any],
        customer_ids: Sequence[int],
        *,
        endpoint: str,
    ) -> None:
        self.addressed = bodies.addressed(sent)
        self._context = context
        self._customer_ids = customer_ids
        asked = _asked_date(context, sent)
        self._used = RequestId(context, self.addressed, endpoint=endpoint)
        try:
            self._badge = live_badge(context, self.addressed)
            self._earn_event_at = context.memory.now() if asked is None else asked
            _check_date(context, self._badge, self._earn_event_at)
            if context.switches.not_enrolled_refuses == "request":
                self._checks().refuse_not_enrolled(customer_ids)
        except RefusalError:
            self._used.failed()
            raise

    def work(self, commit: Callable[[Orders], Reply]) -> Work:
        """Return the work that this request is."""
        return Work(commit, self._used.failed, tuple(self._customer_ids))

    def _checks(self) -> CustomerChecks:
        return CustomerChecks(self._context, self._badge, self._earn_event_at)

    def committed(
        self, orders: Orders, *, fails_whole: bool = False
    ) -> tuple[list[Listed], int]:
        """Commit what nothing speaks against; list all customers, and their expiry.

        With `fails_whole` a customer's refusal is the whole request's.
        """
        try:
            accepted, refused = self._sorted(orders)
            if fails_whole and refused:
                code = refused[0][1]
                raise refusal(code, 409 if code == 811 else 400)
        except RefusalError:
            self._used.failed()
            raise
        now = self._context.memory.now()
        expires = _expires(self._context, self._badge, now)
        ids = self._context.memory.add_earns(
            self._badge.badge_meta_id,
            accepted,
            earn_event_at=self._earn_event_at,
            created_at=now,
            expires_at=expires,
            request_id=self.addressed.request_id,
        )
        self._used.end(orders.ends)
        is_expired = expires <= now
        listed = [
            Listed(customer_id, earned_badge_id, expires, is_expired)
            for customer_id, earned_badge_id in zip(accepted, ids, strict=True)
        ]
        for customer_id, code in refused:
            shown_id = self._id_beside_error(customer_id, now)
            listed.append(Listed(customer_id, shown_id, expires, is_expired, code))
        return listed, expires

    def _sorted(self, orders: Orders) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the customers who earn, and those who are refused with their codes."""
        count = math.ceil(len(self._customer_ids) * orders.share)
        reached = list(self._customer_ids[:count])
        checks = self._checks()
        if not checks.are_needed and not orders.codes:
            return reached, []
        accepted, refused = [], []
        for customer_id in reached:
            code = orders.codes.get(customer_id) or checks.code_against(customer_id)
            if code is None:
                accepted.append(checks.accept(customer_id))
            else:
                refused.append((customer_id, code))
        return accepted, refused

    def _id_beside_error(self, customer_id: int, now: int) -> str:
        """Return the id of the newest earn the customer has, else one that is none."""
        memory = self._context.memory
        earns = memory.active_earns(self._badge.badge_meta_id, customer_id)
        return earns[-1].earned_badge_id if earns else memory.ids.take(1, now)[0]


def _asked_date(context: Context, sent: dict[str, Any]) -> int | None:
    read = context.switches.earn_date_read
    if read == "ignored":
        return None
    has_iso = read == "iso_first"
    return bodies.date_of(sent, "earnEventDate", context.switches, has_iso=has_iso)


def live_badge(context: Context, addressed: Addressed) -> Badge:
    """Return the badge, if it is live, open to this owner and claimed by it."""
    switches, now = context.switches, context.memory.now()
    badge = context.memory.badges.get(addressed.badge_meta_id)
    if badge is None:
        code = switches.unknown_badge_code
        raise refusal(code, 404 if code == 404 else 400)
    is_upcoming = moment(badge.starts_at) > now
    is_over = switches.expired_badge_refused and moment(badge.expires_at) <= now
    if not badge.is_active or is_upcoming or is_over:
        raise refusal(815, switches.not_live_status)
    if addressed.owner_type not in badge.owners:
        raise refusal(714)
    if not badge.is_claimed_by(addressed.owner_type, addressed.reference_id):
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


def _expires(context: Context, badge: Badge, now: int) -> int:
    if context.switches.earns_expire_at_once:
        return now
    return expires_at(badge.expiry, badge, now, context.switches.zone)
