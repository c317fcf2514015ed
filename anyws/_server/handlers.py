"""What serves a connection, and what a server checks about it before it starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable

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
    name = getattr(handler, "__qualname__", type(handler).__qualname__)
    try:
        signature = inspect.signature(handler, follow_wrapped=False)  # a decorator may change the parameters
    except ValueError:  # some built-in functions have no signature
        return
    try:
        signature.bind(None)
    except TypeError as exc:
        raise TypeError(f"the handler {name} must accept one argument, the connection: {exc}") from exc
    function = _called_function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"the handler {name} must be an async function, but is a generator: it contains yield")
    # A decorated function has the annotations of the original; a class has those of its __init__.
    is_annotated = inspect.isroutine(function) and not hasattr(function, "__wrapped__")
    if is_annotated and signature.return_annotation in (None, "None") and not inspect.iscoroutinefunction(function):
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
