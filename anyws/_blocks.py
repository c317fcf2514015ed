"""Checks that blocks which own tasks, such as ``async with connect()``, are exited correctly.

AnyIO and trio require that such blocks are exited in the task that entered them, and in reverse order. They detect a
violation late and describe it in their own terms. The check here runs before anything is changed: a block that was
exited too early is still open, and you can exit it later, in the right order.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import anyio

__all__ = ["block"]

P = ParamSpec("P")
T = TypeVar("T")
_Managed = AbstractAsyncContextManager[T]


def block(name: str) -> Callable[[Callable[P, AsyncGenerator[T, None]]], Callable[P, _Managed[T]]]:
    """Return a decorator like `contextlib.asynccontextmanager` that also checks how the block is exited.

    Args:
        name: the name of the block in error messages; for example ``connect()``.
    """

    def decorate(function: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, _Managed[T]]:
        managed = asynccontextmanager(function)

        @functools.wraps(function)
        def open_block(*args: P.args, **kwargs: P.kwargs) -> _Managed[T]:
            return _Block(name, managed(*args, **kwargs))

        return open_block

    return decorate


class _Block(AbstractAsyncContextManager[T]):
    __slots__ = ("_before", "_managed", "_name", "_task")

    def __init__(self, name: str, managed: _Managed[T]) -> None:
        self._name = name
        self._managed = managed
        self._task = 0
        self._before: _Block[Any] | None = None

    async def __aenter__(self) -> T:
        entered = await self._managed.__aenter__()
        self._task = anyio.get_current_task().id
        self._before = _innermost.get()
        _innermost.set(self)
        return entered

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if exc_type is not GeneratorExit:  # an abandoned generator is being closed: raising here would help nobody
            self._check_order()
        _innermost.set(self._before)
        return await self._managed.__aexit__(exc_type, exc, traceback)

    def _check_order(self) -> None:
        if anyio.get_current_task().id != self._task:
            raise RuntimeError(f"{self._name} was exited in a different task than it was entered in; {_HINT}")
        innermost = _innermost.get()
        if innermost is not self and innermost is not None and innermost._task == self._task:
            raise RuntimeError(f"{self._name} was exited before {innermost._name}, which is nested in it; {_HINT}")


_HINT = "exit blocks in reverse order, with `async with` or AsyncExitStack, or run each in its own task"
_innermost: ContextVar[_Block[Any] | None] = ContextVar("anyws_innermost_block", default=None)
