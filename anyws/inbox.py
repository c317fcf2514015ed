"""Received messages that nobody has taken yet, within a bound of memory."""

from __future__ import annotations

from collections import deque
from sys import getsizeof

__all__ = ["Inbox"]


class Inbox(deque[str | bytes]):
    """A queue of messages that knows how much memory it fills: `put` and `take` only.

    Attributes:
        limit: the memory that it may fill before no more should be read, in bytes.
        size: the memory that the messages fill, in bytes: also many empty messages fill some.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit: int = limit
        self.size: int = 0

    def put(self, message: str | bytes) -> None:
        """Add a message, also beyond the limit: what has been read is never lost."""
        self.append(message)
        self.size += getsizeof(message)

    def take(self) -> str | bytes:
        """Remove and return the oldest message."""
        message = self.popleft()
        self.size -= getsizeof(message)
        return message

    def clear(self) -> None:
        """Forget all messages."""
        super().clear()
        self.size = 0
