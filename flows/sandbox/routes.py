"""Which endpoint a method and a path belong to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from flows.sandbox import claiming, reading_endpoints, revoking
from flows.sandbox.codes import refusal
from flows.sandbox.earning import begin_earn, begin_earn_bulk
from flows.sandbox.importing import begin_import
from flows.sandbox.issuing import begin_issue_bulk
from flows.sandbox.messages import RefusalError, Request
from flows.sandbox.records import EndpointName
from flows.sandbox.work import Work

_BADGES = "/api_gateway/v1/badges"
Begin = Callable[..., Work]


class Endpoint(NamedTuple):
    """An endpoint by the name that switches and faults know it by."""

    name: EndpointName
    methods: tuple[str, ...]
    path: re.Pattern[str]
    begin: Begin | None


def _endpoint(
    name: EndpointName, methods: str, path: str, begin: Begin | None
) -> Endpoint:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return Endpoint(name, tuple(methods.split()), re.compile(f"{pattern}/?"), begin)


ENDPOINTS = (
    _endpoint("earnBulk", "POST", f"{_BADGES}/customer/earnBulk", begin_earn_bulk),
    _endpoint("earn", "POST", f"{_BADGES}/customer/earn", begin_earn),
    _endpoint(
        "revokeEarn", "POST", f"{_BADGES}/customer/revokeEarn", revoking.revoke_earn
    ),
    _endpoint(
        "issueBulk",
        "POST",
        f"{_BADGES}/badgeMeta/customer/issueBulk",
        begin_issue_bulk,
    ),
    _endpoint("import", "POST PUT", f"{_BADGES}/import/customerBadges", begin_import),
    _endpoint("claim", "POST", f"{_BADGES}/badgeMeta/{{badge}}/claim", claiming.claim),
    _endpoint(
        "unclaim", "POST", f"{_BADGES}/badgeMeta/{{badge}}/unclaim", claiming.unclaim
    ),
    _endpoint(
        "badgeMetaList", "GET", f"{_BADGES}/badgeMeta", reading_endpoints.badge_list
    ),
    _endpoint(
        "badgeMeta",
        "GET",
        f"{_BADGES}/badgeMeta/{{badge}}",
        reading_endpoints.badge_by_id,
    ),
    _endpoint(
        "customer",
        "GET",
        f"{_BADGES}/customer/{{customer}}",
        reading_endpoints.customer_list,
    ),
    _endpoint(
        "management",
        "GET",
        f"{_BADGES}/management/{{customer}}",
        reading_endpoints.management_list,
    ),
    _endpoint(
        "customerBadge",
        "GET",
        f"{_BADGES}/management/{{customer}}/badge/{{badge}}",
        reading_endpoints.customer_badge,
    ),
    _endpoint("lookup", "GET", "/v2/customers/lookup", reading_endpoints.lookup),
    # A token needs no login: `desk` asks for it.
    _endpoint("token", "POST", "/v3/oauth/token/generate", None),
)


def endpoint_of(request: Request) -> tuple[Endpoint, dict[str, str]] | None:
    """Return the endpoint of a request and the values in its path."""
    for endpoint in ENDPOINTS:
        match = endpoint.path.fullmatch(request.path)
        if match is not None and request.method in endpoint.methods:
            return endpoint, match.groupdict()
    return None


def no_endpoint(request: Request) -> RefusalError:
    """Return the refusal of a request that belongs to no endpoint."""
    if any(endpoint.path.fullmatch(request.path) for endpoint in ENDPOINTS):
        return refusal(405, 405, f"{request.method} is not allowed here.")
    return refusal(404, 404, f"There is nothing at {request.path}.")
