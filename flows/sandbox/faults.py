"""Faults: what may go wrong with a call, and which call it happens to.

Belongs here: the kinds, the script, and random sequences from a seed. Does not belong
here: making the odd answers (`mangling`), or carrying a fault out (`desk`).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Literal, NamedTuple, get_args

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from flows.sandbox.records import EndpointName

Kind = Literal[
    # The connection.
    "refuse",  # it is answered, and nobody can connect for `seconds`
    "hang_up",  # the connection is closed as soon as it is accepted
    "drop_before",  # the request never reaches the platform; no answer
    "crash",  # the platform began and died: nothing is committed, no answer
    "drop_after",  # all is committed; no answer
    "part_drop",  # a `share` of the customers is committed; no answer
    "cut_body",  # all is committed; the body ends before its content-length
    # Time.
    "late",  # nothing for `seconds`, then it is committed and answered
    "slow",  # committed at once, answered after `seconds`
    # A reply of its own; `commit` says whether the call was committed all the same.
    "too_many",  # 429; `retry_after` is none, seconds or date
    "html",  # an HTML page with `status` (502)
    "internal",  # HTTP 500 with code 999999
    "unavailable",  # HTTP 503 with code 4001
    "refusal",  # the whole request is refused by `code` (810) and `status` (409)
    "used_id",  # 809, whether the id was used or not
    "too_large",  # 413 as HTML, or as code 1060 if `code` is 1060
    "token_expired",  # 401, and the token is worth nothing from now on
    "part",  # a `share` of the customers is committed, then HTTP 500, 999999
    # An answer that is not quite right; all is committed unless it says otherwise.
    "bad_json",  # HTTP 200, JSON that breaks off
    "errors_only",  # HTTP 200, `errors` filled (`code`), data null
    "empty",  # HTTP 200, no customers listed
    "missing",  # `customers` (or a `share`) are not in the answer
    "doubled",  # they are listed twice
    "in_both",  # they are listed as earned and as failed
    "stranger",  # a customer is listed that was not asked for
    "error_with_id",  # they are listed with an id and an error (`code`)
    "no_id",  # they are listed without an id
    "counters",  # the counters disagree with the lists
    "odd_fields",  # unknown fields everywhere
    "wrong_echo",  # the answer speaks of another badge and request
    "customer_error",  # they are refused by `code` (1040); nothing committed for them
    "unknown_code",  # the same with a code that no document has
]


class Effect(NamedTuple):
    """How a kind is carried out.

    `commit`: `never` (not even begun), `none` (begun, then failed), `crash` (begun and
    left), `part`, `late`, `all`. `reply`: the call's own, or the fault's. `end`: how
    the connection ends.
    """

    commit: Literal["never", "none", "crash", "part", "late", "all"] = "all"
    reply: Literal["own", "fault"] = "own"
    end: Literal["answer", "hang_up", "cut"] = "answer"
    status: int = 200
    code: int = 999999


EFFECTS: dict[Kind, Effect] = {
    "refuse": Effect(),
    "hang_up": Effect(commit="never", end="hang_up"),
    "drop_before": Effect(commit="never", end="hang_up"),
    "crash": Effect(commit="crash", end="hang_up"),
    "drop_after": Effect(end="hang_up"),
    "part_drop": Effect(commit="part", end="hang_up"),
    "cut_body": Effect(end="cut"),
    "late": Effect(commit="late"),
    "slow": Effect(),
    "too_many": Effect(commit="never", reply="fault", status=429),
    "html": Effect(commit="never", reply="fault", status=502),
    "internal": Effect(commit="none", reply="fault", status=500),
    "unavailable": Effect(commit="never", reply="fault", status=503, code=4001),
    "refusal": Effect(commit="none", reply="fault", status=409, code=810),
    "used_id": Effect(commit="never", reply="fault", status=400, code=809),
    "too_large": Effect(commit="never", reply="fault", status=413, code=413),
    "token_expired": Effect(commit="never", reply="fault", status=401, code=401),
    "part": Effect(commit="part", reply="fault", status=500),
    "bad_json": Effect(),
    "errors_only": Effect(),
    "empty": Effect(),
    "missing": Effect(),
    "doubled": Effect(),
    "in_both": Effect(code=1040),
    "stranger": Effect(),
    "error_with_id": Effect(code=1040),
    "no_id": Effect(),
    "counters": Effect(),
    "odd_fields": Effect(),
    "wrong_echo": Effect(),
    "customer_error": Effect(code=1040),
    "unknown_code": Effect(code=7777),
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Fault:
    """One scripted fault.

    It looks at the calls of endpoint `on` (or of `any`) made since it
    was added, of `badge_meta_id` alone if that is set. From the `nth` of them on it
    strikes, `times` times (None: always), each time with `probability`.
    """

    kind: Kind
    on: EndpointName | Literal["any"] = "earnBulk"
    nth: int = 1
    times: int | None = 1
    probability: float = 1.0
    badge_meta_id: str | None = None
    seconds: float = 0.1
    status: int | None = None
    code: int | None = None
    message: str | None = None
    retry_after: Literal["none", "seconds", "date"] = "none"
    retry_after_seconds: float = 1.0
    share: float = 0.5
    customers: tuple[int, ...] = ()
    commit: bool | None = None
    reset: bool = False

    @property
    def effect(self) -> Effect:
        """Return how this fault is carried out."""
        effect = EFFECTS[self.kind]
        if self.commit is not None:
            effect = effect._replace(commit="all" if self.commit else "none")
        return effect._replace(
            status=self.status or effect.status, code=self.code or effect.code
        )


@plain_dataclass(slots=True)
class _Scripted:
    fault: Fault
    seen: int = 0
    struck: int = 0


class Script:
    """The faults that were added and not used up. Safe to use from several threads."""

    def __init__(self, seed: int) -> None:
        self.rolled = random.Random(f"faults {seed}")  # noqa: S311  no secret
        self._scripted: list[_Scripted] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Add faults; where several would strike, the first added does."""
        with self._lock:
            self._scripted += [_Scripted(fault) for fault in faults]

    def clear(self) -> None:
        """Take every fault away."""
        with self._lock:
            self._scripted.clear()

    def for_connection(self) -> Fault | None:
        """Return the fault that strikes a connection that was just accepted."""
        return self._strike(lambda fault: fault.kind == "hang_up")

    def for_call(self, endpoint: str, badge_meta_id: object) -> Fault | None:
        """Return the fault that strikes this call."""

        def concerns(fault: Fault) -> bool:
            if fault.kind == "hang_up" or fault.on not in {endpoint, "any"}:
                return False
            return fault.badge_meta_id is None or fault.badge_meta_id == badge_meta_id

        return self._strike(concerns)

    def _strike(self, concerns: Callable[[Fault], bool]) -> Fault | None:
        found = None
        if not self._scripted:
            return found
        with self._lock:
            for scripted in self._scripted:
                if not concerns(scripted.fault):
                    continue
                scripted.seen += 1
                if found is None and self._is_due(scripted):
                    scripted.struck += 1
                    found = scripted.fault
            self._scripted = [one for one in self._scripted if not _is_used_up(one)]
        return found

    def _is_due(self, scripted: _Scripted) -> bool:
        fault = scripted.fault
        if scripted.seen < fault.nth:
            return False
        return fault.probability >= 1 or self.rolled.random() < fault.probability


