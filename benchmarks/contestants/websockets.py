"""websockets, its asyncio API: https://websockets.readthedocs.io/en/stable/topics/compression.html has its settings."""

from __future__ import annotations

from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from .arguments import Arguments, announce, run_on_asyncio


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
            broadcast(_everybody, message)
    finally:
        _everybody.discard(websocket)


def extensions(compression: str) -> Sequence[ServerPerMessageDeflateFactory] | None:
    """Return the smallest windows and memory level that the documentation names, where that is asked for."""
    if compression != "memory":
        return None
    return [
        ServerPerMessageDeflateFactory(
            server_max_window_bits=9, client_max_window_bits=9, compress_settings={"memLevel": 1}
        )
    ]


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    async with serve(
        broadcasting if arguments.broadcast else echo,
        "127.0.0.1",
        0,
        compression="deflate" if arguments.compression == "default" else None,
        extensions=extensions(arguments.compression),
        ssl=arguments.ssl_context,
        max_size=2**20 if arguments.max_size is None else arguments.max_size,  # its default
    ) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    run_on_asyncio(main, Arguments.parse(loops=("asyncio", "uvloop"), compressions=("default", "memory")))
