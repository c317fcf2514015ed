"""Decides whether the peer is alive. This module does no I/O and reads no clock.

How this works: every byte that arrives is a sign of life. A peer that stays silent is sent a Ping, and must respond
within a timeout. Two cases need more care:

* Our Ping is queued behind a long transfer over a slow network, so there is no Pong yet. Then every byte that the peer
  accepts is a sign of life, as long as there is always a backlog. Once the backlog is gone, the peer has received the
  Ping, and accepted bytes no longer count: even for a frozen program, the kernel acknowledges small messages.
* We have paused reading, because the application does not receive, so we do not see what the peer sends. Such a peer is
  only dropped if it accepts nothing either, and after three times the timeout.

Before a peer is dropped, the verdict is POLL once, because a sign of life may have arrived without being read, for
example if the event loop was blocked for a long time.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

__all__ = ["CONTROL_FRAMES_SIZE", "Keepalive", "Output", "Verdict"]


class Output(NamedTuple):
    """How many of our bytes were delivered, and how many are waiting.

    Attributes:
        delivered: the number of bytes that the peer has accepted since the connection began.
        waiting: the number of bytes that it has not accepted yet.
    """

    delivered: int
    waiting: int


CONTROL_FRAMES_SIZE = 128
"""The size of a Ping and a Close with TLS, in bytes. If no more than this is waiting, there may be no message in it."""

# While reading is paused, the peer has this many times the timeout.
_PAUSED_ROUNDS = 3
# How many times within the timeout to check whether the peer accepts the backlog.
_BACKLOG_CHECKS = 16


class Verdict(enum.Enum):
    """What to do about the peer."""

    WAIT = enum.auto()
    PING = enum.auto()
    PONG = enum.auto()
    POLL = enum.auto()
    DROP = enum.auto()


class Keepalive:
    """Measures how long the peer has been silent. Times are in seconds of the event loop's clock.

    Args:
        interval: how long the peer may be silent before it is sent a Ping; None for no limit.
        timeout: how long it may stay silent after that; None for no limit.
        now: the current time.
    """

    __slots__ = (
        "_checked_at",
        "_has_backlog",
        "_has_polled",
        "_heard_before_ping",
        "_interval",
        "_output",
        "_paused_rounds",
        "_since",
        "_timeout",
        "last_heard",
    )

    def __init__(self, interval: float | None, timeout: float | None, now: float) -> None:
        self._interval = math.inf if interval is None else interval
        self._timeout = math.inf if timeout is None else timeout
        self._heard_before_ping: float | None = None  # `last_heard` when a Ping was sent; None if none is unanswered
        self._since = now  # when the timeout began
        self._has_backlog = False  # whether there was a backlog at every check since the Ping
        self._has_polled = False
        self._paused_rounds = 0  # how many timeouts have passed while reading was paused
        self._output = Output(0, 0)  # at the last check
        self._checked_at = now  # the time of the last check
        self.last_heard: float = now
        """When the last byte arrived; set by the link and the pump."""

    @property
    def deadline(self) -> float:
        """When to call `check` next."""
        if self._heard_before_ping is None:
            return self.last_heard + self._interval
        next_sample = self._checked_at + self._timeout / _BACKLOG_CHECKS if self._has_backlog else math.inf
        return min(self._since + self._timeout, next_sample)

    def check(self, now: float, *, is_paused: bool, output: Output) -> Verdict:
        """Return what to do now.

        Args:
            now: the current time.
            is_paused: whether reading is paused. We then do not see the peer's Pings, so an unsolicited Pong tells it
                that we are alive (RFC 6455, section 5.5.3).
            output: how much has been delivered and how much is waiting.
        """
        if self._heard_before_ping is not None:
            if self.last_heard > self._heard_before_ping:
                self._confirm_alive(self.last_heard)
            elif self._has_backlog:
                self._follow_backlog(now, output)
        self._output, self._checked_at = output, now
        if self._heard_before_ping is None:
            if now < self.deadline:
                return Verdict.WAIT
            return self._begin_probe(now, is_paused=is_paused, output=output)
        if now < self._since + self._timeout:
            return Verdict.WAIT
        if is_paused and self._paused_rounds < _PAUSED_ROUNDS - 1:
            self._paused_rounds += 1
            self._heard_before_ping = None
            self.last_heard = now
            return Verdict.WAIT
        if not self._has_polled:
            self._has_polled = True
            return Verdict.POLL
        return Verdict.DROP

    def _begin_probe(self, now: float, *, is_paused: bool, output: Output) -> Verdict:
        if is_paused and not output.waiting:
            self._confirm_alive(now)
            return Verdict.PONG
        if self._timeout == math.inf:
            self.last_heard = now
        else:
            self._heard_before_ping = self.last_heard
            self._since = now
            self._has_backlog = output.waiting > CONTROL_FRAMES_SIZE
        return Verdict.WAIT if is_paused else Verdict.PING

    def _follow_backlog(self, now: float, output: Output) -> None:
        """Restart the timeout if the peer has accepted any of the backlog."""
        self._has_backlog = output.waiting > CONTROL_FRAMES_SIZE
        if output.delivered > self._output.delivered:
            self._since = now if self._has_backlog else self._checked_at
            self._has_polled = False
            self._paused_rounds = 0

    def _confirm_alive(self, at: float) -> None:
        self._heard_before_ping = None
        self._has_polled = False
        self._paused_rounds = 0
        self.last_heard = at
