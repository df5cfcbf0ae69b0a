"""What the sandbox remembers, one record each; nothing that decides.

Instants inside are microseconds since 1970 (`moments`); `Earn` and `Call`, which are
for reading, carry aware UTC datetimes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

EndpointName = Literal[
    "earnBulk",
    "earn",
    "issueBulk",
    "import",
    "claim",
    "unclaim",
    "revokeEarn",
    "badgeMetaList",
    "badgeMeta",
    "customer",
    "management",
    "customerBadge",
    "lookup",
    "token",
]
OWNER_TYPES = (
    "Loyalty",
    "Loyalty_Promotion",
    "Referral_Campaigns",
    "Journeys",
    "Audience_Campaigns",
    "Rewards_Catalog",
    "Goodwill_Module",
    "Milestones",
    "Historical_Import",
)


class Record(BaseModel):
    """A record never changes and refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(Record):
    """A badge's owner and its reference; an earn must name the same pair."""

    owner_type: str = "Historical_Import"
    reference_id: str
    is_active: bool = True


class Expiry(Record):
    """When an earned badge expires; `relative` counts from the processing time."""

    kind: Literal["never", "relative", "with_badge", "fixed_date"] = "never"
    value: int = Field(default=0, ge=0, le=1200)
    unit: Literal["DAYS", "WEEKS", "MONTHS"] = "DAYS"
    expires_at: AwareDatetime | None = None


class Limit(Record):
    """How many earns: of one customer, or of the badge; in all, or per window.

    `rolling` windows end now, `fixed` ones hold the earn date (contract 7).
    """

    of: Literal["customer", "badge"] = "customer"
    kind: Literal["total", "rolling", "fixed"] = "total"
    max_earns: int = Field(default=1, ge=1)
    unit: Literal["DAYS", "WEEKS", "MONTHS"] = "DAYS"
    value: int = Field(default=1, ge=1, le=1200)


class Badge(Record):
    """One badge, as an operator of the platform has set it up."""

    badge_meta_id: str
    name: str
    numeric_id: int = 1
    starts_at: AwareDatetime = datetime(2000, 1, 1, tzinfo=UTC)
    expires_at: AwareDatetime = datetime(2100, 1, 1, tzinfo=UTC)
    earn_type: Literal["EARN", "ISSUE_EARN"] = "EARN"
    is_active: bool = True
    owners: tuple[str, ...] = ("Historical_Import",)
    claims: tuple[Claim, ...] = ()
    expiry: Expiry = Expiry()
    issue_expiry: Expiry = Expiry(kind="with_badge")
    limits: tuple[Limit, ...] = ()

    def is_claimed_by(self, owner_type: str, reference_id: str) -> bool:
        """Tell whether this pair has an active claim."""
        return any(
            claim.is_active
            and (claim.owner_type, claim.reference_id) == (owner_type, reference_id)
            for claim in self.claims
        )


class Customer(Record):
    """A customer; `survivor_id` is set once merged into another."""

    customer_id: int
    mobile: str | None = None
    email: str | None = None
    external_id: str | None = None
    card_number: str | None = None
    survivor_id: int | None = None


class StoredEarn(NamedTuple):
    """One earn as it was committed."""

    earned_badge_id: str
    badge_meta_id: str
    customer_id: int
    earn_event_at: int
    created_at: int
    expires_at: int
    request_id: str | None


class Issue(NamedTuple):
    """One enrolment of a customer for a badge that wants it."""

    issue_id: str
    customer_id: int
    starts_at: int
    expires_at: int
    created_at: int
    owner_type: str
    reference_id: str


class Earn(NamedTuple):
    """One earn, for reading. An earn that was revoked is not active."""

    earned_badge_id: str
    badge_meta_id: str
    customer_id: int
    earn_event_date: datetime
    created_at: datetime
    expires_on: datetime
    request_id: str | None
    is_active: bool


class Call(NamedTuple):
    """One HTTP call. `status` is None while nothing, or nothing whole, was answered."""

    at: datetime
    endpoint: str
    method: str
    path: str
    status: int | None
    request_id: str | None
    customer_ids: tuple[int, ...]
    fault: str | None
