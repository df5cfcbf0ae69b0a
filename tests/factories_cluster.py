"""A Dask cluster of this machine, and a wire to it that is listened to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from distributed import LocalCluster

# Everything of an award but what differs from one run to the next.
SAME = """
SELECT * EXCLUDE (award_id, request_id, earned_badge_id, planned_run_id,
    settled_run_id, planned_at, sent_at, settled_at, expires_on, target)
FROM audit ORDER BY customer_id, badge, occurrence
"""
# A second badge, so that there is more than one thing to share out.
BIG = """
[badges.big]
badge_meta_id = "653de334b3cda7078c7c68eb"
series = "big"
reference_id = "retro"
rule = { kind = "total_amount", at_least = 15 }
repeat = true
"""


@contextmanager
def cluster() -> Iterator[str]:
    """Run a scheduler and two workers, which have this environment; give its address.

    Its wires are not encrypted, and it has no address but on loopback.
    """
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as made:
        yield made.scheduler_address


@dataclass
class Wire:
    """An address that leads to a scheduler, and all that went through it."""

    address: str
    heard: list[bytes] = field(default_factory=list)

    @property
    def told(self) -> bytes:
        """Return what was said in both directions."""
        return b"".join(self.heard)


@contextmanager
def listened_to(address: str) -> Iterator[Wire]:
    """Give another address of a scheduler, and listen to who uses it."""
    goal = urlsplit(address)
    server = socket.create_server(("127.0.0.1", 0))
    wire = Wire(f"tcp://127.0.0.1:{server.getsockname()[1]}")
    ends = [server]

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                wire.heard.append(data)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def take() -> None:
        with suppress(OSError):
            while True:
                caller, _ = server.accept()
                callee = socket.create_connection((goal.hostname, goal.port))
                ends.extend((caller, callee))
                for pair in ((caller, callee), (callee, caller)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield wire
    finally:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for end in ends:
            end.close()
