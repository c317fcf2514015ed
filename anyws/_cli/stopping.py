"""Signals that stop a command: SIGINT (Ctrl-C), SIGTERM, SIGHUP. The first asks it to stop, the second makes it.

How this works: the signal handlers are Python's own rather than those of the event loop, so that they also run while
somebody blocks the loop. What ends a process that does not stop is a thread, which needs neither. It is started without
`threading`, of which the code that a signal interrupts may hold a lock.
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

from .interrupts import was_interrupted
from .statuses import Status

__all__ = ["Stop", "end_within", "stop_signals"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_STDERR = 2


class Stop:
    """What a signal does to a block: it ends `wait`; or cancels the block, if nothing waits or that was done before."""

    def __init__(self, block: anyio.CancelScope) -> None:
        self._block = block
        self._asked = anyio.Event()
        self._waiting = 0

    def ask(self) -> None:
        """Do what a signal does."""
        if self._waiting:
            self._asked.set()
        else:
            self._block.cancel()

    async def wait(self) -> None:
        """Wait for the first signal; the block that waits here promises to stop."""
        self._waiting += 1
        try:
            await self._asked.wait()
        finally:
            self._waiting -= 1


@asynccontextmanager
async def stop_signals(*, patience: float | None = None) -> AsyncGenerator[Stop, None]:
    """Take the signals as long as the block; see `Stop`. A block that was cancelled by one just ends.

    Args:
        patience: how long the process may live after the second signal, in seconds; then it ends with status 1, and
            says on stderr where it hangs. None: for ever.
    """
    call_soon = _thread_safe_call()
    count = 0
    with anyio.CancelScope() as block:
        stop = Stop(block)

        def take(_number: int, _frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            if count == 2 and patience is not None:
                end_within(patience)
            call_soon(stop.ask)

        with _handled_by(take):
            if was_interrupted():
                stop.ask()
            yield stop


def end_within(seconds: float) -> None:
    """End the process with status 1, unless it has ended by itself before, and say on stderr where it hangs."""

    def end() -> None:
        time.sleep(seconds)
        os.write(_STDERR, f"anyws: still running {seconds:g} s after it was told to stop; ended\n".encode())
        faulthandler.dump_traceback(_STDERR)
        os._exit(Status.FAILED)

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
    """What lets the event loop call a function, also while it waits: a handler may run at any moment."""
    loop = current_token().native_token
    call: Callable[[Callable[[], None]], object] = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe  # type: ignore[attr-defined]
    return call
