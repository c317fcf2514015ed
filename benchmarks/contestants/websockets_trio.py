"""websockets, its API for trio."""

from __future__ import annotations

from functools import partial

import trio
from websockets.trio.connection import broadcast
from websockets.trio.server import Server, ServerConnection, serve

from .arguments import Arguments, announce


async def echo(websocket: ServerConnection) -> None:
    """Send back every message."""
    async for message in websocket:
        await websocket.send(message)


_everybody: set[ServerConnection] = set()


async def broadcasting(websocket: ServerConnection) -> None:
    """Send every message to all connections."""
    _everybody.add(websocket)
    try:
        async for message in websocket:
            await broadcast(_everybody, message)
    finally:
        _everybody.discard(websocket)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    start = partial(
        serve,
        broadcasting if arguments.broadcast else echo,
        0,
        host="127.0.0.1",
        compression="deflate" if arguments.compression == "default" else None,
        ssl=arguments.ssl_context,
        max_size=2**20 if arguments.max_size is None else arguments.max_size,  # its default
    )
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(start)
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(main, Arguments.parse(loops=("trio",), compressions=("default",)))
