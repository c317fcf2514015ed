"""The topics of an engine in memory, with their histories: `Store`."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from .engine import Position
from .history import History

__all__ = ["Store", "Subscriber"]


class Subscriber(Protocol):
    """Gets what is published to topics."""

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Accept a message."""


class _Topic:
    """A topic: its messages with the time at which each was published, and those who follow it."""

    __slots__ = ("epoch", "kept", "offset", "past", "subscribers", "used")

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.offset = 0
        self.past: dict[str, int] = {}  # former epochs, each with the offset at which it ended
        self.used = 0.0  # when somebody was last told a position
        self.kept: deque[tuple[float, bytes]] = deque()
        self.subscribers: dict[Subscriber, None] = {}

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)


class Store:
    """Numbers and keeps the messages of topics. It does no I/O.

    Topics that nobody follows are forgotten when their history has expired, so memory does not grow with the number of
    names that were ever used.

    Args:
        history: what is kept; None for nothing.
        now: the clock, in seconds.
    """

    def __init__(self, history: History | None, now: Callable[[], float]) -> None:
        self._history = history
        self._now = now
        self._topics: dict[str, _Topic] = {}

    def __len__(self) -> int:
        """The number of topics that are known."""
        return len(self._topics)

    def publish(self, topic: str, payload: bytes) -> Position:
        """Number a message, keep it, and pass it to those who follow."""
        found = self._find(topic)
        found.offset += 1
        if self._history is not None:
            found.kept.append((self._now(), payload))
            self._trim(found)
        position = found.position
        for subscriber in tuple(found.subscribers):
            subscriber.arrived(topic, position, payload)
        self._forget_unused(topic, found)
        return position

    def follow(self, topic: str, subscriber: Subscriber) -> Position:
        """Let a subscriber follow a topic, and return where that stands."""
        found = self._find(topic)
        found.subscribers[subscriber] = None
        found.used = self._now()
        return found.position

    def unfollow(self, topic: str, subscriber: Subscriber) -> None:
        """End that."""
        found = self._topics.get(topic)
        if found is not None:
            found.subscribers.pop(subscriber, None)
            found.used = self._now()
            self._forget_unused(topic, found)

    def leave(self, subscriber: Subscriber) -> None:
        """End that for all topics."""
        for topic in tuple(self._topics):
            self.unfollow(topic, subscriber)

    def read(self, topic: str, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return what was published after a position; see `Engine.read`."""
        found = self._topics.get(topic)
        if found is None or after.offset > {**found.past, found.epoch: found.offset}.get(after.epoch, -1):
            return None
        self._trim(found)
        missed = found.offset - after.offset
        if missed > len(found.kept):
            return None
        begin = len(found.kept) - missed
        kept = [found.kept[index][1] for index in range(begin, min(begin + limit, len(found.kept)))]
        return [(Position(found.epoch, offset), payload) for offset, payload in enumerate(kept, start=after.offset + 1)]

    def expire(self) -> None:
        """Forget what is too old."""
        for topic, found in [*self._topics.items()]:
            self._trim(found)
            self._forget_unused(topic, found)

    def forget_everything(self) -> None:
        """Begin a new life of each topic, as after a restart without data. Nobody is told."""
        for found in self._topics.values():
            found.epoch = secrets.token_hex(8)
            found.offset = 0
            found.kept.clear()
            found.past.clear()

    def recover(self, lost: int) -> None:
        """Begin another epoch of each topic, as after a restart with data that lacks the latest messages."""
        for found in self._topics.values():
            end = max(0, found.offset - lost)
            found.past = {epoch: min(offset, end) for epoch, offset in found.past.items()} | {found.epoch: end}
            for _ in range(min(found.offset - end, len(found.kept))):
                found.kept.pop()
            found.epoch = secrets.token_hex(8)
            found.offset = end

    def _find(self, topic: str) -> _Topic:
        found = self._topics.get(topic)
        if found is None:
            found = self._topics[topic] = _Topic()
        return found

    def _trim(self, topic: _Topic) -> None:
        if self._history is not None:
            oldest = self._now() - self._history.seconds
            kept = topic.kept
            while kept and (len(kept) > self._history.messages or kept[0][0] <= oldest):
                kept.popleft()

    def _forget_unused(self, topic: str, found: _Topic) -> None:
        # A topic without messages is kept as long, so that those who were told its position can come back with it.
        is_recent = self._history is not None and found.used > self._now() - self._history.seconds
        if not found.subscribers and not found.kept and not is_recent:
            self._topics.pop(topic, None)
