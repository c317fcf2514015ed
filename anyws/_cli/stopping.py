"""Signals that stop a command: SIGINT (Ctrl-C), SIGTERM, SIGHUP. The first requests a stop, the second forces it.

How this works: the signal handlers are installed with `signal.signal` rather than through the event loop, so that they
run even while the loop is blocked. A process that does not stop is terminated by a thread, which depends on neither.
That thread is started without `threading`, because the interrupted code may hold a lock of that module.
"""

from __future__ import annotations

import _thread
import faulthandler
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import anyio
from anyio.lowlevel import current_token

from .exit_status import ExitStatus
from .interrupts import was_interrupted

__all__ = ["Stop", "exit_within", "stop_signals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_STDERR = 2


class Stop:
    """Stops a block on a signal: the first signal ends `wait`; otherwise it cancels the block."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self._requested = anyio.Event()
        self._waiting = 0

    def request(self) -> None:
        """Request a stop, as a signal does."""
        if self._waiting:
            self._requested.set()
        else:
            self._scope.cancel()

    async def wait(self) -> None:
        """Wait for the first signal. A block that waits here must then stop."""
        self._waiting += 1
        try:
            await self._requested.wait()
        finally:
            self._waiting -= 1


@asynccontextmanager
async def stop_signals(*, exit_after: float | None = None) -> AsyncGenerator[Stop, None]:
    """Handle the signals for the duration of a block; see `Stop`. A block cancelled by a signal ends without an error.

    Args:
        exit_after: how long the process may run after the second signal, in seconds; then it exits with status 1 and
            prints to stderr where it hangs. None: no limit.
    """
    call_soon = _thread_safe_call()
    count = 0
    with anyio.CancelScope() as scope:
        stop = Stop(scope)

        def handle(_number: int, _frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            if count == 2 and exit_after is not None:
                exit_within(exit_after)
            call_soon(stop.request)

        with _handled_by(handle):
            if was_interrupted():
                stop.request()
            yield stop


def exit_within(seconds: float) -> None:
    """Exit with status 1 after some seconds, if the process is still running, and print to stderr where it hangs."""

    def end() -> None:
        time.sleep(seconds)
        os.write(_STDERR, f"anyws: still running {seconds:g} s after the request to stop; terminating\n".encode())
        faulthandler.dump_traceback(_STDERR)
        os._exit(ExitStatus.FAILED)

    _thread.start_new_thread(end, ())


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Generator[None, None, None]:
    previous: dict[int, Any] = {}
    try:
        for name in _SIGNALS:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):  # nohup
                previous[number] = signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)


def _thread_safe_call() -> Callable[[Callable[[], None]], object]:
    """Return a function that schedules a call in the event loop and wakes it; safe to use in a signal handler."""
    loop = current_token().native_token
    call: Callable[[Callable[[], None]], object] = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe  # type: ignore[attr-defined]
    return call
