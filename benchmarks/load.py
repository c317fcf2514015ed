"""A load of many open connections from one process at very low cost.

How this works: the output of a compressor depends only on the messages and the negotiated parameters. The bytes to send
are therefore created once, with `anyws.protocol`, and sent on all connections. Only the responses on the first
connection are decompressed and checked; on the others, frames are counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from anyws.protocol import (
    ClientHandshake,
    Connection,
    HandshakeError,
    Opcode,
    PerMessageDeflate,
    Response,
    Role,
    parse_uri,
    serialize_frame,
)
from anyws.protocol.deflate import DeflateCodec

__all__ = ["Load", "json_messages"]

_AT_A_TIME = 16
_LIMIT = 1024 * 1024


def json_messages(count: int, size: int) -> list[str]:
    """Generate messages like those of a trading feed: records that are similar, but all different.

    Args:
        count: the number of messages.
        size: the size of each in bytes; the last record of a message is truncated.
    """
    source = random.Random(1)
    return [_json_message(source, number, size) for number in range(count)]


def _json_message(source: random.Random, number: int, size: int) -> str:
    items: list[dict[str, Any]] = []
    message = ""
    while len(message) < size:
        items.append(
            {
                "id": source.randrange(10**9),
                "symbol": f"{source.choice(['AAPL', 'AMZN', 'GOOG', 'MSFT'])}-{source.randrange(100)}",
                "price": round(source.uniform(1, 500), 2),
                "quantity": source.randrange(1, 1000),
                "side": source.choice(["buy", "sell"]),
                "venue": source.choice(["XNAS", "XNYS", "BATS"]),
                "user": source.randbytes(6).hex(),
            }
        )
        message = json.dumps({"type": "trades", "sequence": number, "items": items})
    return message[:size]


class _Client(asyncio.Protocol):
    """A connection. It answers Pings at any time, so that no server drops it."""

    def __init__(self, handshake: ClientHandshake) -> None:
        self.handshake = handshake
        self.response: Response | None = None
        self.transport: asyncio.Transport
        self._received = bytearray()
        self._answer = bytearray()  # the frames of the current message
        self._waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.handshake.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        if self.response is None:
            self._receive_response(data)
        else:
            self._received += data
        while end := _end_of_frame(self._received):
            self._receive_frame(bytes(self._received[:end]))
            del self._received[:end]

    async def opened(self) -> Response:
        """Wait for the response.

        Raises:
            HandshakeError: the response is invalid.
            ConnectionError: the server closed the connection.
        """
        await self._waiter
        assert self.response is not None
        return self.response

    async def exchange(self, wire: bytes) -> bytes:
        """Send a message, and return the frames of the response.

        Raises:
            ConnectionError: the server closed the connection.
        """
        if self.transport.is_closing():
            raise ConnectionError("the server closed a connection")
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(wire)
        return await self._waiter

    def _receive_response(self, data: bytes) -> None:
        try:
            self.response = self.handshake.receive_data(data)
        except HandshakeError as exc:
            self._waiter.set_exception(exc)
            self.transport.abort()
        if self.response is not None:
            self._received += self.handshake.trailing_data
            self._waiter.set_result(b"")

    def _receive_frame(self, frame: bytes) -> None:
        first = frame[0]
        if first & 0x0F == Opcode.PING:
            self.transport.write(serialize_frame(Opcode.PONG, frame[2:], masking_key=bytes(4)))
        elif not first & 0x08:  # RFC 6455, section 5.2: a data frame
            self._answer += frame
            if first & 0x80:
                self._waiter.set_result(bytes(self._answer))
                self._answer.clear()


def _end_of_frame(data: bytearray) -> int | None:
    """Return the end of the first frame (RFC 6455, section 5.2, without a mask); None if it is incomplete."""
    if len(data) < 2:
        return None
    length, head = data[1], 2
    if length > 125:
        head = 4 if length == 126 else 10
        if len(data) < head:
            return None
        length = int.from_bytes(data[2:head], "big")
    return head + length if len(data) >= head + length else None


class Load:
    """Open connections to one server.

    Args:
        port: the port of the server on 127.0.0.1.
        compress: whether to offer permessage-deflate as browsers do, so that the server may limit both windows.
        ssl_context: the TLS context, or None for plain TCP.
    """

    def __init__(self, port: int, *, compress: bool, ssl_context: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._extensions = [PerMessageDeflate(threshold=0)] if compress else []
        self._ssl_context = ssl_context
        self._clients: list[_Client] = []
        self.agreed = ""
        """The ``Sec-WebSocket-Extensions`` of the response."""

    async def open(self, count: int) -> None:
        """Open this many more connections."""
        await _some_at_a_time(self._open_one, range(count))

    async def exchange(self, messages: list[str]) -> None:
        """Send the messages on each connection, one after another, and wait for each response.

        Call this only once: compressed messages depend on the state of the compressor.

        Raises:
            ConnectionError: the server closed a connection, or sent a wrong response.
        """
        first, *others = self._clients
        core = Connection(Role.CLIENT, max_message_size=_LIMIT, codecs=first.handshake.codecs)
        wires = []
        for message in messages:
            core.send_message(message)
            wires.append(b"".join(iter(core.data_to_send, b"")))
            if message not in core.receive_data(await first.exchange(wires[-1])):
                raise ConnectionError("the server sent a wrong response")

        async def run(client: _Client) -> None:
            for wire in wires:
                await client.exchange(wire)

        await _some_at_a_time(run, others)

    def close(self) -> None:
        """Abort all connections."""
        for client in self._clients:
            client.transport.abort()

    async def _open_one(self, _number: int) -> None:
        handshake = ClientHandshake(parse_uri(f"ws://127.0.0.1:{self._port}/"), extensions=self._extensions)
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: _Client(handshake), "127.0.0.1", self._port, ssl=self._ssl_context
        )
        response = await client.opened()
        if self._extensions and not any(isinstance(codec, DeflateCodec) for codec in handshake.codecs):
            raise ConnectionError("the server does not compress")
        self.agreed = response.headers.get("sec-websocket-extensions", "")
        self._clients.append(client)


async def _some_at_a_time(run: Callable[[Any], Awaitable[None]], items: Iterable[Any]) -> None:
    rest = iter(items)

    async def work() -> None:
        for item in rest:
            await run(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_A_TIME):
            tasks.create_task(work())
