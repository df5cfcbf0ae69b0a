"""The socket: HTTP/1.1 on loopback, and the steps of a call carried out.

Belongs here: connections, timers, bytes. Does not belong here: anything that knows
what a request means.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote

import h11

from flows.sandbox.desk import Answer, Desk, HangUp, Step, StopListening, Wait
from flows.sandbox.messages import Reply, Request

_BACKLOG = 1024
_NAME = "retrobadge-sandbox"


class Server:
    """Listens for a desk; one event loop, any number of connections."""

    def __init__(self, desk: Desk, host: str, port: int) -> None:
        self.desk = desk
        self.failures: list[Exception] = []
        self.connections: set[Connection] = set()
        self.request_numbers = itertools.count(1)
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_lost: asyncio.Event | None = None

    @property
    def base_url(self) -> str:
        """Return the address that clients use."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def listen(self) -> None:
        """Start to accept connections, if it doesn't; port 0 takes a free one."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), self._host, self._port, backlog=_BACKLOG
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse new connections and end those that wait for a request."""
        await self._stop_accepting()
        self._end_all(is_for_good=False)
        await asyncio.sleep(0)  # by then the loop has closed their sockets

    async def _stop_accepting(self) -> None:
        """Let connections that were just accepted come into being, and no more.

        A server that is closed in between forgets them, open for ever.
        """
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets if self._server is not None else ():
            loop.remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)

    def _end_all(self, *, is_for_good: bool) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.end(is_for_good=is_for_good)

    def stop_listening_for(self, seconds: float) -> None:
        """Refuse new connections for so long."""
        self._start(self.stop_listening())
        self.later(seconds, lambda: self._start(self.listen()))

    def _start(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every connection and forget what was still waiting."""
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._tasks)
        await self._stop_accepting()
        self._end_all(is_for_good=True)
        if self.connections:
            self._all_lost = asyncio.Event()
            await self._all_lost.wait()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        if self._all_lost is not None and not self.connections:
            self._all_lost.set()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds, unless the server is closed before."""
        loop = asyncio.get_running_loop()

        def fire() -> None:
            self._timers.discard(timer)
            act()

        timer = loop.call_later(seconds, fire)
        self._timers.add(timer)


class Connection(asyncio.Protocol):
    """One client's connection: one call at a time, in the order they come."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._http = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport | None = None
        self._is_busy = False
        self._is_last = False
        self._head: h11.Request | None = None
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless a fault ends it at once."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the types
        self._transport = transport
        self._server.connections.add(self)
        fault = self._server.desk.script.for_connection()
        if fault is not None:
            self._hang_up(resets=fault.reset)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget a connection; what its call has begun goes on."""
        self._transport = None
        self._server.lost(self)

    def data_received(self, data: bytes) -> None:
        """Read on, and take up a request that is whole."""
        self._http.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        """Close when the client has; a call that is running goes on unanswered."""
        return False

    def end(self, *, is_for_good: bool) -> None:
        """End the connection: now, or as soon as its call has been answered."""
        if is_for_good or not self._is_busy:
            self._hang_up(resets=False, keeps_written=not is_for_good)
        self._is_last = True

    def _read(self) -> None:
        while not self._is_busy and self._transport is not None:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self._hang_up(resets=False)
                return
            if isinstance(event, h11.Request):
                self._head, self._body = event, []
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                self._is_busy = True
                request = _request(self._head, b"".join(self._body))
                self._go_on(self._server.desk.life(request))
            else:
                return

    def _go_on(self, life: Iterator[Step]) -> None:
        """Carry out the steps of a call until one of them has to wait."""
        try:
            for step in life:
                if isinstance(step, Wait):
                    self._server.later(step.seconds, lambda: self._go_on(life))
                    return
                self._carry_out(step)
        except Exception as failure:
            self._server.failures.append(failure)
            self._hang_up(resets=True)
            raise

    def _carry_out(self, step: Step) -> None:
        if isinstance(step, Answer):
            self._answer(step)
        elif isinstance(step, HangUp):
            self._hang_up(resets=step.resets)
        elif isinstance(step, StopListening):
            self._server.stop_listening_for(step.seconds)

    def _answer(self, step: Answer) -> None:
        if self._transport is None:
            return
        body = step.reply.body()
        head = self._http.send(self._response(step.reply, len(body)))
        if step.is_cut:
            self._transport.write((head or b"") + body[: len(body) // 2])
            self._hang_up(resets=step.resets, keeps_written=True)
            return
        sent = self._http.send(h11.Data(body))
        self._http.send(h11.EndOfMessage())
        self._transport.write((head or b"") + (sent or b""))
        self._is_busy = False
        if self._is_last or self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()
            return
        self._http.start_next_cycle()
        # A request that came early is read only after the present one has returned.
        asyncio.get_running_loop().call_soon(self._read)

    def _response(self, reply: Reply, length: int) -> h11.Response:
        number = next(self._server.request_numbers)
        headers = [
            ("Server", _NAME),
            ("X-Retrobadge-Sandbox", "true"),
            ("X-CAP-REQUEST-ID", f"{number:032x}"),
            ("Content-Type", reply.media_type),
            ("Content-Length", str(length)),
            *reply.headers.items(),
        ]
        if self._is_last:
            headers.append(("Connection", "close"))
        return h11.Response(status_code=reply.status, headers=headers)

    def _hang_up(self, *, resets: bool, keeps_written: bool = False) -> None:
        transport = self._transport
        if transport is None:
            return
        if resets:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        if keeps_written and not resets:
            transport.close()
        else:
            transport.abort()


def _request(head: h11.Request, body: bytes) -> Request:
    path, _, query = head.target.decode("ascii", "replace").partition("?")
    return Request(
        method=head.method.decode("ascii"),
        path=unquote(path),
        query=dict(parse_qsl(query)),
        headers={
            name.decode(): value.decode("latin-1") for name, value in head.headers
        },
        body=body,
    )
