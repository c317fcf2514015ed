"""uvicorn with anyws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyws
from anyws.asgi import websocket_of

from .uvicorn import main

_everybody: set[anyws.WebSocket] = set()


async def broadcast(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """Send every message to all connections."""
    await receive()
    await send({"type": "websocket.accept"})
    websocket = websocket_of(scope)
    _everybody.add(websocket)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            await anyws.broadcast(_everybody, message["text"])
    finally:
        _everybody.discard(websocket)


if __name__ == "__main__":
    main("anyws.uvicorn:Protocol", broadcast)
