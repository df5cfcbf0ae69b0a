"""The commands `badges` and `claim`: the platform's badges, and claiming them for us.

Belongs here: reading every page of the list, and making the claims that a definition
needs. Does not belong here: what a claim needs (`transforms.platform.claims`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flows.files.finding import read_definition
from flows.pipeline import Work
from flows.platform.capillary import PAGE_SIZE, Line, Platform, utc_now
from flows.platform.pacing import Pace
from flows.platform.preflight import asked, asked_badge, data_of, unreadable
from transforms.definition.definition import Definition
from transforms.errors import Fault, PlanRefused, PlatformRefused
from transforms.platform.badges import BadgeFacts, badge_facts
from transforms.platform.claims import Claiming, claim_body, claim_refusal, claims_of
from transforms.platform.evidence import page_count
from transforms.platform.outcomes import Answer

CLAIM_TRIES = 3


@dataclass(frozen=True)
class Listed:
    """The platform's badges, by name. `is_cut` says that there may be more of them."""

    badges: Sequence[BadgeFacts]
    is_cut: bool

    def as_json(self) -> dict[str, Any]:
        """Return the object that `badges --json` prints."""
        badges = [_badge_json(badge) for badge in self.badges]
        return {"badges": badges, "is_cut": self.is_cut, "errors": []}


def _badge_json(badge: BadgeFacts) -> dict[str, Any]:
    return {
        "badge_meta_id": badge.badge_meta_id,
        "name": badge.name,
        "earn_type": badge.earn_type,
        "status": badge.status,
        "is_active": badge.is_active,
        "starts_at": badge.starts_at,
        "expires_at": badge.expires_at,
        "earned_expiry": badge.expiry_text or badge.earned_expiry,
        "limits": list(badge.limits),
        "owners": list(badge.owners),
        "claims": [claim._asdict() for claim in badge.claims],
    }


async def listed_badges(work: Work, name: str | None) -> Listed:
    """Return the platform's badges; with `name`, those whose name holds it."""
    work.screen.stage("reading the badges", None)
    async with _platform(work).line() as line:
        return await _all_pages(line, name)


def _platform(work: Work) -> Platform:
    pace = Pace(work.home.pace, work.settings.capillary_requests_per_minute)
    return Platform(work.settings, pace)


async def _all_pages(line: Line, name: str | None) -> Listed:
    """Read pages until one brings nothing new.

    Neither `page` nor the size of a page is documented for this list: a platform that
    knows neither answers with its first ten badges for ever.
    """
    found: dict[str, BadgeFacts] = {}
    page = 0
    while True:
        answer = await _page(line, page, name)
        rows = _rows(answer)
        read = {one.badge_meta_id: one for one in map(badge_facts, rows)}
        is_new = bool(read.keys() - found.keys())
        found |= read
        page += 1
        if not is_new or 1 < page_count(answer.body) <= page:
            break
    by_name = sorted(found.values(), key=lambda one: (one.name, one.badge_meta_id))
    # A full first page that comes again: there may be more behind it.
    is_cut = not is_new and bool(rows) and len(found) in {10, PAGE_SIZE}
    return Listed(by_name, is_cut=is_cut)


async def _page(line: Line, page: int, name: str | None) -> Answer:
    return await asked(line, lambda: line.badges(page, name))


def _rows(answer: Answer) -> list[Mapping[str, Any]]:
    """Return the badges of a page (contract 2.4: `data.metaBasicDetails`)."""
    data = data_of(answer)
    rows = None if data is None else data.get("metaBasicDetails")
    if isinstance(rows, list):
        return [row for row in rows if isinstance(row, Mapping)]
    status = answer.http_status
    if status == 401:
        told = "the platform refuses the login: check the CAPILLARY_ settings"
        raise PlatformRefused.of("login_refused", told)
    if status == 403:
        told = "the login may not read badges: its access group must allow it (4000)"
        raise PlatformRefused.of("access_refused", told)
    raise PlatformRefused.of(
        "badges_unreadable",
        f"the platform's badges could not be read ({status or answer.failure}): try "
        "again later",
    )


