"""The platform's codes: what each means on earnBulk, and what to do about it.

Belongs here: the one table of codes and the reading of an HTTP status. Does not belong
here: reading answers (`outcomes`) and what follows from them (`flows`).

Codes are per resource (contract 5.5): 816 is a date here and a missing customer
elsewhere. Codes that no page gives for earnBulk decide nothing about a whole request;
a customer who is listed with one waits for a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from transforms.statuses import AwardStatus


class RequestEffect(StrEnum):
    """What a refusal says about all customers of a request (settlement 3)."""

    FAILED = "failed"  # refused, and a retry can't mend it
    BLOCKED = "blocked"  # refused until someone mends it
    NOT_PROCESSED = "not_processed"  # surely nothing was done: the same again, later
    LOGIN_REFUSED = "login_refused"
    TOO_LARGE = "too_large"
    REPEATED = "repeated"  # the platform has seen this id
    AMBIGUOUS = "ambiguous"  # may have been carried out


@dataclass(frozen=True, slots=True)
class Effect:
    """What a code decides: for a customer listed with it, and for a whole request."""

    customer: AwardStatus
    request: RequestEffect
    stops_badge: bool = False


@dataclass(frozen=True, slots=True)
class PlatformCode:
    """A code in words for the people who read the audit, and what it decides."""

    code: int
    meaning: str
    what_to_do: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class WholeRequest:
    """What an answer without items decides about its request."""

    result: RequestEffect
    stops_badge: bool = False


_FAILED = Effect(AwardStatus.FAILED, RequestEffect.FAILED)
_FAILED_BADGE = Effect(AwardStatus.FAILED, RequestEffect.FAILED, stops_badge=True)
_BLOCKED_BADGE = Effect(AwardStatus.BLOCKED, RequestEffect.BLOCKED, stops_badge=True)
_TOO_LARGE = Effect(AwardStatus.BLOCKED, RequestEffect.TOO_LARGE)
_REPEATED = Effect(AwardStatus.UNKNOWN, RequestEffect.REPEATED)
_HELD = Effect(AwardStatus.ALREADY_EARNED, RequestEffect.AMBIGUOUS)
_UNPROVED = Effect(AwardStatus.UNKNOWN, RequestEffect.AMBIGUOUS)
_NOT_PROCESSED = Effect(AwardStatus.UNKNOWN, RequestEffect.NOT_PROCESSED)
_FOREIGN = Effect(AwardStatus.BLOCKED, RequestEffect.AMBIGUOUS)

CODES: tuple[PlatformCode, ...] = (
    PlatformCode(
        400,
        "The request is malformed, or names an owner type the platform does not know.",
        "Read the platform's message in `attempts`; report it as a defect.",
        _FAILED,
    ),
    PlatformCode(
        404,
        "The badge does not exist here; of one customer: there is no enrolment.",
        "Check `badge_meta_id` with `retrobadge badges`, and the base URL's region.",
        _FAILED_BADGE,
    ),
    PlatformCode(
        461,
        "Another action was running for the same customer.",
        "Send it again with `retrobadge retry` when the other job is over.",
        _FOREIGN,
    ),
    PlatformCode(
        521,
        "Another action was running for the customer, or the platform's edge was down.",
        "Send it again with `retrobadge retry` when the platform is quiet.",
        _FOREIGN,
    ),
    PlatformCode(
        714,
        "The badge does not allow the owner type `Historical_Import`.",
        "Add Historical_Import to the badge's owners on the platform.",
        _FAILED,
    ),
    PlatformCode(
        716,
        "The owner type is missing in the request.",
        "It is always sent: report this as a defect, with the request id.",
        _FAILED,
    ),
    PlatformCode(
        717,
        "The owner's reference id is missing in the request.",
        "Give the badge a `reference_id` that is not blank, as in its claim.",
        _FAILED,
    ),
    PlatformCode(
        720,
        "A rule for editing badges: its end does not come after its start.",
        "Nothing here edits badges: look at who is changing this badge now.",
        _FOREIGN,
    ),
    PlatformCode(
        722,
        "A rule for creating badges: the start lies in the past.",
        "Nothing here creates badges: ask the platform why earnBulk answers with it.",
        _FOREIGN,
    ),
    PlatformCode(
        723,
        "A rule for editing badges: the start of a live badge is fixed.",
        "Nothing here edits badges: look at who is changing this badge now.",
        _FOREIGN,
    ),
    PlatformCode(
        724,
        "A rule for editing badges: the new end lies in the past.",
        "Nothing here edits badges: look at who is changing this badge now.",
        _FOREIGN,
    ),
    PlatformCode(
        725,
        "A rule for creating badges: the name is taken.",
        "Nothing here creates badges: ask the platform why earnBulk answers with it.",
        _FOREIGN,
    ),
    PlatformCode(
        728,
        "A rule for creating badges: no owner was named.",
        "Nothing here creates badges; check the badge's owners all the same.",
        _FOREIGN,
    ),
    PlatformCode(
        732,
        "A rule of badge groups: the rank is missing.",
        "Nothing here touches groups: ask the platform why earnBulk answers with it.",
        _FOREIGN,
    ),
    PlatformCode(
        733,
        "A rule of badge groups: the name is taken.",
        "Nothing here touches groups: ask the platform why earnBulk answers with it.",
        _FOREIGN,
    ),
    PlatformCode(
        737,
        "No such claim: known from unclaiming a badge.",
        "Look at the badge's claims with `retrobadge badges`.",
        _FOREIGN,
    ),
    PlatformCode(
        750,
        "The earn date lies in the future, by the platform's clock.",
        "Earn dates after `as_of` are never sent: compare this machine's clock.",
        _FAILED,
    ),
    PlatformCode(
        804,
        "The request id is missing in the request.",
        "It is always sent: report this as a defect, with the request id.",
        _FAILED,
    ),
    PlatformCode(
        809,
        "The platform has seen this request id; it does not repeat its first answer.",
        "Nothing by hand: reading back settles it; what stays `unknown` is listed.",
        _REPEATED,
    ),
    PlatformCode(
        810,
        "The badge is not claimed for Historical_Import and this reference id.",
        "Claim it with `retrobadge claim DEFINITION --yes`, then `retrobadge retry`.",
        _BLOCKED_BADGE,
    ),
    PlatformCode(
        811,
        "The badge wants its customers enrolled before they can earn it.",
        "Enrol the customers on the platform, then `retrobadge retry`.",
        _BLOCKED_BADGE,
    ),
    PlatformCode(
        812,
        "The customer ids are missing in the request.",
        "They are always sent: report this as a defect, with the request id.",
        _FAILED,
    ),
    PlatformCode(
        814,
        "There is no active earn to take back: known from revoking.",
        "When revoking: it is gone already. On an award: look at it with `explain`.",
        _FOREIGN,
    ),
    PlatformCode(
        815,
        "The badge is not live.",
        "Activate the badge, or extend its end, on the platform; then retry.",
        _BLOCKED_BADGE,
    ),
    PlatformCode(
        816,
        "The earn date lies outside the badge's own duration.",
        "Compare the badge's window with `earn_event_date`; `plan` shows both.",
        _FAILED,
    ),
    PlatformCode(
        826,
        "A rule for editing badges: the kind of a limit's window is fixed.",
        "Nothing here edits badges: look at who is changing this badge now.",
        _FOREIGN,
    ),
    PlatformCode(
        900,
        "The badge was claimed by this owner before: a warning, and as good as done.",
        "Nothing when claiming. On an award: ask the platform what it stands for.",
        _FOREIGN,
    ),
    PlatformCode(
        1026,
        "The platform does not know the customer: known from reading customers.",
        "Check the customer id; if it was merged, give its survivor in `[customers]`.",
        _FOREIGN,
    ),
    PlatformCode(
        1028,
        "The kind of customer identifier is wrong: known from reading customers.",
        "Ids are sent as plain numbers: ask the platform what it wants.",
        _FOREIGN,
    ),
    PlatformCode(
        1040,
        "The customer holds an active issue of this badge that overlaps.",
        "Nothing if the badge may be held once; else revoke the other one first.",
        _HELD,
    ),
    PlatformCode(
        1051,
        "Neither customers nor enrolments were named: known from revoking enrolments.",
        "Nothing here revokes enrolments: ask the platform what it stands for.",
        _FOREIGN,
    ),
    PlatformCode(
        1054,
        "The badge belongs to another organisation.",
        "Check `badge_meta_id` and the account: badges can't be used across them.",
        _FAILED_BADGE,
    ),
    PlatformCode(
        1060,
        "The request holds more customers than the platform takes.",
        "It is split by itself; lower `CAPILLARY_BATCH_SIZE` to spare the calls.",
        _TOO_LARGE,
    ),
    PlatformCode(
        4000,
        "The account may not use this resource: access control.",
        "Give the till or client an access group that has badges, then retry.",
        _BLOCKED_BADGE,
    ),
    PlatformCode(
        4001,
        "The platform could not check the account's rights at that moment.",
        "Nothing by hand: with HTTP 503 it is sent again by itself.",
        _NOT_PROCESSED,
    ),
    PlatformCode(
        8015,
        "The platform does not know the customer: known from looking customers up.",
        "Check the customer id against the platform's export of customers.",
        _FOREIGN,
    ),
    PlatformCode(
        8069,
        "The customer was merged into another one: known from customer reads.",
        "Give the survivor in `[customers]` as `survivor_id`, and run again.",
        _FOREIGN,
    ),
    PlatformCode(
        91009,
        "The customer was merged; the message names the survivor.",
        "Give the survivor in `[customers]` as `survivor_id`, and run again.",
        _FOREIGN,
    ),
    PlatformCode(
        999999,
        "An unexpected fault inside the platform: the earn may stand all the same.",
        "Nothing by hand: reading back settles it; what stays `unknown` is listed.",
        _UNPROVED,
    ),
)
_BY_CODE = {entry.code: entry for entry in CODES}


def platform_code(code: int | None) -> PlatformCode:
    """Return what is known of a code; of an unknown one, that it is unknown."""
    known = None if code is None else _BY_CODE.get(code)
    if known is not None:
        return known
    return PlatformCode(
        code or 0,
        "The platform gave an error without a code."
        if code is None
        else f"Code {code} is in none of the pages that this version was made from.",
        "Read the platform's message in `audit`, mend it, then `retrobadge retry`.",
        _FOREIGN,
    )


def customer_status(code: int | None) -> AwardStatus:
    """Return the status of a customer who is listed with an error.

    1040 says `already_earned`; where the ledger holds another live award of the badge
    and customer, that proves nothing, and the caller makes it `blocked`. Unknown codes,
    and errors without a code, are `blocked`: a person decides.
    """
    return platform_code(code).effect.customer


# Statuses whose body decides nothing, for the work may have been done: settlement 3.
_UNPROVED_STATUSES = frozenset({408, 425, 461, 499})


def request_effect(
    http_status: int, code: int | None, message: str | None = None
) -> WholeRequest:
    """Return what an answer without items decides about the whole request.

    `code` and `message` are those of an `errors[]` entry of an envelope; None where
    there is no envelope or no such entry. What is named nowhere is ambiguous.
    """
    by_status = _by_http_status(http_status, code)
    if by_status is not None:
        return WholeRequest(by_status)
    entry = None if code is None else _BY_CODE.get(code)
    if code is not None and _is_size_complaint(message) and not _is_decided(entry):
        return WholeRequest(RequestEffect.TOO_LARGE)
    if entry is None or entry.effect.request is RequestEffect.NOT_PROCESSED:
        return WholeRequest(RequestEffect.AMBIGUOUS)
    if entry.code == 4000 and http_status != 403:
        return WholeRequest(RequestEffect.AMBIGUOUS)
    return WholeRequest(entry.effect.request, stops_badge=entry.effect.stops_badge)


def _by_http_status(http_status: int, code: int | None) -> RequestEffect | None:
    """Return what the HTTP status decides whatever the code, or None."""
    decided = {
        401: RequestEffect.LOGIN_REFUSED,
        413: RequestEffect.TOO_LARGE,
        429: RequestEffect.NOT_PROCESSED,
    }
    if http_status in decided:
        return decided[http_status]
    if http_status == 503 and code is not None:
        return RequestEffect.NOT_PROCESSED
    is_redirect = 300 <= http_status < 400
    if is_redirect or http_status >= 500 or http_status in _UNPROVED_STATUSES:
        return RequestEffect.AMBIGUOUS
    return None


def _is_decided(entry: PlatformCode | None) -> bool:
    """Tell codes that say exactly what was wrong; 400 is said of anything."""
    if entry is None or entry.code == 400:
        return False
    return entry.effect is not _FOREIGN


# `customer` alone would take "customer limit exceeded" for a matter of size.
_WHAT = re.compile(r"customers|customer ?ids|batch|payload|request (body|entity|size)")
_TOO_MUCH = re.compile(r"too (many|large|long|big)|at most|max|exceed|size|limit")


def _is_size_complaint(message: str | None) -> bool:
    """Tell a message that complains of too many customers or bytes in one call."""
    if message is None:
        return False
    text = message.casefold()
    return bool(_WHAT.search(text) and _TOO_MUCH.search(text))
