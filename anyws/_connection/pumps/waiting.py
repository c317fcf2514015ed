"""The pump for a socket on trio: the task that waits for a message also reads the socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from anyws._connection.wakeup import Wakeup
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords

from .background import Background, Timer, protect_from_interrupts
from .pump import Owner
from .sockets import SocketPump

__all__ = ["WaitingPump"]

# If no task has read for one to two of these intervals, a task is started to read. Seconds.
_PATIENCE = 0.025


class WaitingPump(SocketPump):
    """Waits for the socket in the receiving task, as long as there is one.

    An incoming message then wakes the task that wants it, and no other. If no task has received for a while, a task is
    started that reads until one does. While a task waits without a break, no such task and no timer is needed.
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
        self._is_attended = False  # a task other than the receiving one is waiting for the socket
        self._receiver_reads = False  # the receiving task is waiting for the socket
        self._is_received = False  # a task has received since the last look
        self._is_dozing = False  # no look is scheduled while the receiving task waits
        self._look: Timer | None = None
        self._is_look_due = False

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest signal on this event loop."""
        return _TaskWakeup()

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self._token.run_sync_soon(callback)

    def start(self, background: Background) -> None:
        """Start reading and writing."""
        super().start(background)
        self._look_later()

    def resume(self) -> None:
        """Check later whether a task is needed that reads."""
        self._look_later()

    def expect(self) -> None:
        """Start reading now, if no task does, because something is awaited from the peer."""
        if self._background is not None and not self._receiver_reads:
            self._is_received = False
            self._look_now()

    async def attend(self) -> None:
        """Read until a task receives, or until nothing more should be read."""
        self._is_received = False
        try:
            while self._has_to_read:
                self._is_attended = True
                try:
                    await trio.lowlevel.wait_readable(self._descriptor)
                except trio.ClosedResourceError:
                    continue  # the stream is closed, or another waiting task was meant
                finally:
                    self._is_attended = False
                self._drain() if self._is_ending else self._read()
                self._arrived.set()  # the receiving task may rely on this one to read
        finally:
            self._arrived.set()
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
        # Rounded, so that many connections share one wake-up.
        when = (self.now() // _PATIENCE + 2) * _PATIENCE
        self._look = self._background.call_at(when, self._look_now)

    def _look_now(self) -> None:
        """Start a task that reads, if no task has read for a while."""
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
        """Return what the receiving task awaits, immediately, until something has changed for it."""
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
        """Wake a task that awaits `next_arrival`."""
        super().wake_receiver()
        if self._receiver_reads and not self._is_closed:  # once closed, the descriptor may belong to another socket
            trio.lowlevel.notify_closing(self._descriptor)


class _TaskWakeup(Wakeup):
    """A signal that reschedules the waiting task directly, without an event object."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        super().__init__()
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Wake the waiting task; if none is waiting, let the next wait return at once."""
        self._is_set = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    @trio.lowlevel.enable_ki_protection
    async def _wait(self) -> None:
        while not self._is_set:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._is_set = False

    def _abort(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


# Ctrl-C must not leave a task half started, or one that waits half registered: it reaches the main task instead.
protect_from_interrupts(trio.lowlevel.enable_ki_protection)
