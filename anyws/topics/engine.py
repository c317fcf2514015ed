"""What carries the messages of topics: the `Engine` protocol, and the `Position` of a message in its topic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskStatus

__all__ = ["Engine", "EngineListener", "Position"]

# Clients send positions back, so both parts are bounded: an epoch of visible ASCII, and an offset that fits 64 bits.
_POSITION = re.compile(r"([!-~]{1,64})\.([0-9]{1,19})")


class Position(NamedTuple):
    """Where a message stands in its topic. ``str(position)`` is ``"epoch.offset"``.

    Attributes:
        epoch: names the life of the topic's data: 1 to 64 visible ASCII characters. An engine that loses the data of a
            topic chooses another epoch, which no topic has had before.
        offset: the number of the message in that life: 1 for the first, without holes. 0 is before the first message.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Parse what ``str(position)`` returned.

        Raises:
            ValueError: the text is not a position.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            raise ValueError(f"{shown!r} is not a position: expected 'epoch.offset', as Published.position has it")
        return cls(found[1], int(found[2]))


class EngineListener(Protocol):
    """What an `Engine` reports to. The methods never raise."""

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Accept a message of a topic. Messages that arrive twice are ignored; missing ones are noticed."""

    async def drain(self) -> None:
        """Wait while more messages are waiting to be delivered than is good.

        An engine awaits this between two reads, so that its memory stays bounded: then the transport holds the messages
        back.
        """

    def interrupted(self, reason: BaseException) -> None:
        """Note that messages may be lost from now on, for example because the connection is lost."""

    def restored(self) -> None:
        """Note that messages arrive again. `Engine.follow` is then called for all topics, which reveals what is lost.

        It must be possible to call `Engine.follow` and `Engine.publish` from now on.
        """


class Engine(Protocol):
    """Carries the messages of topics from those who publish to those who follow. Its payloads are opaque bytes.

    An engine numbers the messages of each topic, see `anyws.topics.Position`. Everything else is built on that: a
    missing number is a message that was lost.
    """

    async def run(self, listener: EngineListener, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. The other methods are called between ``started()`` and then.

        An engine whose connection is lost reports `anyws.topics.EngineListener.interrupted`, reconnects for as long as
        it takes, with a backoff of at most 2 s, and reports `anyws.topics.EngineListener.restored`.

        Args:
            listener: what to report to.
            task_status: call ``started()`` once connected.

        Raises:
            EngineUnavailable: the engine could not connect at the start. Never after ``started()``.
        """

    async def publish(self, topic: str, payload: bytes) -> Position:
        """Publish a message, and return its position once it is accepted.

        Never queues a message, and never sends it again once it may have been sent.

        Raises:
            EngineUnavailable: the message was not accepted, or nobody knows.
        """
        ...

    async def follow(self, topics: Sequence[str]) -> Sequence[Position]:
        """Subscribe to topics, unless subscribed already, and return where each of them stands.

        When it returns, each message up to the returned position was either passed to
        `anyws.topics.EngineListener.arrived` or never will be. So a returned position after the last message that
        arrived means that messages are lost: this is also called as a periodic check.

        Raises:
            EngineUnavailable: the engine is not connected.
        """
        ...

    async def unfollow(self, topics: Sequence[str]) -> None:
        """Unsubscribe from topics.

        Raises:
            EngineUnavailable: the engine is not connected. It must not subscribe to these topics again.
        """

    async def read(self, topic: str, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return the messages after a position, in order and without holes.

        Args:
            topic: the topic.
            after: where to begin. Do not trust it: a client has sent it.
            limit: the maximum number of messages.

        Returns:
            The messages, which are none if the position is that of the last message. Or None if some are missing,
            because they are no longer kept, or because the position is after the last message, or of another epoch. An
            engine that knows where a former epoch ended may return messages for a position of that epoch, if that is
            not after the end: they have positions of the present epoch, with the numbers that come next.

        Raises:
            EngineUnavailable: the engine is not connected.
        """
        ...
