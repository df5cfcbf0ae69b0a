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

    `group` is its line in the table of the README.
    `ends`: the statuses besides issued in which awards end for good, for the platform
    itself said so. `unknown_at_first`, `planned_at_first`: why one run can't bring all
    to an end; the next one does.
    """

    name: str
    group: str
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
    at = _At(nth)
    return [
        *_connections(at),
        *_times(at),
        *_whole_answers(at),
        *_listed_answers(at),
        *_refusals(at),
        *_sizes(at),
        *_logins(at),
    ]


class _At:
    """Makes cases that strike one call of the badge."""

    def __init__(self, nth: int) -> None:
        self.nth = nth
        self.where = "canary" if nth == CANARY else "batch"

    def case(self, group: str, name: str, kind: Any, **fields: Any) -> Case:
        """Return a case; what is no field of the case is one of the fault."""
        names = ("unknown_at_first", "planned_at_first", "switches", "is_oauth")
        about = {key: fields.pop(key) for key in names if key in fields}
        ends = frozenset(fields.pop("ends", ()))
        fault = Fault(kind, nth=self.nth, **{"badge_meta_id": BADGE, **fields})
        return Case(
            name=name,
            group=group,
            where=self.where,
            faults=(fault,),
            ends=ends,
            **about,
        )


def _connections(at: _At) -> Iterator[Case]:
    nobody = "nobody can connect, or is hung up on"
    yield at.case(nobody, "nobody can connect for a while", "refuse", seconds=0.5)
    kinds: dict[str, tuple[str, Any]] = {
        "dropped before commit": ("dropped before commit", "drop_before"),
        "the platform died before commit": ("dropped before commit", "crash"),
        "dropped after commit": ("dropped after commit", "drop_after"),
        "half committed, then dropped": ("half committed, then dropped", "part_drop"),
        "body cut short after commit": ("dropped after commit", "cut_body"),
    }
    for told, reset in (("closed", False), ("reset", True)):
        name = f"hung up on connecting, {told}"
        yield at.case(nobody, name, "hang_up", reset=reset, badge_meta_id=None)
        for name, (group, kind) in kinds.items():
            yield at.case(group, f"{name}, {told}", kind, reset=reset)


def _times(at: _At) -> Iterator[Case]:
    group = "committed or answered after the timeout"
    late = {"after the timeout": AFTER_TIMEOUT, "after reading back": AFTER_READING}
    for told, seconds in late.items():
        yield at.case(group, f"committed {told}", "late", seconds=seconds)
    yield at.case(group, "answered after the timeout", "slow", seconds=AFTER_TIMEOUT)
    waits: dict[str, Any] = {"seconds": "seconds", "a date": "date", "nothing": "none"}
    group = "429, with and without `Retry-After`; 503 with 4001"
    for told, how in waits.items():
        name = f"429, Retry-After: {told}"
        yield at.case(group, name, "too_many", retry_after=how)
    yield at.case(group, "429 twice", "too_many", times=2)
    yield at.case(group, "503 with 4001", "unavailable")


def _whole_answers(at: _At) -> Iterator[Case]:
    group = "HTML with 302, 403, 408, 5xx: nothing done, or committed"
    for status in _HTML_STATUSES:
        for told, commit in (("nothing done", None), ("committed", True)):
            name = f"HTTP {status} with HTML, {told}"
            yield at.case(group, name, "html", status=status, commit=commit)
    group = "500 with 999999: nothing done, half or all committed"
    yield at.case(group, "500 with 999999, nothing done", "internal")
    yield at.case(group, "500 with 999999, committed", "internal", commit=True)
    yield at.case(group, "500 with 999999, half committed", "part")
    yield at.case(group, "500 with 999999, twice", "internal", times=2)
    group = "HTTP 200 that says nothing, committed"
    yield at.case(group, "JSON that breaks off, committed", "bad_json")
    yield at.case(group, "HTTP 200 with errors, committed", "errors_only")
    yield at.case(group, "HTTP 200 and nobody listed, committed", "empty")
    yield at.case(group, "the answer speaks of another request", "wrong_echo")


def _listed_answers(at: _At) -> Iterator[Case]:
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
    group = "customers missing, twice, in both lists, without an id, not asked for"
    for name, kind in kinds.items():
        for shape in ("old", "new"):
            switches = {"response_shape": shape}
            yield at.case(group, f"{name}, {shape} shape", kind, switches=switches)
    name = "an id beside an unknown error, committed"
    yield at.case(group, name, "error_with_id", code=7777)


def _refusals(at: _At) -> Iterator[Case]:
    group = "customers or the request refused by a code"
    stops = "the code stops the badge; its other awards wait for the next run"
    # A customer with another award of the badge is blocked, any other has it already.
    held = {"already_earned", "blocked"}
    yield at.case(group, "customers refused by 1040", "customer_error", ends=held)
    name = "customers refused by an unknown code"
    yield at.case(group, name, "unknown_code", ends={"blocked"})
    for status, code in ((409, 810), (409, 815), (403, 4000)):
        yield at.case(
            group,
            f"the request refused by {code}",
            "refusal",
            status=status,
            code=code,
            ends={"blocked"},
            planned_at_first=stops,
        )
    refused: dict[str, Any] = {"kind": "refusal", "status": 400}
    name = "the request refused by 816"
    yield at.case(group, name, code=816, ends={"failed"}, **refused)
    name = "the request refused by an unknown code"
    yield at.case(group, name, code=7777, **refused)
    yield at.case(
        "809 on a first attempt: somebody else used the id",
        "809 on a first attempt",
        "used_id",
        unknown_at_first="somebody else used the id: no new one in the same run",
    )


def _sizes(at: _At) -> Iterator[Case]:
    group = "too large: 413, 1060, a complaint, down to one customer"
    ends = {"blocked"} if at.nth == CANARY else set[str]()
    yield at.case(group, "413 with HTML", "too_large", ends=ends)
    yield at.case(group, "too large by 1060", "too_large", code=1060, ends=ends)
    yield at.case(
        group,
        "a complaint about size",
        "refusal",
        status=400,
        code=400,
        message="too many customerIds, at most 2",
        ends=ends,
    )
    yield at.case(
        group,
        "too large down to one customer",
        "too_large",
        times=None,
        ends={"blocked"},
        planned_at_first="three canaries were refused" if at.nth == CANARY else "",
    )


def _logins(at: _At) -> Iterator[Case]:
    group = "the token expires in the middle, and the next one too"
    stops = "a new token was refused too: the login is lost"
    yield at.case(group, "the token expired", "token_expired", is_oauth=True)
    yield at.case(
        group,
        "the token expired, and the next one",
        "token_expired",
        times=2,
        is_oauth=True,
        planned_at_first=stops if at.nth == CANARY else "",
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
        group="reads fail, three times, while a request is to be settled by them",
        where=where,
        faults=(Fault("crash", nth=MIDDLE, badge_meta_id=BADGE), read),
        is_oauth=fields["kind"] == "token_expired",
    )
