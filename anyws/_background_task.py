"""A task beside a block of code, without wrapping what either raises in a group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from ._cancellation import refusing_stray_cancellation

__all__ = ["background_task"]


@asynccontextmanager
async def background_task(task: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Run a task as long as the block: when the block ends, the task is cancelled.

    An exception of the block propagates unchanged, even if the block is cancelled too. An `Exception` of the task
    cancels the block and propagates unchanged. Only if both raise there is a group.
    """
    failure: Exception | None = None
    error: BaseException | None = None
    scope = anyio.CancelScope()  # of the task alone: what cancels the block besides is nothing of ours
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
    except anyio.get_cancelled_exc_class() as exc:  # of the block, by the task, or from outside
        error = error or exc
    if failure is not None and isinstance(error, Exception):
        raise BaseExceptionGroup("both a block and the task beside it failed", [error, failure])
    if failure is not None:
        raise failure
    if error is not None:
        raise error
