"""Every behaviour that the platform's documents leave open, as a named switch.

Belongs here: the switches, what each decides, and its default. Does not belong here:
what is done with them, or faults (`faults`).

A default is what a document shows. Where none does, it is the plainest behaviour, and
its description says `silent`.
"""

from __future__ import annotations

from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flows.sandbox.records import EndpointName

_MAY_BE_NONE = ("ids_forgotten_after_seconds", "max_customers", "max_body_bytes")


class Switches(BaseModel):
    """How this sandbox behaves where the documents are silent or in conflict."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    # The answer of earnBulk -------------------------------------------------------
    response_shape: Literal["old", "new"] = "old"
    """`old`: issuedBadges (the reference page); `new`: earnedBadgesList and counts."""
    id_beside_error: bool = True
    """The old shape's one failure sample has an id beside the error."""
    null_error_beside_id: bool = False
    """The old shape's good elements carry `error: null`, as those of issueBulk do."""
    new_shape_has_request_id: bool = False
    """The new shape's sample does not repeat the request id."""
    failed_element: Literal["flat", "prefixed", "nested"] = "flat"
    """An element of failedEarnBadgeErrorList: {customerId, code, message},
    {customerId, errorCode, errorMessage} or {customerId, error: {…}}. Silent."""
    partial_status: int = 200
    """The HTTP status of a call in which some customers, or all, failed. Silent."""
    shuffles: bool = True
    """Customers come back in another order than they were sent."""
    empty_as: Literal["documented", "list", "null"] = "documented"
    """What stands for no errors and no warnings: `documented` is [] after a success
    and null for the warnings of a refusal."""
    server_zone: str = "UTC"
    """The zone of the ISO twins: Z in Europe, +05:30 in India."""
    seed: int = 0
    """Feeds the order of customers and the ids."""

    # Request ids ------------------------------------------------------------------
    failed_calls_burn_id: bool = False
    """Whether a refused or failed call uses up its id. Silent."""
    ids_registered_at: Literal["start", "end"] = "start"
    """Whether an id counts from the start or from the end of its processing. Silent."""
    ids_forgotten_after_seconds: float | None = Field(default=None, ge=0)
    """After how many seconds an id may be used again. Silent: never."""
    request_id_scope: Literal["organisation", "badge", "endpoint"] = "organisation"
    """Within what an id must be unique. Silent."""

    # Which date is taken ----------------------------------------------------------
    earn_date_read: Literal["iso_first", "legacy_only", "ignored"] = "iso_first"
    """`iso_first`: earnEventDate only counts without earnEventDateISO (newest page);
    `legacy_only`: the ISO field is not known to earnBulk; `ignored`: always now."""
    future_allowed_seconds: float = Field(default=86_400, ge=0)
    """How far ahead an earn date may lie; the older pages say not at all."""
    window_start_inclusive: bool = True
    """Whether an earn date at the badge's very start is inside its window. Silent."""
    window_end_inclusive: bool = True
    """Whether an earn date at the badge's very end is inside its window. Silent."""

    # Refusals ---------------------------------------------------------------------
    unknown_badge_code: Literal[404, 1054] = 404
    """A badge that isn't known: 404 with HTTP 404, or 1054 with HTTP 400."""
    not_live_status: int = 409
    """The HTTP status beside 815, for a badge that is not live. Silent."""
    expired_badge_refused: bool = False
    """Retro issue of an expired badge is described; code 815 speaks against it."""
    out_of_window_code: int = 816
    """The code of a date outside the window; 816 is documented for issueBulk only."""
    out_of_window_status: int = 400
    """The HTTP status beside it. Silent."""
    not_enrolled_refuses: Literal["request", "customer"] = "request"
    """Whether a customer without enrolment fails alone, or the request. Silent."""
    limit_code: int = 1041
    """The code of a limit that is reached. Silent."""
    limit_refuses: Literal["customer", "request"] = "customer"
    """Whether a limit fails the customer alone, or the whole request. Silent."""
    limit_status: int = 400
    """The HTTP status of a request that a limit refuses. Silent."""
    second_earn_refused: Literal["never", "same_date", "any_date"] = "never"
    """1040 for a second earn of a customer and badge: never, for the same earn date,
    or for any. The documents know 1040 for enrolments only."""
    second_issue: Literal["refused", "earlier_id"] = "refused"
    """Enrolling twice: 1040 (newer), or the earlier id again (an old sample)."""
    customers_known: Literal["any", "added"] = "any"
    """`any`: every id is a customer; `added`: only those that were added."""
    unknown_customer_code: int = 1026
    """The code of one customer nobody knows; 1026 is known of reads only. Silent."""
    merged_customer: Literal["issued", "refused", "survivor"] = "issued"
    """What an earn of a customer merged into another does: it is issued to that id,
    refused, or becomes the survivor's (and the answer lists the survivor). Silent."""
    merged_customer_code: int = 8069
    """The code of a merged customer who is refused."""
    max_customers: int | None = Field(default=None, ge=1)
    """Customers in one call: no document has a number."""
    max_body_bytes: int | None = Field(default=None, ge=1)
    """Bytes of one body. Silent."""
    too_large: Literal["413", "1060"] = "1060"
    """What too many of either gets: HTTP 413, or code 1060 with HTTP 400. Silent."""
    forbidden: frozenset[EndpointName] = frozenset()
    """Endpoints outside the access group of the login: 403 with code 4000."""

    # Logins and pace --------------------------------------------------------------
    basic_allowed: bool = True
    """Basic is on by default for an organisation and can be switched off."""
    short_token_header: bool = False
    """One page names CAP-API-ACCESS-TOKEN for the header of the token."""
    token_ttl_seconds: int = Field(default=300, ge=1)
    """The life of a token; the page's sample says 300 s."""
    rate_limit_per_minute: int = Field(default=0, ge=0)
    """Calls per login in any 60 s, 0 for no limit: the badge pages give none."""
    retry_after: Literal["none", "seconds", "date"] = "none"
    """What a 429 says of the wait. Silent."""
    latency_seconds: float = Field(default=0, ge=0)
    """Every call takes at least this long."""

    # Reading back -----------------------------------------------------------------
    earns_listed: Literal["all", "newest", "empty", "absent"] = "all"
    """`earns` of one badge of a customer: every earn, the newest few, an empty list
    (all the samples), or no such key. Silent."""
    earns_newest: int = Field(default=1, ge=0)
    """How many `newest` lists; the count beside the list stays right."""
    earn_id_key: Literal["earnedBadgeId", "earnId", "issuedId", "id"] = "earnedBadgeId"
    """The name of the id inside an element of `earns`. Silent."""
    earn_date_as: Literal["twin", "text", "seconds", "none"] = "twin"
    """`twin`: earnEventDate in seconds and earnEventDateISO; `text`: earnEventDate as
    ISO text; `seconds`: the number alone; `none`: no date at all. Silent."""
    earns_counted: Literal["all", "active"] = "all"
    """Whether earns that have expired are still counted and listed. Silent."""
    dates_read_back: Literal["exact", "day"] = "exact"
    """Dates read back: as sent, or as the start of their day in the server's zone."""
    dates_shifted_seconds: int = 0
    """Dates read back are off by this much, as by a zone's offset."""
    reads_lag_seconds: float = Field(default=0, ge=0)
    """Reads show the memory as it was this long ago. Silent."""
    last_earn_is: Literal["newest_event", "newest_posted"] = "newest_event"
    """Whose date lastEarnEventDate is: the latest date, or the earn posted last.
    Silent."""
    earns_expire_at_once: bool = False
    """Whatever the badge says, an earn has expired when it is made."""
    list_container: Literal["object", "list"] = "object"
    """A customer's list of badges: an object with it inside (the samples), or `data`
    itself is the list."""
    pagination_inside: bool = True
    """Whether `pagination` stands inside `data` (the samples) or beside it."""

    @field_validator("server_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, OSError) as error:
            raise ValueError(f"{name} is no time zone") from error
        return name

    @model_validator(mode="before")
    @classmethod
    def _reads_texts(cls, values: Any) -> Any:
        """Take values from a command line too: `none` is none, commas part a set."""
        if not isinstance(values, dict):
            return values
        read = dict(values)
        for name, value in values.items():
            if value == "none" and name in _MAY_BE_NONE:
                read[name] = None
        if isinstance(names := read.get("forbidden"), str):
            read["forbidden"] = frozenset(filter(None, names.split(",")))
        return read

    @property
    def zone(self) -> ZoneInfo:
        """Return the server's zone."""
        return ZoneInfo(self.server_zone)
