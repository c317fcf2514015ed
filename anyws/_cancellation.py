"""Whose cancellation it is: that of the task, or a stray one.

On asyncio, whoever awaits a task that was cancelled gets that task's `CancelledError`, though nobody cancels the task
that waits. In a hook or a handler that is a mistake like any other, and must not look like the end of the connection.
On trio there is no such thing: a `Cancelled` always belongs to an enclosing scope.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from contextlib import contextmanager

import anyio

__all__ = ["is_cancelled_from_outside", "is_stray", "refusing_stray_cancellation"]


def is_cancelled_from_outside() -> bool:
    """Whether somebody cancels the running task: an enclosing scope, or on asyncio also `asyncio.Task.cancel`."""
    if anyio.current_effective_deadline() == -math.inf:
        return True
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio
        return False
    return task is not None and task.cancelling() > 0


def is_stray(exc: BaseException) -> bool:
    """Whether an exception is a `CancelledError` that nobody aimed at the running task."""
    return isinstance(exc, anyio.get_cancelled_exc_class()) and not is_cancelled_from_outside()


@contextmanager
def refusing_stray_cancellation(who: str) -> Generator[None, None, None]:
    """Turn a `CancelledError` that nobody aimed at this task into an exception like any other.

    Args:
        who: what runs in the block, for the message, such as ``the handler``.

    Raises:
        RuntimeError: the block raised such a `CancelledError`, which is the ``__cause__``.
    """
    try:
        yield
    except anyio.get_cancelled_exc_class() as exc:
        if is_cancelled_from_outside():
            raise
        raise RuntimeError(f"{who} awaited a task that was cancelled, and did not catch its CancelledError") from exc
