"""Blocks that own tasks, such as ``async with connect()``: left in their own task, last one first.

AnyIO and trio demand that of what runs inside. They find out late, and say it in terms of their own. Here it is found
out before anything is touched: a block that was left too early is still open, and can be left when its turn has come.
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
    """Return a decorator like `contextlib.asynccontextmanager`, for a block that is called by this name."""

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
        if exc_type is not GeneratorExit:  # of a generator that nobody wants any more: that is no place to complain
            self._check_order()
        _innermost.set(self._before)
        return await self._managed.__aexit__(exc_type, exc, traceback)

    def _check_order(self) -> None:
        if anyio.get_current_task().id != self._task:
            raise RuntimeError(f"a block of {self._name} is left in another task than it was entered in; {_HINT}")
        innermost = _innermost.get()
        if innermost is not self and innermost is not None and innermost._task == self._task:
            raise RuntimeError(
                f"a block of {self._name} is left before a block of {innermost._name} that was entered inside it; "
                + _HINT
            )


_HINT = "leave blocks in reverse order, by `async with` or contextlib.AsyncExitStack, or give each a task"
_innermost: ContextVar[_Block[Any] | None] = ContextVar("anyws_innermost_block", default=None)
