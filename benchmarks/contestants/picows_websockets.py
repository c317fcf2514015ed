"""picows.websockets: the API of picows that follows websockets, with ``await``."""

from __future__ import annotations

import importlib
from typing import Any

from .arguments import Arguments, announce, run_on_asyncio

library: Any = importlib.import_module("picows.websockets.asyncio.server")  # not installed for type checkers


async def echo(websocket: Any) -> None:
    """Echo every message."""
    async for message in websocket:
        await websocket.send(message)


_everybody: set[Any] = set()


async def broadcast(websocket: Any) -> None:
    """Send every message to all connections."""
    _everybody.add(websocket)
    try:
        async for message in websocket:
            library.broadcast(_everybody, message)
    finally:
        _everybody.discard(websocket)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    server = await library.serve(
        broadcast if arguments.broadcast else echo,
        "127.0.0.1",
        0,
        compression="deflate" if arguments.compression == "default" else None,
        ssl=arguments.ssl_context,
        max_size=2**20 if arguments.max_size is None else arguments.max_size,  # its default
    )
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    run_on_asyncio(main, Arguments.parse(loops=("asyncio", "uvloop"), compressions=("default",)))
