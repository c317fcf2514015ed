"""The way of a follower from a position in the past to the present: `CatchUp`."""

from __future__ import annotations

from collections.abc import Sequence

from .engine import Position
from .feed import Feed
from .published import Message
from .reads import Reads

__all__ = ["CatchUp"]


class CatchUp:
    """Reads what a topic has published since a position.

    Args:
        feed: the topic.
        since: the position, which a client may have sent.
        reads: reads the history.

    Attributes:
        feed: the topic.
        at: the position up to which the follower has everything. Whoever passes a message on, sets it.
    """

    __slots__ = ("_has_read", "_reads", "_since", "at", "feed")

    def __init__(self, feed: Feed, since: Position, reads: Reads) -> None:
        self.feed: Feed = feed
        self.at: Position = since
        self._since = since
        self._reads = reads
        self._has_read = False

    @property
    def has_begun(self) -> bool:
        """Whether messages were passed on."""
        return self.at is not self._since

    async def read(self) -> Sequence[Message] | None:
        """Return the messages that come next.

        Returns:
            The messages. Empty if there are none: if the follower joins the feed at once, it misses nothing. None if
            some are missing.

        Raises:
            EngineUnavailable: the engine is not connected, or did not respond in time.
        """
        while (last := self.feed.last) != self.at:
            if self._has_read and last is not None and last.epoch == self.at.epoch and last.offset <= self.at.offset:
                break  # our position has not arrived here yet; only the engine knew whether it exists
            messages = await self._reads.read(self.feed.topic, self.at)
            self._has_read = True
            if messages or messages is None:
                return messages
            if self.feed.last != last:
                continue
            if last is None or last.epoch == self.at.epoch:
                return () if last is None or last.offset <= self.at.offset else None
            if last.offset == self.at.offset:
                self.at = last  # the same place in two epochs
            break  # otherwise, the other epoch has not arrived here yet
        return ()
