"""Ends a run at a moment of one's choice: a relay between it and the sandbox.

Belongs here: a brand whose calls pass through a relay that counts them, acts at one of
them, and keeps every body; and what such a brand must hold when all is done. Does not
belong here: what is asked of it (`test_death`).

The run is a real process. The relay acts when a call has been asked and is not yet
handed on, or when it has been answered and the answer is not yet handed back: to the
platform the first is a death before the call, to the run the second is one after it.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
from factories_imports import BADGE, Brand, bare_environment, brand
from rig_faults import OTHER_BADGE, audited
from rig_scoring import Score, Wanted, broken_chains, scored

EARN_BULK = "/customer/earnBulk"
DEFINITION = f"""
name = "visits"
timezone = "America/New_York"

[activity]
files = ["*.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at" }}

[badges.regular]
badge_meta_id = "{BADGE}"
reference_id = "retro"
rule = {{ kind = "activity_count", at_least = 2 }}

[badges.every]
badge_meta_id = "{OTHER_BADGE}"
reference_id = "retro"
repeat = true
rule = {{ kind = "activity_count", at_least = 1 }}
"""


class Visit(NamedTuple):
    """One visit, at a local hour of a day in May 2017."""

    customer_id: int
    day: int
    hour: int = 12


def visited() -> list[Visit]:
    """Return visits by which 8 customers earn a badge once, and another 21 times.

    Customers 1 to 3 come twice on one day, so that two awards have one date.
    """
    twice = [Visit(customer, day=2, hour=18) for customer in (1, 2, 3)]
    once = [Visit(customer, day=day) for customer in range(1, 9) for day in (1, 2)]
    return [*once, *twice, Visit(9, day=2), Visit(10, day=2)]


def activity(visits: list[Visit]) -> str:
    """Return visits as a CSV file."""
    rows = [
        f"{one.customer_id},bill-{number},2017-05-{one.day:02d}T{one.hour}:00:00"
        for number, one in enumerate(visits)
    ]
    return "\n".join(["who,bill,at", *rows, ""])


def wanted(visits: list[Visit]) -> list[Wanted]:
    """Return what should be on the platform: derived here, in plain Python."""
    due, seen = [], Counter[int]()
    for visit in sorted(visits, key=lambda one: (one.day, one.hour)):
        seen[visit.customer_id] += 1
        noon = datetime(2017, 5, visit.day, 16, tzinfo=UTC)
        due.append(Wanted(OTHER_BADGE, visit.customer_id, noon))
        if seen[visit.customer_id] == 2:
            due.append(Wanted(BADGE, visit.customer_id, noon))
    return due


@dataclass
class Relay:
    """Hands calls on to the sandbox. `act` is called at each moment of a call.

    A moment is (number of the call, "asked" or "answered"). `act` tells whether the
    call goes on. Calls count from the first earnBulk on.
    """

    target: str
    act: Callable[[int, str], bool] = lambda _number, _moment: True
    bodies: list[bytes] = field(default_factory=list)
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def moment(self, number: int | None, when: str) -> bool:
        """Tell whether a call goes on."""
        return number is None or self.act(number, when)

    def counted(self, path: str, body: bytes) -> int | None:
        """Return the number of a call, None before the first earnBulk."""
        with self.lock:
            is_earn = path.endswith(EARN_BULK)
            if is_earn:
                self.bodies.append(body)
            if not is_earn and not self.bodies:
                return None
            self.calls += 1
            return self.calls


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._relayed()

        def do_POST(self) -> None:
            self._relayed()

        def _relayed(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            number = relay.counted(urlsplit(self.path).path, body)
            if not relay.moment(number, "asked"):
                self.close_connection = True
                return
            answer, given = self._asked(body)
            if answer is None or not relay.moment(number, "answered"):
                self.close_connection = True
                return
            with suppress(ConnectionError):
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                if wait := answer.headers["Retry-After"]:
                    self.send_header("Retry-After", wait)
                self.send_header("Content-Length", str(len(given)))
                self.end_headers()
                self.wfile.write(given)

        def _asked(self, body: bytes) -> tuple[http.client.HTTPResponse | None, bytes]:
            """Ask the sandbox; None where it ended the connection."""
            target = urlsplit(relay.target)
            kept = {"authorization", "content-type", "x-cap-api-oauth-token"}
            headers = {k: v for k, v in self.headers.items() if k.lower() in kept}
            connection = http.client.HTTPConnection(target.netloc, timeout=20)
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                return answer, answer.read()
            except (ConnectionError, http.client.HTTPException):
                return None, b""
            finally:
                connection.close()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


@contextmanager
def relaying(target: str) -> Iterator[tuple[Relay, str]]:
    """Run a relay in a thread; yield it and its address."""
    relay = Relay(target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(relay))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield relay, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mortal:
    """A brand whose runs are processes that can be ended."""

    brand: Brand
    relay: Relay
    relay_address: str = ""
    visits: list[Visit] = field(default_factory=visited)
    process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command; by default a run of the definition."""
        typed = arguments or ("run", str(self.brand.definition), "--yes", "--json")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows", *typed],
            env={**bare_environment(), **self.brand.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return self.process

    def signal(self, number: signal.Signals) -> None:
        """Send the run's process a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
        """Return how a command ended: its status, and what it printed."""
        out, err = process.communicate(timeout=90)
        assert "Traceback" not in err, err
        return process.returncode, orjson.loads(out) if out.strip() else {}

    def at(self, moment: tuple[int, str], act: Callable[[], bool]) -> None:
        """Let something be done at one moment, once."""
        is_done = threading.Event()

        def acted(number: int, when: str) -> bool:
            if (number, when) == moment and not is_done.is_set():
                is_done.set()
                return act()
            return True

        self.relay.act = acted

    def kill(self) -> bool:
        """End the run's process at once; its call goes no further."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        return False

    def finish(self, most: int = 5) -> int:
        """Run until everything is issued; return how many runs it took."""
        self.relay.act = lambda _number, _moment: True
        for number in range(1, most + 1):
            report = self.brand.run()
            assert report.is_balanced
            statuses = self.brand.statuses()
            if set(statuses) <= {"issued"}:
                return number
        raise AssertionError(f"not all is issued after {most} runs: {statuses}")

    def score(self) -> Score:
        """Return the score, from sandbox, audit and the visits themselves."""
        audit = audited(self.brand.home)
        assert broken_chains(audit.events) == []
        return scored(wanted(self.visits), self.brand.sandbox.earns(), audit)


@contextmanager
def mortal(folder: Path, **environ: str) -> Iterator[Mortal]:
    """Give a brand with a relay before its sandbox."""
    waits = {
        "CAPILLARY_TIMEOUT_SECONDS": "0.4",
        "CAPILLARY_RESEND_AFTER_SECONDS": "0.8",
        "CAPILLARY_SETTLE_AFTER_SECONDS": "1.2",
        "CAPILLARY_BATCH_SIZE": "3",
    }
    with brand(folder, environ={**waits, **environ}) as made:
        made.sandbox.add_badge(OTHER_BADGE, "Every", reference_id="retro")
        made.define(DEFINITION)
        with relaying(made.sandbox.base_url) as (relay, address):
            made.environ["CAPILLARY_BASE_URL"] = address
            found = Mortal(made, relay, address)
            made.write(may=activity(found.visits))
            try:
                yield found
            finally:
                if found.process is not None and found.process.poll() is None:
                    found.process.kill()
                    found.process.communicate()
