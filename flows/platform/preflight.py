"""Reads the platform before anything is sent: badges, and the first customers.

Belongs here: which reads are made and what they refuse (settlement 2). Does not belong
here: what makes a badge awardable (`transforms.platform.badges`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import orjson
import polars as pl

from flows.platform.capillary import Line
from flows.platform.reading import read_customer
from transforms.definition.definition import Badge
from transforms.errors import Fault, PlatformRefused
from transforms.platform.badges import BadgeFacts, badge_facts
from transforms.platform.outcomes import Answer
from transforms.platform.preflight import preflight_faults

READ_TRIES = 3
# Customers read before the first awards of a badge are sent.
SAMPLE = 20
FIRST_CANDIDATES = 5
MORE_CANDIDATES = 10


async def read_badges(
    line: Line, badges: Sequence[Badge], *, as_of: datetime
) -> dict[str, BadgeFacts]:
    """Return the platform's facts per badge name; refuse with all faults at once."""
    facts, faults = {}, []
    for badge in badges:
        answer = await asked_badge(line, badge.badge_meta_id)
        data = data_of(answer)
        if data is None:
            faults.append(unreadable(badge, answer))
            continue
        found = badge_facts(data)
        facts[badge.name] = found
        faults += preflight_faults(found, badge, as_of=as_of)
    if faults:
        raise PlatformRefused(*faults)
    return facts


async def asked_badge(line: Line, badge_meta_id: str) -> Answer:
    """Ask for one badge, again where the platform may answer better later."""
    return await asked(line, lambda: line.badge(badge_meta_id))


async def asked(line: Line, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Read something, again where the platform may answer better later."""
    answer = await ask()
    for number in range(1, READ_TRIES):
        if answer.http_status is not None and answer.http_status in {200, 403, 404}:
            break
        if answer.http_status == 401:
            if not line.is_oauth:
                break
            line.discard_token()
        await asyncio.sleep(0.2 * 2**number)
        answer = await ask()
    return answer


def data_of(answer: Answer) -> dict[str, object] | None:
    """Return `data` of an answer that holds one, else None."""
    if answer.http_status != 200:
        return None
    try:
        data = orjson.loads(answer.body).get("data")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return data if isinstance(data, dict) else None


def unreadable(badge: Badge, answer: Answer) -> Fault:
    """Say why a badge of the definition could not be read, and what to do."""
    place = f"badges.{badge.name}.badge_meta_id"
    status = answer.http_status
    if status == 404:
        told = (
            f"the platform knows no badge {badge.badge_meta_id}: compare with "
            "`retrobadge badges`"
        )
        return Fault(code="badge_unknown", message=told, column=place)
    if status == 401:
        told = "the platform refuses the login: check the CAPILLARY_ settings"
        return Fault(code="login_refused", message=told)
    if status == 403:
        told = "the login may not read badges: its access group must allow it (4000)"
        return Fault(code="access_refused", message=told)
    ended = f"HTTP {status}" if status else f"{answer.failure}"
    told = f"badge {badge.badge_meta_id} could not be read ({ended}): try again later"
    return Fault(code="badge_unreadable", message=told, column=place)


class AwardedBadge(Protocol):
    """A badge whose awards are about to be sent, with or without a definition."""

    @property
    def name(self) -> str:
        """Its name in the definition."""

    @property
    def badge_meta_id(self) -> str:
        """Its id on the platform."""

    @property
    def canary_customer_ids(self) -> tuple[int, ...]:
        """Customers who may be its canary."""


@dataclass(frozen=True)
class FirstAwards:
    """What reading customers before the first awards of a badge showed.

    `canary_award_id` is the award to be sent alone, `count_before` how many earns its
    customer had.
    """

    badge_meta_id: str
    canary_award_id: str
    customer_id: int
    count_before: int


async def first_awards(
    line: Line, badge: AwardedBadge, planned: pl.DataFrame, *, is_first: bool
) -> FirstAwards:
    """Choose a badge's canary; with `is_first`, refuse a ledger that lost its memory.

    `planned`: award_id, customer_id, occurrence, earn_event_date of one badge.
    """
    ordered = planned.sort("customer_id", "occurrence")
    ordered = ordered.unique("customer_id", keep="first", maintain_order=True)
    if is_first:
        await _refuse_if_issued_before(line, badge, ordered, planned)
    named = ordered.filter(pl.col("customer_id").is_in(badge.canary_customer_ids))
    lowest = ordered.head(FIRST_CANDIDATES + MORE_CANDIDATES)
    best: FirstAwards | None = None
    for row in pl.concat([named, lowest]).iter_rows(named=True):
        reading = await read_customer(
            line, row["customer_id"], badge.badge_meta_id, is_thorough=True
        )
        count = 0 if reading is None or reading.is_empty else reading.earn_count or 1
        choice = FirstAwards(
            badge.badge_meta_id, row["award_id"], row["customer_id"], count
        )
        if reading is not None and reading.is_empty:
            return choice
        best = best or choice
    if best is None:
        raise ValueError("no award is planned for this badge")
    return best


async def _refuse_if_issued_before(
    line: Line, badge: AwardedBadge, ordered: pl.DataFrame, planned: pl.DataFrame
) -> None:
    """Refuse when a planned customer already shows the very earn that is planned."""
    step = max(1, ordered.height // SAMPLE)
    sample = ordered.gather_every(step).head(SAMPLE)
    for customer_id in sample["customer_id"]:
        reading = await read_customer(line, customer_id, badge.badge_meta_id)
        if reading is None:
            continue
        ours = planned.filter(pl.col("customer_id") == customer_id)
        dates = set(ours["earn_event_date"])
        if any(earn.earn_event_date in dates for earn in reading.earns):
            raise PlatformRefused.of(
                "issued_before",
                "the platform already shows awards that this ledger does not know: "
                "nothing was sent. List them under [held], or bring the ledger back "
                "with `retrobadge restore` or `retrobadge recover`",
                column=f"badges.{badge.name}",
            )
