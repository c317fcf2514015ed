"""The handlers of ``anyws serve``."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import anyio

import anyws
from anyws._server.handlers import Handler, check_handler

from .exit_status import CommandError, ExitStatus

__all__ = ["Broadcast", "OpenHandler", "echo", "load_factory", "load_handler", "opening"]

OpenHandler = Callable[[], AbstractAsyncContextManager[Handler]]
"""Opens what a handler needs, for the duration of a block, and gives the handler."""


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


def opening(handler: Handler) -> OpenHandler:
    """Return an `OpenHandler` for a handler that needs nothing."""

    @asynccontextmanager
    async def open_handler() -> AsyncGenerator[Handler, None]:
        yield handler

    return open_handler


def load_handler(name: str) -> Handler:
    """Import a handler by its name, ``MODULE:HANDLER``. The working directory is searched first.

    Raises:
        ValueError: there is no such handler; the message says why.
    """
    found = _load(name)
    try:
        check_handler(found)
    except TypeError as exc:
        raise ValueError(f"{name!r}: {exc}") from exc
    return cast(Handler, found)


def load_factory(name: str) -> OpenHandler:
    """Import a function that returns an async context manager, whose value is the handler.

    Raises:
        ValueError: there is no such function; the message says why.
        CommandError: when the block is entered: what was returned is no async context manager, or what it gives is no
            handler.
    """
    factory = _load(name)
    try:
        inspect.signature(factory).bind()
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{name!r}: with --factory, it must be a function without arguments") from exc

    @asynccontextmanager
    async def open_handler() -> AsyncGenerator[Handler, None]:
        made = factory()
        if not isinstance(made, AbstractAsyncContextManager):
            if inspect.iscoroutine(made):
                made.close()
            raise CommandError(
                ExitStatus.USAGE,
                f"{name!r} returned an object of type {type(made).__name__}: with --factory, it must return an async "
                "context manager; decorate it with @contextlib.asynccontextmanager, and yield the handler",
            )
        async with made as handler:
            try:
                check_handler(handler)
            except TypeError as exc:
                raise CommandError(ExitStatus.USAGE, f"{name!r} does not yield a handler: {exc}") from exc
            yield handler

    return open_handler


def _load(name: str) -> Any:
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
    return found
