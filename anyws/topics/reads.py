"""Reads from the history of topics, shared by all that need the same: `Reads`."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from anyws.exceptions import EngineUnavailable

from .engine import Engine, Position
from .feed import comes_next
from .published import Message

__all__ = ["Reads"]

_LIMIT = 1000  # messages in one read
_AT_A_TIME = 16  # reads; many topics may need one after an interruption


class _Read:
    """A read in progress, and then its result."""

    __slots__ = ("done", "failure", "messages", "readers", "scope")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self.readers = 0
        self.messages: Sequence[Message] | None = None
        self.failure: Exception | None = None


class Reads:
    """Reads what topics keep. Of those who need the same at the same time, only the first asks the engine.

    Args:
        engine: the engine.
        timeout: how long a read may take, in seconds.
        tasks: runs the reads, so that a read goes on if the task that began it is cancelled.
    """

    def __init__(self, engine: Engine, timeout: float, tasks: TaskGroup) -> None:
        self._engine = engine
        self._timeout = timeout
        self._tasks = tasks
        self._limiter = anyio.CapacityLimiter(_AT_A_TIME)
        self._in_progress: dict[tuple[str, Position], _Read] = {}

    async def read(self, topic: str, after: Position) -> Sequence[Message] | None:
        """Return some of the messages after a position, in order and without holes; see `Engine.read`.

        Raises:
            EngineUnavailable: the engine is not connected, or did not respond in time.
        """
        key = topic, after
        read = self._in_progress.get(key)
        if read is None:
            read = self._in_progress[key] = _Read()
            self._tasks.start_soon(self._run, key, read, name="anyws.topics.read")
        read.readers += 1
        try:
            await read.done.wait()
        finally:
            read.readers -= 1
            if not read.readers:
                self._forget(key, read)
                read.scope.cancel()
        if read.failure is not None:
            raise EngineUnavailable(f"the history of topic {topic!r} cannot be read: {read.failure}") from read.failure
        return read.messages

    async def _run(self, key: tuple[str, Position], read: _Read) -> None:
        topic, after = key
        read.failure = TimeoutError(f"the engine did not respond within {self._timeout:g} s")
        try:
            with read.scope:
                async with self._limiter:
                    with anyio.move_on_after(self._timeout):
                        found = await self._engine.read(topic, after, _LIMIT)
                        read.messages = _checked(topic, after, found)
                        read.failure = None
        except Exception as exc:
            read.failure = exc
        finally:
            self._forget(key, read)
            read.done.set()

    def _forget(self, key: tuple[str, Position], read: _Read) -> None:
        if self._in_progress.get(key) is read:
            del self._in_progress[key]


def _checked(topic: str, after: Position, found: Sequence[tuple[Position, bytes]] | None) -> list[Message] | None:
    """Return the messages; None if there is a hole in them."""
    if found is None:
        return None
    if found:  # they may be of a later epoch, in which the position is still good
        after = Position(found[0][0].epoch, after.offset)
    messages: list[Message] = []
    for position, payload in found:
        if not comes_next(position, after):
            return None
        messages.append(Message(topic, position, payload))
        after = position
    return messages
