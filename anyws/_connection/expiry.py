"""Decides when an open connection has lasted long enough, or has been idle for too long. No I/O, and no clock.

How this works: nothing is noted for each message. Four times within ``idle_timeout``, the alarm of the connection
compares counters that the queues keep anyway with those of the check before.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from anyws.protocol.closing import CloseCode
from anyws.protocol.connection import Connection, Role

from .keepalive import CONTROL_FRAMES_SIZE, Output
from .options import ConnectionOptions

__all__ = ["Activity", "Expired", "Expiry", "activity_of", "expiry_of"]

# Connections that were opened together should not all come back together; as for MAX_CONNECTION_AGE of gRPC.
_SPREAD = 0.1
_IDLE_CHECKS = 4

Activity = tuple[int, int, int, int, int]
"""Numbers that stay the same as long as no part of a message is received or sent."""


class Expired(NamedTuple):
    """Why to close a connection."""

    code: CloseCode
    reason: str


class Expiry:
    """Measures the age of a connection, and for how long it has been idle. Times are of the event loop's clock.

    Args:
        options: the options.
        role: which end of the connection this is.
        now: the current time.
    """

    __slots__ = ("_activity", "_ends_at", "_idle_since", "_idle_timeout", "_next_check", "_role")

    def __init__(self, options: ConnectionOptions, role: Role, now: float) -> None:
        lifetime, timeout = options.max_lifetime, options.idle_timeout
        self._role = role
        self._ends_at = math.inf if lifetime is None else now + lifetime * (1 - random.random() * _SPREAD)
        self._idle_timeout = math.inf if timeout is None else timeout
        self._idle_since = now
        self._next_check = now + self._idle_timeout / _IDLE_CHECKS
        self._activity: Activity = (0, 0, 0, 0, 0)

    @property
    def deadline(self) -> float:
        """When to call `check` next."""
        return min(self._ends_at, self._next_check)

    def check(self, now: float, activity: Activity) -> Expired | None:
        """Return why to close the connection now, or None.

        Args:
            now: the current time.
            activity: the current value of `activity_of`.
        """
        if now >= self._ends_at:
            code = CloseCode.SERVICE_RESTART if self._role is Role.SERVER else CloseCode.GOING_AWAY
            return Expired(code, "the connection has reached its maximum lifetime")
        if now >= self._next_check:
            if activity != self._activity:
                self._activity, self._idle_since = activity, now
            elif now >= self._idle_since + self._idle_timeout:
                return Expired(CloseCode.GOING_AWAY, "the connection was idle")
            self._next_check = min(now + self._idle_timeout / _IDLE_CHECKS, self._idle_since + self._idle_timeout)
        return None


def expiry_of(options: ConnectionOptions, role: Role, now: float) -> Expiry | None:
    """Return the expiry for the options; None if they set no limit, so that nothing is ever checked."""
    return None if options.max_lifetime is None and options.idle_timeout is None else Expiry(options, role, now)


def activity_of(core: Connection, output: Output) -> Activity:
    """Return numbers that change when a message, or a part of one, is received or sent."""
    inbox, outbox = core.inbox, core.outbox
    return (
        inbox.messages_added,
        outbox.messages_added,
        inbox.bytes_read if core.in_message else 0,
        outbox.bytes_added if core.sending_fragments else 0,
        output.delivered if output.waiting > CONTROL_FRAMES_SIZE else 0,
    )
