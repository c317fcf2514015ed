"""Tells asyncio from trio without importing asyncio: that takes 20 ms, and programs on trio do not need it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import asyncio

__all__ = ["asyncio_task", "is_asyncio_loop"]


def is_asyncio_loop(loop: object) -> TypeGuard[asyncio.AbstractEventLoop]:
    """Return whether this is an event loop of asyncio, for example of uvloop."""
    return isinstance(loop, _of_asyncio("AbstractEventLoop", ()))


def asyncio_task() -> asyncio.Task[Any] | None:
    """Return the running task of asyncio; None on trio, or outside tasks."""
    try:
        task: asyncio.Task[Any] | None = _of_asyncio("current_task", _no_task)()
    except RuntimeError:  # asyncio is imported, but trio is running
        return None
    return task


def _of_asyncio(name: str, default: Any) -> Any:
    """Return an attribute of asyncio; the default if it is not imported, or only just being imported in a thread."""
    return getattr(sys.modules.get("asyncio"), name, default)


def _no_task() -> None:
    pass
