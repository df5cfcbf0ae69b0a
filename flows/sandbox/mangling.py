"""Makes a right answer odd; what was committed stays as it is.

Belongs here: one function per odd answer, over the payload of a bulk answer in either
shape. Does not belong here: when it happens (`faults`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from flows.sandbox.answers import error
from flows.sandbox.faults import Fault
from flows.sandbox.messages import Reply

_LISTS = ("issuedBadges", "earnedBadgesList", "failedEarnBadgeErrorList")
# A customer whom nobody asked for.
STRANGER = 999_999_999_999


def chosen(
    fault: Fault, customer_ids: Sequence[int], rolled: random.Random
) -> frozenset[int]:
    """Return whom a fault strikes: the customers it names, else a share of all."""
    if fault.customers:
        return frozenset(fault.customers)
    count = min(len(customer_ids), max(1, math.floor(len(customer_ids) * fault.share)))
    return frozenset(rolled.sample(list(customer_ids), count))


def mangled(reply: Reply, fault: Fault, struck: frozenset[int]) -> Reply:
    """Return the reply as the fault wants it; others pass as they are."""
    if fault.kind == "bad_json":
        whole = reply.body()
        return Reply(reply.status, text=whole[: len(whole) * 2 // 3].decode())
    if fault.kind == "errors_only":
        errors = [error(fault.effect.code, fault.message)]
        return Reply(200, {"data": None, "errors": errors, "warnings": None})
    change = _CHANGES.get(fault.kind)
    payload = reply.payload
    data = payload.get("data") if isinstance(payload, dict) else None
    if change is not None and isinstance(data, dict):
        change(data, fault, struck)
    if fault.kind == "odd_fields" and isinstance(payload, dict):
        payload["traceId"] = {"hop": [1, 2, None]}
    return reply


def _good_list(data: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = data.get("issuedBadges") or data["earnedBadgesList"]
    return found


def _of(rows: Sequence[dict[str, Any]], struck: frozenset[int]) -> list[dict[str, Any]]:
    return [row for row in rows if row["customerId"] in struck]


def _empty(data: dict[str, Any], _fault: Fault, _struck: frozenset[int]) -> None:
    for name in _LISTS:
        if name in data:
            data[name] = []


def _missing(data: dict[str, Any], _fault: Fault, struck: frozenset[int]) -> None:
    for name in _LISTS:
        rows = data.get(name, [])
        rows[:] = [row for row in rows if row["customerId"] not in struck]


def _doubled(data: dict[str, Any], _fault: Fault, struck: frozenset[int]) -> None:
    rows = _good_list(data)
    rows += [dict(row) for row in _of(rows, struck)]


def _in_both(data: dict[str, Any], fault: Fault, struck: frozenset[int]) -> None:
    told = error(fault.effect.code, fault.message)
    rows = _good_list(data)
    failed = [{**row, "error": told} for row in _of(rows, struck)]
    data.get("failedEarnBadgeErrorList", rows).extend(failed)


def _stranger(data: dict[str, Any], _fault: Fault, _struck: frozenset[int]) -> None:
    rows = _good_list(data)
    id_key = "issuedId" if "issuedBadges" in data else "earnedBadgeId"
    rows.insert(len(rows) // 2, {"customerId": STRANGER, id_key: "f" * 24})


def _error_with_id(data: dict[str, Any], fault: Fault, struck: frozenset[int]) -> None:
    for row in _of(_good_list(data), struck):
        row["error"] = error(fault.effect.code, fault.message)


def _no_id(data: dict[str, Any], _fault: Fault, struck: frozenset[int]) -> None:
    for row in _of(_good_list(data), struck):
        row["issuedId" if "issuedId" in row else "earnedBadgeId"] = None


def _counters(data: dict[str, Any], _fault: Fault, _struck: frozenset[int]) -> None:
    data["totalCount"] = data.get("totalCount", 0) + 7
    data["earnedCount"] = data.get("earnedCount", 0) + 5


def _odd_fields(data: dict[str, Any], _fault: Fault, _struck: frozenset[int]) -> None:
    data["campaign"] = {"id": None, "tags": ["x"]}
    for row in _good_list(data):
        row["loyaltyTier"] = "gold"
        row["history"] = [{"customerId": 1}]


def _wrong_echo(data: dict[str, Any], _fault: Fault, _struck: frozenset[int]) -> None:
    data["badgeMetaId"] = "0" * 24
    data["requestId"] = "another-request"


_CHANGES: dict[str, Callable[[dict[str, Any], Fault, frozenset[int]], None]] = {
    "empty": _empty,
    "missing": _missing,
    "doubled": _doubled,
    "in_both": _in_both,
    "stranger": _stranger,
    "error_with_id": _error_with_id,
    "no_id": _no_id,
    "counters": _counters,
    "odd_fields": _odd_fields,
    "wrong_echo": _wrong_echo,
}
