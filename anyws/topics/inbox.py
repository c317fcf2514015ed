"""The buffer of a subscription: `Inbox`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Literal

import anyio
from anyio.lowlevel import checkpoint

from anyws._connection.wakeup import Wakeup
from anyws.exceptions import MessagesMissed

from .catch_up import CatchUp
from .engine import Position
from .followers import Reader
from .published import Message, Published

__all__ = ["Inbox"]

_MESSAGE_SIZE = 128  # what each message counts beside its payload, so that empty ones count as well
_logger = logging.getLogger("anyws.topics")


class Inbox(Reader):
    """Keeps published messages until they are received.

    Args:
        buffer: how many bytes of messages may wait.
        slow: what to do about more; see `Topics.subscribe`.
        stopped: called when nothing more will come.

    Attributes:
        dropped: how many messages were dropped because the buffer was full.
    """

    def __init__(
        self, buffer: int, slow: Literal["disconnect", "drop", "latest"], stopped: Callable[[Reader], None]
    ) -> None:
        self.dropped: int = 0
        self._buffer = buffer
        self._slow = slow
        self._stopped = stopped
        self._queue: deque[Message] = deque()
        self._size = 0
        self._waiting: dict[str, Message] = {}  # with "latest": the newest message of each topic
        self._catching_up: deque[CatchUp] = deque()
        self._failure: Exception | None = None
        self._is_active = True
        self._wakeup = Wakeup()
        self._guard = anyio.ResourceGuard("receiving from")

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def receive(self) -> Published:
        """Wait for the next message; see `Subscription.receive`."""
        with self._guard:
            await checkpoint()
            while True:
                if self._queue:
                    return self._take_first().published
                if self._failure is not None:
                    raise self._failure
                if self._catching_up:
                    await self._read_on(self._catching_up[0])
                else:
                    await self._wakeup.wait()

    def close(self) -> None:
        """Receive nothing more."""
        self.end("it was closed")
        self._queue.clear()

    def _take_first(self) -> Message:
        message = self._queue.popleft()
        self._size -= _size_of(message)
        while self._waiting and self._has_room(next(iter(self._waiting.values()))):
            self._put(self._waiting.pop(next(iter(self._waiting))))
        return message

    # -- catching up ---------------------------------------------------------------------------------------------------

    def join(self, catch_up: CatchUp) -> None:
        """Have what a topic has published since a position, and then what it publishes from now on."""
        self._catching_up.append(catch_up)

    async def _read_on(self, catch_up: CatchUp) -> None:
        """Add a part of the history, or join the topic."""
        messages = await catch_up.read()
        if not self._is_active:
            return
        if messages is None:
            self.missed(catch_up.feed.topic, catch_up.at, catch_up.feed.last)
        elif not messages:
            self._catching_up.popleft()
            catch_up.feed.join(self, catch_up.at)
        for message in messages or ():
            if not self._put_if_valid(message, has_room=self._has_room(message)):
                break
            catch_up.at = message.position

    # -- what topics call ----------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """Accept a message, or do what ``slow`` says."""
        if not self._is_active:
            return
        if message.topic not in self._waiting and self._put_if_valid(message, has_room=self._has_room(message)):
            return
        if self._slow == "disconnect":
            epoch, offset = message.position
            why = f"more than {self._buffer} bytes were waiting to be received"
            self._fail(message.topic, Position(epoch, offset - 1), message.position, why)
        elif self._slow == "drop":
            self.dropped += 1
        else:
            self.dropped += message.topic in self._waiting
            self._waiting[message.topic] = message

    def missed(self, topic: str, last: Position, new: Position | None) -> None:
        """Note that messages are missing."""
        self._fail(topic, last, new, "the engine does not have them")

    def refuse(self, topic: str) -> None:
        """Note that ``since`` is malformed."""
        self._fail(topic, None, None, "since is not a position")

    def end(self, why: str) -> None:
        """Note that nothing more will come."""
        self._stop(anyio.ClosedResourceError(f"the subscription cannot be used: {why}"))

    def _fail(self, topic: str, last: Position | None, new: Position | None, why: str) -> None:
        shown = [None if position is None else str(position) for position in (last, new)]
        self._stop(MessagesMissed(topic, last=shown[0], new=shown[1], why=why))

    def _stop(self, failure: Exception) -> None:
        if self._is_active:
            self._is_active = False
            self._failure = failure
            self._catching_up.clear()
            self._wakeup.set()
            self._stopped(self)

    # -- the buffer ----------------------------------------------------------------------------------------------------

    def _has_room(self, message: Message) -> bool:
        return not self._queue or self._size + _size_of(message) <= self._buffer

    def _put_if_valid(self, message: Message, *, has_room: bool) -> bool:
        if not has_room:
            return False
        try:
            _ = message.published
        except ValueError:
            _logger.exception("a message of topic %r is ignored", message.topic)
        else:
            self._put(message)
        return True

    def _put(self, message: Message) -> None:
        self._queue.append(message)
        self._size += _size_of(message)
        self._wakeup.set()


def _size_of(message: Message) -> int:
    return len(message.payload) + _MESSAGE_SIZE
