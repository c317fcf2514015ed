"""Limits the number of simultaneous opening handshakes per address; RFC 6455, section 4.1, allows only one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

import anyio
from anyio.lowlevel import RunVar

__all__ = ["Turn"]


class Turn(AbstractContextManager["Turn"]):
    """Permission to be CONNECTING to some addresses until the end of the block: ``with Turn(1, scope) as turn``.

    Args:
        limit: the maximum number of connections to one address in the state CONNECTING; None for no limit.
        scope: a cancel scope whose deadline is suspended while `wait` is waiting.
    """

    def __init__(self, limit: int | None, scope: anyio.CancelScope) -> None:
        self._limit = limit
        self._scope = scope
        self._taken: list[_Queue] = []

    async def wait(self, addresses: Iterable[Any]) -> None:
        """Wait until a connection to each of these addresses is allowed; first come, first served.

        A cancelled task loses its place in the queue.
        """
        if self._limit is None:
            return
        # Every task waits for addresses in the same order to avoid deadlocks.
        left = deque(sorted(set(addresses), key=repr))
        while left and (queue := _queue(left[0])).enter_nowait(self._limit):
            self._taken.append(queue)
            left.popleft()
        if left:
            with _stopped_clock(self._scope):
                for address in left:
                    queue = _queue(address)
                    await queue.enter(self._limit)
                    self._taken.append(queue)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._taken:
            self._taken.pop().leave()


class _Queue:
    """The connections in the state CONNECTING to one address, and the tasks waiting to connect to it."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._connecting = 0
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    def enter_nowait(self, limit: int) -> bool:
        """Enter if this is possible without waiting; return whether it was."""
        if self._waiting or self._connecting >= limit:
            return False
        self._connecting += 1
        return True

    async def enter(self, limit: int) -> None:
        called = anyio.Event()
        place = (limit, called)
        self._waiting.append(place)
        self._call()
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._connecting -= 1
            else:
                self._waiting.remove(place)
            self._call()
            raise

    def leave(self) -> None:
        self._connecting -= 1
        self._call()

    def _call(self) -> None:
        while self._waiting and self._connecting < self._waiting[0][0]:
            self._connecting += 1
            self._waiting.popleft()[1].set()
        if not self._connecting and not self._waiting:
            del _queues()[self._address]


_run_queues: RunVar[dict[Any, _Queue]] = RunVar("anyws_connecting")


def _queues() -> dict[Any, _Queue]:
    """Return the queues of this event loop by address."""
    try:
        return _run_queues.get()
    except LookupError:
        queues: dict[Any, _Queue] = {}
        _run_queues.set(queues)
        return queues


def _queue(address: Any) -> _Queue:
    return _queues().setdefault(address, _Queue(address))


@contextmanager
def _stopped_clock(scope: anyio.CancelScope) -> Generator[None, None, None]:
    left = scope.deadline - anyio.current_time()
    scope.deadline = float("inf")
    try:
        yield
    finally:
        scope.deadline = anyio.current_time() + left
