"""Every fault of the sandbox in its variants, and what may come of it.

Belongs here: the list that the fault suite and the table of the README go through. Does
not belong here: running them (`rig_faults`), random sequences (`flows.sandbox.faults`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rig_faults import BADGE, REST, TIMEOUT

from flows.sandbox import Fault

# Committed when the caller has gone, before it reads back.
AFTER_TIMEOUT = TIMEOUT + 0.15
# Committed when it has read back and sent again.
AFTER_READING = TIMEOUT + REST + 0.25
# Which earnBulk call of the badge is struck: its canary, or one in the middle.
CANARY, MIDDLE = 1, 3
_HTML_STATUSES = (302, 403, 408, 500, 502, 503, 504, 520, 521, 524)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault alone: what the table calls it, and what it may leave.

    `ends`: the statuses besides issued in which awards end for good, for the platform
    itself said so. `unknown_at_first`, `planned_at_first`: why one run can't bring all
    to an end; the next one does.
    """

    name: str
    where: str
    faults: tuple[Fault, ...]
    ends: frozenset[str] = frozenset()
    unknown_at_first: str = ""
    planned_at_first: str = ""
    switches: dict[str, Any] = field(default_factory=dict)
    is_oauth: bool = False

    def __str__(self) -> str:
        """Return the name of its test."""
        return f"{self.name} ({self.where})"


def known_cases() -> list[Case]:
    """Return every case: on the canary, in the middle, and on what is read."""
    return [*on_earn_bulk(CANARY), *on_earn_bulk(MIDDLE), *on_reads()]


def on_earn_bulk(nth: int) -> list[Case]:
    """Return every fault, alone, striking the nth earnBulk call of the badge."""
    where = "canary" if nth == CANARY else "batch"
    return [
        *_connections(nth, where),
        *_times(nth, where),
        *_whole_answers(nth, where),
        *_listed_answers(nth, where),
        *_refusals(nth, where),
        *_sizes(nth, where),
        *_logins(nth, where),
    ]


def _case(name: str, where: str, kind: Any, nth: int, **fields: Any) -> Case:
    names = ("unknown_at_first", "planned_at_first", "switches", "is_oauth")
    about = {key: fields.pop(key) for key in names if key in fields}
    ends = frozenset(fields.pop("ends", ()))
    fault = Fault(kind, nth=nth, **{"badge_meta_id": BADGE, **fields})
    return Case(name=name, where=where, faults=(fault,), ends=ends, **about)


def _connections(nth: int, where: str) -> Iterator[Case]:
    kinds: dict[str, Any] = {
        "dropped before commit": "drop_before",
        "the platform died before commit": "crash",
        "dropped after commit": "drop_after",
        "half committed, then dropped": "part_drop",
        "body cut short after commit": "cut_body",
    }
    yield _case("nobody can connect for a while", where, "refuse", nth, seconds=0.5)
    for told, reset in (("closed", False), ("reset", True)):
        name = f"hung up on connecting, {told}"
        yield _case(name, where, "hang_up", nth, reset=reset, badge_meta_id=None)
        for name, kind in kinds.items():
            yield _case(f"{name}, {told}", where, kind, nth, reset=reset)


def _times(nth: int, where: str) -> Iterator[Case]:
    late = {"after the timeout": AFTER_TIMEOUT, "after reading back": AFTER_READING}
    for told, seconds in late.items():
        yield _case(f"committed {told}", where, "late", nth, seconds=seconds)
    yield _case("answered after the timeout", where, "slow", nth, seconds=AFTER_TIMEOUT)
    waits: dict[str, Any] = {"seconds": "seconds", "a date": "date", "nothing": "none"}
    for told, how in waits.items():
        name = f"429, Retry-After: {told}"
        yield _case(name, where, "too_many", nth, retry_after=how)
    yield _case("429 twice", where, "too_many", nth, times=2)


def _whole_answers(nth: int, where: str) -> Iterator[Case]:
    for status in _HTML_STATUSES:
        for told, commit in (("nothing done", None), ("committed", True)):
            name = f"HTTP {status} with HTML, {told}"
            yield _case(name, where, "html", nth, status=status, commit=commit)
    yield _case("500 with 999999, nothing done", where, "internal", nth)
    yield _case("500 with 999999, committed", where, "internal", nth, commit=True)
    yield _case("500 with 999999, half committed", where, "part", nth)
    yield _case("500 with 999999, twice", where, "internal", nth, times=2)
    yield _case("503 with 4001", where, "unavailable", nth)
    yield _case("JSON that breaks off, committed", where, "bad_json", nth)
    yield _case("HTTP 200 with errors, committed", where, "errors_only", nth)
    yield _case("HTTP 200 and nobody listed, committed", where, "empty", nth)
    yield _case("the answer speaks of another request", where, "wrong_echo", nth)


