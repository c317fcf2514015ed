"""What the tests of topics share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

import anyws
from anyws.testing import websocket_pair

__all__ = ["END", "pairs", "received", "until"]

END = "that is all"


@contextlib.asynccontextmanager
async def pairs(
    count: int, **options: Any
) -> AsyncGenerator[tuple[list[anyws.WebSocket], list[anyws.WebSocket]], None]:
    """Open connections in memory; yields the clients and the servers."""
    async with contextlib.AsyncExitStack() as stack:
        both = [await stack.enter_async_context(websocket_pair(**options)) for _ in range(count)]
        yield [client for client, _ in both], [server for _, server in both]


async def received(client: anyws.WebSocket, server: anyws.WebSocket) -> list[str | bytes]:
    """Return what a client has been sent so far."""
    await server.send(END)
    messages: list[str | bytes] = []
    while (message := await client.receive()) != END:
        messages.append(message)
    return messages


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until something holds; on a clock that jumps, at the latest when a deadline passes."""
    with anyio.fail_after(10):
        while not condition():
            await checkpoint()
