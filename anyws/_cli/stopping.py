"""Signals that stop a command: SIGINT (Ctrl-C), SIGTERM, SIGHUP. The first requests a stop, the second forces it.

How this works: the signal handlers run even while the event loop is blocked, see `anyws._signals`. A process that does
not stop is terminated by a thread, which depends on neither. That thread is started without `threading`, because the
interrupted code may hold a lock of that module.
"""

from __future__ import annotations

import _thread
import faulthandler
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import FrameType

import anyio

from anyws._signals import handled_signals, thread_safe_call

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
    call_soon = thread_safe_call()
    count = 0
    with anyio.CancelScope() as scope:
        stop = Stop(scope)

        def handle(_number: int, _frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            if count == 2 and exit_after is not None:
                exit_within(exit_after)
            call_soon(stop.request)

        with handled_signals(_signals(), handle):
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


def _signals() -> list[int]:
    present = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]  # Windows has no SIGHUP
    # A program that was started with nohup ignores SIGHUP.
    return [number for number in present if signal.Signals(number).name != "SIGHUP" or not _is_ignored(number)]


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
