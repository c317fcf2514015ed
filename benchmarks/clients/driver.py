"""The command line of the clients, and what they have in common."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import anyio

__all__ = ["Options", "Progress", "Run", "parse", "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of a client.

    Attributes:
        loop: asyncio, uvloop or trio, as far as the client supports it.
        port: the port of the server on 127.0.0.1.
        connections: the number of connections to open.
        in_flight: the number of messages in flight on each connection.
        size: the size of a message in bytes.
        text: whether messages are text.
    """

    loop: str
    port: int
    connections: int
    in_flight: int
    size: int
    text: bool

    @property
    def uri(self) -> str:
        """The URI to connect to."""
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def message(self) -> Any:
        """The message: ``str`` or ``bytes``."""
        return "x" * self.size if self.text else b"x" * self.size


def parse(*loops: str) -> Options:
    """Parse the command line, and warm up the allocator as a closed connection does; see docs/performance.md."""
    bytes(256 * 1024)
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=loops, default=loops[0])
    for name in ("port", "connections", "in-flight", "size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--text", action="store_true")
    return Options(**vars(parser.parse_args()))


class Progress:
    """Counts echoes, and decides when to stop.

    Before each run it prints "ready" and reads a line with the duration in seconds; after the run it prints the number
    of echoes and the seconds. The client exits at the end of its input. Waiting blocks the event loop on purpose.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.end = 0.0
        self._begin = 0.0

    def wait(self) -> bool:
        """Wait for the next run. Return False if there is none."""
        print("ready", flush=True)
        line = sys.stdin.readline()
        if line:
            self.messages, self._begin = 0, time.perf_counter()
            self.end = self._begin + float(line)
        return bool(line)

    def report(self) -> None:
        """Print the result of the run."""
        print(self.messages, time.perf_counter() - self._begin, flush=True)

    def continues(self) -> bool:
        """Count an echo, and return whether to send another message."""
        self.messages += 1
        return time.perf_counter() < self.end


@dataclass(frozen=True, slots=True)
class Run:
    """Runs a library whose connections have coroutine functions to send and receive.

    Attributes:
        options: the command line.
        connect: opens a connection.
        send: sends a message on it.
        receive: receives a message from it.
    """

    options: Options
    connect: Callable[[], AbstractAsyncContextManager[Any]]
    send: Callable[[Any, Any], Awaitable[object]]
    receive: Callable[[Any], Awaitable[object]]

    async def __call__(self) -> None:
        """Open the connections, and run until the end of the input."""
        progress, message = Progress(), self.options.message
        in_flight, send, receive = range(self.options.in_flight), self.send, self.receive

        async def converse(connection: Any) -> None:
            for _ in in_flight:
                await send(connection, message)
            while True:
                await receive(connection)
                if not progress.continues():
                    break
                await send(connection, message)
            for _ in in_flight[1:]:
                await receive(connection)
                progress.messages += 1

        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(self.connect()) for _ in range(self.options.connections)]
            while progress.wait():
                async with anyio.create_task_group() as tasks:
                    for each in connections:
                        tasks.start_soon(converse, each)
                progress.report()


def start(main: Callable[[], Awaitable[None]], options: Options) -> None:
    """Run a client on its event loop."""
    if options.loop == "trio":
        anyio.run(main, backend="trio")
    else:
        anyio.run(main, backend_options={"use_uvloop": options.loop == "uvloop"})
