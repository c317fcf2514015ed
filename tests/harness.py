"""Time, cancellation, sockets and addresses under control."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import socket
import struct
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec

import anyio
import pytest
import trio
from anyio.abc import ByteStream, Listener, SocketAttribute
from trio.testing import MockClock

from anyws._transport.connecting import connect_tcp
from anyws._transport.listening import listen_tcp
from anyws._transport.stream import SocketStream

__all__ = [
    "Transport",
    "address_of",
    "await_a_cancelled_task",
    "cancelling_at",
    "free_port",
    "in_memory",
    "listens",
    "on_mock_clock",
    "open_sockets",
    "over_tcp",
    "reset_stream",
    "resolve_to",
]

P = ParamSpec("P")
_random = random.SystemRandom()  # a seed that a test sets must not give two processes the same ports
Transport = Callable[[ByteStream], AbstractAsyncContextManager[ByteStream]]
"""Takes the end that a test plays, and gives the stream on which anyws meets it."""


def on_mock_clock(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on trio, on a clock that jumps to the next deadline when every task waits."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within_a_day() -> None:
            with anyio.fail_after(86400):  # is passed at once when nothing else happens any more
                await test(*args, **kwargs)

        # Threads and loopback sockets may need a moment of real time; in memory nothing ever does.
        transport = getattr(kwargs.get("meeting"), "keywords", {}).get("transport")
        trio.run(within_a_day, clock=MockClock(autojump_threshold=0 if transport is in_memory else 0.02))

    return run


async def await_a_cancelled_task() -> None:
    """Raise a `CancelledError` although nobody cancels the calling task, on asyncio."""
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def cancelling_at(step: int, scope: anyio.CancelScope, block: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, and cancel the scope where it suspends for the n-th time (from 0)."""
    await _cancelling_at(step, scope, block)


@types.coroutine
def _cancelling_at(step: int, scope: anyio.CancelScope, block: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    resume: Callable[[], Any] = functools.partial(block.send, None)
    count = 0
    while True:
        try:
            suspended = resume()
        except StopIteration:
            return
        if count == step:
            scope.cancel()
        count += 1
        try:
            resume = functools.partial(block.send, (yield suspended))
        except BaseException as exc:
            resume = functools.partial(block.throw, exc)


def open_sockets() -> set[str]:
    """Return the sockets that this process has open, where the system tells (Linux)."""
    found = set()
    for descriptor in Path("/proc/self/fd").glob("*") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def address_of(listener: Listener[Any]) -> tuple[str, int]:
    """Return host and port."""
    address = listener.extra(SocketAttribute.local_address)
    return str(address[0]), int(address[1])


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name have these addresses."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, at))
            for address, at in addresses
        ]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)


def free_port() -> int:
    """Return a port that nobody listens on, below those that systems choose for port 0: no other test is given it."""
    while True:
        port = _random.randrange(10_000, 30_000)
        with socket.socket() as unused:
            try:
                unused.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port: int, poll: Callable[[], int | None], limit: float) -> bool:
    """Wait until a program listens, which does not say so by itself; False if it has ended, or takes too long."""
    until = time.monotonic() + limit
    while time.monotonic() < until and poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), limit).close()
            return True
        except ConnectionRefusedError:
            time.sleep(0.01)
    return False


def reset_stream(stream: SocketStream) -> None:
    """Reset the connection, which to close the stream does not do: that ends our side first."""
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # for 0 seconds
    anyio.notify_closing(raw)
    raw.close()


@asynccontextmanager
async def in_memory(end: ByteStream) -> AsyncIterator[ByteStream]:
    """Give the end as it is."""
    yield end


@asynccontextmanager
async def over_tcp(end: ByteStream) -> AsyncIterator[ByteStream]:
    """Put a TCP connection before the end: bytes, ends and losses pass through it, each way."""
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener:
        near = await connect_tcp(*address_of(listener))
        far = await listener.accept()

    async def carry_in() -> None:
        try:
            async for data in end:
                await far.send(data)
            await far.send_eof()
        except anyio.BrokenResourceError:
            reset_stream(far)

    async def carry_out() -> None:
        try:
            async for data in far:
                await end.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        await end.send_eof()

    async with near, far, anyio.create_task_group() as tasks:
        tasks.start_soon(carry_in)
        tasks.start_soon(carry_out)
        yield near
        tasks.cancel_scope.cancel()
