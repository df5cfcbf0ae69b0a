"""A running sandbox: in a thread for tests and the demo, or in the foreground.

Belongs here: starting, stopping, and what the owner of a sandbox may ask of it. Does
not belong here: how it answers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from flows.sandbox.desk import Desk
from flows.sandbox.faults import Fault, Kind
from flows.sandbox.login import Account
from flows.sandbox.memory import Memory, utc_now
from flows.sandbox.moments import instant
from flows.sandbox.records import Badge, Call, Claim, Customer, Earn, StoredEarn
from flows.sandbox.server import Server
from flows.sandbox.switches import Switches
from transforms.errors import SettingsRefused

HOST = "127.0.0.1"
REFERENCE_ID = "retro"


class Sandbox:
    """The badge API on loopback, with everything it remembers open to its owner."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._desk = server.desk
        self._memory = server.desk.memory
        self.base_url = server.base_url
        account = server.desk.account
        self.username, self.password = account.username, account.password
        self.client_key, self.client_secret = account.client_key, account.client_secret

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
    ) -> Iterator[Self]:
        """Run a sandbox in a thread of its own for as long as the block lasts.

        `memory` is the journal: a sandbox started on the same file knows what an
        earlier one knew. `clock` gives aware datetimes; faults and latency wait in
        real time all the same. A defect of the sandbox is raised at the end.
        """
        with _desk(switches, memory, clock) as desk:
            server = Server(desk, _loopback(host), port)
            with _thread(server) as loop:
                yield cls(server, loop)
        if server.failures:
            raise server.failures[0]

    # Setting up -------------------------------------------------------------------

    def add_badge(
        self,
        badge_meta_id: str | None = None,
        name: str | None = None,
        *,
        reference_id: str = REFERENCE_ID,
        **fields: Any,
    ) -> Badge:
        """Add a badge, or put it in the place of the one with that id.

        By default it is a direct one (`EARN`), active, its window 2000 to 2100, owned
        by `Historical_Import` and claimed for `reference_id`, its earns never
        expiring. `fields` are further fields of `Badge`.
        """
        with self._memory.lock:
            number = len(self._memory.badges) + 1
            made_id = badge_meta_id or self._memory.ids.take(1, self._memory.now())[0]
            badge = Badge(
                badge_meta_id=made_id,
                name=name or f"Badge {number}",
                numeric_id=number,
                **{"claims": (Claim(reference_id=reference_id),), **fields},
            )
            self._memory.put_badge(badge)
        return badge

    def seed(self, badges: Iterable[Badge]) -> None:
        """Add badges; those whose id the memory knows already stay as they are."""
        seed(self._memory, badges)

    def add_customer(self, customer_id: int, **fields: Any) -> Customer:
        """Add a customer; `fields` are further fields of `Customer`."""
        customer = Customer(customer_id=customer_id, **fields)
        with self._memory.lock:
            self._memory.put_customer(customer)
        return customer

    def fault(self, kind: Kind | Fault, **fields: Any) -> Fault:
        """Script a fault: a kind and further fields of `Fault`, or one made before."""
        fault = kind if isinstance(kind, Fault) else Fault(kind, **fields)
        self._desk.script.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Take every fault away."""
        self._desk.script.clear()

    @contextmanager
    def refusing_connections(self) -> Iterator[None]:
        """Let nobody connect inside the block; idle connections are closed."""
        self._run(self._server.stop_listening())
        try:
            yield
        finally:
            self._run(self._server.listen())

    def _run(self, act: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result()

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
        """Return the request ids that count as used, in the order of their texts."""
        with self._memory.lock:
            return sorted({request_id for _, request_id in self._memory.request_ids})

    @property
    def badges(self) -> list[Badge]:
        """Return the badges as they stand, their claims included."""
        with self._memory.lock:
            return list(self._memory.badges.values())


def serve(
    *,
    host: str = HOST,
    port: int = 0,
    switches: Switches | None = None,
    badges: Iterable[Badge] = (),
    memory: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Run a sandbox in the foreground until Ctrl-C or a termination.

    `announce` gets, once the sandbox listens, lines that say what it is, where it is
    and how to log in; by default they go to standard output.
    """
    say = announce or _to_stdout
    with _desk(switches, memory, utc_now) as desk:
        seed(desk.memory, badges)
        server = Server(desk, _loopback(host), port)
        asyncio.run(_served(server, say))
        say("The sandbox has stopped.")
    if server.failures:
        raise server.failures[0]


async def _served(server: Server, say: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await server.listen()
    account, count = server.desk.account, len(server.desk.memory.badges)
    say(f"This is a SANDBOX of the badge API, not the platform; {count} badges.")
    say("It listens on loopback only. Ctrl-C stops it. To use it:")
    say(f"CAPILLARY_BASE_URL={server.base_url}")
    say(f"CAPILLARY_USERNAME={account.username}")
    say(f"CAPILLARY_PASSWORD={account.password}")
    await stopped.wait()
    await server.close()


def _to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def seed(memory: Memory, badges: Iterable[Badge]) -> None:
    """Add badges; those whose id the memory knows already stay as they are."""
    with memory.lock:
        for badge in badges:
            if badge.badge_meta_id not in memory.badges:
                memory.put_badge(badge)


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
def _thread(server: Server) -> Iterator[asyncio.AbstractEventLoop]:
    """Run the server in a thread; yield its loop once it listens."""
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    started = threading.Event()
    failure: list[BaseException] = []

    async def main() -> None:
        try:
            await server.listen()
        except BaseException as error:  # noqa: BLE001  raised again by the starter
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
        yield loop
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
