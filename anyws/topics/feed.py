"""What this process knows of one topic: `Feed`.

How this works: a feed is live, or it holds messages back. While it is live, each message that arrives is the one after
the last, and goes to the followers. Anything else begins a repair, see `repairs.py`: the feed holds back what arrives
until its history has filled the hole, or until the followers have been told that messages are missing. So the followers
see a sequence without holes, or they know of the hole.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import anyio

from anyws.exceptions import EngineUnavailable

from .engine import Position
from .followers import FollowerGroup, FrameFollower, Reader
from .published import Encode, Message

__all__ = ["Feed", "Standing", "comes_next"]

_HELD_SIZE = 262_144
"""How many bytes of messages a feed holds back. It forgets them if there are more: the history has them as well."""


class Standing(NamedTuple):
    """What an engine says of a topic: nothing up to a position will arrive any more.

    Attributes:
        position: the position.
        before: where the feed was when the engine was asked; None if it had not begun.
    """

    position: Position
    before: Position | None


class Feed:
    """The state of one topic in this process.

    Args:
        topic: its name.

    Attributes:
        last: the position of the last message that was passed on; None until the engine has said where the topic
            stands.
        users: how many followers are here or about to join. Without any, the topic is not followed any more.
        opened: set once ``last`` is known, or the engine could not follow the topic.
        failure: why it could not.
        is_live: whether messages are passed on as they arrive; otherwise they are held back.
        is_being_repaired: whether a task is at work on that.
        groups: the followers that are sent frames, by how these are made.
        readers: the followers that take messages.
    """

    __slots__ = (
        "_ahead",
        "_held",
        "_held_before",
        "_held_size",
        "_target",
        "failure",
        "groups",
        "is_being_repaired",
        "is_live",
        "last",
        "opened",
        "readers",
        "topic",
        "users",
    )

    def __init__(self, topic: str) -> None:
        self.topic: str = topic
        self.last: Position | None = None
        self.users: int = 0
        self.opened: anyio.Event | None = anyio.Event()
        self.failure: EngineUnavailable | None = None
        self.is_live: bool = False
        self.is_being_repaired: bool = False
        self.groups: dict[Encode | None, FollowerGroup[FrameFollower]] = {}
        self.readers: FollowerGroup[Reader] = FollowerGroup()
        self._held: deque[Message] = deque()
        self._held_size = 0
        self._held_before = 0  # how many of those were here when the read in progress began
        self._target: Position | None = None  # what a repair has to reach at least
        self._ahead: dict[FrameFollower | Reader, Position] = {}  # followers that have had more than was passed on here

    # -- followers -----------------------------------------------------------------------------------------------------

    def join(self, follower: FrameFollower | Reader, at: Position | None = None) -> None:
        """Let a follower have what follows a position.

        Args:
            follower: the follower.
            at: the position, which must not be before ``last``; None for ``last``.
        """
        if at is not None and at != self.last:
            self._ahead[follower] = at
        elif isinstance(follower, Reader):
            self.readers.add(follower)
        else:
            self.groups.setdefault(follower.encode, FollowerGroup()).add(follower)

    def leave(self, follower: FrameFollower | Reader) -> None:
        """Let a follower have nothing more, whether it has joined or not."""
        self._ahead.pop(follower, None)
        if isinstance(follower, Reader):
            self.readers.discard(follower)
        elif (group := self.groups.get(follower.encode)) is not None:
            group.discard(follower)
            if not group:
                del self.groups[follower.encode]  # the function may be that of a single connection

    # -- messages ------------------------------------------------------------------------------------------------------

    def accept(self, message: Message) -> bool:
        """Decide on a message that has arrived; return whether it is to be passed on now."""
        if not self.is_live:
            self._hold(message)
            return False
        assert self.last is not None
        if comes_next(message.position, self.last):
            return True
        if message.position.epoch != self.last.epoch or message.position.offset > self.last.offset:
            self.is_live = False
            self._hold(message)
        return False

    def stand(self, standing: Standing) -> None:
        """Compare with what the engine says."""
        position, before = standing
        if self.last is None:
            self.last = position
            self.is_live = not self._held
            self.open()
        elif not self.is_live or before is None or before.epoch != self.last.epoch:
            pass  # a repair is at work, or the engine was asked before the topic began a new life
        elif position.epoch == before.epoch and position.offset < before.offset:
            self.skip_to(position)  # the engine has lost its latest messages; their numbers come a second time
        elif position.epoch != self.last.epoch or position.offset > self.last.offset:
            self.is_live = False
            self._target = position

    def open(self, failure: EngineUnavailable | None = None) -> None:
        """Let those who wait for the topic begin, or fail."""
        self.failure = failure
        if self.opened is not None:
            self.opened.set()
            self.opened = None

    def pass_on(self, message: Message) -> None:
        """Note that a message is being passed on to those who follow now."""
        last, self.last = self.last, message.position
        if self._ahead:
            is_new = last is not None and last.epoch != self.last.epoch
            for follower, at in [*self._ahead.items()]:
                if at == self.last:
                    del self._ahead[follower]
                    self.join(follower)
                elif is_new:
                    self._end_ahead(follower, at)

    def _end_ahead(self, follower: FrameFollower | Reader, at: Position) -> None:
        """Let a follower that is ahead join, unless it is ahead of ``last`` in the same epoch."""
        assert self.last is not None
        if at.epoch == self.last.epoch and at.offset > self.last.offset:
            return
        del self._ahead[follower]
        self.join(follower)
        if at != self.last:  # if it is in another epoch, nobody knows whether something is missing
            follower.missed(self.topic, at, self.last)

    # -- repair --------------------------------------------------------------------------------------------------------

    def _hold(self, message: Message) -> None:
        self._held.append(message)
        self._held_size += len(message.payload)
        self._target = message.position
        if self._held_size > _HELD_SIZE:
            self._held.clear()
            self._held_size = self._held_before = 0

    def next_held(self) -> Message | None:
        """Remove and return the held message that comes next, if it is here."""
        assert self.last is not None
        while self._held:
            position = self._held[0].position
            if position.epoch == self.last.epoch and position.offset <= self.last.offset:
                self._remove_held()  # a duplicate
            else:
                return self._remove_held() if comes_next(position, self.last) else None
        return None

    def _remove_held(self) -> Message:
        message = self._held.popleft()
        self._held_size -= len(message.payload)
        self._held_before = max(0, self._held_before - 1)
        return message

    @property
    def is_whole(self) -> bool:
        """Whether everything known to exist was passed on, once `next_held` has returned None."""
        if self._held:
            return False
        target, last = self._target, self.last
        return target is None or last is None or (target.epoch == last.epoch and target.offset <= last.offset)

    def begin_read(self) -> None:
        """Note that the history after ``last`` is being read."""
        self._held_before = len(self._held)

    def end_read(self, epoch: str) -> None:
        """Forget what was held back when the read began, if it is of another epoch than the history.

        The history has it as well, unless the engine has lost it since.
        """
        before = [self._held.popleft() for _ in range(self._held_before)]
        kept = [message for message in before if message.position.epoch == epoch]
        self._held.extendleft(reversed(kept))
        self._held_before = len(kept)
        if len(kept) < len(before):
            self._held_size = sum(len(message.payload) for message in self._held)
            self._target = self._held[-1].position if self._held else None

    def stay(self) -> None:
        """Go on although the history has nothing after ``last``."""
        assert self.last is not None
        target = self._target
        if self._held_before:
            self.skip_hole()
        elif self._held or target is None:
            pass  # what is held back arrived after the read had begun, so the next read finds it
        elif target.epoch == self.last.epoch:
            self.skip_hole()
        elif target.offset == self.last.offset:
            self._go_on_at(target)
        else:
            self._target = None  # the topic has begun yet another epoch, which the next check shows

    def go_live(self) -> None:
        """End a repair."""
        self.is_live = True
        self._target = None

    def skip_hole(self) -> None:
        """Tell the followers that messages are missing, and go on after them."""
        if self._held:
            epoch, offset = self._held[0].position
            self.skip_to(Position(epoch, offset - 1))
        elif self._target is not None:
            self.skip_to(self._target)

    def skip_to(self, new: Position) -> None:
        """Tell the followers that all after ``last`` and up to a position is missing, and go on there."""
        assert self.last is not None
        last, self.last = self.last, new
        joined: list[FrameFollower | Reader] = [*self.readers]
        for group in self.groups.values():
            joined += group
        for follower in joined:
            follower.missed(self.topic, last, new)
        for follower, at in [*self._ahead.items()]:
            self._end_ahead(follower, at)

    def _go_on_at(self, new: Position) -> None:
        """Go on in another epoch, without a hole."""
        self.last = new
        for follower, at in [*self._ahead.items()]:
            self._end_ahead(follower, at)


def comes_next(position: Position, last: Position) -> bool:
    """Return whether a position is the one after another."""
    return position.offset == last.offset + 1 and position.epoch == last.epoch
