"""The pump for a socket on trio: whoever waits for a message reads for everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import trio

from anyws.transport.stream import SocketStream
from anyws.transport.tls import TLSRecords
from anyws.wakeup import Wakeup

from .pump import Owner, SocketPump

__all__ = ["WaitingPump"]

# How long nobody may read after a task has received, before the link's own task does. Seconds.
_PATIENCE = 0.05


class WaitingPump(SocketPump):
    """Waits for the socket in the task that receives, as long as there is one; or else in the one of the link.

    A message then wakes the task that wants it, and no other. The link's task looks every 50 ms whether somebody still
    receives; while one waits all the time, it does not look at all.
    """

    def __init__(self, owner: Owner, stream: SocketStream, records: TLSRecords | None) -> None:
        super().__init__(owner, stream, records, trio.current_time)
        self._token = trio.lowlevel.current_trio_token()
        self._descriptor = stream.fileno()
        self._attending: anyio.CancelScope | None = None  # the link's task waits for the socket
        self._receiver_reads = False  # the task that receives does
        self._is_received = False  # somebody has received since the link's task last looked
        self._is_dozing = False
        self._is_stopped = False

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest signal on this event loop."""
        return _TaskWakeup()

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self._token.run_sync_soon(callback)

    def stop(self) -> None:
        """Read no more."""
        self.wake_receiver()
        self._is_stopped = True

    def alarm(self) -> None:
        """Something has changed for the task that attends."""
        self._is_received = False
        super().alarm()
        if self._attending is not None:
            self._attending.cancel()

    def resume(self) -> None:
        """There may be room again, or somebody who waits."""
        super().resume()
        if self._is_paused:
            self.alarm()

    async def attend(self, deadline: float) -> None:
        """Wait for an alarm; read, if nobody else does."""
        if not self._owner.may_read():
            self._is_paused = True
            try:
                await super().attend(deadline)
            finally:
                self._is_paused = False
        elif self._is_received:
            self._is_received = False
            await super().attend(min(deadline, self.now() + _PATIENCE))
        elif self._receiver_reads:
            # It has waited all the time: wake up when it does no more.
            self._is_dozing = True
            await super().attend(deadline)
            self._is_dozing = False
        else:
            self._attending = anyio.CancelScope(deadline=deadline)
            with self._attending:
                try:
                    await trio.lowlevel.wait_readable(self._descriptor)
                finally:
                    self._attending = None
                self._read()
                if self._owner.inbox.size or self._owner.has_piece:
                    self._arrived.set()

    def next_arrival(self) -> Awaitable[None]:
        """Return what the task that receives is to await, at once, until something has changed for it."""
        if self._owner.outbox.is_flush_due:
            self.flush()
        self._is_received = True
        if self._attending is not None or self._is_stopped:
            return self._arrived.wait()
        return self._wait_and_read()

    async def _wait_and_read(self) -> None:
        self._receiver_reads = True
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
        except trio.ClosedResourceError:
            return
        finally:
            self._receiver_reads = False
            if self._is_dozing:
                self._is_received = True
                super().alarm()
        self._read()

    def wake_receiver(self) -> None:
        """Let a task return that is in `wait_for_arrival`."""
        super().wake_receiver()
        if self._receiver_reads and not self._is_stopped:  # later the descriptor may be another's
            trio.lowlevel.notify_closing(self._descriptor)


class _TaskWakeup(Wakeup):
    """A signal that costs nothing but the wait."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        super().__init__()
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Wake the task that waits, or the next one that does."""
        self._is_set = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def _wait(self) -> None:
        while not self._is_set:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._is_set = False

    def _abort(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
