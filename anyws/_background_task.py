"""Runs a task alongside a block of code without wrapping the exceptions of either in a group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from ._cancellation import refusing_stray_cancellation

__all__ = ["background_task"]


@asynccontextmanager
async def background_task(task: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Run a task while the block runs, and cancel the task when the block ends.

    An exception raised in the block propagates unchanged, even if the block is also cancelled. An `Exception` raised by
    the task cancels the block and propagates unchanged. Only if both raise, the exceptions are combined in a group.
    """
    failure: Exception | None = None
    error: BaseException | None = None
    scope = anyio.CancelScope()  # for the task only, so that leaving the block does not cancel the block itself
    try:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                nonlocal failure
                with scope:
                    try:
                        with refusing_stray_cancellation("a hook"):
                            await task()
                    except Exception as exc:
                        failure = exc
                        tasks.cancel_scope.cancel()

            tasks.start_soon(run)
            try:
                yield
            except BaseException as exc:
                error = exc
            scope.cancel()
    except anyio.get_cancelled_exc_class() as exc:  # the block was cancelled, by the task or from outside
        error = error or exc
    if failure is not None and isinstance(error, Exception):
        raise BaseExceptionGroup("the block and its background task both failed", [error, failure])
    if failure is not None:
        raise failure
    if error is not None:
        raise error
