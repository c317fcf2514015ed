"""Hooks: sync or async callables, called with as many of their documented arguments as they accept."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from anyws._cancellation import refusing_stray_cancellation

__all__ = ["AsyncHook", "count_arguments", "wrap_hook"]

AsyncHook = Callable[..., Awaitable[None]]


def wrap_hook(hook: Callable[..., object] | None, name: str, *documented: str) -> AsyncHook | None:
    """Return an async function that calls a sync or async hook with as many arguments as it accepts.

    Args:
        hook: the user's callable, or None.
        name: the hook's name, for error messages.
        documented: the names of the available arguments, in order.

    Raises:
        TypeError: the hook requires more arguments than are available, or a keyword argument.
    """
    if hook is None:
        return None
    count = count_arguments(hook, name, documented)

    async def call(*arguments: object) -> None:
        with refusing_stray_cancellation(name):
            result = hook(*arguments[:count])
            if inspect.isawaitable(result):
                await result

    return call


def count_arguments(hook: Callable[..., object], name: str, documented: tuple[str, ...]) -> int:
    """Return how many of the documented arguments a hook accepts; see `wrap_hook`."""
    try:
        parameters = inspect.signature(hook).parameters.values()
    except ValueError:  # some built-in functions have no signature
        return len(documented)
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keywords:
        raise TypeError(f"{name} requires the keyword {keywords[0]}, but is called without keywords")
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return len(documented)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in positional if p.default is p.empty]
    if len(required) > len(documented):
        raise TypeError(
            f"{name} requires {len(required)} arguments ({', '.join(required)}), "
            f"but is called with {len(documented)} ({', '.join(documented)})"
        )
    return min(len(positional), len(documented))
