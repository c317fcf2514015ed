"""SIGINT (Ctrl-C) and SIGTERM: the first asks a command to stop, the second makes it."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import anyio

from anyws.beside import beside

__all__ = ["Stop", "stop_signals"]


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
async def stop_signals() -> AsyncGenerator[Stop, None]:
    """Take the signals as long as the block; see `Stop`. A block that was cancelled by one just ends."""
    with anyio.CancelScope() as block, ExitStack() as stack:
        stop = Stop(block)
        try:
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        except NotImplementedError:  # asyncio on Windows: Ctrl-C comes as KeyboardInterrupt
            yield stop
            return

        async def watch() -> None:
            async for _ in signals:
                stop.ask()

        async with beside(watch):
            yield stop
