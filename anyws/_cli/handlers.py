"""The handlers of ``anyws serve``."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any, cast

import anyio

import anyws
from anyws._server.handlers import Handler, check_handler

__all__ = ["Broadcast", "echo", "load_handler"]


async def echo(websocket: anyws.WebSocket) -> None:
    """Send each message back."""
    try:
        async for message in websocket:
            await websocket.send(message)
    except anyws.ConnectionClosed:  # the client closed without waiting for the echo
        return


class Broadcast:
    """Sends each message to all other connections.

    A connection that reads too slowly misses messages, so it does not delay the others.
    """

    def __init__(self) -> None:
        self._connections: set[anyws.WebSocket] = set()

    async def __call__(self, websocket: anyws.WebSocket) -> None:
        """Serve one connection."""
        self._connections.add(websocket)
        try:
            async for message in websocket:
                self._send_to_others(message, websocket)
        except anyws.ConnectionClosed:
            return
        finally:
            self._connections.remove(websocket)

    def _send_to_others(self, message: str | bytes, sender: anyws.WebSocket) -> None:
        for other in self._connections - {sender}:
            try:
                other.send_nowait(message)
            except anyio.WouldBlock:
                logging.getLogger("anyws.server").warning("%r reads too slowly and misses a message", other)
            except anyws.ConnectionClosed:
                continue


def load_handler(name: str) -> Handler:
    """Import a handler by its name, ``MODULE:HANDLER``. The working directory is searched first.

    Raises:
        ValueError: there is no such handler; the message says why.
    """
    module_name, colon, attributes = name.partition(":")
    if not (module_name and colon and attributes):
        raise ValueError(f"{name!r}: expected MODULE:HANDLER")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as exc:
        raise ValueError(f"{name!r}: {exc}") from exc
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise ValueError(f"{name!r}: {found!r} has no attribute {attribute!r}")
        found = getattr(found, attribute)
    try:
        check_handler(found)
    except TypeError as exc:
        raise ValueError(f"{name!r}: {exc}") from exc
    return cast(Handler, found)
