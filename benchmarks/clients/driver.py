"""What every client is told, and what it does."""

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
        loop: asyncio, uvloop or trio; a client takes those that it supports.
        port: of the server on 127.0.0.1.
        connections: how many to open.
        in_flight: messages on each of them that have not come back.
        size: bytes of a message.
        text: whether it is text.
    """

    loop: str
    port: int
    connections: int
    in_flight: int
    size: int
    text: bool

    @property
    def uri(self) -> str:
        """Where to connect."""
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def message(self) -> Any:
        """The message: ``str`` or ``bytes``."""
        return "x" * self.size if self.text else b"x" * self.size


def parse(*loops: str) -> Options:
    """Read the command line, and warm the allocator as the end of a connection does: see docs/performance.md."""
    bytes(256 * 1024)
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=loops, default=loops[0])
    for name in ("port", "connections", "in-flight", "size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--text", action="store_true")
    return Options(**vars(parser.parse_args()))


class Progress:
    """Counts what comes back, and says when it is time to stop.

    It says "ready", reads a line with the seconds that each of the runs takes, and says the count and the seconds after
    each; the end of the input ends the client. The waiting blocks the loop: nothing else is to be done meanwhile.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.end = 0.0
        self._begin = 0.0

    def wait(self) -> bool:
        """Wait for the next run; False if there is none."""
        print("ready", flush=True)
        line = sys.stdin.readline()
        if line:
            self.messages, self._begin = 0, time.perf_counter()
            self.end = self._begin + float(line)
        return bool(line)

    def report(self) -> None:
        """Say what the run gave."""
        print(self.messages, time.perf_counter() - self._begin, flush=True)

    def goes_on(self) -> bool:
        """Count a message, and say whether to send another."""
        self.messages += 1
        return time.perf_counter() < self.end


@dataclass(frozen=True, slots=True)
class Run:
    """Runs a library with the usual two coroutine functions for a connection.

    Attributes:
        options: the command line.
        connect: opens a connection.
        send: sends a message on it.
        receive: takes one from it.
    """

    options: Options
    connect: Callable[[], AbstractAsyncContextManager[Any]]
    send: Callable[[Any, Any], Awaitable[object]]
    receive: Callable[[Any], Awaitable[object]]

    async def __call__(self) -> None:
        """Open the connections, and send as long as there is somebody who asks for it."""
        progress, message = Progress(), self.options.message
        in_flight, send, receive = range(self.options.in_flight), self.send, self.receive

        async def converse(connection: Any) -> None:
            for _ in in_flight:
                await send(connection, message)
            while True:
                await receive(connection)
                if not progress.goes_on():
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
    """Run a client on its loop."""
    if options.loop == "trio":
        anyio.run(main, backend="trio")
    else:
        anyio.run(main, backend_options={"use_uvloop": options.loop == "uvloop"})
