"""Those who get what is published: the base classes, and groups of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from anyws._connection.sending import PreparedMessage

from .engine import Position
from .published import Encode, Message

__all__ = ["Follower", "FollowerGroup", "FrameFollower", "Reader"]


class Follower(ABC):
    """Follows topics, and is told of each hole in one of them."""

    __slots__ = ()

    @abstractmethod
    def missed(self, topic: str, last: Position, new: Position) -> None:
        """Note that the messages of a topic after one position and up to another are missing. May leave the topic."""

    @abstractmethod
    def end(self, why: str) -> None:
        """Note that nothing more will come, although the block has not ended, and let the user know."""


class FrameFollower(Follower):
    """Is sent each message as a frame, which is made once for all that have the same function.

    Attributes:
        encode: the function that decides what is sent; None to send a message as it is.
        send: sends a frame if that is possible at once; returns whether nothing more is to be done.
    """

    __slots__ = ()

    encode: Encode | None
    send: Callable[[bytes], bool]

    @abstractmethod
    def send_later(self, topic: str, prepared: PreparedMessage) -> None:
        """Do what is to be done with a message that ``send`` did not send."""

    @abstractmethod
    def fail(self, why: str) -> None:
        """Close the connection, because a message cannot be sent."""


class Reader(Follower):
    """Takes each message."""

    __slots__ = ()

    @abstractmethod
    def take(self, message: Message) -> None:
        """Accept a message. Never raises."""


_Member = TypeVar("_Member", bound=Follower)


class FollowerGroup(dict[_Member, None]):
    """The followers that get a message in the same form, in the order in which they joined."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        super().__init__()
        self._members: tuple[_Member, ...] | None = None

    def add(self, follower: _Member) -> None:
        """Add a follower; it gets the next message."""
        self[follower] = None
        self._members = None

    def discard(self, follower: _Member) -> None:
        """Remove a follower, if it is here."""
        self.pop(follower, None)
        self._members = None

    @property
    def members(self) -> tuple[_Member, ...]:
        """All of them; does not change later. It is kept for speed: most messages have the same receivers."""
        if self._members is None:
            self._members = tuple(self)
        return self._members