@dataclass
class Claims:
    """What `claim` found and did; `made` names the badges that were claimed now."""

    definition: Definition
    claims: Sequence[Claiming]
    made: list[str]
    errors: list[Fault]

    @property
    def wanted(self) -> list[Claiming]:
        """Return the claims that were not there."""
        return [claim for claim in self.claims if not claim.is_claimed]

    @property
    def exit_status(self) -> int:
        """Return 1 if the platform refused a claim."""
        return 1 if self.errors else 0

    def state(self, claim: Claiming) -> str:
        """Return where one claim stands now."""
        if claim.is_claimed:
            return "claimed before"
        if claim.badge in self.made:
            return "claimed now"
        return "refused" if self.errors else "to be claimed"

    def as_json(self) -> dict[str, Any]:
        """Return the object that `claim --json` prints."""
        return {
            "import_name": self.definition.name,
            "claims": [
                {
                    "badge": claim.badge,
                    "badge_meta_id": claim.badge_meta_id,
                    "badge_name": claim.badge_name,
                    "reference_id": claim.reference_id,
                    "state": self.state(claim),
                }
                for claim in self.claims
            ],
            "errors": [fault.as_json() for fault in self.errors],
        }


class Confirms(Protocol):
    """Shows what would be claimed, and asks."""

    def __call__(self, claims: Claims, /) -> bool:
        """Return whether somebody said yes."""


async def claim_badges(work: Work, confirms: Confirms) -> Claims:
    """Claim every badge of the definition for Historical_Import and its reference.

    Refused as a whole, before any claim, if one of them can't be made.
    """
    definition = read_definition(work.job.definition)
    work.screen.stage("reading the badges", len(definition.badges))
    async with _platform(work).line() as line:
        facts = await _facts(line, definition)
        claims, faults = claims_of(definition.badges, facts, as_of=utc_now())
        if faults:
            raise PlatformRefused(*faults)
        found = Claims(definition, claims, [], [])
        if not found.wanted:
            return found
        if not (work.job.is_confirmed or confirms(found)):
            raise PlanRefused.of(
                "not_confirmed",
                f"nobody said yes to {len(found.wanted)} claims "
                f"({', '.join(claim.badge for claim in found.wanted)}): run with --yes",
            )
        work.screen.stage("claiming", len(found.wanted))
        for claim in found.wanted:
            refusal = await _claim(line, claim)
            if refusal is None:
                found.made.append(claim.badge)
            else:
                found.errors.append(_refused(claim, refusal))
    return found


async def _facts(line: Line, definition: Definition) -> dict[str, BadgeFacts]:
    """Read every badge; refuse with all that can't be read."""
    facts, faults = {}, []
    for badge in definition.badges:
        answer = await asked_badge(line, badge.badge_meta_id)
        data = data_of(answer)
        if data is None:
            faults.append(unreadable(badge, answer))
        else:
            facts[badge.name] = badge_facts(data)
    if faults:
        raise PlatformRefused(*faults)
    return facts


async def _claim(line: Line, claim: Claiming) -> str | None:
    """Make one claim; again where it may not have arrived: repeating is harmless."""
    body, refusal = claim_body(claim.reference_id), None
    for number in range(CLAIM_TRIES):
        answer = await line.claim(claim.badge_meta_id, body)
        refusal = claim_refusal(answer)
        if refusal is None or answer.http_status in {400, 403, 404, 409}:
            break
        if answer.http_status == 401:
            if not line.is_oauth:
                break
            line.discard_token()
        await asyncio.sleep(0.2 * 2**number)
    return refusal


def _refused(claim: Claiming, refusal: str) -> Fault:
    return Fault(
        code="claim_refused",
        message=f"the platform refused to claim {claim.badge_meta_id} for the "
        f"reference_id {claim.reference_id!r} ({refusal}): mend it on the platform, "
        "then claim again",
        column=f"badges.{claim.badge}",
    )
