"""Work that must not hold up the event loop: `in_slices`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

from anyio.lowlevel import checkpoint

__all__ = ["SLICE", "in_slices"]

SLICE = 0.002
"""How long to work before other tasks run, in seconds. It bounds how long such work delays the Pong of a connection."""

_Item = TypeVar("_Item")


async def in_slices(items: Iterable[_Item], call: Callable[[_Item], object]) -> None:
    """Call a function for each item, and let other tasks run every few milliseconds and at the end.

    A slice is limited by time, not by the number of items, because one may cost a thousand times as much as another.
    If cancelled, the function is not called for the remaining items.

    Args:
        items: the items; must not change meanwhile.
        call: the function.
    """
    until = perf_counter() + SLICE
    for item in items:
        if perf_counter() >= until:
            await checkpoint()
            until = perf_counter() + SLICE
        call(item)
    await checkpoint()
