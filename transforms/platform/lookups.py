"""Reads what the platform says of an identifier: whose it is (contract 9).

Belongs here: the answer of `/v2/customers/lookup`. Does not belong here: asking
(`flows.platform.reading`), and the brand's own customer files (`transforms.customers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transforms.platform.outcomes import Answer

_MERGED = 91009


@dataclass(frozen=True, kw_only=True)
class LookedUp:
    """Whom an identifier stands for; None with what was `said` where nobody is known.

    With `is_survivor` the identifier was that of a customer who was merged (91009).
    """

    customer_id: int | None
    is_survivor: bool = False
    said: str = ""


def looked_up(answer: Answer) -> LookedUp:
    """Return what an answer says: `entity` is the id; 8015 means nobody."""
    try:
        told: Any = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        told = None
    told = told if isinstance(told, dict) else {}
    codes = list(_codes(told))
    entity = told.get("entity")
    is_id = isinstance(entity, int) and not isinstance(entity, bool) and entity > 0
    if answer.http_status == 200 and is_id:
        return LookedUp(customer_id=entity, is_survivor=_MERGED in dict(codes))
    words = "; ".join(f"{code} {message}".strip() for code, message in codes)
    status = answer.http_status or answer.failure or "nothing"
    return LookedUp(customer_id=None, said=words or f"no customer (HTTP {status})")


def _codes(told: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    for key in ("errors", "warnings"):
        found = told.get(key)
        for one in found if isinstance(found, list) else ():
            if isinstance(one, dict):
                yield one.get("code"), str(one.get("message") or "")
