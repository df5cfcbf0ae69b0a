"""The sandbox's own pages: what it is, what it remembers, and faults over HTTP.

Belongs here: `/` and `/sandbox/…`, which no platform has. Does not belong here:
anything that a client of the platform would call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter, ValidationError

from flows.sandbox.faults import Fault
from flows.sandbox.messages import Reply, Request, page
from flows.sandbox.moments import iso
from flows.sandbox.records import Call, StoredEarn
from flows.sandbox.routes import ENDPOINTS

if TYPE_CHECKING:
    from flows.sandbox.desk import Desk

_FAULTS = TypeAdapter(list[Fault])


def reply(desk: Desk, request: Request) -> Reply:
    """Answer a request for one of the sandbox's own pages."""
    wanted = (request.method, request.path.rstrip("/") or "/")
    with desk.memory.lock:
        if wanted == ("GET", "/"):
            return page(200, _front_page(desk))
        if wanted == ("GET", "/sandbox/memory"):
            return Reply(200, _memory(desk))
        if wanted == ("GET", "/sandbox/calls"):
            return Reply(200, [_call(call) for call in desk.calls])
        if wanted == ("DELETE", "/sandbox/faults"):
            desk.script.clear()
            return Reply(200, {"cleared": True})
    if wanted == ("POST", "/sandbox/faults"):
        return _added(desk, request)
    return Reply(404, {"error": f"the sandbox has no {request.method} {request.path}"})


def _front_page(desk: Desk) -> str:
    rows = "".join(
        f"<li>{' '.join(one.methods)} <code>{one.name}</code></li>" for one in ENDPOINTS
    )
    return (
        "<html><head><title>Retrobadge sandbox</title></head><body>"
        "<h1>Retrobadge sandbox</h1><p>This plays the badge API on this machine. "
        "It is not the platform: nothing here reaches a customer.</p>"
        f"<p>{len(desk.memory.badges)} badges, {len(desk.calls)} calls.</p>"
        f"<ul>{rows}</ul></body></html>"
    )


def _memory(desk: Desk) -> dict[str, Any]:
    memory = desk.memory
    return {
        "badges": [badge.model_dump(mode="json") for badge in memory.badges.values()],
        "customers": [one.model_dump(mode="json") for one in memory.customers.values()],
        "request_ids": sorted({request_id for _, request_id in memory.request_ids}),
        "earns": [_earn(desk, earn) for earn in memory.earns.all()],
    }


def _earn(desk: Desk, earn: StoredEarn) -> dict[str, Any]:
    zone = desk.switches.zone
    return {
        "earned_badge_id": earn.earned_badge_id,
        "badge_meta_id": earn.badge_meta_id,
        "customer_id": earn.customer_id,
        "earn_event_date": iso(earn.earn_event_at, zone),
        "created_at": iso(earn.created_at, zone),
        "expires_on": iso(earn.expires_at, zone),
        "request_id": earn.request_id,
        "is_active": earn.earned_badge_id not in desk.memory.revoked,
    }


def _call(call: Call) -> dict[str, Any]:
    return call._asdict()


def _added(desk: Desk, request: Request) -> Reply:
    """Add the faults of a JSON object or array, named as the fields of `Fault`."""
    try:
        sent = orjson.loads(request.body)
        faults = _FAULTS.validate_python(sent if isinstance(sent, list) else [sent])
    except (orjson.JSONDecodeError, ValidationError) as error:
        return Reply(400, {"error": str(error)})
    desk.script.add(*faults)
    return Reply(200, {"added": len(faults)})
