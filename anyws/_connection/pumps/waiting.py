"""The pump for a socket on trio: the task that waits for a message also reads the socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from anyws._connection.wakeup import Wakeup
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords

from .background import Background, Timer, protect_from_interrupts
from .pump import LinkInterface
from .sockets import SocketPump

__all__ = ["WaitingPump"]

# If no task has received for one to two of these intervals, a task is started to read. In seconds.
_CHECK_INTERVAL = 0.025


class WaitingPump(SocketPump):
    """Waits for the socket in the receiving task, as long as there is one.

    An incoming message then wakes only the task that receives it. If no task has received for a while, another task is
    started to read until one does. While a task is waiting to receive, neither that task nor a timer is needed.
    """

    __slots__ = (
        "_check_timer",
        "_descriptor",
        "_has_received",
        "_is_check_scheduled",
        "_is_check_suspended",
        "_other_task_reads",
        "_receiver_reads",
        "_token",
    )

    def __init__(self, link: LinkInterface, stream: SocketStream, records: TLSRecords | None) -> None:
        super().__init__(link, stream, records, trio.lowlevel.current_clock().current_time)
        self._token = trio.lowlevel.current_trio_token()
        self._descriptor = stream.fileno()
        self._other_task_reads = False  # a task other than the receiving one is waiting for the socket
        self._receiver_reads = False  # the receiving task is waiting for the socket
        self._has_received = False  # a task has received since the last check
        self._is_check_suspended = False  # the check is postponed until the receiving task stops waiting
        self._check_timer: Timer | None = None
        self._is_check_scheduled = False

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest kind of `Wakeup` on this event loop."""
        return _TaskWakeup()

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self._token.run_sync_soon(callback)

    def start(self, background: Background) -> None:
        """Start reading and writing."""
        super().start(background)
        self._schedule_check()

    def resume(self) -> None:
        """Check later whether another task must read."""
        super().resume()
        self._schedule_check()

    def ensure_reading(self) -> None:
        """Start a task that reads, unless the receiving task does; see `Pump.ensure_reading`."""
        if self._background is not None and not self._receiver_reads:
            self._has_received = False
            self._ensure_reader()

    async def read_in_task(self) -> None:
        """Read until a task receives, or until nothing more should be read."""
        self._has_received = False
        try:
            while self._has_to_read:
                self._other_task_reads = True
                try:
                    await trio.lowlevel.wait_readable(self._descriptor)
                except trio.ClosedResourceError:
                    continue  # the stream was closed, or another waiting task was to be woken
                finally:
                    self._other_task_reads = False
                self.on_readable()
                self._arrived.set()  # the receiving task may rely on this one to read
        finally:
            self._arrived.set()
            self._schedule_check()

    def on_readable(self) -> None:
        """Read once, without waiting."""
        self._discard_input() if self._has_ended else self._read()

    def _wake_now(self) -> None:
        """Do nothing: the receiving task reads."""

    @property
    def _has_to_read(self) -> bool:
        if self._is_closed or self._is_postponed or self._other_task_reads or self._receiver_reads:
            return False
        if self._has_received:
            return False
        return self._has_ended or self._link.may_read()

    def _start_discarding(self) -> None:
        self.wake_receiver()
        self._schedule_check()

    def _schedule_check(self) -> None:
        if self._background is None or self._is_check_scheduled or self._other_task_reads or self._is_closed:
            return
        self._is_check_scheduled = True
        # Rounded, so that many connections share one wake-up.
        when = (self.now() // _CHECK_INTERVAL + 2) * _CHECK_INTERVAL
        self._check_timer = self._background.call_at(when, self._ensure_reader)

    def _ensure_reader(self) -> None:
        """Start a task that reads, if no task has received for a while."""
        self._cancel_check()
        if self._receiver_reads:
            self._is_check_suspended = True
        elif self._has_received:
            self._has_received = False
            self._schedule_check()
        elif self._has_to_read:
            self._start(self.read_in_task)

    def _stop(self) -> None:
        if self._other_task_reads or self._receiver_reads:
            trio.lowlevel.notify_closing(self._descriptor)
        self._cancel_check()

    def _cancel_check(self) -> None:
        self._is_check_scheduled = False
        if self._check_timer is not None:
            self._check_timer.cancel()

    def wait_for_arrival(self) -> Awaitable[None]:
        """Return an awaitable for the receiving task, to await immediately. It may return without a message."""
        if self._link.outbox.is_flush_due:
            self.flush()
        self._has_received = True
        if self._other_task_reads or self._has_ended or self._is_postponed or self._is_closed:
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
            if self._is_check_suspended:
                self._is_check_suspended = False
                self._has_received = True
                self._schedule_check()
        self._link.path.on_readable()

    def wake_receiver(self) -> None:
        """Wake a task that awaits `wait_for_arrival`."""
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
        """Wake the waiting task; if none is waiting, let the next wait return immediately."""
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


# Ctrl-C must not interrupt the start of a task or the registration of a waiting one; it reaches the main task instead.
protect_from_interrupts(trio.lowlevel.enable_ki_protection)