def _is_used_up(scripted: _Scripted) -> bool:
    times = scripted.fault.times
    return times is not None and scripted.struck >= times


# Left out of random sequences: they stop a badge, a run or the login by design, so
# that what comes after them would never be sent.
_STOPPING: frozenset[Kind] = frozenset({"refusal", "used_id", "customer_error"})


def random_faults(
    seed: int,
    *,
    count: int = 5,
    calls: int = 20,
    seconds: float = 0.1,
    kinds: Sequence[Kind] | None = None,
) -> tuple[Fault, ...]:
    """Return `count` faults spread over the next `calls` earnBulk calls.

    The same seed gives the same faults. `seconds` is how long slow ones take. Without
    `kinds` any kind may come but for those that refuse for good.
    """
    rolled = random.Random(f"sequence {seed}")  # noqa: S311  no secret
    among = kinds or [kind for kind in get_args(Kind) if kind not in _STOPPING]
    faults = []
    for _ in range(count):
        kind = rolled.choice(list(among))
        may_commit = kind in {"html", "internal"}
        faults.append(
            Fault(
                kind,
                nth=rolled.randint(1, calls),
                seconds=seconds,
                retry_after_seconds=int(seconds),
                status=rolled.choice((500, 502, 504, 520, 521))
                if kind == "html"
                else None,
                retry_after=rolled.choice(("none", "seconds", "date")),
                commit=rolled.choice((True, None)) if may_commit else None,
                share=rolled.choice((0.3, 0.5, 0.9)),
                reset=rolled.random() < 0.5,
            )
        )
    return tuple(faults)
