"""Received messages that nobody has taken yet, within a bound of memory."""

from __future__ import annotations

import sys
from collections import deque

__all__ = ["Inbox"]


class Inbox:
    """A queue of messages that knows how much memory it fills.

    Args:
        limit: the memory that it may fill before no more should be read, in bytes.
    """

    __slots__ = ("_messages", "_size", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._messages: deque[str | bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """The memory that the messages fill, in bytes: also many empty messages fill some."""
        return self._size

    def put(self, message: str | bytes) -> None:
        """Add a message, also beyond the limit: what has been read is never lost."""
        self._messages.append(message)
        self._size += sys.getsizeof(message)

    def take(self) -> str | bytes:
        """Remove and return the oldest message."""
        message = self._messages.popleft()
        self._size -= sys.getsizeof(message)
        return message

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._size = 0
