"""Closes connections not all at once: `SpreadCloses`."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import uniform

import anyio

from anyws._connection.wakeup import Wakeup

__all__ = ["SpreadCloses"]


class SpreadCloses:
    """Calls functions at random times, so that the clients of closed connections do not come back all at once.

    Args:
        spread: within how many seconds.
    """

    def __init__(self, spread: float) -> None:
        self._spread = spread
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()  # functions cannot be compared
        self._wakeup = Wakeup()

    def add(self, close: Callable[[], None]) -> None:
        """Call a function at a random time within the spread."""
        when = anyio.current_time() + uniform(0, self._spread)
        heapq.heappush(self._due, (when, next(self._numbers), close))
        self._wakeup.set()

    async def run(self) -> None:
        """Call the functions when they are due, until cancelled."""
        while True:
            wait = self._due[0][0] - anyio.current_time() if self._due else None
            with anyio.move_on_after(wait if wait is None else max(0, wait)):
                await self._wakeup.wait()
            while self._due and self._due[0][0] <= anyio.current_time():
                heapq.heappop(self._due)[2]()

    def close_all(self) -> None:
        """Call all functions now."""
        while self._due:
            self._due.pop()[2]()
