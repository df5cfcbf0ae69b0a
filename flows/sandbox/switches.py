"""Every behaviour that the platform's documents leave open, as a named switch.

Belongs here: the switches, what each decides, and its default. Does not belong here:
what is done with them, or faults (`faults`).

A default is what a document shows. Where none does, it is the plainest behaviour, and
the comment says `silent`.
"""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Switches(BaseModel):
    """How this sandbox behaves where the documents are silent or in conflict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The answer of earnBulk -------------------------------------------------------
    # `old`: issuedBadges (the reference page); `new`: earnedBadgesList and counts.
    response_shape: Literal["old", "new"] = "old"
    # The old shape's one failure sample has an id beside the error.
    id_beside_error: bool = True
    # The new shape's sample does not repeat the request id.
    new_shape_has_request_id: bool = False
    # An element of failedEarnBadgeErrorList: {customerId, code, message},
    # {customerId, errorCode, errorMessage} or {customerId, error: {…}}. Silent.
    failed_element: Literal["flat", "prefixed", "nested"] = "flat"
    # The HTTP status of a call in which some customers, or all, failed. Silent.
    partial_status: int = 200
    # Customers come back in another order than they were sent.
    shuffles: bool = True
    # What stands for no errors and no warnings: `documented` is [] after a success
    # and null for the warnings of a refusal.
    empty_as: Literal["documented", "list", "null"] = "documented"
    # The zone of the ISO twins: Z in Europe, +05:30 in India.
    server_zone: str = "UTC"
    # Feeds the order of customers and the ids.
    seed: int = 0

    # Request ids ------------------------------------------------------------------
    # Whether a refused or failed call uses up its id. Silent.
    failed_calls_burn_id: bool = False
    # Whether an id counts from the start or from the end of its processing. Silent.
    ids_registered_at: Literal["start", "end"] = "start"
    # After how many seconds an id may be used again. Silent: never.
    ids_forgotten_after_seconds: float | None = Field(default=None, ge=0)
    # Within what an id must be unique. Silent.
    request_id_scope: Literal["organisation", "badge", "endpoint"] = "organisation"

    # Which date is taken ----------------------------------------------------------
    # `iso_first`: earnEventDate only counts without earnEventDateISO (newest page);
    # `legacy_only`: the ISO field is not known to earnBulk; `ignored`: always now.
    earn_date_read: Literal["iso_first", "legacy_only", "ignored"] = "iso_first"
    # How far ahead an earn date may lie; the older pages say not at all.
    future_allowed_seconds: float = Field(default=86_400, ge=0)
    # Whether the window's own edges are inside. Silent.
    window_start_inclusive: bool = True
    window_end_inclusive: bool = True

    # Refusals ---------------------------------------------------------------------
    # A badge that isn't known: 404 with HTTP 404, or 1054 with HTTP 400.
    unknown_badge_code: Literal[404, 1054] = 404
    # The HTTP status beside 815, for a badge that is not live. Silent.
    not_live_status: int = 409
    # Retro issue of an expired badge is described; code 815 speaks against it.
    expired_badge_refused: bool = False
    # An earn date outside the window; 816 is documented for issueBulk only.
    out_of_window_code: int = 816
    out_of_window_status: int = 400
    # Whether a customer without enrolment fails alone, or the whole request. Silent.
    not_enrolled_refuses: Literal["request", "customer"] = "request"
    # The code of a limit that is reached, and whether it fails the customer alone or
    # the whole request with that status. Silent.
    limit_code: int = 1041
    limit_refuses: Literal["customer", "request"] = "customer"
    limit_status: int = 400
    # 1040 for a second earn of a customer and badge: never, for the same earn date,
    # or for any. The documents know 1040 for enrolments only.
    second_earn_refused: Literal["never", "same_date", "any_date"] = "never"
    # Enrolling twice: 1040 (newer), or the earlier id again (an old sample).
    second_issue: Literal["refused", "earlier_id"] = "refused"
    # `any`: every id is a customer; `added`: only those that were added.
    customers_known: Literal["any", "added"] = "any"
    # The code of a customer nobody knows, per customer; 1026 is known of reads only.
    unknown_customer_code: int = 1026
    # A customer merged into another. Silent.
    merged_customer: Literal["issued", "refused", "survivor"] = "issued"
    merged_customer_code: int = 8069
    # Customers in one call: no document has a number.
    max_customers: int | None = Field(default=None, ge=1)
    # Bytes of one body. Silent.
    max_body_bytes: int | None = Field(default=None, ge=1)
    # What too many of either gets: a bare HTTP 413, or code 1060 with HTTP 400.
    too_large: Literal["413", "1060"] = "1060"
    # Endpoints outside the access group of the login: 403 with code 4000.
    forbidden: frozenset[str] = frozenset()

    # Logins and pace --------------------------------------------------------------
    # Basic is on by default for an organisation and can be switched off.
    basic_allowed: bool = True
    # One page names CAP-API-ACCESS-TOKEN for the header of the token.
    short_token_header: bool = False
    # The life of a token; the page's sample says 300 s.
    token_ttl_seconds: int = Field(default=300, ge=1)
    # Calls per login in any 60 s, 0 for no limit: the badge pages give none.
    rate_limit_per_minute: int = Field(default=0, ge=0)
    # What a 429 says of the wait. Silent.
    retry_after: Literal["none", "seconds", "date"] = "none"
    # Every call takes at least this long.
    latency_seconds: float = Field(default=0, ge=0)

    # Reading back -----------------------------------------------------------------
    # `earns` of one badge of a customer: every earn, the newest few, an empty list
    # (all the samples), or no such key. Silent.
    earns_listed: Literal["all", "newest", "empty", "absent"] = "all"
    earns_newest: int = Field(default=1, ge=0)
    # The names inside an element of `earns`. Silent.
    earn_id_key: Literal["earnedBadgeId", "earnId", "issuedId", "id"] = "earnedBadgeId"
    # `twin`: earnEventDate in seconds and earnEventDateISO; `text`: earnEventDate as
    # ISO text; `seconds`: the number alone; `none`: no date at all. Silent.
    earn_date_as: Literal["twin", "text", "seconds", "none"] = "twin"
    # Whether an earn that has expired is still counted and listed. Silent.
    earns_counted: Literal["all", "active"] = "all"
    # Dates read back: as sent, or as the start of their day in the server's zone.
    dates_read_back: Literal["exact", "day"] = "exact"
    # Dates read back are off by this much, as by a zone's offset.
    dates_shifted_seconds: int = 0
    # Reads show the memory as it was this long ago. Silent.
    reads_lag_seconds: float = Field(default=0, ge=0)
    # Whatever the badge says, an earn has expired when it is made.
    earns_expire_at_once: bool = False
    # A customer's list of badges: `data` is the list, or an object with it inside;
    # `pagination` beside `data`, or inside it. Silent.
    list_container: Literal["object", "list"] = "object"
    pagination_inside: bool = True

    @field_validator("server_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        ZoneInfo(name)
        return name

    @property
    def zone(self) -> ZoneInfo:
        """Return the server's zone."""
        return ZoneInfo(self.server_zone)
