"""Signal handlers for the duration of a block, and how to reach the event loop from one.

The handlers are installed with `signal.signal` rather than through the event loop, so that they run even while the loop
is blocked, and on Windows as well.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import Any

from anyio.lowlevel import current_token

__all__ = ["handled_signals", "thread_safe_call"]


@contextmanager
def handled_signals(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]
) -> Generator[Callable[[], None], None, None]:
    """Install a signal handler for the duration of a block.

    The block gets a function that restores the previous handlers early; it is safe to use in the handler.

    Raises:
        ValueError: this is not the main thread.
    """
    previous: dict[int, Any] = {}

    def restore() -> None:
        while previous:
            number, before = previous.popitem()
            signal.signal(number, signal.SIG_DFL if before is None else before)

    try:
        for number in numbers:
            previous[number] = signal.signal(number, handler)
        yield restore
    finally:
        restore()


def thread_safe_call() -> Callable[[Callable[[], None]], object]:
    """Return a function that schedules a call in the event loop and wakes it; safe to use in a signal handler."""
    loop = current_token().native_token
    call: Callable[[Callable[[], None]], object] = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe  # type: ignore[attr-defined]
    return call
