"""The pump for a socket on trio: whoever waits for a message reads for everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from anyws._connection.wakeup import Wakeup
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords

from .background import Background, Timer
from .pump import Owner
from .sockets import SocketPump

__all__ = ["WaitingPump"]

# Nobody may read for one to two of these, before a task is started for it. Seconds.
_PATIENCE = 0.025


class WaitingPump(SocketPump):
    """Waits for the socket in the task that receives, as long as there is one.

    A message then wakes the task that wants it, and no other. When nobody has received for a while, a task is started
    that reads until somebody does. While one waits all the time, there is neither such a task nor a look for it.
    """

    __slots__ = (
        "_descriptor",
        "_is_attended",
        "_is_dozing",
        "_is_look_due",
        "_is_received",
        "_look",
        "_receiver_reads",
        "_token",
    )

    def __init__(self, owner: Owner, stream: SocketStream, records: TLSRecords | None) -> None:
        super().__init__(owner, stream, records, trio.lowlevel.current_clock().current_time)
        self._token = trio.lowlevel.current_trio_token()
        self._descriptor = stream.fileno()
        self._is_attended = False  # a task that does not receive waits for the socket
        self._receiver_reads = False  # the task that receives does
        self._is_received = False  # somebody has received since the last look
        self._is_dozing = False  # no look is due as long as the task that receives waits
        self._look: Timer | None = None
        self._is_look_due = False

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest signal on this event loop."""
        return _TaskWakeup()

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self._token.run_sync_soon(callback)

    def start(self, background: Background) -> None:
        """Begin."""
        super().start(background)
        self._look_later()

    def resume(self) -> None:
        """There may be room again, or somebody who waits."""
        self._look_later()

    def expect(self) -> None:
        """Something is awaited from the peer: read now, if nobody does."""
        if self._background is not None and not self._receiver_reads:
            self._is_received = False
            self._look_now()

    async def attend(self) -> None:
        """Read until somebody receives, or nothing is to be read."""
        self._is_received = False
        try:
            while self._has_to_read:
                self._is_attended = True
                try:
                    await trio.lowlevel.wait_readable(self._descriptor)
                except trio.ClosedResourceError:
                    continue  # the stream is closed, or somebody else was meant
                finally:
                    self._is_attended = False
                self._drain() if self._is_ending else self._read()
        finally:
            self._arrived.set()  # who receives may have left it to us
            self._look_later()

    @property
    def _has_to_read(self) -> bool:
        if self._is_closed or self._is_attended or self._receiver_reads or self._is_received:
            return False
        return self._is_ending or self._owner.may_read()

    def _drain_later(self) -> None:
        self.wake_receiver()
        self._look_later()

    def _look_later(self) -> None:
        if self._background is None or self._is_look_due or self._is_attended or self._is_closed:
            return
        self._is_look_due = True
        # At a round time, so that one look is for many connections.
        when = (self.now() // _PATIENCE + 2) * _PATIENCE
        self._look = self._background.call_at(when, self._look_now)

    def _look_now(self) -> None:
        """Start a task that reads, if nobody has done so for a while."""
        self._look_no_more()
        if self._receiver_reads:
            self._is_dozing = True
        elif self._is_received:
            self._is_received = False
            self._look_later()
        elif self._has_to_read:
            self._start(self.attend)

    def _stop(self) -> None:
        if self._is_attended or self._receiver_reads:
            trio.lowlevel.notify_closing(self._descriptor)
        self._look_no_more()

    def _look_no_more(self) -> None:
        self._is_look_due = False
        if self._look is not None:
            self._look.cancel()

    def next_arrival(self) -> Awaitable[None]:
        """Return what the task that receives is to await, at once, until something has changed for it."""
        if self._owner.outbox.is_flush_due:
            self.flush()
        self._is_received = True
        if self._is_attended or self._is_ending or self._is_closed:
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
                self._is_dozing = False
                self._is_received = True
                self._look_later()
        self._read()

    def wake_receiver(self) -> None:
        """Let a task return that is in `next_arrival`."""
        super().wake_receiver()
        if self._receiver_reads and not self._is_closed:  # later the descriptor may be another's
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
