"""Two of ours, connected over whatever a test asks for."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

import anyio
from anyio.abc import ByteStream

import anyws
from anyws._transport.connecting import connect_tcp
from anyws._transport.listening import listen_tcp
from anyws.testing import memory_stream_pair
from tests.harness import address_of

__all__ = ["Below", "Pair", "TLSContexts", "pair", "streams"]

Below = Literal["memory", "tcp", "tls", "tls over tcp"]
TLSContexts = tuple[ssl.SSLContext, ssl.SSLContext]
Pair = Callable[..., AbstractAsyncContextManager[tuple[anyws.WebSocket, anyws.WebSocket]]]


async def streams(below: Below, capacity: int = 65536) -> tuple[ByteStream, ByteStream]:
    """Return the client's and the server's end of a connection, without TLS."""
    if "tcp" not in below:
        return memory_stream_pair(capacity)
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener:
        return await connect_tcp(*address_of(listener)), await listener.accept()


@asynccontextmanager
async def pair(
    below: Below,
    contexts: TLSContexts,
    ours: str = "client",
    *,
    options: Mapping[str, Any] | None = None,
    their_options: Mapping[str, Any] | None = None,
    capacity: int = 65536,
    ends: tuple[ByteStream, ByteStream] | None = None,
) -> AsyncIterator[tuple[anyws.WebSocket, anyws.WebSocket]]:
    """Connect two of ours; yields our side and theirs. Theirs lives in a task of its own, and is cut with the block.

    Args:
        below: what is below.
        contexts: the TLS contexts of client and server.
        ours: which side is ours, in the block.
        options: of our side.
        their_options: of the other side.
        capacity: how many bytes may be on their way, in memory.
        ends: the streams to use: of the client, and of the server.
    """
    if "tls" in below:
        capacity = max(capacity, 10_000)  # the server sends session tickets before it reads
    near, far = await streams(below, capacity) if ends is None else ends
    secure: list[dict[str, Any]] = [{"ssl_context": context} if "tls" in below else {} for context in contexts]
    client_options, server_options = (options, their_options) if ours == "client" else (their_options, options)
    client = anyws.connect(
        "wss://localhost/" if "tls" in below else "ws://localhost/", stream=near, **secure[0], **(client_options or {})
    )
    server = anyws.accept(far, **secure[1], **(server_options or {}))
    opened = anyio.Event()
    other: list[anyws.WebSocket] = []

    async def live(there: AbstractAsyncContextManager[anyws.WebSocket]) -> None:
        async with there as websocket:
            other.append(websocket)
            opened.set()
            await anyio.sleep_forever()

    here, there = (client, server) if ours == "client" else (server, client)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live, there)
        async with here as websocket:
            await opened.wait()
            try:
                yield websocket, other[0]
            finally:
                tasks.cancel_scope.cancel()
