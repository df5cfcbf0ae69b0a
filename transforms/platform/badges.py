"""Reads what the platform says of a badge, tolerantly.

Belongs here: badgeMeta's JSON as facts. Does not belong here: calling the platform,
what stands in an award's way (`preflight`) and a definition's guards (`guards`).

EARN is earned directly and ISSUE_EARN after an enrolment; the pages that say it the
other way round contradict every sample (contract 2.4).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from transforms.instants import instant, instant_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Claim(NamedTuple):
    """A claim of a badge: an earn must name the same owner and reference."""

    owner_type: str
    reference_id: str
    is_active: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BadgeFacts:
    """What the platform says of a badge. Instants are UTC; None is an open end.

    Two readings are equal when nothing that matters to an award differs: counters,
    status and the raw text move by themselves and are not compared. `unreadable` names
    the dates that can't be read, with what stood there.
    """

    badge_meta_id: str
    name: str = ""
    earn_type: str = ""
    status: str = field(default="", compare=False)
    is_active: bool = True
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    owners: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    earned_expiry: str = ""
    expiry_text: str = ""
    earned_expires_at: datetime | None = None
    limits: tuple[str, ...] = ()
    customer_limits: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    badge_limits: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    has_rolling_limit: bool = False
    has_benefits: bool = False
    unreadable: tuple[str, ...] = ()
    raw: str = field(default="", compare=False)

    @property
    def is_expiry_relative(self) -> bool:
        """Whether an earned badge expires counted from when it was processed."""
        return self.earned_expiry == "RELATIVE"

    @property
    def digest(self) -> str:
        """Return the SHA-256 of everything that two readings are compared by."""
        compared = [
            getattr(self, name)
            for name, one in self.__dataclass_fields__.items()
            if one.compare
        ]
        return hashlib.sha256(repr(compared).encode()).hexdigest()


def badge_facts(data: Mapping[str, Any]) -> BadgeFacts:
    """Read the `data` object of badgeMeta (contract 2.4), tolerantly.

    Names of the customer reads (`startsOn`, `badgeType`, `owner` …) are understood too;
    of a date the ISO twin is read first, else epoch seconds with a fraction.
    """
    ownership = _record(data.get("ownership"))
    expiry = _record(data.get("earnedBadgeExpiry") or data.get("earnExpiry"))
    customer_limits = _records(data.get("customerConstraints"))
    badge_limits = _records(data.get("badgeConstraints"))
    limits = [*customer_limits, *badge_limits]
    owners = ownership.get("restrictedToOwners") or data.get("owner")
    claims = ownership.get("claims") or data.get("claimedBy")
    return BadgeFacts(
        badge_meta_id=_text(data.get("id") or data.get("badgeMetaId")),
        name=_text(data.get("name")),
        earn_type=_text(data.get("earnType") or data.get("badgeType")).upper(),
        status=_text(data.get("status") or data.get("badgeStatus")).upper(),
        is_active=_is_active(data),
        starts_at=instant_of(data, "startOn", "startsOn"),
        expires_at=instant_of(data, "expiresOn"),
        owners=_texts(owners),
        claims=tuple(map(_claim, _records(claims))),
        earned_expiry=_expiry_type(expiry),
        expiry_text=_expiry_text(expiry),
        earned_expires_at=instant_of(expiry, "expiresOn"),
        limits=(
            *(f"{_limit_text(limit)} per customer" for limit in customer_limits),
            *(f"{_limit_text(limit)} of the badge" for limit in badge_limits),
        ),
        customer_limits=customer_limits,
        badge_limits=badge_limits,
        has_rolling_limit=any(map(_is_rolling, limits)),
        has_benefits=bool(data.get("benefits")),
        unreadable=_unreadable(data),
        raw=json.dumps(data, sort_keys=True, default=str),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list | tuple) else ()


def _record(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _records(value: object) -> tuple[Mapping[str, Any], ...]:
    rows = value if isinstance(value, list | tuple) else ()
    return tuple(row for row in rows if isinstance(row, dict))


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _is_active(data: Mapping[str, Any]) -> bool:
    """Read the switch; where it is missing, a call will tell (code 815)."""
    for name in ("active", "isActive"):
        if isinstance(data.get(name), bool):
            return bool(data[name])
    return _text(data.get("action")).upper() != "DE_ACTIVATED"


def _claim(record: Mapping[str, Any]) -> Claim:
    return Claim(
        owner_type=_text(record.get("ownerType")),
        reference_id=_text(record.get("referenceId")),
        is_active=record.get("isActive") is not False,
    )


def _expiry_type(expiry: Mapping[str, Any]) -> str:
    told = _text(expiry.get("expiryType")).upper()
    unit = expiry.get("relativeExpirytype") or expiry.get("relativeExpiryType")
    return told or ("RELATIVE" if unit else "")


def _expiry_text(expiry: Mapping[str, Any]) -> str:
    """Return what becomes of an earned badge, in words; blank where not said."""
    kind = _expiry_type(expiry)
    if kind == "RELATIVE":
        unit = expiry.get("relativeExpirytype") or expiry.get("relativeExpiryType")
        return f"{expiry.get('value')} {_text(unit).lower()} after it is processed"
    if kind == "NEVER":
        return "never, which is a hundred years"
    if kind == "ABSOLUTE":
        fixed = instant_of(expiry, "expiresOn")
        return f"on {fixed.isoformat()}" if fixed else "with the badge"
    return kind.lower()


def _is_rolling(limit: Mapping[str, Any]) -> bool:
    kind = _text(limit.get("constraintType")).upper()
    rolls = ("rollType", "rollValue", "rollingWindowLimits")
    return "ROLLING" in kind or any(limit.get(name) for name in rolls)


def _limit_text(limit: Mapping[str, Any]) -> str:
    most = _text(limit.get("maxEarnLimit")) or "an unread number"
    length, unit = "", limit.get("durationType")
    if _is_rolling(limit):
        length, unit = _text(limit.get("rollValue")), limit.get("rollType") or unit
        how = "in any"
    elif "FIXED" in _text(limit.get("constraintType")).upper():
        length, how = _text(limit.get("refreshRate")), "in each"
    else:
        return f"{most} in all"
    window = " ".join(part for part in (length, _text(unit).lower()) if part)
    return f"{most} {how} {window or 'window'}"


def _unreadable(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the window's dates that are given and can't be read."""
    found = []
    for names in (("startOn", "startsOn"), ("expiresOn",)):
        given = [
            (key, data[key])
            for name in names
            for key in (f"{name}ISO", name)
            if data.get(key) not in (None, "")
        ]
        if given and all(instant(value) is None for _, value in given):
            key, value = given[0]
            found.append(f"{key} = {value}")
    return tuple(found)
