"""Both sides send large messages as fast as they can, and receive them slowly: memory stays bounded."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import anyio

import anyws

from .resources import Failed, check_released, memory, wait_until_released, wait_until_steady

__all__ = ["run"]

_SIZE = 1024 * 1024  # bytes of a message: the maximum by default
_PAUSE = 0.05  # seconds between two messages that one side receives
_BOUND = 16 * 1024  # KiB per connection, both sides together: 8 messages per direction
_CLOSING = 1  # seconds that a server may wait for a client that has disappeared
_SAMPLING = 0.05  # seconds
_FILLER = os.urandom(_SIZE - 8)


@dataclass(slots=True)
class _Counts:
    """Counts over all connections."""

    messages: int = 0
    wrong: int = 0


async def _flood(websocket: anyws.WebSocket, counts: _Counts) -> None:
    """Send and receive until the connection closes."""

    async def send() -> None:
        number = 0
        while True:
            await websocket.send(number.to_bytes(8, "big") + _FILLER)
            number += 1

    async def receive() -> None:
        number = 0
        async for message in websocket:
            counts.wrong += message != number.to_bytes(8, "big") + _FILLER
            counts.messages += 1
            number += 1
            await anyio.sleep(_PAUSE)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(receive)
    except* anyws.ConnectionClosed:
        pass


async def run(connections: int, seconds: float) -> dict[str, str]:
    """Flood connections, client and server in one process.

    Args:
        connections: the number of connections.
        seconds: the duration.

    Returns:
        The figures, by name.

    Raises:
        Failed: memory grows by more than 16 MiB per connection; a message is wrong or lost; no message arrives; or
            something is not released at the end.
    """
    counts = _Counts()

    async def handle(websocket: anyws.WebSocket) -> None:
        await _flood(websocket, counts)

    async def connect(uri: str) -> None:
        async with anyws.connect(uri, max_connecting=None) as websocket:
            await _flood(websocket, counts)

    async def flood(uri: str, seconds: float) -> int:
        peak, end = 0, time.monotonic() + seconds
        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(connect, uri)
            while time.monotonic() < end:
                await anyio.sleep(_SAMPLING)
                peak = max(peak, memory())
            tasks.cancel_scope.cancel()
        return peak

    async with anyws.open_server(handle, "127.0.0.1", close_timeout=_CLOSING) as server:
        uri = "ws://{}:{}".format(*server.addresses[0])
        await flood(uri, min(seconds / 10, 1))
        await anyio.sleep(_CLOSING)
        before = await wait_until_steady()
        counts.messages = 0
        peak = await flood(uri, seconds)
        after = await wait_until_released(before)
    growth = peak - before.memory
    if growth > _BOUND * connections:
        raise Failed(f"memory grew by {growth} KiB with {connections} connections")
    if counts.wrong or not counts.messages:
        raise Failed(f"{counts.messages} messages, {counts.wrong} of them wrong")
    check_released(before, after)
    return {
        "connections": f"{connections}, {seconds:g} s",
        "messages": f"{counts.messages} of 1 MiB, {counts.messages / seconds / connections / 2:.1f}/s on each side",
        "memory": f"{before.memory} KiB before, {peak} peak, {after.memory} after; "
        f"{growth / connections:.0f} KiB per connection, both sides together",
        "descriptors": f"{before.descriptors} before, {after.descriptors} after",
        "tasks": f"{before.tasks} before, {after.tasks} after",
        "objects": f"{before.objects} before, {after.objects} after",
    }
