"""trio-websocket, which cannot compress."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, WebSocketServer, serve_websocket

from .arguments import Arguments, announce


async def echo(request: WebSocketRequest) -> None:
    """Echo every message."""
    websocket = await request.accept()
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except ConnectionClosed:
        pass


_everybody: set[WebSocketConnection] = set()


async def broadcast(request: WebSocketRequest) -> None:
    """Send every message to all connections; trio-websocket has no function for this."""
    websocket = await request.accept()
    _everybody.add(websocket)
    try:
        while True:
            message = await websocket.get_message()
            for each in tuple(_everybody):
                await each.send_message(message)
    except ConnectionClosed:
        pass
    finally:
        _everybody.discard(websocket)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    async with trio.open_nursery() as nursery:
        limit: dict[str, Any] = {} if arguments.max_size is None else {"max_message_size": arguments.max_size}
        handler = broadcast if arguments.broadcast else echo
        serve = partial(serve_websocket, handler, "127.0.0.1", 0, arguments.ssl_context, **limit)
        server: WebSocketServer = await nursery.start(serve)
        announce(server.port)


if __name__ == "__main__":
    trio.run(main, Arguments.parse(loops=("trio",), compressions=()))
