"""A badge API that does nothing but answer, fast: `python fast_server.py SECONDS`.

Belongs here: what it takes to keep a sender busy, in a process of its own. Does not
belong here: any check that the platform makes, which the sandbox plays.

Prints its port, answers every earnBulk with a new id per customer after so many
seconds, and counts nothing.
"""

from __future__ import annotations

import asyncio
import sys

import orjson

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "


class Answering(asyncio.Protocol):
    """One connection: requests one after the other, answered in their order."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is there whole."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self._received) < end + 4 + length:
                return
            body = bytes(self._received[end + 4 : end + 4 + length])
            del self._received[: end + 4 + length]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        asked = orjson.loads(body)
        listed = asked["customerIds"]
        request_id = asked["requestId"]
        said = orjson.dumps(
            {
                "data": {
                    "badgeMetaId": asked["badgeMetaId"],
                    "earnedBadgesList": [
                        {"customerId": one, "earnedBadgeId": f"{request_id}-{one}"}
                        for one in listed
                    ],
                    "failedEarnBadgeErrorList": [],
                    "totalCount": len(listed),
                    "earnedCount": len(listed),
                    "failedCount": 0,
                },
                "errors": [],
                "warnings": [],
            }
        )
        answer = HEAD + str(len(said)).encode() + b"\r\n\r\n" + said
        loop = asyncio.get_running_loop()
        if self._transport is not None:
            if self._latency:
                loop.call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def main(latency: float) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(latency), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
