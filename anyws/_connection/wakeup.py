"""Signals to waiting tasks: `Wakeup` and `Progress`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

__all__ = ["Progress", "Wakeup"]


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


class Progress:
    """Tells those who wait for room in a send buffer that something was written, or that nothing more can be.

    Attributes:
        waiting: wakes the task that is waiting; None if there is none.
        callbacks: functions to call, once each.
    """

    __slots__ = ("callbacks", "waiting")

    def __init__(self) -> None:
        self.waiting: Wakeup | None = None
        self.callbacks: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return self.waiting is not None or bool(self.callbacks)

    def set(self) -> None:
        """Wake the task and call the functions. Never blocks."""
        if self.waiting is not None:
            self.waiting.set()
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()
