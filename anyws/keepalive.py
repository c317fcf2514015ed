"""Is the peer alive? Any byte that comes says so; a silent one is asked by a Ping, and given up without an answer."""

from __future__ import annotations

import enum
import math

__all__ = ["Keepalive", "Verdict"]


class Verdict(enum.Enum):
    """What to do about the peer."""

    WAIT = enum.auto()
    PING = enum.auto()
    PONG = enum.auto()
    GIVE_UP = enum.auto()


class Keepalive:
    """The clock of a peer's silence, without I/O. Times are in seconds of the event loop's clock.

    Args:
        interval: how long the peer may be silent before it gets a Ping; None: for ever.
        timeout: how long it may stay silent after that; None: for ever.
        now: the time.
    """

    __slots__ = ("_asked", "_interval", "_timeout", "heard")

    def __init__(self, interval: float | None, timeout: float | None, now: float) -> None:
        self._interval = math.inf if interval is None else interval
        self._timeout = timeout
        self._asked: tuple[float, float] | None = None  # what `heard` was at the Ping, and when that was
        self.heard: float = now
        """When the last byte came; whoever gets one sets it."""

    @property
    def deadline(self) -> float:
        """When to call `check` next."""
        if self._asked is None:
            return self.heard + self._interval
        assert self._timeout is not None
        return self._asked[1] + self._timeout

    def check(self, now: float, *, deaf: bool) -> Verdict:
        """Say what to do now.

        Args:
            now: the time.
            deaf: whether nothing is read at present. The peer's sign of life may be among it; and its Pings are not
                answered, so a Pong that it did not ask for tells it that we live (RFC 6455, 5.5.3).
        """
        if deaf:
            if now < self.deadline:
                return Verdict.WAIT
            self._asked = None
            self.heard = now
            return Verdict.PONG
        if self._asked is not None and self.heard > self._asked[0]:
            self._asked = None
        if now < self.deadline:
            return Verdict.WAIT
        if self._asked is not None:
            return Verdict.GIVE_UP
        if self._timeout is None:
            self.heard = now
        else:
            self._asked = (self.heard, now)
        return Verdict.PING
