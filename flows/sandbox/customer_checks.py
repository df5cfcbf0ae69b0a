"""What may speak against one customer's earn: unknown, merged, enrolment, limits.

Belongs here: the code against one customer of a call. Does not belong here: what
refuses a request as a whole, but for the two refusals that a switch makes whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from flows.sandbox.codes import refusal
from flows.sandbox.records import Badge, Limit, StoredEarn
from flows.sandbox.windows import limit_window
from flows.sandbox.work import Context


class CustomerChecks:
    """The checks of one call; it counts what the call itself has accepted so far."""

    def __init__(self, context: Context, badge: Badge, earn_event_at: int) -> None:
        self._memory = context.memory
        self._switches = context.switches
        self._badge = badge
        self._earn_event_at = earn_event_at
        self._accepted: Counter[int] = Counter()

    @property
    def are_needed(self) -> bool:
        """Whether anything could speak against a customer at all."""
        switches = self._switches
        return bool(
            self._badge.limits
            or self._badge.earn_type == "ISSUE_EARN"
            or switches.second_earn_refused != "never"
            or switches.customers_known == "added"
            or (switches.merged_customer != "issued" and self._memory.customers)
        )

    def code_against(self, customer_id: int) -> int | None:
        """Return the code that refuses this customer, or None."""
        switches = self._switches
        customer = self._memory.customers.get(customer_id)
        if customer is None and switches.customers_known == "added":
            return switches.unknown_customer_code
        is_merged = customer is not None and customer.survivor_id is not None
        if is_merged and switches.merged_customer == "refused":
            return switches.merged_customer_code
        if code := self._enrolment_code(customer_id):
            return code
        if self._has_earned_before(customer_id):
            return 1040
        if any(self._is_reached(limit, customer_id) for limit in self._badge.limits):
            if switches.limit_refuses == "request":
                raise refusal(switches.limit_code, switches.limit_status)
            return switches.limit_code
        return None

    def accept(self, customer_id: int) -> int:
        """Count an earn of this call; return whose it becomes."""
        self._accepted[customer_id] += 1
        customer = self._memory.customers.get(customer_id)
        goes_on = self._switches.merged_customer == "survivor"
        if customer is None or customer.survivor_id is None or not goes_on:
            return customer_id
        return customer.survivor_id

    def earlier_id(self, customer_id: int) -> str | None:
        """Return the id of the newest earn the customer has, if there is one."""
        earns = self._active_earns(customer_id)
        return earns[-1].earned_badge_id if earns else None

    def refuse_not_enrolled(self, customer_ids: Sequence[int]) -> None:
        """Refuse the whole request if a customer's enrolment is missing."""
        if self._badge.earn_type == "EARN":
            return
        for customer_id in customer_ids:
            code = self._enrolment_code(customer_id)
            if code is not None:
                raise refusal(code, 409 if code == 811 else 400)

    def _enrolment_code(self, customer_id: int) -> int | None:
        if self._badge.earn_type == "EARN":
            return None
        issues = self._memory.issues(self._badge.badge_meta_id, customer_id)
        if not issues:
            return 811
        at = self._earn_event_at
        if any(issue.starts_at <= at <= issue.expires_at for issue in issues):
            return None
        return self._switches.out_of_window_code

    def _active_earns(self, customer_id: int) -> list[StoredEarn]:
        return self._memory.active_earns(self._badge.badge_meta_id, customer_id)

    def _has_earned_before(self, customer_id: int) -> bool:
        refused = self._switches.second_earn_refused
        if refused == "never":
            return False
        if self._accepted[customer_id]:
            return True
        return any(
            refused == "any_date" or earn.earn_event_at == self._earn_event_at
            for earn in self._active_earns(customer_id)
        )

    def _is_reached(self, limit: Limit, customer_id: int) -> bool:
        if limit.of == "badge":
            earns = self._earns_of_badge
            counted = sum(self._accepted.values())
        else:
            earns = self._active_earns(customer_id)
            counted = self._accepted[customer_id]
        window = limit_window(
            limit,
            self._badge,
            now=self._memory.now(),
            earn_event_at=self._earn_event_at,
            zone=self._switches.zone,
        )
        if window is None:
            return counted + len(earns) >= limit.max_earns
        start, end = window
        # A rolling window looks at when earns were made, a fixed one at their dates.
        is_rolling = limit.kind == "rolling"
        for earn in earns:
            at = earn.created_at if is_rolling else earn.earn_event_at
            counted += start <= at < end
        return counted >= limit.max_earns

    @cached_property
    def _earns_of_badge(self) -> list[StoredEarn]:
        return [
            earn
            for earn in self._memory.earns.of_badge(self._badge.badge_meta_id)
            if earn.earned_badge_id not in self._memory.revoked
        ]
