"""Methods that are declared with ``async def``, but implemented by a function that returns a cheaper awaitable."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

__all__ = ["implemented_by"]

_Method = TypeVar("_Method", bound=Callable[..., Coroutine[Any, Any, Any]])


def implemented_by(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[[_Method], _Method]:
    """Return a decorator that replaces an async method, whose body never runs, by a function.

    For speed: a message then needs no coroutine that only awaits another awaitable. To callers, type checkers and the
    reference, it is the async method.
    """

    def decorate(declared: _Method) -> _Method:
        functools.update_wrapper(function, declared)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(function)
        return cast(_Method, function)

    return decorate
