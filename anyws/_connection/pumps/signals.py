"""A signal to a task of asyncio, for less than a future costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from anyws._connection.wakeup import Wakeup
from anyws.protocol.speedups import speedups_in_use

__all__ = ["PureSignal", "Signal"]


class PureSignal(Wakeup):
    """A `Wakeup` that speaks the protocol by which tasks of asyncio wait for futures.

    It is made once and not for each wait; and a callback of the event loop that has nothing else to do can run the task
    that waits at once, not in the next pass.

    Args:
        loop: the event loop.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled_by", "_context", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._callback: Callable[[PureSignal], object] | None = None  # goes on with the task that waits
        self._context: Context | None = None
        self._cancelled_by: asyncio.CancelledError | None = None
        self._asyncio_future_blocking = False

    def set(self) -> None:
        """Wake the task that waits, or the next one that does."""
        self._is_set = True
        self._call_soon()

    def set_now(self) -> None:
        """Run the task that waits until it waits again; for callbacks of the event loop, as the last thing they do."""
        self._is_set = True
        if self._context is not None:
            self._context.run(self._go_on)

    def wait(self) -> PureSignal:
        """Return what to await, at once, for a `set` since the last time."""
        return self

    def __await__(self) -> Generator[PureSignal, None, None]:
        """Wait for a `set` since the last time. When cancelled, nothing is lost: the next time sees the `set`."""
        while not self._is_set:
            self._asyncio_future_blocking = (
                True  # A task takes this back, which shows it that it was yielded on purpose.
            )
            yield self
        self._is_set = False

    def _go_on(self) -> None:
        callback = self._callback
        self._callback = self._context = None
        if callback is not None:
            callback(self)

    def _call_soon(self) -> None:
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)
            self._callback = self._context = None

    # -- what a task calls ---------------------------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop."""
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context) -> None:
        """Call back once, at the next `set`."""
        self._callback, self._context = callback, context

    def done(self) -> bool:
        """Whether no task waits any more."""
        return self._callback is None

    def cancel(self, msg: object = None) -> bool:
        """Let the task that waits get a `CancelledError`, if it was not woken before."""
        if self._callback is None:
            return False
        cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._call_soon()  # if this fails, the task still waits
        self._cancelled_by = cancelled
        return True

    def result(self) -> None:
        """Return, or raise the `CancelledError`."""
        if self._cancelled_by is not None:
            cancelled, self._cancelled_by = self._cancelled_by, None
            raise cancelled


if TYPE_CHECKING or not speedups_in_use:
    Signal = PureSignal
else:
    from anyws.protocol._speedups import Signal
