"""What carries messages between processes: the interface of engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskStatus

__all__ = ["Engine", "EngineListener", "Position"]


class Position(NamedTuple):
    """Where a message stands in its topic.

    Attributes:
        epoch: which series of offsets this is; another one begins when an engine loses its data.
        offset: the number of the message, from 1, without gaps.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that `str` has turned into this text.

        Raises:
            ValueError: the text is not a position.
        """
        epoch, _, offset = text.rpartition(".")
        if not epoch or not (offset.isascii() and offset.isdigit()):
            raise ValueError(f"{text!r} is not a position; expected 'epoch.offset', as publish() returns it")
        return cls(epoch, int(offset))


class EngineListener(Protocol):
    """What an engine tells about the topics that it follows. The methods never raise."""

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Take a message."""

    async def drain(self) -> None:
        """Wait while more messages are queued than is good."""

    def interrupted(self, reason: BaseException) -> None:
        """Learn that messages may be lost from now on."""

    def restored(self) -> None:
        """Learn that the engine is connected again. All topics have to be followed anew."""


class Engine(Protocol):
    """What carries messages between processes."""

    async def run(self, listener: EngineListener, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled, and reconnect when a connection is lost."""

    async def publish(self, topic: str, payload: bytes) -> Position:
        """Publish a message, and return its position."""
        ...

    async def follow(self, topics: Sequence[str]) -> Sequence[Position]:
        """Subscribe to the topics, and return where each stands."""
        ...

    async def unfollow(self, topics: Sequence[str]) -> None:
        """Unsubscribe from the topics."""

    async def read(self, topic: str, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return the messages after a position, or None if they are not all there."""
        ...
