"""What the sandbox's platform remembers, in memory and in its journal.

Belongs here: keeping and finding. Does not belong here: whether something is allowed
(`earning`, `claiming`) and how it is told (`answers`, `readings`).

Every change is a line of JSON in the journal, flushed before the change is answered;
a sandbox started on the same file knows all of it again. One lock guards everything,
so that a test may read while the server runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.sandbox.earn_store import Batch, EarnStore
from flows.sandbox.journal import Journal
from flows.sandbox.moments import moment
from flows.sandbox.object_ids import ObjectIds, counter_of
from flows.sandbox.records import Badge, Claim, Customer, Issue, StoredEarn

IDENTIFIERS = {
    "mobile": "mobile",
    "email": "email",
    "externalId": "external_id",
    "cardNumber": "card_number",
}


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(tz=UTC)


class Memory:
    """Badges, claims, customers, enrolments, earns and request ids of one platform."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        seed: int = 0,
    ) -> None:
        self.lock = threading.RLock()
        self.ids = ObjectIds(seed)
        self.badges: dict[str, Badge] = {}
        self.customers: dict[int, Customer] = {}
        self.request_ids: dict[tuple[str, str], int] = {}
        self.revoked: dict[str, int] = {}
        self.earns = EarnStore()
        self._issues: dict[str, dict[int, list[Issue]]] = {}
        self._identified: dict[tuple[str, str], int] = {}
        self._clock = clock
        self._journal = Journal(path)
        for what, fields in self._journal.replayed():
            getattr(self, f"_know_{what}")(**fields)

    def now(self) -> int:
        """Return the present instant in microseconds since 1970."""
        return moment(self._clock())

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    # Badges, claims, customers ----------------------------------------------------

    def put_badge(self, badge: Badge) -> None:
        """Remember a badge, or how it is set up now."""
        self._change("badge", badge=badge.model_dump(mode="json"))

    def _know_badge(self, badge: dict[str, Any]) -> None:
        known = Badge.model_validate(badge)
        self.badges[known.badge_meta_id] = known

    def put_claim(self, badge_meta_id: str, claim: Claim) -> None:
        """Remember a claim in the place of the one with its owner and reference."""
        badge = self.badges[badge_meta_id]
        pair = (claim.owner_type, claim.reference_id)
        others = [c for c in badge.claims if (c.owner_type, c.reference_id) != pair]
        self.put_badge(badge.model_copy(update={"claims": (*others, claim)}))

    def put_customer(self, customer: Customer) -> None:
        """Remember a customer and the identifiers it is found by."""
        self._change("customer", customer=customer.model_dump(mode="json"))

    def _know_customer(self, customer: dict[str, Any]) -> None:
        known = Customer.model_validate(customer)
        self.customers[known.customer_id] = known
        for name, field in IDENTIFIERS.items():
            if value := getattr(known, field):
                self._identified[name, value] = known.customer_id

    def customer_by(self, identifier: str, value: str) -> int | None:
        """Return the customer with this mobile, email, external id or card number."""
        return self._identified.get((identifier, value))

    # Request ids ------------------------------------------------------------------

    def burn(self, scope: str, request_id: str) -> None:
        """Remember that a request id was used."""
        self._change("request_id", scope=scope, request_id=request_id, at=self.now())

    def _know_request_id(self, scope: str, request_id: str, at: int) -> None:
        self.request_ids[scope, request_id] = at

    def free(self, scope: str, request_id: str) -> None:
        """Forget that a request id was used."""
        self._change("freed", scope=scope, request_id=request_id)

    def _know_freed(self, scope: str, request_id: str) -> None:
        self.request_ids.pop((scope, request_id), None)

    # Enrolments -------------------------------------------------------------------

    def add_issue(self, badge_meta_id: str, issue: Issue) -> None:
        """Remember an enrolment."""
        self._change("issue", badge_meta_id=badge_meta_id, issue=list(issue))

    def _know_issue(self, badge_meta_id: str, issue: list[Any]) -> None:
        known = Issue(*issue)
        by_customer = self._issues.setdefault(badge_meta_id, {})
        by_customer.setdefault(known.customer_id, []).append(known)
        self._know_id(known.issue_id)

    def issues(self, badge_meta_id: str, customer_id: int) -> Sequence[Issue]:
        """Return the enrolments of a customer for a badge, oldest first."""
        return self._issues.get(badge_meta_id, {}).get(customer_id, ())

    # Earns ------------------------------------------------------------------------

    def add_earns(
        self,
        badge_meta_id: str,
        customer_ids: Sequence[int],
        *,
        earn_event_at: int,
        created_at: int,
        expires_at: int,
        request_id: str | None,
    ) -> list[str]:
        """Commit an earn for each of the customers; return the ids, in that order."""
        ids = self.ids.take(len(customer_ids), created_at)
        batch = Batch(
            badge_meta_id,
            customer_ids,
            ids,
            earn_event_at,
            created_at,
            expires_at,
            request_id,
        )
        self._journal.write("earns", {"batch": list(batch)})
        self._know_earns(batch)
        return ids

    def _know_earns(self, batch: Sequence[Any]) -> None:
        known = Batch(*batch)
        self.earns.add(known)
        if known.earned_badge_ids:
            self._know_id(known.earned_badge_ids[-1])

    def _know_id(self, object_id: str) -> None:
        self.ids.made = max(self.ids.made, counter_of(object_id))

    def revoke(self, earned_badge_id: str) -> None:
        """Remember that an earn was taken back."""
        self._change("revoked", earned_badge_id=earned_badge_id, at=self.now())

    def _know_revoked(self, earned_badge_id: str, at: int) -> None:
        self.revoked[earned_badge_id] = at

    def active_earns(self, badge_meta_id: str, customer_id: int) -> list[StoredEarn]:
        """Return a customer's earns of a badge that were not taken back."""
        return [
            earn
            for earn in self.earns.of(badge_meta_id, customer_id)
            if earn.earned_badge_id not in self.revoked
        ]

    def _change(self, what: str, **fields: Any) -> None:
        self._journal.write(what, fields)
        getattr(self, f"_know_{what}")(**fields)
