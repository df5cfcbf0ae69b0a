"""The platform's codes, in our words (contract 6), and the refusals made with them."""

from __future__ import annotations

from flows.sandbox.messages import RefusalError

MESSAGES = {
    400: "The request can't be read.",
    401: "Authentication failed.",
    404: "Badge not found.",
    714: "The badge is not open to this owner type.",
    716: "ownerType is missing.",
    717: "referenceId is missing.",
    737: "There is no such claim.",
    750: "The earn event date lies in the future.",
    804: "requestId is missing.",
    809: "This requestId has been used before.",
    810: "The badge has to be claimed first.",
    811: "The customer has to be enrolled before the badge can be earned.",
    812: "customerId is missing.",
    814: "The customer has no such active earn.",
    815: "The badge is not live.",
    816: "The event date lies outside the badge's duration.",
    900: "The badge is claimed by this owner already.",
    1026: "Customer not found.",
    1028: "The identifier type is not known.",
    1040: "There is an active issue of this badge already.",
    1054: "GLOBAL.BADGE_NOT_FOUND",
    1060: "Batch limit exceeded.",
    4000: "The login has no access to this resource.",
    4001: "Access can't be checked at present.",
    8015: "Customer not found.",
    8069: "The customer was merged into another.",
    91009: "The customer was merged; the survivor is returned.",
    999999: "Unexpected internal error.",
}


def refusal(code: int, status: int = 400, message: str = "") -> RefusalError:
    """Return the refusal of a whole request by a code."""
    return RefusalError(status, code, message or MESSAGES.get(code, "Refused."))
