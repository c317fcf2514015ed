"""Checks that blocks which own tasks, such as ``async with connect()``, are used, entered and exited correctly.

Whatever else is tried with them, such as ``await connect()``, raises an error that shows the correct use.

AnyIO and trio require that such blocks are exited in the task that entered them, and in reverse order. They detect a
violation late and describe it in their own terms. The check here runs before anything is changed: a block that was
exited too early is still open, and you can exit it later, in the right order.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar

import anyio

__all__ = ["Misusable", "block"]

P = ParamSpec("P")
T = TypeVar("T")
_Managed = AbstractAsyncContextManager[T]


def block(
    name: str, usage: str, *, repeat: str = ""
) -> Callable[[Callable[P, AsyncGenerator[T, None]]], Callable[P, _Managed[T]]]:
    """Return a decorator like `contextlib.asynccontextmanager` that also checks how the block is used.

    Args:
        name: the name of the block in error messages; for example ``connect()``.
        usage: how to use it, for error messages; for example ``async with anyws.connect(...) as websocket``.
        repeat: what to add to the error message if it is used in an ``async for`` loop.
    """

    def decorate(function: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, _Managed[T]]:
        managed = asynccontextmanager(function)

        @functools.wraps(function)
        def open_block(*args: P.args, **kwargs: P.kwargs) -> _Managed[T]:
            return _Block(name, usage, repeat, managed(*args, **kwargs))

        return open_block

    return decorate


class Misusable:
    """Something to be used in a single way: any other use raises an error that shows the correct one.

    Args:
        name: its name, for error messages.
        usage: the correct use.
    """

    __slots__ = ("_name", "_usage")

    def __init__(self, name: str, usage: str) -> None:
        self._name = name
        self._usage = usage

    def _misused(self, problem: str) -> TypeError:
        return TypeError(f"{self._name} {problem}: use `{self._usage}`")

    def __await__(self) -> NoReturn:
        raise self._misused("cannot be awaited")

    def __enter__(self) -> NoReturn:
        raise self._misused("cannot be used in a plain `with`")

    def __exit__(self, *_: object) -> None:  # without it, Python would not call __enter__
        raise NotImplementedError

    def __iter__(self) -> NoReturn:
        raise self._misused("cannot be used in a plain `for`")

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("_"):  # Python looks for such methods, also before __init__ has run
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")
        raise AttributeError(f"{self._name} has no attribute {attribute!r}: use `{self._usage}`")


class _Block(Misusable, AbstractAsyncContextManager[T]):
    def __init__(self, name: str, usage: str, repeat: str, managed: _Managed[T]) -> None:
        super().__init__(name, usage)
        self._repeat = repeat
        self._managed = managed
        self._is_used = False
        self._task = 0
        self._before: weakref.ref[_Block[Any]] | None = None

    def __repr__(self) -> str:
        return f"<{self._name}: use `{self._usage}`>"

    def __aiter__(self) -> NoReturn:
        problem = self._misused("cannot be used in `async for`")
        raise TypeError(f"{problem}{self._repeat}")

    async def __aenter__(self) -> T:
        if self._is_used:
            raise RuntimeError(f"this {self._name} was entered before: call it again for each `async with`")
        self._is_used = True
        entered = await self._managed.__aenter__()
        self._task = anyio.get_current_task().id
        self._before = _innermost.get()
        _innermost.set(weakref.ref(self))
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
        found = _innermost.get()
        innermost = None if found is None else found()
        if innermost is not self and innermost is not None and innermost._task == self._task:
            raise RuntimeError(f"{self._name} was exited before {innermost._name}, which is nested in it; {_HINT}")


_HINT = "exit blocks in reverse order, with `async with` or AsyncExitStack, or run each in its own task"
# Weak, because asyncio keeps the context of a timer until its time, even if the timer is cancelled.
_innermost: ContextVar[weakref.ref[_Block[Any]] | None] = ContextVar("anyws_innermost_block", default=None)