def _listed_answers(nth: int, where: str) -> Iterator[Case]:
    kinds: dict[str, Any] = {
        "customers missing in the answer": "missing",
        "customers listed twice": "doubled",
        "customers in both lists": "in_both",
        "a customer listed who was not asked for": "stranger",
        "an id beside error 1040, committed": "error_with_id",
        "customers listed without an id": "no_id",
        "counters that disagree": "counters",
        "unknown fields everywhere": "odd_fields",
    }
    for name, kind in kinds.items():
        for shape in ("old", "new"):
            switches = {"response_shape": shape}
            told = f"{name}, {shape} shape"
            yield _case(told, where, kind, nth, switches=switches)
    name = "an id beside an unknown error, committed"
    yield _case(name, where, "error_with_id", nth, code=7777)


def _refusals(nth: int, where: str) -> Iterator[Case]:
    stops = "the code stops the badge; its other awards wait for the next run"
    # A customer with another award of the badge is blocked, any other has it already.
    held = {"already_earned", "blocked"}
    yield _case("customers refused by 1040", where, "customer_error", nth, ends=held)
    name = "customers refused by an unknown code"
    yield _case(name, where, "unknown_code", nth, ends={"blocked"})
    for status, code in ((409, 810), (409, 815), (403, 4000)):
        yield _case(
            f"the request refused by {code}",
            where,
            "refusal",
            nth,
            status=status,
            code=code,
            ends={"blocked"},
            planned_at_first=stops,
        )
    refused = {"status": 400, "kind": "refusal"}
    name = "the request refused by 816"
    yield _case(name, where, nth=nth, code=816, ends={"failed"}, **refused)
    name = "the request refused by an unknown code"
    yield _case(name, where, nth=nth, code=7777, **refused)
    yield _case(
        "809 on a first attempt",
        where,
        "used_id",
        nth,
        unknown_at_first="somebody else used the id: no new one in the same run",
    )


def _sizes(nth: int, where: str) -> Iterator[Case]:
    ends = {"blocked"} if nth == CANARY else set[str]()
    told = "too many customerIds, at most 2"
    yield _case("413 with HTML", where, "too_large", nth, ends=ends)
    yield _case("too large by 1060", where, "too_large", nth, code=1060, ends=ends)
    yield _case(
        "a complaint about size",
        where,
        "refusal",
        nth,
        status=400,
        code=400,
        message=told,
        ends=ends,
    )
    yield _case(
        "too large down to one customer",
        where,
        "too_large",
        nth,
        times=None,
        ends={"blocked"},
        planned_at_first="three canaries were refused" if nth == CANARY else "",
    )


def _logins(nth: int, where: str) -> Iterator[Case]:
    stops = "a new token was refused too: the login is lost"
    yield _case("the token expired", where, "token_expired", nth, is_oauth=True)
    yield _case(
        "the token expired, and the next one",
        where,
        "token_expired",
        nth,
        times=2,
        is_oauth=True,
        planned_at_first=stops if nth == CANARY else "",
    )


def on_reads() -> list[Case]:
    """Return faults on reading back, while a request is to be settled by it."""
    kinds: dict[str, dict[str, Any]] = {
        "dropped": {"kind": "drop_before"},
        "cut short": {"kind": "cut_body"},
        "answered after the timeout": {"kind": "slow", "seconds": AFTER_TIMEOUT},
        "502 with HTML": {"kind": "html", "status": 502},
        "500 with 999999": {"kind": "internal"},
        "429": {"kind": "too_many"},
        "JSON that breaks off": {"kind": "bad_json"},
        "token expired": {"kind": "token_expired"},
    }
    return [
        _reading(name, nth, fields) for name, fields in kinds.items() for nth in (1, 4)
    ]


def _reading(name: str, nth: int, fields: dict[str, Any]) -> Case:
    """Let the platform die at a request, and the reads after it fail three times."""
    read = Fault(**fields, on="customerBadge", nth=nth, times=3)
    where = "read of the canary" if nth == 1 else "read to settle"
    return Case(
        name=f"{name}, three times",
        where=where,
        faults=(Fault("crash", nth=MIDDLE, badge_meta_id=BADGE), read),
        is_oauth=fields["kind"] == "token_expired",
    )
