"""Event loops on which time jumps to the next deadline when every task waits, so that no test waits."""

from __future__ import annotations

import asyncio
import importlib
import random
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from trio.abc import Instrument
from trio.testing import MockClock

__all__ = ["BACKENDS", "BUSY_LOOPBACK", "LOOPBACK", "run"]

T = TypeVar("T")

BACKENDS = ("asyncio", "uvloop", "trio")
# How long a loopback socket may need to deliver, in real seconds, on a machine at rest and on a busy one.
LOOPBACK = 0.005
BUSY_LOOPBACK = 0.25
_MOST_PASSES = 300_000


class _Passes(Instrument):
    """Counts the passes of the event loop: who is busy for ever is found although the clock stands still."""

    def __init__(self) -> None:
        self.count = 0
        self.scope: anyio.CancelScope | None = None

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1
        if self.count == _MOST_PASSES and self.scope is not None:
            self.scope.cancel()


class _JumpingSelector(selectors.DefaultSelector):
    """Finds what is ready; instead of waiting for a deadline, it moves the clock there."""

    offset = 0.0
    idle = 0.0
    passes: _Passes

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.passes.before_io_wait(0)
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(min(timeout, self.idle))
        if not ready:
            self.offset += timeout
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio on a clock that jumps."""

    def __init__(self, passes: _Passes, idle: float) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.idle = idle
        self._jumping.passes = passes
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.offset


def run(
    backend: str, function: Callable[..., Awaitable[T]], *arguments: Any, seed: int = 0, idle: float = LOOPBACK
) -> T:
    """Run a coroutine function on a backend; on asyncio and trio the clock jumps, on uvloop it cannot.

    Args:
        backend: one of `BACKENDS`.
        function: the function, called with the arguments.
        arguments: its positional arguments.
        seed: decides the order in which trio runs its tasks.
        idle: for how many real seconds nothing must happen before the clock jumps; 0 where no socket takes part, so
            that nothing is ever on its way.

    Raises:
        TimeoutError: it was busy for ever.
    """
    passes = _Passes()

    async def bounded() -> T:
        with anyio.CancelScope() as passes.scope:
            return await function(*arguments)
        raise TimeoutError(f"busy for {_MOST_PASSES} passes of the event loop")

    options: dict[str, Any]
    if backend == "trio":
        _seed_trio(seed)
        options = {"clock": MockClock(autojump_threshold=idle), "instruments": [passes]}
        return anyio.run(bounded, backend="trio", backend_options=options)
    options = {"use_uvloop": True} if backend == "uvloop" else {"loop_factory": lambda: _JumpingLoop(passes, idle)}
    return anyio.run(bounded, backend="asyncio", backend_options=options)


def _seed_trio(seed: int) -> None:
    """Let trio's order of tasks come from a seed; it has no public way, and Hypothesis uses this one."""
    scheduler: Any = importlib.import_module("trio._core._run")
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r = random.Random(seed)
