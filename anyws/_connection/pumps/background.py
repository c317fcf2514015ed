"""Background tasks and timers of connections, separate from the tasks that run handlers."""

from __future__ import annotations

import contextvars
import functools
import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint, current_token

from anyws._event_loops import is_asyncio_loop
from anyws._slices import SLICE

if TYPE_CHECKING:
    import asyncio

try:
    from sniffio import current_async_library_cvar
except ModuleNotFoundError:  # AnyIO versions without sniffio do not need it
    current_async_library_cvar = None  # type: ignore[assignment]

__all__ = ["Alarm", "Background", "Timer", "open_background", "protect_from_interrupts"]

_logger = logging.getLogger("anyws")

_PERIOD = 10 * SLICE  # in each such time, `call_in_slices` calls functions immediately for one slice


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""


class Background:
    """Owns the tasks and timers of connections: of all connections of a server, or of a single one.

    The tasks are shielded from cancellation. Each ends with its connection, and a connection ends before its link.

    Args:
        tasks: the task group to run them in; None if the connections need timers only, on asyncio.
        loop: the event loop, for code that runs outside a task; None for the current one.
    """

    def __init__(self, tasks: TaskGroup | None, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._tasks = tasks
        native = current_token().native_token if loop is None else loop
        self._timers: _LoopTimers | _Clock
        if is_asyncio_loop(native):
            self._timers = _LoopTimers(native)
        else:
            self._timers = _Clock()
            self.start_soon(self._timers.run)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task; it must not raise."""
        assert self._tasks is not None
        self._tasks.start_soon(_shielded, task, name="anyws.background")

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call a function at the given time, outside any task.

        Calls that are due together, for example after the event loop was blocked, are made in slices.
        """
        return self._timers.call_at(when, callback)

    def call_in_slices(self, callback: Callable[[], None]) -> bool:
        """Call a function now, or soon if such calls have just filled a slice; return whether it was called.

        For what may happen to very many connections at the same time. The order of the calls is kept.
        """
        return self._timers.call_in_slices(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call a function after the tasks that are ready now have run."""
        self._timers.call_soon(callback)

    def call_after_others(self, times: int, callback: Callable[[], None]) -> None:
        """Call a function after the other tasks have run this many times."""
        if isinstance(self._timers, _LoopTimers):
            self._timers.call_after_others(times, callback)
        else:
            self.start_soon(functools.partial(_call_after_others, times, callback))

    def call_when_readable(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call a function whenever a file descriptor is readable. Only on asyncio."""
        assert isinstance(self._timers, _LoopTimers)
        self._timers.call_when_readable(descriptor, callback)

    def close(self) -> None:
        """Stop the timers, once all connections have ended."""
        self._timers.stop()


class Alarm:
    """A timer that can be rescheduled and has at most one pending call."""

    __slots__ = ("_due", "_timer")

    def __init__(self) -> None:
        self._timer: Timer | None = None
        self._due = math.inf

    def set(self, background: Background, when: float, callback: Callable[[], None]) -> None:
        """Schedule the call. If an earlier call is pending, it stays, and the callback must set the alarm again."""
        if self._timer is not None and self._due <= when:
            return
        self.cancel()
        if when != math.inf:
            self._timer = background.call_at(when, callback)
        self._due = when

    def fired(self) -> None:
        """Note that the call was made. The callback must call this first."""
        self._timer = None

    def cancel(self) -> None:
        """Cancel the pending call, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@asynccontextmanager
async def open_background() -> AsyncGenerator[Background, None]:
    """Run background tasks and timers for the duration of a block; its exceptions propagate unchanged."""
    error: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            background = Background(tasks)
            try:
                yield background
            except BaseException as exc:
                error = exc
            finally:
                background.close()
    except anyio.get_cancelled_exc_class() as exc:
        error = error or exc
    if error is not None:
        raise error


def _call(callback: Callable[[], None] | None) -> None:
    """Call a scheduled function; an error in it must not prevent the calls of other connections."""
    if callback is not None:
        try:
            callback()
        except Exception:
            _logger.exception("internal error")


async def _call_after_others(times: int, callback: Callable[[], None]) -> None:
    for _ in range(times):
        await checkpoint()
    callback()


async def _shielded(task: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await task()


class _Timers:
    """Scheduled calls, of which the event loop only knows the earliest.

    So a connection's timer costs an entry in a list. Most timers are cancelled before they are due.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []  # a heap; includes cancelled entries
        self._count = itertools.count()
        self._cancelled = 0
        self._wakes_at = math.inf
        self._spent = 0.0  # the time spent in `call_in_slices` since `_spent_since`, in seconds
        self._spent_since = -math.inf
        self._postponed: deque[Callable[[], None]] = deque()

    def call_in_slices(self, callback: Callable[[], None]) -> bool:
        began = perf_counter()
        if began - self._spent_since > _PERIOD:
            self._spent, self._spent_since = 0.0, began
        if self._postponed or self._spent >= SLICE:
            if not self._postponed:
                self.call_soon(self._call_postponed)
            self._postponed.append(callback)
            return False
        callback()
        self._spent += perf_counter() - began
        return True

    def _call_postponed(self) -> None:
        """Call what was postponed, for one slice."""
        until = perf_counter() + SLICE
        while self._postponed:
            _call(self._postponed.popleft())
            if self._postponed and perf_counter() >= until:
                self.call_soon(self._call_postponed)
                return

    def call_soon(self, callback: Callable[[], None]) -> None:
        raise NotImplementedError

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = _Timer(self, callback)
        heapq.heappush(self._entries, (when, next(self._count), timer))
        if when < self._wakes_at:
            self._wake_at(when)
        return timer

    def cancelled(self) -> None:
        """Count a cancelled entry, and remove cancelled entries once they are half of all."""
        self._cancelled += 1
        if self._cancelled >= len(self._entries) // 2:
            self._entries = [entry for entry in self._entries if entry[2].callback is not None]
            heapq.heapify(self._entries)
            self._cancelled = 0

    def _wake_at(self, when: float) -> None:
        """Let the event loop wake us at this time, which is earlier than `_wakes_at`."""
        raise NotImplementedError

    def _call_due(self, now: Callable[[], float]) -> bool:
        """Call what is due, in one slice; return whether that was all."""
        until = perf_counter() + SLICE
        while self._next() <= now():
            _call(heapq.heappop(self._entries)[2].take())
            if perf_counter() >= until:
                return False
        return True

    def _next(self) -> float:
        """Return when the earliest call is due."""
        while self._entries and self._entries[0][2].callback is None:
            heapq.heappop(self._entries)
            self._cancelled -= 1
        return self._entries[0][0] if self._entries else math.inf


class _LoopTimers(_Timers):
    """Timers of an asyncio event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._handle: asyncio.Handle | None = None
        self._context = contextvars.copy_context()
        if current_async_library_cvar is not None:
            # Outside a task, AnyIO detects the event loop by this variable. Only anyio.run() sets it.
            self._context.run(current_async_library_cvar.set, "asyncio")

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback, context=self._context.copy())

    def call_after_others(self, times: int, callback: Callable[[], None]) -> None:
        self.call_soon(callback if times <= 1 else functools.partial(self.call_after_others, times - 1, callback))

    def call_when_readable(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._context.copy().run(self._loop.add_reader, descriptor, callback)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _wake_at(self, when: float) -> None:
        self.stop()
        self._wakes_at = when
        self._handle = self._loop.call_at(when, self._on_due, context=self._context.copy())

    def _on_due(self) -> None:
        due, self._wakes_at = self._wakes_at, -math.inf  # until it has called, a new timer need not wake it
        if not self._call_due(lambda: max(due, self._loop.time())):  # an event loop may call slightly too early
            self._wakes_at = due
            self._handle = self._loop.call_soon(self._on_due, context=self._context.copy())
            return
        self._wakes_at = math.inf
        if (following := self._next()) < math.inf:
            self._wake_at(following)


class _Clock(_Timers):
    """Timers for an event loop that has none (trio): one task sleeps until the earliest is due."""

    def __init__(self) -> None:
        super().__init__()
        self._sleep: anyio.CancelScope | None = None
        self._wakes_at = -math.inf  # while it does not sleep
        self._is_stopped = False

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_at(-math.inf, callback)

    def stop(self) -> None:
        self._is_stopped = True
        if self._sleep is not None:
            self._sleep.cancel()

    def _wake_at(self, when: float) -> None:
        if self._sleep is not None:
            self._sleep.deadline = self._wakes_at = when

    async def run(self) -> None:
        while True:
            while not self._call_due(anyio.current_time):
                await checkpoint()
            if self._is_stopped:
                return
            self._wakes_at = self._next()
            with anyio.CancelScope(deadline=self._wakes_at) as self._sleep:
                await anyio.sleep_forever()
            self._sleep = None


class _Timer:
    """One scheduled call. ``callback`` is None once it was called or cancelled."""

    __slots__ = ("_timers", "callback")

    def __init__(self, timers: _Timers, callback: Callable[[], None]) -> None:
        self._timers = timers
        self.callback: Callable[[], None] | None = callback

    def take(self) -> Callable[[], None] | None:
        """Return the function, once; None if the call was cancelled."""
        callback, self.callback = self.callback, None
        return callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._timers.cancelled()


_Entry = tuple[float, int, _Timer]  # the number is unique, so timers are never compared


def protect_from_interrupts(protect: Callable[[Callable[..., object]], object]) -> None:
    """Protect the functions that start and run tasks, so that trio raises no `KeyboardInterrupt` in them."""
    for function in (Background.__init__, Background.start_soon, _Clock.run, _shielded):
        protect(function)
