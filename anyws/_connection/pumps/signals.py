"""What costs less on asyncio than its own means: a signal to a task instead of a future, and the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from anyws._connection.wakeup import Wakeup
from anyws.protocol.speedups import speedups_in_use

__all__ = ["PureSignal", "Signal", "clock_of"]


class PureSignal(Wakeup):
    """A `Wakeup` that implements the protocol by which asyncio tasks wait for futures.

    It is created once rather than for each wait. And an event loop callback, as its last action, can run the waiting
    task immediately instead of in the next iteration.

    Args:
        loop: the event loop.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled_by", "_context", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._callback: Callable[[PureSignal], object] | None = None  # resumes the waiting task
        self._context: Context | None = None
        self._cancelled_by: asyncio.CancelledError | None = None
        self._asyncio_future_blocking = False

    def set(self) -> None:
        """Wake the waiting task; if none is waiting, let the next wait return immediately."""
        self._is_set = True
        self._call_soon()

    def set_now(self) -> None:
        """Run the waiting task until it waits again. For event loop callbacks, as the last thing they do."""
        self._is_set = True
        if self._context is not None:
            self._context.run(self._resume)

    def wait(self) -> PureSignal:
        """Return an awaitable, to await immediately, that waits for a `set` since the last wait."""
        return self

    def __await__(self) -> Generator[PureSignal, None, None]:
        """Wait for a `set` since the last wait. If cancelled, nothing is lost: the next wait sees the `set`."""
        while not self._is_set:
            self._asyncio_future_blocking = True  # tells the task that this was yielded by await; the task resets it
            yield self
        self._is_set = False

    def _resume(self) -> None:
        callback = self._callback
        self._callback = self._context = None
        if callback is not None:
            callback(self)

    def _call_soon(self) -> None:
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)
            self._callback = self._context = None

    # -- methods that an asyncio task calls ----------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop."""
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context) -> None:
        """Call a function once, at the next `set`."""
        self._callback, self._context = callback, context
        if self._is_set:  # set before it yielded, to let other tasks run
            self._call_soon()

    def done(self) -> bool:
        """Return whether no task is waiting."""
        return self._callback is None

    def cancel(self, msg: object = None) -> bool:
        """Raise `CancelledError` in the waiting task, unless it was already woken; return whether it will be raised."""
        if self._callback is None:
            return False
        cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._call_soon()  # if this fails, the task still waits
        self._cancelled_by = cancelled
        return True

    def result(self) -> None:
        """Raise the `CancelledError` of a cancelled wait, if there is one."""
        if self._cancelled_by is not None:
            cancelled, self._cancelled_by = self._cancelled_by, None
            raise cancelled


if TYPE_CHECKING or not speedups_in_use:
    Signal = PureSignal
else:
    from anyws.protocol._speedups import Signal


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the clock of an event loop, in seconds."""
    # asyncio.BaseEventLoop.time() returns time.monotonic(); calling that directly takes half the time.
    is_monotonic = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
    return time.monotonic if is_monotonic else loop.time
