"""Work that must not hold up the event loop: `in_slices` and `Slices`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

from anyio.lowlevel import checkpoint

__all__ = ["SLICE", "Slices", "in_slices"]

SLICE = 0.002
"""How long to work before other tasks run, in seconds. It bounds how long such work delays the Pong of a connection."""

_Item = TypeVar("_Item")


class Slices:
    """Work in slices: lets other tasks run every few milliseconds, also if the work consists of many small parts.

    A slice is limited by time, not by the number of items, because one may cost a thousand times as much as another.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = perf_counter() + SLICE

    def renew(self) -> None:
        """Begin a slice, because other tasks have just run."""
        self._until = perf_counter() + SLICE

    async def pause_if_due(self) -> None:
        """Let other tasks run if the slice is used up."""
        if perf_counter() >= self._until:
            await checkpoint()
            self.renew()

    async def call_each(self, items: Iterable[_Item], call: Callable[[_Item], object]) -> None:
        """Call a function for each item. If cancelled, it is not called for the remaining items.

        Args:
            items: the items; must not change meanwhile.
            call: the function.
        """
        for item in items:
            if perf_counter() >= self._until:
                await checkpoint()
                self.renew()
            call(item)


async def in_slices(items: Iterable[_Item], call: Callable[[_Item], object]) -> None:
    """Call a function for each item, and let other tasks run every few milliseconds and at the end.

    If cancelled, the function is not called for the remaining items.

    Args:
        items: the items; must not change meanwhile.
        call: the function.
    """
    await Slices().call_each(items, call)
    await checkpoint()
