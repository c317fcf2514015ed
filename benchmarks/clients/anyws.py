"""anyws, with its defaults."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

import anyws

from .driver import Run, parse


async def together(converse: Callable[[Any], Coroutine[Any, Any, None]], connections: list[Any]) -> None:
    """Run a coroutine function for each connection."""
    async with anyio.create_task_group() as tasks:
        for each in connections:
            tasks.start_soon(converse, each)


if __name__ == "__main__":
    options = parse("asyncio", "uvloop", "trio")
    run = Run(
        options,
        lambda: anyws.connect(options.uri, compression=None),
        anyws.WebSocket.send,
        anyws.WebSocket.receive,
        together,
    )
    if options.loop == "trio":
        anyio.run(run, backend="trio")
    else:
        anyio.run(run, backend_options={"use_uvloop": options.loop == "uvloop"})
