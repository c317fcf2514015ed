"""A signal to a single waiting task."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio

__all__ = ["Wakeup"]


class Wakeup:
    """An event that resets itself: a `wait` returns once `set` has been called, before or during it."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: anyio.Event | None = None

    def set(self) -> None:
        """Wake the waiting task; if none is waiting, let the next `wait` return immediately. Never blocks."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def wait(self) -> Awaitable[None]:
        """Wait for a `set` since the last `wait`. If cancelled, nothing is lost: the next `wait` sees the `set`."""
        return self._wait()

    async def _wait(self) -> None:
        while not self._is_set:
            self._event = anyio.Event()
            try:
                await self._event.wait()
            finally:
                self._event = None
        self._is_set = False
