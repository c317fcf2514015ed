"""anyws: ``async for`` on the native API, with its defaults."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

import anyws
from anyws.protocol.deflate import PRESETS

from .arguments import Arguments, announce, run_on_anyio
from .compression import LEVEL, MEM_LEVEL, WINDOW_BITS

_EQUAL = anyws.PerMessageDeflate(
    server_max_window_bits=WINDOW_BITS, client_max_window_bits=WINDOW_BITS, level=LEVEL, mem_level=MEM_LEVEL
)
COMPRESSIONS: dict[str, anyws.PerMessageDeflate | None] = {
    "off": None,
    **{str(name): preset for name, preset in PRESETS.items()},
    "equal": dataclasses.replace(_EQUAL, zlib=zlib),
    "equal-zlib-ng": _EQUAL,  # zlib-ng is the default if it is installed, with a level that compresses equally
}

Handler = Callable[[anyws.WebSocket], Awaitable[None]]


async def echo(websocket: anyws.WebSocket) -> None:
    """Echo every message."""
    async for message in websocket:
        await websocket.send(message)


_everybody: set[anyws.WebSocket] = set()


async def broadcast(websocket: anyws.WebSocket) -> None:
    """Send every message to all connections."""
    _everybody.add(websocket)
    try:
        async for message in websocket:
            await anyws.broadcast(_everybody, message)
    finally:
        _everybody.discard(websocket)


@asynccontextmanager
async def topic() -> AsyncGenerator[Handler, None]:
    """Yield a handler that publishes every message to a topic that all connections follow."""
    async with anyws.open_topics() as topics:

        async def publish(websocket: anyws.WebSocket) -> None:
            async with topics.forward(websocket, "everybody"):
                async for message in websocket:
                    await topics.publish("everybody", message)

        yield publish


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    options: dict[str, Any] = {} if arguments.max_size is None else {"max_message_size": arguments.max_size}
    async with (
        topic() as publish,
        anyws.open_server(
            publish if arguments.topics else broadcast if arguments.broadcast else echo,
            "127.0.0.1",
            0,
            compression=COMPRESSIONS[arguments.compression],
            ssl_context=arguments.ssl_context,
            **options,
        ) as server,
    ):
        announce(server.addresses[0][1])
        await anyio.sleep_forever()


if __name__ == "__main__":
    run_on_anyio(main, Arguments.parse(loops=("asyncio", "uvloop", "trio"), compressions=tuple(COMPRESSIONS)))
