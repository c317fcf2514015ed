"""Tells the cancellation of the running task from a stray one.

On asyncio, a task that awaits a cancelled task receives the `CancelledError` of that task, although nobody cancelled
the waiting task. In a hook or a handler this is an ordinary bug and must not look like the end of the connection. On
trio this cannot happen: a `Cancelled` always belongs to an enclosing scope.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Literal

import anyio

from ._event_loops import asyncio_task

__all__ = ["is_cancelled_from_outside", "is_stray", "refusing_stray_cancellation"]


def is_cancelled_from_outside() -> bool:
    """Return whether an enclosing scope, or `asyncio.Task.cancel` on asyncio, is cancelling the running task."""
    if anyio.current_effective_deadline() == -math.inf:
        return True
    task = asyncio_task()
    return task is not None and task.cancelling() > 0


def is_stray(exc: BaseException) -> bool:
    """Return whether an exception is a `CancelledError` that was not aimed at the running task."""
    return isinstance(exc, anyio.get_cancelled_exc_class()) and not is_cancelled_from_outside()


class refusing_stray_cancellation:
    """A context manager that turns a `CancelledError` that was not aimed at this task into an ordinary exception.

    It is a class because a generator would take three times as long, and each connection enters it.

    Args:
        who: the code that runs in the block, for the error message; for example ``the handler``.

    Raises:
        RuntimeError: the block raised such a `CancelledError`, which is the ``__cause__``.
    """

    __slots__ = ("_who",)

    def __init__(self, who: str) -> None:
        self._who = who

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None
    ) -> Literal[False]:
        """Raise the ordinary exception instead of a stray one."""
        if exc is not None and is_stray(exc):
            raise RuntimeError(
                f"{self._who} awaited a task that was cancelled and did not catch its CancelledError"
            ) from exc
        return False
