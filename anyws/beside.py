"""A task beside a block of code, without wrapping what either raises in a group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

__all__ = ["beside"]


@asynccontextmanager
async def beside(task: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Run a task as long as the block: when the block ends, the task is cancelled.

    An exception of the block comes out as it is. An `Exception` of the task cancels the block and comes out as it is.
    Only if both raise there is a group.
    """
    failure: Exception | None = None
    error: BaseException | None = None
    ended = False
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            nonlocal failure, ended
            try:
                await task()
            except Exception as exc:
                failure = exc
                tasks.cancel_scope.cancel()
            ended = True

        tasks.start_soon(run)
        try:
            yield
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:
            error = exc
        if not ended:
            tasks.cancel_scope.cancel()
    if failure is not None and error is not None:
        raise BaseExceptionGroup("both a block and the task beside it failed", [error, failure])
    if failure is not None:
        raise failure
    if error is not None:
        raise error
