"""The life of one call, from its arrival to its end, in steps that a socket takes.

Belongs here: what comes after what, where a fault comes between, the list of calls.
Does not belong here: sockets and timers (`server`), and what an endpoint does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from flows.sandbox import control
from flows.sandbox.answers import refused
from flows.sandbox.faults import Fault, Script
from flows.sandbox.login import Account, Login, too_many
from flows.sandbox.mangling import chosen, mangled
from flows.sandbox.memory import Memory
from flows.sandbox.messages import RefusalError, Reply, Request, page
from flows.sandbox.moments import instant
from flows.sandbox.records import Call
from flows.sandbox.routes import Endpoint, endpoint_of, no_endpoint
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
            yield Answer(control.reply(self, request))
            return
        endpoint, values = endpoint_of(request) or (None, {})
        name = "unknown" if endpoint is None else endpoint.name
        sent = _sent(request)
        badge_meta_id = values.get("badge") or sent.get("badgeMetaId")
        fault = self.script.for_call(name, badge_meta_id)
        number = self._arrived(request, name, sent, values.get("customer"), fault)
        if self.switches.latency_seconds:
            yield Wait(self.switches.latency_seconds)
        if fault is None:
            reply = self._plain(request, endpoint, values)
            self._note(number, reply.status)
            yield Answer(reply)
        elif fault.effect.commit == "never":
            yield from self._end(number, fault, self._reply_of(fault, request))
        else:
            work = self._begun(request, endpoint, values)
            yield from self._struck(number, fault, work, request)

    def _arrived(
        self,
        request: Request,
        name: str,
        sent: dict[str, Any],
        customer: str | None,
        fault: Fault | None,
    ) -> int:
        """Put a call on the list of calls; return its number there."""
        request_id = sent.get("requestId")
        call = Call(
            at=instant(self.memory.now()),
            endpoint=name,
            method=request.method,
            path=request.path,
            status=None,
            request_id=None if request_id is None else str(request_id),
            customer_ids=_customer_ids(sent, customer),
            fault=None if fault is None else fault.kind,
        )
        with self.memory.lock:
            self.calls.append(call)
            return len(self.calls) - 1

    def _note(self, number: int, status: int) -> None:
        self.calls[number] = self.calls[number]._replace(status=status)

    def _plain(
        self,
        request: Request,
        endpoint: Endpoint | None,
        values: dict[str, str],
    ) -> Reply:
        with self.memory.lock:
            work = self._begun(request, endpoint, values)
            return self._committed(work, NO_ORDERS)

    def _begun(
        self,
        request: Request,
        endpoint: Endpoint | None,
        values: dict[str, str],
    ) -> Work:
        """Let the login and the endpoint look at a call; a refusal is work as well."""
        with self.memory.lock:
            try:
                work = self._admitted(request, endpoint, values)
            except RefusalError as refusal:
                reply = refused(refusal, self.switches)
                return answered_by(lambda: reply)
        return work

    def _admitted(
        self, request: Request, endpoint: Endpoint | None, values: dict[str, str]
    ) -> Work:
        if (seconds := self._login.seconds_to_wait(request)) is not None:
            how, now = self.switches.retry_after, self.memory.now()
            return answered_by(lambda: too_many(seconds, how, now))
        if endpoint is None:
            raise no_endpoint(request)
        if endpoint.begin is None:
            return answered_by(lambda: self._login.token(request))
        self._login.admit(request, endpoint.name)
        return endpoint.begin(self._context, request, **values)

    def _committed(self, work: Work, orders: Orders) -> Reply:
        with self.memory.lock:
            try:
                return work.commit(orders)
            except RefusalError as refusal:
                return refused(refusal, self.switches)

    def _struck(
        self, number: int, fault: Fault, work: Work, request: Request
    ) -> Iterator[Step]:
        """Yield what a fault makes of a call that was begun."""
        effect = fault.effect
        struck = chosen(fault, work.customer_ids, self.script.rolled)
        if effect.commit == "late":
            yield Wait(fault.seconds)
        if effect.commit == "none":
            with self.memory.lock:
                work.fail()
        if effect.commit in {"none", "crash"}:
            reply = self._reply_of(fault, request)
        else:
            own = self._committed(work, _orders(fault, struck))
            is_own = effect.reply == "own"
            reply = (
                mangled(own, fault, struck)
                if is_own
                else self._reply_of(fault, request)
            )
        if fault.kind == "slow":
            yield Wait(fault.seconds)
        yield from self._end(number, fault, reply)

    def _end(self, number: int, fault: Fault, reply: Reply) -> Iterator[Step]:
        end = fault.effect.end
        if end == "hang_up":
            yield HangUp(fault.reset)
            return
        if end == "answer":
            self._note(number, reply.status)
        if fault.kind == "refuse":
            # First: the client must not get in again on the heels of its answer.
            yield StopListening(fault.seconds)
            yield Wait(_STOPPED)
        yield Answer(reply, is_cut=end == "cut", resets=fault.reset)

    def _reply_of(self, fault: Fault, request: Request) -> Reply:
        """Return the reply that a fault gives in the place of the call's own."""
        effect = fault.effect
        if fault.kind == "token_expired":
            self._login.discard(request)
        if fault.kind == "too_many":
            seconds = fault.retry_after_seconds
            return too_many(seconds, fault.retry_after, self.memory.now())
        if fault.kind == "too_large" and fault.code == _TOO_LARGE:
            refusal = RefusalError(fault.status or 400, _TOO_LARGE, fault.message or "")
            return refused(refusal, self.switches)
        if fault.kind in {"html", "too_large"}:
            return _error_page(effect.status)
        refusal = RefusalError(effect.status, effect.code, fault.message or "")
        return refused(refusal, self.switches)


_TOO_LARGE = 1060
# By then the server has stopped to listen, and let in who was at the door.
_STOPPED = 0.005


def _error_page(status: int) -> Reply:
    """Return the HTML that a proxy before the platform would send."""
    reply = page(
        status, f"<html><head><title>{status}</title></head><body>sandbox</body></html>"
    )
    if status // 100 == 3:
        reply.headers["Location"] = "/elsewhere"
    return reply


def _orders(fault: Fault, struck: frozenset[int]) -> Orders:
    """Return what a fault wants of the commit."""
    if fault.effect.commit == "part":
        has_died = fault.kind == "part_drop"
        return Orders(share=fault.share, ends="crash" if has_died else "failure")
    if fault.kind in {"customer_error", "unknown_code"}:
        return Orders(codes=dict.fromkeys(struck, fault.effect.code))
    return NO_ORDERS


def _sent(request: Request) -> dict[str, Any]:
    """Return the body of a write if it is a JSON object, for the list of calls."""
    if request.method == "GET" or not request.body:
        return {}
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _customer_ids(sent: dict[str, Any], customer: str | None) -> tuple[int, ...]:
    """Return the customers that a call names in its body or path."""
    named = sent.get("customerIds") or sent.get("customers")
    if not isinstance(named, list):
        named = [sent.get("customerId", customer)]
    if set(map(type, named)) == {int}:
        return tuple(named)
    texts = (str(one) for one in named if isinstance(one, str | int))
    return tuple(int(text) for text in texts if text.isdecimal())
