"""Reads the bodies of writing endpoints, with the platform's lenient typing.

Belongs here: fields and their types, and the refusals of a body that can't be read.
Does not belong here: what depends on what is remembered (`earning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from flows.sandbox.codes import refusal
from flows.sandbox.messages import Request
from flows.sandbox.moments import read_moment
from flows.sandbox.records import OWNER_TYPES
from flows.sandbox.switches import Switches


def json_of(request: Request) -> Any:
    """Return the body as JSON."""
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise refusal(400, message="The body is not JSON.") from error


def object_of(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object."""
    body = json_of(request)
    if not isinstance(body, dict):
        raise refusal(400, message="The body is not a JSON object.")
    return body


def text_of(body: Mapping[str, Any], key: str, code: int) -> str:
    """Return a field as text, or refuse by `code` where it is missing or blank."""
    value = body.get(key)
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    if not text or isinstance(value, list | dict):
        raise refusal(code)
    return text


def whole_number(value: object) -> int:
    """Return an id given as a number or as digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    raise refusal(400, message=f"{value!r} is not a customer id.")


def customer_ids_of(body: Mapping[str, Any], key: str) -> list[int]:
    """Return the customers of a bulk request; none at all is refused by 812."""
    found = body.get(key)
    if not isinstance(found, list) or not found:
        raise refusal(812)
    if set(map(type, found)) == {int}:
        return found
    return [whole_number(value) for value in found]


class Addressed(NamedTuple):
    """What a write is about: badge, request id, and the owner who claimed the badge."""

    badge_meta_id: str
    request_id: str
    owner_type: str
    reference_id: str

    @property
    def triggered_by(self) -> dict[str, str]:
        """Return the owner as the platform repeats it."""
        return {"ownerType": self.owner_type, "referenceId": self.reference_id}


def addressed(body: Mapping[str, Any]) -> Addressed:
    """Return what a body is about, or refuse what is missing by its code."""
    badge_meta_id = text_of(body, "badgeMetaId", 400)
    request_id = text_of(body, "requestId", 804)
    trigger = body.get("triggeredBy")
    if not isinstance(trigger, dict):
        raise refusal(716)
    return Addressed(badge_meta_id, request_id, *owner_of(trigger))


def owner_of(trigger: Mapping[str, Any]) -> tuple[str, str]:
    """Return the owner type, whose case matters, and the reference (contract 1.3)."""
    owner_type = text_of(trigger, "ownerType", 716)
    if owner_type not in OWNER_TYPES:
        allowed = ", ".join(OWNER_TYPES)
        message = f"ownerType: {owner_type} is not one of [{allowed}]"
        raise refusal(400, message=message)
    return owner_type, text_of(trigger, "referenceId", 717)


def date_of(
    body: Mapping[str, Any], name: str, switches: Switches, *, has_iso: bool = True
) -> int | None:
    """Return the date under `name`, its ISO twin first; None if neither is given."""
    keys = (f"{name}ISO", name) if has_iso else (name,)
    for key in keys:
        value = body.get(key)
        if value is None or value == "":
            continue
        at = read_moment(value, switches.zone)
        if at is None:
            raise refusal(400, message=f"{key}: {value!r} is not a date.")
        return at
    return None
