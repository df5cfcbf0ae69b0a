"""The life of one call, from its arrival to its end, as steps that a socket carries out.

Belongs here: what comes after what, where a fault comes between, the list of calls.
Does not belong here: sockets and timers (`server`), and what an endpoint does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from flows.sandbox import control
from flows.sandbox.answers import error, refused
from flows.sandbox.bodies import refusal
from flows.sandbox.faults import Fault, Script
from flows.sandbox.login import Account, Login, too_many
from flows.sandbox.mangling import chosen, mangled
from flows.sandbox.memory import Memory
from flows.sandbox.messages import RefusalError, Reply, Request
from flows.sandbox.moments import instant
from flows.sandbox.records import Call
from flows.sandbox.routes import TOKEN_PATH, endpoint_of
from flows.sandbox.switches import Switches
from flows.sandbox.work import NO_ORDERS, Context, Orders, Work, answered_by


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Send a reply; with `is_cut` only half of its body, then end the connection."""

    reply: Reply
    is_cut: bool = False
    resets: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the connection without an answer; `resets` it instead of closing."""

    resets: bool


@dataclass(frozen=True, slots=True)
class StopListening:
    """Refuse every new connection for so many seconds."""

    seconds: float


Step = Wait | Answer | HangUp | StopListening


class Desk:
    """One platform: its memory, its switches, its faults and the calls it had."""

    def __init__(self, memory: Memory, switches: Switches, account: Account) -> None:
        self.memory = memory
        self.switches = switches
        self.account = account
        self.script = Script(switches.seed)
        self.calls: list[Call] = []
        self._login = Login(account, switches, memory)
        order = random.Random(f"order {switches.seed}")  # noqa: S311  no secret
        self._context = Context(memory, switches, order)

    def life(self, request: Request) -> Iterator[Step]:
        """Yield what happens to a call, one step after the other."""
        if request.path == "/" or request.path.startswith("/sandbox/"):
            with self.memory.lock:
                reply = control.reply(self, request)
            yield Answer(reply)
            return
        call = self._arrived(request)
        if self.switches.latency_seconds:
            yield Wait(self.switches.latency_seconds)
        with self.memory.lock:
            name, work, fault = self._begun(request)
            call.note(name, work, fault)
        yield from self._ended(call, request, work, fault)

    def _arrived(self, request: Request) -> _Entry:
        with self.memory.lock:
            at = instant(self.memory.now())
            path = request.path
            self.calls.append(Call(at, "", request.method, path, None, None, (), None))
            return _Entry(self.calls, len(self.calls) - 1)
