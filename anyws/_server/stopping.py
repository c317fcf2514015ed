"""Stopping a server on a signal: the first one shuts it down gracefully, the second one immediately."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import FrameType

import anyio

from anyws._background_task import background_task
from anyws._signals import handled_signals, thread_safe_call

from .server import Server

__all__ = ["check_main_thread", "stopping_on_signals"]

_logger = logging.getLogger("anyws.server")


def check_main_thread(signals: Sequence[int]) -> None:
    """Check that signals can be handled in this thread, if there are any to handle.

    Raises:
        RuntimeError: this is not the main thread.
    """
    if signals and threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "option stop_signals requires the main thread, because Python handles signals only there; in another "
            "thread, pass stop_signals=() and stop the server with `await server.aclose()`"
        )


@asynccontextmanager
async def stopping_on_signals(server: Server) -> AsyncGenerator[None, None]:
    """Shut down a server on one of its ``stop_signals`` that arrives in the block, in which the server runs.

    From the second signal on, the previous signal handlers are back, so a program that hangs can be interrupted.
    """
    signals = server.options.stop_signals
    if not signals:
        yield
        return
    stop = _Stop(server)
    call_soon = thread_safe_call()
    count = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count == 2:
            restore()
        call_soon(lambda: stop.request(number))

    with handled_signals(signals, handle) as restore:
        async with background_task(stop.run):
            yield


class _Stop:
    """Closes a server when it is requested to, and cancels its handlers when it is requested again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._requested = anyio.Event()
        self._closing = anyio.CancelScope()

    def request(self, number: int) -> None:
        """Request a stop because of a signal."""
        if self._requested.is_set():
            _logger.info("received a second signal (%s): cancelling the handlers", signal.Signals(number).name)
            self._closing.cancel()
        else:
            _logger.info("received %s: shutting down", signal.Signals(number).name)
            self._requested.set()

    async def run(self) -> None:
        """Wait for the first request, and close the server."""
        await self._requested.wait()
        with self._closing:
            await self._server.aclose(self._server.options.stop_grace)
