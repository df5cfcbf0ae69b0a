"""A Dask cluster of this machine, and a wire to it that is listened to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from distributed import LocalCluster


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
