"""websockets, with its APIs for asyncio and trio, which differ in how servers start and in broadcast.

Its compression settings are documented at https://websockets.readthedocs.io/en/stable/topics/compression.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from websockets.asyncio import server as asyncio_server
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.trio import connection as trio_connection, server as trio_server

from .arguments import Arguments, announce, run_on_asyncio
from .compression import LEVEL, MEM_LEVEL, WINDOW_BITS


async def echo(websocket: Any) -> None:
    """Echo every message."""
    async for message in websocket:
        await websocket.send(message)


_everybody: set[Any] = set()


async def broadcast(websocket: Any) -> None:
    """Send every message to all connections."""
    is_on_trio = isinstance(websocket, trio_server.ServerConnection)
    _everybody.add(websocket)
    try:
        async for message in websocket:
            if is_on_trio:
                await trio_connection.broadcast(_everybody, message)
            else:
                asyncio_server.broadcast(_everybody, message)
    finally:
        _everybody.discard(websocket)


def extensions(compression: str) -> Sequence[ServerPerMessageDeflateFactory] | None:
    """Return the smallest windows and memory level in the documentation for "memory", None for its defaults."""
    if compression == "memory":
        bits, settings = 9, {"memLevel": 1}
    elif compression == "equal":
        bits, settings = WINDOW_BITS, {"memLevel": MEM_LEVEL, "level": LEVEL}
    else:
        return None
    return [
        ServerPerMessageDeflateFactory(
            server_max_window_bits=bits, client_max_window_bits=bits, compress_settings=settings
        )
    ]


def settings(arguments: Arguments) -> dict[str, Any]:
    """Return the options that both APIs share."""
    return {
        "compression": "deflate" if arguments.compression == "default" else None,
        "extensions": extensions(arguments.compression),
        "ssl": arguments.ssl_context,
        "max_size": 2**20 if arguments.max_size is None else arguments.max_size,  # its default
    }


async def on_asyncio(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    handler = broadcast if arguments.broadcast else echo
    async with asyncio_server.serve(handler, "127.0.0.1", 0, **settings(arguments)) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def on_trio(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    handler = broadcast if arguments.broadcast else echo
    async with trio.open_nursery() as nursery:
        serve = partial(trio_server.serve, handler, 0, host="127.0.0.1", **settings(arguments))
        server: trio_server.Server = await nursery.start(serve)
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    arguments = Arguments.parse(loops=("asyncio", "uvloop", "trio"), compressions=("default", "equal", "memory"))
    if arguments.loop == "trio":
        trio.run(on_trio, arguments)
    else:
        run_on_asyncio(on_asyncio, arguments)
