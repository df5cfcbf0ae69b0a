"""A running sandbox: in a thread for tests and the demo, or in the foreground.

Belongs here: starting, stopping, and what a test may ask of it. Does not belong here:
how it answers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.sandbox.desk import Desk
from flows.sandbox.faults import Fault
from flows.sandbox.login import Account
from flows.sandbox.memory import Memory, utc_now
from flows.sandbox.moments import instant
from flows.sandbox.records import (
    Badge,
    Call,
    Claim,
    Customer,
    Earn,
    Expiry,
    Limit,
    StoredEarn,
)
from flows.sandbox.server import Server
from flows.sandbox.switches import Switches
from transforms.errors import SettingsRefused

HOST = "127.0.0.1"
REFERENCE_ID = "retro"


class Sandbox:
    """The badge API on loopback, with everything it remembers open to its owner."""

    def __init__(self, desk: Desk, base_url: str) -> None:
        self._desk = desk
        self._memory = desk.memory
        self.base_url = base_url
        self.username = desk.account.username
        self.password = desk.account.password
        self.client_key = desk.account.client_key
        self.client_secret = desk.account.client_secret

    @classmethod
    @contextmanager
    def running(
        cls,
        *,
        switches: Switches | None = None,
        memory: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        host: str = HOST,
        port: int = 0,
    ) -> Iterator[Sandbox]:
        """Run a sandbox in a thread of its own for as long as the block lasts.

        `memory` is the journal: a sandbox started on the same file knows what an
        earlier one knew. `clock` gives aware datetimes; faults and latency wait in
        real time all the same. A defect of the sandbox is raised at the end.
        """
        with _desk(switches, memory, clock) as desk:
            server = Server(desk, _loopback(host), port)
            with _thread(server) as base_url:
                yield cls(desk, base_url)
        if server.failures:
            raise server.failures[0]

    # Setting up -------------------------------------------------------------------

    def add_badge(
        self,
        badge_meta_id: str | None = None,
        name: str | None = None,
        *,
        reference_id: str = REFERENCE_ID,
        claims: Iterable[Claim] | None = None,
        limits: Iterable[Limit] = (),
        expiry: Expiry | None = None,
        **fields: Any,
    ) -> Badge:
        """Add a badge, or replace the one with that id.

        By default it is a direct one (`EARN`), active, its window 2000 to 2100, owned
        by `Historical_Import` and claimed for `reference_id`, its earns never
        expiring. `fields` are further fields of `Badge`.
        """
        with self._memory.lock:
            badge = new_badge(
                self._memory,
                badge_meta_id,
                name,
                reference_id=reference_id,
                claims=claims,
                limits=tuple(limits),
                expiry=expiry or Expiry(),
                **fields,
            )
            self._memory.put_badge(badge)
        return badge

    def add_customer(self, customer_id: int, **fields: Any) -> Customer:
        """Add a customer; `fields` are further fields of `Customer`."""
        customer = Customer(customer_id=customer_id, **fields)
        with self._memory.lock:
            self._memory.put_customer(customer)
        return customer

    def fault(self, kind: str | Fault, **fields: Any) -> Fault:
        """Script a fault: a kind and further fields of `Fault`, or one made before."""
        fault = kind if isinstance(kind, Fault) else Fault(kind, **fields)  # type: ignore[arg-type]
        self._desk.script.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Take every fault away."""
        self._desk.script.clear()

    # Looking ----------------------------------------------------------------------

    def earns(
        self, badge_meta_id: str | None = None, customer_id: int | None = None
    ) -> list[Earn]:
        """Return what was committed, oldest first; revoked earns are not active."""
        with self._memory.lock:
            return [
                self._shown(earn)
                for earn in self._memory.earns.all()
                if badge_meta_id in {None, earn.badge_meta_id}
                and customer_id in {None, earn.customer_id}
            ]

    def _shown(self, earn: StoredEarn) -> Earn:
        return Earn(
            earned_badge_id=earn.earned_badge_id,
            badge_meta_id=earn.badge_meta_id,
            customer_id=earn.customer_id,
            earn_event_date=instant(earn.earn_event_at),
            created_at=instant(earn.created_at),
            expires_on=instant(earn.expires_at),
            request_id=earn.request_id,
            is_active=earn.earned_badge_id not in self._memory.revoked,
        )

    @property
    def calls(self) -> list[Call]:
        """Return every call so far, in the order they arrived."""
        with self._memory.lock:
            return list(self._desk.calls)

    @property
    def request_ids(self) -> list[str]:
        """Return the request ids that count as used."""
        with self._memory.lock:
            return sorted({request_id for _, request_id in self._memory.request_ids})

    @property
    def badges(self) -> list[Badge]:
        """Return the badges as they stand, their claims included."""
        with self._memory.lock:
            return list(self._memory.badges.values())


def new_badge(
    memory: Memory,
    badge_meta_id: str | None = None,
    name: str | None = None,
    *,
    reference_id: str = REFERENCE_ID,
    claims: Iterable[Claim] | None = None,
    **fields: Any,
) -> Badge:
    """Return a badge with sensible defaults; it is not remembered yet."""
    number = len(memory.badges) + 1
    starts_at = fields.get("starts_at", datetime(2000, 1, 1, tzinfo=UTC))
    if claims is None:
        claims = (Claim(reference_id=reference_id),)
    return Badge(
        badge_meta_id=badge_meta_id or memory.ids.take(1, memory.now())[0],
        name=name or f"Badge {number}",
        numeric_id=number,
        claims=tuple(claims),
        **{"starts_at": starts_at, **fields},
    )


@contextmanager
def _desk(
    switches: Switches | None, path: Path | None, clock: Callable[[], datetime]
) -> Iterator[Desk]:
    chosen = switches or Switches()
    memory = Memory(path, clock=clock, seed=chosen.seed)
    try:
        yield Desk(memory, chosen, Account())
    finally:
        memory.close()


def _loopback(host: str) -> str:
    """Return the host if nobody but this machine can reach it."""
    if host == "localhost":
        return HOST
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        message = f"the sandbox listens on loopback only, not on {host}: use {HOST}"
        raise SettingsRefused.of("not_loopback", message)
    return host


@contextmanager
def _thread(server: Server) -> Iterator[str]:
    """Run the server in a thread; yield its address once it listens."""
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    started = threading.Event()
    failure: list[BaseException] = []

    async def main() -> None:
        try:
            await server.listen()
        except OSError as error:
            failure.append(error)
            return
        finally:
            started.set()
        await stopped.wait()
        await server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="retrobadge-sandbox", daemon=True)
    thread.start()
    started.wait()
    if failure:
        thread.join()
        raise failure[0]
    try:
        yield server.base_url
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
