"""Decides whether the peer is alive. This module does no I/O and reads no clock.

How this works. Every byte that arrives is a sign of life. A peer that stays silent is sent a Ping, and has a limited
time to answer. Two cases need more care:

* Our Ping waits behind a long transfer over a slow line, so no Pong can come. Then each byte that the peer takes is a
  sign of life, as long as much waits without a pause. A pause ends that: the peer has the Ping now, and the kernel of a
  frozen program goes on to acknowledge small messages.
* We do not read, because the application does not receive: whatever the peer sends waits unread. Such a peer is not
  dropped, unless it does not take what we send either, and then after three times as long.

Before a peer is dropped, the verdict is LOOK once: a sign of life may wait unread, for example after the event loop was
busy for a long time.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

__all__ = ["CONTROL_FRAMES_SIZE", "Keepalive", "Output", "Verdict"]


class Output(NamedTuple):
    """How far our bytes have got.

    Attributes:
        taken: the number of bytes that the peer has taken, over the life of the connection.
        waiting: the number of bytes that it has yet to take.
    """

    taken: int
    waiting: int


CONTROL_FRAMES_SIZE = 128
"""The size of a Ping and a Close, with TLS around them, in bytes: so little that waits need not be a message."""

# A peer that we do not read from has this many times as long.
_DEAF_ROUNDS = 3
# How often to look, within `timeout`, whether the peer takes what waits for it.
_LOOKS = 16


class Verdict(enum.Enum):
    """What to do about the peer."""

    WAIT = enum.auto()
    PING = enum.auto()
    PONG = enum.auto()
    LOOK = enum.auto()
    DROP = enum.auto()


class Keepalive:
    """The clock of a peer's silence. Times are in seconds of the event loop's clock.

    Args:
        interval: how long the peer may be silent before it is sent a Ping; None: forever.
        timeout: how long it may stay silent after that; None: forever.
        now: the current time.
    """

    __slots__ = (
        "_asked_after",
        "_deaf_rounds",
        "_has_backlog",
        "_has_looked",
        "_interval",
        "_output",
        "_sampled_at",
        "_since",
        "_timeout",
        "heard",
    )

    def __init__(self, interval: float | None, timeout: float | None, now: float) -> None:
        self._interval = math.inf if interval is None else interval
        self._timeout = math.inf if timeout is None else timeout
        self._asked_after: float | None = None  # the value of `heard` when the Ping was sent, until it is answered
        self._since = now  # when the time for the answer began
        self._has_backlog = False  # whether much has waited for the peer at every check since the Ping
        self._has_looked = False
        self._deaf_rounds = 0  # in which the peer has taken nothing
        self._output = Output(0, 0)  # at the last check
        self._sampled_at = now  # the time of the last check
        self.heard: float = now
        """When the last byte arrived; set by whoever reads it."""

    @property
    def deadline(self) -> float:
        """When to call `check` next."""
        if self._asked_after is None:
            return self.heard + self._interval
        look_at_backlog = self._sampled_at + self._timeout / _LOOKS if self._has_backlog else math.inf
        return min(self._since + self._timeout, look_at_backlog)

    def check(self, now: float, *, deaf: bool, output: Output) -> Verdict:
        """Return what to do now.

        Args:
            now: the current time.
            deaf: whether nothing is read at present. The peer's Pings are not answered then, so an unsolicited Pong
                tells it that we are alive (RFC 6455, section 5.5.3).
            output: how far our bytes have got.
        """
        if self._asked_after is not None:
            if self.heard > self._asked_after:
                self._is_alive(self.heard)
            elif self._has_backlog:
                self._follow_backlog(now, output)
        self._output, self._sampled_at = output, now
        if self._asked_after is None:
            if now < self.deadline:
                return Verdict.WAIT
            return self._ask(now, deaf=deaf, output=output)
        if now < self._since + self._timeout:
            return Verdict.WAIT
        if deaf and self._deaf_rounds < _DEAF_ROUNDS - 1:
            self._deaf_rounds += 1
            self._asked_after = None
            self.heard = now
            return Verdict.WAIT
        if not self._has_looked:
            self._has_looked = True
            return Verdict.LOOK
        return Verdict.DROP

    def _ask(self, now: float, *, deaf: bool, output: Output) -> Verdict:
        if deaf and not output.waiting:
            self._is_alive(now)
            return Verdict.PONG
        if self._timeout == math.inf:
            self.heard = now
        else:
            self._asked_after = self.heard
            self._since = now
            self._has_backlog = output.waiting > CONTROL_FRAMES_SIZE
        return Verdict.WAIT if deaf else Verdict.PING

    def _follow_backlog(self, now: float, output: Output) -> None:
        """Give the peer as long as before if it has taken any of what waits."""
        self._has_backlog = output.waiting > CONTROL_FRAMES_SIZE
        if output.taken > self._output.taken:
            self._since = now if self._has_backlog else self._sampled_at
            self._has_looked = False
            self._deaf_rounds = 0

    def _is_alive(self, at: float) -> None:
        self._asked_after = None
        self._has_looked = False
        self._deaf_rounds = 0
        self.heard = at
