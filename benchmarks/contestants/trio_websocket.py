"""trio-websocket, which cannot compress."""

from __future__ import annotations

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, WebSocketServer, serve_websocket

from .arguments import Arguments, announce


async def echo(request: WebSocketRequest) -> None:
    """Send back every message."""
    websocket = await request.accept()
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except ConnectionClosed:
        pass


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    async with trio.open_nursery() as nursery:
        server: WebSocketServer = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, arguments.ssl_context)
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, Arguments.parse(loops=("trio",), compressions=()))
