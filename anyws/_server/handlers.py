"""What serves a connection, and what a server checks about it before it starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable

from anyws._checking import check_accepts_one
from anyws._connection.websocket import WebSocket

from .options import RequestHook

__all__ = ["Handler", "check_handler", "handler_hooks"]

Handler = Callable[[WebSocket], Awaitable[object]]
"""Serves one connection, which is closed when it returns."""


def check_handler(handler: Handler) -> None:
    """Check that a handler can serve a connection, as far as possible without calling it.

    Raises:
        TypeError: it does not accept a single argument, or is not async.
    """
    if inspect.iscoroutine(handler):
        handler.close()
        name = handler.__name__
        raise TypeError(f"the handler must be an async function, not a coroutine: pass {name}, not {name}(...)")
    if not callable(handler):
        raise TypeError(f"the handler must be an async function, not {type(handler).__name__}")
    check_accepts_one(handler, "the handler", "the connection")
    name = getattr(handler, "__qualname__", type(handler).__qualname__)
    function = _called_function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"the handler {name} must be an async function, but is a generator: it contains yield")
    # A decorated function has the annotations of the original; a class has those of its __init__.
    is_annotated = inspect.isroutine(function) and not hasattr(function, "__wrapped__")
    returned = inspect.signature(handler, follow_wrapped=False).return_annotation if is_annotated else ...
    if returned in (None, "None") and not inspect.iscoroutinefunction(function):
        raise TypeError(f"the handler {name} must be an async function")


def _called_function(handler: object) -> object:
    """Return the function behind a handler that is a `functools.partial` or an object with ``__call__``."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler if inspect.isroutine(handler) or inspect.isclass(handler) else type(handler).__call__


def handler_hooks(handler: Handler) -> list[RequestHook]:
    """Return the handler's own method ``on_request`` as a list, empty if it has none."""
    hook: RequestHook | None = getattr(handler, "on_request", None)
    return [] if hook is None else [hook]
