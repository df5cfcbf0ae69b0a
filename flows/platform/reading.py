"""Reads what customers hold: one at a time, by every way that the platform offers.

Belongs here: which reads are made, and when one is tried again. Does not belong here:
what a reading proves (`transforms.platform.evidence`, `flows.sending.proofs`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from flows.platform.capillary import Line
from transforms.activity.identifiers import IdentifierKind
from transforms.platform.evidence import (
    Reading,
    data_of,
    last_earn_of,
    page_count,
    reading_of,
)
from transforms.platform.lookups import LookedUp, looked_up
from transforms.platform.outcomes import Answer

READ_TRIES = 3
# Asked again, the platform would say the same.
_NOT_OFFERED = frozenset({400, 403, 404})
_LOOKUP_NAMES = {"external_id": "externalId", "card_number": "cardnumber"}


async def read_customer(
    line: Line, customer_id: int, badge: str, *, is_thorough: bool = False
) -> Reading | None:
    """Read one customer's earns of one badge; None if the platform won't say.

    Where earns are counted and not listed with their dates, or with `is_thorough` none
    are listed, the customer's earned list is asked as well, expired ones included: it
    shows the last earn of each badge, and how many there are.
    """
    reading = await read_offered(line, customer_id, badge, is_thorough=is_thorough)
    return None if reading is None or reading.is_silent else reading


async def read_offered(
    line: Line, customer_id: int, badge: str, *, is_thorough: bool
) -> Reading | None:
    """Read as `read_customer` does; a silent reading where nothing is offered.

    None is left for what may be read later.
    """
    answer = await _asked(line, partial(line.customer_badge, customer_id, badge))
    if answer.http_status in _NOT_OFFERED:
        return Reading(earn_count=None)
    reading = reading_of(answer.body) if answer.http_status == 200 else None
    if reading is None or (reading.is_whole and reading.is_dated):
        return reading
    if not reading.earn_count and not is_thorough:
        return reading
    pages = await _earned_pages(line, customer_id)
    if pages is None:
        return None
    last = last_earn_of(pages, badge)
    return reading if last is None else reading.joined(last)


async def look_up(line: Line, kind: IdentifierKind, value: str) -> LookedUp:
    """Ask the platform whose an identifier is, again where it may answer better."""
    name = _LOOKUP_NAMES.get(kind, kind)
    for number in range(READ_TRIES):
        answer = await line.customer_lookup(name, value)
        if answer.http_status == 200 or answer.http_status in _NOT_OFFERED:
            break
        if answer.http_status == 401:
            line.discard_token()
        await asyncio.sleep(0.2 * 2**number)
    return looked_up(answer)


async def _earned_pages(line: Line, customer_id: int) -> list[bytes] | None:
    """Return the pages of a customer's earned list; none where there is no such list.

    None if the platform won't say now: what can't be read must not look empty.
    """
    bodies: list[bytes] = []
    page, pages = 0, 1
    while page < pages:
        answer = await _asked(line, partial(line.earned_list, customer_id, page))
        if answer.http_status in _NOT_OFFERED:
            return []
        if answer.http_status != 200 or data_of(answer.body) is None:
            return None
        bodies.append(answer.body)
        pages, page = page_count(answer.body), page + 1
    return bodies


async def _asked(line: Line, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Read something, again where the platform may answer better in a moment."""
    for number in range(READ_TRIES - 1):
        answer = await ask()
        if answer.http_status in _NOT_OFFERED:
            return answer
        if answer.http_status == 200 and data_of(answer.body) is not None:
            return answer
        if answer.http_status == 401:
            line.discard_token()
        await asyncio.sleep(0.2 * 2**number)
    return await ask()
