"""The pump for a socket on asyncio and uvloop: the event loop calls when something has come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from anyws.transport.stream import SocketStream
from anyws.transport.tls import TLSRecords
from anyws.wakeup import Wakeup

from .pump import Owner, SocketPump

__all__ = ["CallbackPump"]


class CallbackPump(SocketPump):
    """Registers for reading once, and not anew for each wait."""

    def __init__(
        self, owner: Owner, stream: SocketStream, records: TLSRecords | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        super().__init__(owner, stream, records, loop.time)
        self._descriptor = stream.fileno()  # a selector that does not know a socket yet spells it out: two system calls
        self._is_registered = False
        self._is_stopped = True

    @staticmethod
    def is_possible(loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the loop tells when a socket is readable; that of Windows does not, by default."""
        return not isinstance(loop, getattr(asyncio, "ProactorEventLoop", ()))

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest signal on this event loop."""
        return _FutureWakeup(self._loop)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def start(self, tasks: TaskGroup) -> None:
        """Begin."""
        super().start(tasks)
        self._is_stopped = False
        if self._owner.may_read():
            self._register()

    def stop(self) -> None:
        """Read no more."""
        self._is_stopped = True
        self._unregister()

    def resume(self) -> None:
        """There may be room again, or somebody who waits."""
        if not self._is_registered and not self._is_stopped and self._owner.may_read():
            self._owner.keepalive.heard = self.now()
            self._register()

    def _register(self) -> None:
        self._is_registered = True
        self._loop.add_reader(self._descriptor, self._on_readable)

    def _on_readable(self) -> None:
        if self._owner.reads_freely or self._owner.may_read():
            self._read()
        else:
            self._unregister()

    def _unregister(self) -> None:
        if self._is_registered:
            self._is_registered = False
            self._loop.remove_reader(self._descriptor)

    async def attend(self, deadline: float) -> None:
        """Wait for an alarm; or until a time, for which a timer costs less than a scope."""
        timer = None if deadline == math.inf else self._loop.call_at(deadline, self.alarm)
        try:
            await self._alarm.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def next_arrival(self) -> Awaitable[None]:
        """Return what the task that receives is to await, at once, until something has changed for it."""
        if self._owner.outbox.is_flush_due:
            self.flush()
        return self._owner.arrived.wait()


class _FutureWakeup(Wakeup):
    """A signal that costs one future."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the task that waits, or the next one that does."""
        self._is_set = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait for a `set` since the last `wait`."""
        while not self._is_set:
            self._future = self._loop.create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._is_set = False
