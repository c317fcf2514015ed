"""Background tasks and timers of connections, separate from the tasks that run handlers."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Protocol

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint, current_token

from anyws._slices import SLICE

try:
    from sniffio import current_async_library_cvar
except ModuleNotFoundError:  # AnyIO versions without sniffio do not need it
    current_async_library_cvar = None  # type: ignore[assignment]

__all__ = ["Alarm", "Background", "Timer", "open_background", "protect_from_interrupts"]

_logger = logging.getLogger("anyws")


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""


class Background:
    """Owns the tasks and timers of connections: of all connections of a server, or of a single one.

    The tasks are shielded from cancellation. Each ends with its connection, and a connection ends before its link.

    Args:
        tasks: the task group to run them in.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._clock: _Clock | None = None
        loop = current_token().native_token
        self._timers: _LoopTimers | _Clock
        if isinstance(loop, asyncio.AbstractEventLoop):
            self._timers = _LoopTimers(loop)
        else:
            self._timers = self._clock = _Clock()
            self.start_soon(self._clock.run)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task; it must not raise."""
        self._tasks.start_soon(_shielded, task, name="anyws.background")

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call a function at the given time, outside any task.

        Calls that are due together, for example after the event loop was blocked, are made in slices.
        """
        return self._timers.call_at(when, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call a function after the tasks that are ready now have run."""
        self._timers.call_soon(callback)

    def call_when_readable(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call a function whenever a file descriptor is readable. Only on asyncio."""
        assert isinstance(self._timers, _LoopTimers)
        self._timers.call_when_readable(descriptor, callback)

    def close(self) -> None:
        """Stop the timers, once all connections have ended."""
        if self._clock is not None:
            self._clock.stop()


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


async def _shielded(task: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await task()


class _LoopTimers:
    """Timers of an asyncio event loop.

    The event loop makes all calls that are due in one iteration. So a call that it makes here only marks a timer as
    due, and the function is called in a slice of the next iterations.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: deque[_LoopTimer] = deque()
        self._context = contextvars.copy_context()
        if current_async_library_cvar is not None:
            # Outside a task, AnyIO detects the event loop by this variable. Only anyio.run() sets it.
            self._context.run(current_async_library_cvar.set, "asyncio")

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = _LoopTimer(callback)
        timer.handle = self._loop.call_at(when, self._fired, timer, context=self._context)
        return timer

    def _fired(self, timer: _LoopTimer) -> None:
        timer.handle = None
        if not self._due:
            self.call_soon(self._call_due)
        self._due.append(timer)

    def _call_due(self) -> None:
        until = perf_counter() + SLICE
        while self._due:
            _call(self._due.popleft().take())
            if perf_counter() >= until and self._due:
                self.call_soon(self._call_due)
                return

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback, context=self._context.copy())

    def call_when_readable(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._context.copy().run(self._loop.add_reader, descriptor, callback)


class _LoopTimer:
    """One scheduled call of `_LoopTimers`."""

    __slots__ = ("_callback", "handle")

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback
        self.handle: asyncio.TimerHandle | None = None  # until it has fired

    def cancel(self) -> None:
        self._callback = None
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def take(self) -> Callable[[], None] | None:
        """Return the function, once; None if the call was cancelled."""
        callback, self._callback = self._callback, None
        return callback


class _Clock:
    """Timers for an event loop that has none (trio): one task sleeps until the earliest is due."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []  # a heap; includes cancelled entries
        self._count = itertools.count()
        self._cancelled = 0
        self._sleep: anyio.CancelScope | None = None
        self._wakes_at = -math.inf
        self._is_stopped = False

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = _ClockTimer(self, callback)
        heapq.heappush(self._entries, (when, next(self._count), timer))
        if self._sleep is not None and when < self._wakes_at:
            self._sleep.deadline = self._wakes_at = when
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_at(-math.inf, callback)

    def cancelled(self) -> None:
        """Count a cancelled entry, and remove cancelled entries once they are the majority."""
        self._cancelled += 1
        if self._cancelled > len(self._entries) // 2:
            self._entries = [entry for entry in self._entries if entry[2].callback is not None]
            heapq.heapify(self._entries)
            self._cancelled = 0

    def stop(self) -> None:
        self._is_stopped = True
        if self._sleep is not None:
            self._sleep.cancel()

    async def run(self) -> None:
        while True:
            until = perf_counter() + SLICE
            while self._next() <= anyio.current_time():
                _call(heapq.heappop(self._entries)[2].take())
                if perf_counter() >= until:
                    await checkpoint()
                    until = perf_counter() + SLICE
            if self._is_stopped:
                return
            self._wakes_at = self._next()
            with anyio.CancelScope(deadline=self._wakes_at) as self._sleep:
                await anyio.sleep_forever()
            self._sleep = None

    def _next(self) -> float:
        """Return when the earliest call is due."""
        while self._entries and self._entries[0][2].callback is None:
            heapq.heappop(self._entries)
            self._cancelled -= 1
        return self._entries[0][0] if self._entries else math.inf


class _ClockTimer:
    """One scheduled call. ``callback`` is None once it was called or cancelled."""

    __slots__ = ("_clock", "callback")

    def __init__(self, clock: _Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback: Callable[[], None] | None = callback

    def take(self) -> Callable[[], None] | None:
        """Return the function, once; None if the call was cancelled."""
        callback, self.callback = self.callback, None
        return callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._clock.cancelled()


_Entry = tuple[float, int, _ClockTimer]  # the number is unique, so timers are never compared


def protect_from_interrupts(protect: Callable[[Callable[..., object]], object]) -> None:
    """Protect the functions that start and run tasks, so that trio raises no `KeyboardInterrupt` in them."""
    for function in (Background.__init__, Background.start_soon, _Clock.run, _shielded):
        protect(function)
