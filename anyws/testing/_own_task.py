"""Runs a block in a task of its own, so that any task may leave it.

The scopes of AnyIO must be exited in the task that entered them. pytest-asyncio finishes a fixture in a different task
from the one that started it. Only asyncio needs this: AnyIO's plugin and pytest-trio stay in one task.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, ParamSpec, TypeVar

import anyio

from anyws._event_loops import asyncio_task

__all__ = ["in_own_task"]

P = ParamSpec("P")
T = TypeVar("T")


def in_own_task(function: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Decorate like `contextlib.asynccontextmanager`, but on asyncio, let any task leave the block.

    An exception in the block is raised in the generator as well, and propagates as from `asynccontextmanager`. If the
    block is cancelled, the generator is cancelled, and the block is left once it has ended.
    """
    managed = asynccontextmanager(function)

    @functools.wraps(function)
    def open_block(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _run(managed(*args, **kwargs))

    return open_block


@asynccontextmanager
async def _run(block: AbstractAsyncContextManager[T]) -> AsyncGenerator[T, None]:
    caller = asyncio_task()
    if caller is None:
        async with block as value:
            yield value
        return
    host = _Host(block)
    # AnyIO has no task that may outlive the task that started it. The variable keeps it from the garbage collector.
    task = caller.get_loop().create_task(host.run())
    try:
        await host.entered.wait()
        if host.failure is None:
            try:
                yield host.value
            except Exception as exc:
                host.error = exc
            host.left.set()
            await host.ended.wait()
    except BaseException:
        host.scope.cancel()
        with anyio.CancelScope(shield=True):
            await host.ended.wait()
        raise
    finally:
        del task
    if host.failure is not None:
        raise host.failure


class _Host(Generic[T]):
    """The task: it enters the block, waits until the caller leaves, and leaves the block."""

    def __init__(self, block: AbstractAsyncContextManager[T]) -> None:
        self._block = block
        self.scope = anyio.CancelScope()
        self.entered = anyio.Event()
        self.left = anyio.Event()
        self.ended = anyio.Event()
        self.value: T
        self.error: Exception | None = None  # raised in the block by the caller
        self.failure: BaseException | None = None  # raised by the block

    async def run(self) -> None:
        try:
            with self.scope:
                async with self._block as self.value:
                    self.entered.set()
                    await self.left.wait()
                    if self.error is not None:
                        raise self.error
        except BaseException as exc:  # also when asyncio cancels all tasks because the program ends
            self.failure = exc
        finally:
            self.ended.set()
            self.entered.set()
