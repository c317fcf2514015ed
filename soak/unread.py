"""Nobody reads what is published: memory stays bounded, in one process or over an engine."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Literal

import anyio

import anyws

from .resources import check_flat, check_released, memory, wait_until_released, wait_until_steady

__all__ = ["run"]

_MESSAGE = "x" * 1000
_BUFFER = 65_536  # bytes of each subscription and of each connection that waits to be sent
_GROWTH = 2048  # KiB, after the first quarter
_KEPT = anyws.History(messages=1000, seconds=300)
_SLOW: tuple[Literal["disconnect", "drop", "latest"], ...] = ("disconnect", "drop", "latest")
_SAMPLES = 20
_CLOSING = 1  # seconds that a server may wait for a client that does not read


async def _serve(topics: anyws.Topics, numbers: itertools.count[int], websocket: anyws.WebSocket) -> None:
    with contextlib.suppress(anyws.ConnectionClosed):
        async with topics.forward(websocket, "news", slow=_SLOW[next(numbers) % len(_SLOW)]):
            await websocket.wait_closed()


async def _publish(topics: anyws.Topics, seconds: float) -> int:
    """Publish from several tasks; return how often."""
    count, end = 0, time.monotonic() + seconds

    async def publish() -> None:
        nonlocal count
        while time.monotonic() < end:
            await topics.publish("news", _MESSAGE)
            count += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(publish)
    return count


async def run(connections: int, seconds: float, url: str | None) -> dict[str, str]:
    """Publish to connections and subscriptions that nobody reads.

    Args:
        connections: the number of connections, and of subscriptions; a third of each is disconnected, loses messages,
            and keeps the latest.
        seconds: the duration.
        url: of the engine; None for one process.

    Returns:
        The figures, by name.

    Raises:
        Failed: memory grows by more than 2 MiB after the first quarter; or something is not released at the end.
    """
    numbers = itertools.count()

    async def connect(uri: str) -> None:
        async with anyws.connect(uri, receive_buffer=_BUFFER, close_timeout=_CLOSING):
            await anyio.sleep_forever()

    async def flood(topics: anyws.Topics, uri: str, seconds: float) -> tuple[int, list[int]]:
        published, memories = 0, []
        async with anyio.create_task_group() as tasks, contextlib.AsyncExitStack() as stack:
            for _, slow in zip(range(connections), itertools.cycle(_SLOW)):
                tasks.start_soon(connect, uri)
                await stack.enter_async_context(topics.subscribe("news", buffer=_BUFFER, slow=slow))
            for _ in range(_SAMPLES):
                published += await _publish(topics, seconds / _SAMPLES)
                memories.append(memory())
            tasks.cancel_scope.cancel()
        return published, memories

    async with anyws.open_topics(url, history=_KEPT) as topics:

        async def handle(websocket: anyws.WebSocket) -> None:
            await _serve(topics, numbers, websocket)

        async with anyws.open_server(
            handle, "127.0.0.1", send_buffer=_BUFFER, close_timeout=_CLOSING, ping_interval=None
        ) as server:
            uri = "ws://{}:{}".format(*server.addresses[0])
            await flood(topics, uri, min(seconds / 10, 1))  # now the history is full
            await anyio.sleep(_CLOSING)
            before = await wait_until_steady()
            published, memories = await flood(topics, uri, seconds)
            after = await wait_until_released(before)
    later = memories[_SAMPLES // 4 :]
    growth = check_flat(range(len(later)), later, bound=_GROWTH)
    check_released(before, after)
    return {
        "connections": f"{connections}, and as many subscriptions, {seconds:g} s",
        "messages": f"{published} of 1,000 bytes, {published / seconds:.0f}/s",
        "memory": f"{before.memory} KiB before, {later[0]} to {later[-1]} while nobody reads, {after.memory} after; "
        f"growth after the first quarter {growth:.0f} KiB",
        "descriptors": f"{before.descriptors} before, {after.descriptors} after",
        "tasks": f"{before.tasks} before, {after.tasks} after",
        "objects": f"{before.objects} before, {after.objects} after",
    }
