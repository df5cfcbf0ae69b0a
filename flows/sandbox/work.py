"""What an endpoint is given and gives back; no endpoint and no socket.

A request is worked in two steps, because faults come between them: it is begun (read,
checked, its request id looked up), then committed, or left uncommitted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from flows.sandbox.memory import Memory
from flows.sandbox.messages import Reply
from flows.sandbox.moments import SECOND
from flows.sandbox.switches import Switches


@dataclass(frozen=True, slots=True)
class Context:
    """The platform an endpoint acts on. `order` shuffles customers."""

    memory: Memory
    switches: Switches
    order: random.Random

    @property
    def shown_until(self) -> int:
        """Return up to which instant reads show what was made."""
        lag = round(self.switches.reads_lag_seconds * SECOND)
        return self.memory.now() - lag


@dataclass(frozen=True, slots=True)
class Orders:
    """What a fault wants of a commit.

    `share`: only the first so many are reached. `codes` refuse customers. `ends`: what
    becomes of the request id.
    """

    share: float = 1.0
    ends: Literal["success", "failure", "crash"] = "success"
    codes: Mapping[int, int] = field(default_factory=dict)


NO_ORDERS = Orders()


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Work:
    """A request that was begun: commit it, or let it fail."""

    commit: Callable[[Orders], Reply]
    fail: Callable[[], None] = _nothing
    customer_ids: tuple[int, ...] = ()


def answered_by(reply: Callable[[], Reply]) -> Work:
    """Return work that consists of its reply: all reads, and short writes."""
    return Work(commit=lambda _orders: reply())
