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
        self._entered: list[_Queue] = []

    async def wait(self, addresses: Iterable[Any]) -> None:
        """Wait until a connection to each of these addresses is allowed; first come, first served.

        A cancelled task loses its place in the queue.
        """
        if self._limit is None:
            return
        # Every task waits for addresses in the same order to avoid deadlocks.
        remaining = deque(sorted(set(addresses), key=repr))
        while remaining and (queue := _queue(remaining[0])).enter_nowait(self._limit):
            self._entered.append(queue)
            remaining.popleft()
        if remaining:
            with _suspended_deadline(self._scope):
                for address in remaining:
                    queue = _queue(address)
                    await queue.enter(self._limit)
                    self._entered.append(queue)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._entered:
            self._entered.pop().leave()


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
        admitted = anyio.Event()
        place = (limit, admitted)
        self._waiting.append(place)
        self._admit()
        try:
            await admitted.wait()
        except BaseException:
            if admitted.is_set():
                self._connecting -= 1
            else:
                self._waiting.remove(place)
            self._admit()
            raise

    def leave(self) -> None:
        self._connecting -= 1
        self._admit()

    def _admit(self) -> None:
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
def _suspended_deadline(scope: anyio.CancelScope) -> Generator[None, None, None]:
    remaining = scope.deadline - anyio.current_time()
    scope.deadline = float("inf")
    try:
        yield
    finally:
        scope.deadline = anyio.current_time() + remaining
