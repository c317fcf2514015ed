"""The scope of a WebSocket connection, and the connection behind a scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyws._connection.websocket import WebSocket

__all__ = ["EXTENSION", "websocket_of"]

EXTENSION = "anyws.websocket"
"""The name of our extension in a scope.

Its entry ``get`` returns the connection, or None before it is accepted. Until then, ``limit`` replaces options.
"""


def websocket_of(scope: Mapping[str, Any]) -> WebSocket:
    """Return the `anyws.WebSocket` of an ASGI connection: ``anyws.asgi.websocket_of(websocket.scope)``.

    Only `anyws.uvicorn.Protocol` provides it. You can pass it to `anyws.broadcast`, measure the latency with
    `WebSocket.ping`, or send with it: its messages and those of the framework arrive in the order in which you send
    them. Leave receiving and closing to the framework.

    Args:
        scope: the scope of an accepted connection. A ``WebSocket`` of Starlette or FastAPI also works.

    Raises:
        LookupError: the server does not use `anyws.uvicorn.Protocol`.
        RuntimeError: the connection is not accepted yet.
    """
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    if EXTENSION not in extensions:
        raise LookupError(
            f"this {scope.get('type', 'unknown')} connection is not served by anyws: "
            "run the application with 'uvicorn --ws anyws.uvicorn:Protocol'"
        )
    get: Callable[[], WebSocket | None] = extensions[EXTENSION]["get"]
    websocket = get()
    if websocket is None:
        raise RuntimeError("the connection is not accepted yet: call this after 'websocket.accept'")
    return websocket
