"""websockets, its API for trio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import trio
from websockets.trio.client import ClientConnection, connect

from .driver import Run, parse


async def together(converse: Callable[[Any], Coroutine[Any, Any, None]], connections: list[Any]) -> None:
    """Run a coroutine function for each connection."""
    async with trio.open_nursery() as nursery:
        for each in connections:
            nursery.start_soon(converse, each)


if __name__ == "__main__":
    options = parse("trio")
    run = Run(
        options,
        lambda: connect(options.uri, compression=None, proxy=None),
        ClientConnection.send,
        ClientConnection.recv,
        together,
    )
    trio.run(run)
