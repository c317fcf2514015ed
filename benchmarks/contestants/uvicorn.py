"""uvicorn with a bare ASGI application, and its default implementation of WebSocket (websockets)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from uvicorn import Config, Server

from .arguments import Arguments, announce, run_on_asyncio

Send = Callable[[dict[str, Any]], Any]


async def echo(scope: dict[str, Any], receive: Callable[[], Any], send: Send) -> None:
    """Echo every message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        message["type"] = "websocket.send"
        await send(message)


_everybody: set[Send] = set()


async def broadcast(scope: dict[str, Any], receive: Callable[[], Any], send: Send) -> None:
    """Send every message to all connections."""
    await receive()
    await send({"type": "websocket.accept"})
    _everybody.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            message["type"] = "websocket.send"
            await asyncio.gather(*(each(message) for each in _everybody))
    finally:
        _everybody.discard(send)


def main(ws: str, broadcast: Callable[..., Any] = broadcast) -> None:
    """Serve on a free port of 127.0.0.1.

    Args:
        ws: the implementation, as uvicorn's option.
        broadcast: the application for the loads that broadcast.
    """
    arguments = Arguments.parse(loops=("asyncio", "uvloop"), compressions=("default",))

    async def serve(_: Arguments) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        config = Config(
            broadcast if arguments.broadcast else echo,
            ws=ws,
            lifespan="off",
            log_level="error",
            ws_per_message_deflate=arguments.compression != "off",
            ws_max_size=2**24 if arguments.max_size is None else arguments.max_size,  # its default
        )
        config.load()
        config.ssl = arguments.ssl_context
        announce(listener.getsockname()[1])
        await Server(config).serve(sockets=[listener])

    run_on_asyncio(serve, arguments)


if __name__ == "__main__":
    main("auto")
