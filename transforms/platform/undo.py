"""Taking an earned badge back: what is sent, and what an answer decides.

Belongs here: revokeEarn's body and answers (contract 2.7, settlement 6), and which
awards can be taken back at all. Does not belong here: calling, waiting and trying
again (`flows.commands.undo`).

A revocation may be repeated: the platform takes an earn back once, and says 814 after
that. So whatever is not decided is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
import polars as pl

from transforms.platform.outcomes import Answer, Failure, wait_seconds, whole_number

_NONE_ACTIVE = 814
_REFUSALS = frozenset({400, 403, 404, 405, 422})


class UndoResult(StrEnum):
    """What one revokeEarn answer decides; the words stand in `attempts`."""

    REVOKED = "revoked"
    NONE_ACTIVE = "none_active"  # 814: there is no active earn under this id
    NOT_REVOKED = "not_revoked"  # refused, by a code
    NOT_PROCESSED = "not_processed"  # surely: the same again, later
    LOGIN_REFUSED = "login_refused"
    AMBIGUOUS = "ambiguous"  # the same again


# After these the earn is as it was before the call.
DID_NOTHING = frozenset(
    {
        str(Failure.NOT_CONNECTED),
        str(UndoResult.NONE_ACTIVE),
        str(UndoResult.NOT_REVOKED),
        str(UndoResult.NOT_PROCESSED),
        str(UndoResult.LOGIN_REFUSED),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoDecision:
    """What one answer decides about one earn."""

    result: UndoResult
    error_code: int | None = None
    error_message: str | None = None
    wait_seconds: float | None = None


def revocation_id(award_id: str) -> str:
    """Return the name under which `attempts` keeps the calls that take an award back.

    It is no request of earnBulk: those that look for requests never find it.
    """
    return f"revoke-{award_id}"


def revocation_body(
    *, badge_meta_id: str, customer_id: int, earned_badge_id: str
) -> bytes:
    """Return the JSON to send."""
    return orjson.dumps(
        {
            "badgeMetaId": badge_meta_id,
            "customerId": customer_id,
            "earnedBadgeId": earned_badge_id,
        }
    )


def revocation(answer: Answer, *, earned_badge_id: str) -> UndoDecision:
    """Return what an answer decides.

    Only an envelope decides: `data` that says the earn is no longer active, or an
    error with a code. Everything else is ambiguous.
    """
    if answer.failure is Failure.NOT_CONNECTED:
        return UndoDecision(
            result=UndoResult.NOT_PROCESSED, error_message="no connection"
        )
    if answer.http_status == 401:
        return UndoDecision(result=UndoResult.LOGIN_REFUSED)
    if answer.http_status is None:
        return _ambiguous(str(answer.failure))
    envelope = _envelope(answer.body)
    if answer.http_status == 429 or (answer.http_status == 503 and envelope):
        return UndoDecision(
            result=UndoResult.NOT_PROCESSED,
            error_message=f"HTTP {answer.http_status}",
            wait_seconds=wait_seconds(answer.retry_after, now=answer.ended_at),
        )
    if envelope is None or answer.failure is not None:
        return _ambiguous(f"HTTP {answer.http_status} without a readable envelope")
    return _decided(answer.http_status, envelope, earned_badge_id)


def _decided(
    http_status: int, envelope: Mapping[str, Any], earned_badge_id: str
) -> UndoDecision:
    code, message = _first_error(envelope)
    if code == _NONE_ACTIVE and http_status in {200, 400, 404, 409}:
        return UndoDecision(
            result=UndoResult.NONE_ACTIVE, error_code=code, error_message=message
        )
    if code is not None and http_status in _REFUSALS:
        return UndoDecision(
            result=UndoResult.NOT_REVOKED, error_code=code, error_message=message
        )
    data = envelope.get("data")
    if http_status == 200 and code is None and isinstance(data, Mapping):
        echo = data.get("earnedBadgeId")
        if data.get("isActive") is False and echo in (None, earned_badge_id):
            return UndoDecision(result=UndoResult.REVOKED)
    return _ambiguous(message or f"HTTP {http_status} that decides nothing", code)


def _ambiguous(message: str, code: int | None = None) -> UndoDecision:
    return UndoDecision(
        result=UndoResult.AMBIGUOUS, error_code=code, error_message=message
    )


def _envelope(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict) or not ("data" in parsed or "errors" in parsed):
        return None
    return parsed


def _first_error(envelope: Mapping[str, Any]) -> tuple[int | None, str | None]:
    errors = envelope.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, Mapping):
            told = error.get("message")
            message = None if told is None else str(told)[:500]
            return whole_number(error.get("code")), message
    return None, None


def revocable(issued: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the awards that can be asked for, and those without an earned_badge_id.

    An award that reading back proved may have none: such an earn can't be named.
    """
    has_id = pl.col("earned_badge_id").is_not_null()
    return issued.filter(has_id), issued.filter(~has_id)
