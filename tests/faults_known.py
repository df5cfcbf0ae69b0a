"""Every fault of the sandbox in its variants, and what may come of it.

Belongs here: the list that the fault suite and the table of the README go through. Does
not belong here: running them (`rig_faults`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rig_faults import BADGE, REST, TIMEOUT

from flows.sandbox import Fault

# Longer than a call may take: committed when the caller has gone, before it reads back.
AFTER_TIMEOUT = TIMEOUT + 0.15
# And committed after it has read back and sent again.
AFTER_READING = TIMEOUT + REST + 0.25


@dataclass(frozen=True)
class Case:
    """One fault: what the table calls it, and what it leaves when all was done.

    `ends` are the statuses, besides issued, that awards may end in for good, because
    the platform itself has said so. `unknown_at_first` says that one run can't settle
    it, and why that is right.
    """

    name: str
    faults: tuple[Fault, ...]
    ends: frozenset[str] = frozenset()
    unknown_at_first: str = ""
    planned_at_first: str = ""
    switches: dict[str, Any] = field(default_factory=dict)
    is_oauth: bool = False


def _case(name: str, kind: Any, *, nth: int, **fields: Any) -> Case:
    about = {
        key: fields.pop(key)
        for key in (
            "ends",
            "unknown_at_first",
            "planned_at_first",
            "switches",
            "is_oauth",
        )
        if key in fields
    }
    about["ends"] = frozenset(about.get("ends", ()))
    fields.setdefault("badge_meta_id", BADGE)
    return Case(name, (Fault(kind, nth=nth, **fields),), **about)


def single(nth: int) -> list[Case]:
    """Return every fault, alone, striking the nth earnBulk call of the badge."""

    def case(name: str, kind: Any, **fields: Any) -> Case:
        return _case(name, kind, nth=nth, **fields)

    def both(name: str, kind: Any, **fields: Any) -> list[Case]:
        closed = case(f"{name}, closed", kind, **fields)
        return [closed, case(f"{name}, reset", kind, reset=True, **fields)]

    return [
        case("no connection for a while", "refuse", seconds=0.5),
        *both("hung up on connecting", "hang_up", badge_meta_id=None),
        *both("dropped before commit", "drop_before"),
        *both("platform died before commit", "crash"),
        *both("dropped after commit", "drop_after"),
        *both("half committed, dropped", "part_drop"),
        *both("body cut short after commit", "cut_body"),
        case("committed after the timeout", "late", seconds=AFTER_TIMEOUT),
        case("committed after reading back", "late", seconds=AFTER_READING),
        case("answered after the timeout", "slow", seconds=AFTER_TIMEOUT),
        case("429 without Retry-After", "too_many"),
        case("429, Retry-After in seconds", "too_many", retry_after="seconds"),
        case("429, Retry-After as a date", "too_many", retry_after="date"),
        case("429 twice", "too_many", times=2),
        *(
            case(f"HTTP {status} HTML, {told}", "html", status=status, commit=commit)
            for status in (302, 403, 408, 500, 502, 503, 504, 520, 521, 524)
            for told, commit in (("nothing done", None), ("committed", True))
        ),
        case("500, 999999, nothing done", "internal"),
        case("500, 999999, committed", "internal", commit=True),
        case("500, 999999, half committed", "part"),
        case("500, 999999, twice", "internal", times=2),
        case("503, 4001", "unavailable"),
        case("JSON that breaks off", "bad_json"),
        case("HTTP 200 with errors, committed", "errors_only"),
        case("HTTP 200, nobody listed, committed", "empty"),
        case("customers missing in the answer", "missing"),
        case("customers listed twice", "doubled"),
        case("customers in both lists", "in_both"),
        case(
            "customers in both lists, new shape",
            "in_both",
            switches={"response_shape": "new"},
        ),
        case("a customer not asked for", "stranger"),
        case("an id beside error 1040, committed", "error_with_id"),
        case("an id beside error 7777, committed", "error_with_id", code=7777),
        case(
            "an id beside error 1040, new shape",
            "error_with_id",
            switches={"response_shape": "new"},
        ),
        case("listed without an id", "no_id"),
        case("counters that disagree", "counters", switches={"response_shape": "new"}),
        case("unknown fields everywhere", "odd_fields"),
        case("the answer speaks of another request", "wrong_echo"),
        case("refused customers, 1040", "customer_error", ends={"already_earned"}),
        case("refused customers, unknown code", "unknown_code", ends={"blocked"}),
        case("refused request, 810", "refusal", ends={"blocked"}),
        case("refused request, 403 and 4000", "refusal", status=403, code=4000,
             ends={"blocked"}),
        case("refused request, 816", "refusal", status=400, code=816, ends={"failed"}),
        case("refused request, unknown code", "refusal", status=400, code=7777),
        case("413 as HTML", "too_large"),
        case("code 1060", "too_large", code=1060),
        case("a complaint about size", "refusal", status=400, code=400,
             message="too many customerIds, at most 2"),
        case("too large down to one customer", "too_large", times=None,
             ends={"blocked"}),
        case("the token expired", "token_expired", is_oauth=True),
        case("the token expired twice", "token_expired", times=2, is_oauth=True),
        case("809 on a first attempt", "used_id"),
    ]
