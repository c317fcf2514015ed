"""The queue between an engine and those who follow: `Arrivals`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import anyio
from anyio.lowlevel import checkpoint

from anyws._connection.wakeup import Wakeup

from .engine import Position
from .feed import Feed, Standing
from .published import Message

__all__ = ["Arrivals"]

_SIZE = 1_048_576  # bytes in the queue, above which the engine waits
_MESSAGE_SIZE = 128  # what each message counts beside its payload, so that empty ones count as well


class Arrivals:
    """The `EngineListener` of topics: what has arrived, in the order in which it arrived.

    Args:
        feeds: the topics that are followed, by name.
        on_status: called with the reason when messages may be lost from now on, and with None when they arrive again.
    """

    def __init__(self, feeds: Mapping[str, Feed], on_status: Callable[[BaseException | None], None]) -> None:
        self._feeds = feeds
        self._on_status = on_status
        self._queue: deque[tuple[Feed, Message | Standing]] = deque()
        self._size = 0
        self._drained: anyio.Event | None = None
        self._due: deque[Callable[[], None]] = deque()
        self._wakeup = Wakeup()

    # -- for the engine ------------------------------------------------------------------------------------------------

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Queue a message, unless nobody follows the topic any more."""
        feed = self._feeds.get(topic)
        if feed is not None:
            self._queue.append((feed, Message(topic, position, payload)))
            self._size += len(payload) + _MESSAGE_SIZE
            self._wakeup.set()

    async def drain(self) -> None:
        """Wait while there is more in the queue than is good."""
        await checkpoint()
        while self._size > _SIZE:
            self._drained = self._drained or anyio.Event()
            await self._drained.wait()

    def interrupted(self, reason: BaseException) -> None:
        """Note that messages may be lost from now on."""
        self._on_status(reason)

    def restored(self) -> None:
        """Note that messages arrive again."""
        self._on_status(None)

    # -- for topics ----------------------------------------------------------------------------------------------------

    def stand(self, feed: Feed, standing: Standing) -> None:
        """Queue what the engine says of a topic: after what has arrived before."""
        self._queue.append((feed, standing))
        self._wakeup.set()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Let the task that takes from the queue call a function."""
        self._due.append(callback)
        self._wakeup.set()

    async def wait(self) -> None:
        """Wait until there is something to take or to call. For one task at a time."""
        await self._wakeup.wait()

    def call_due(self) -> None:
        """Call the functions of `call_soon`."""
        for _ in range(len(self._due)):
            self._due.popleft()()

    def take(self) -> tuple[Feed, Message | Standing] | None:
        """Remove and return what comes next; None if there is nothing."""
        if not self._queue:
            return None
        feed, item = self._queue.popleft()
        if type(item) is Message:
            self._size -= len(item.payload) + _MESSAGE_SIZE
            if self._drained is not None and self._size <= _SIZE:
                self._drained.set()
                self._drained = None
        return feed, item
