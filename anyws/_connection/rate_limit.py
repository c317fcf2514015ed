"""How fast a peer may send: `RateLimit`, and the measure of it. This module does no I/O and reads no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from anyws._checking import check_positive

__all__ = ["RateLimit", "RateLimiter"]

_TOLERANCE = 1e-6  # seconds, for rounding errors


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How fast the peer may send messages on one connection; at least one of the two rates.

    Attributes:
        messages: maximum number of messages per second. None: no limit.
        bytes: maximum number of bytes per second, of WebSocket frames with their headers and control frames. None: no
            limit.
        burst: how many seconds' worth may arrive at once after a pause; at least one message always may. 1 s.
        exceeded: what to do with a peer that is faster: ``"slow down"`` stops reading for as long as needed, so that
            TCP slows the peer down and no message is lost, or ``"close"`` closes the connection with 1008 (policy
            violation).

    Raises:
        TypeError: a value has the wrong type.
        ValueError: there is no rate, or a value is not above 0.
    """

    messages: float | None = None
    bytes: float | None = None
    burst: float = 1
    exceeded: Literal["slow down", "close"] = "slow down"

    def __post_init__(self) -> None:
        for name, value in (("messages", self.messages or 1), ("bytes", self.bytes or 1), ("burst", self.burst)):
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise TypeError(f"{name} of RateLimit must be a number, not {type(value).__name__}")
        check_positive(self, "messages", "bytes", "burst")
        if self.messages is None and self.bytes is None:
            raise ValueError("a RateLimit needs messages or bytes (per second), or both")
        if self.exceeded not in ("slow down", "close"):
            raise ValueError(f"exceeded is {self.exceeded!r}: expected 'slow down' or 'close'")


class RateLimiter:
    """Measures how fast the peer sends. Times are in seconds of the event loop's clock.

    Each rate has a time up to which everything that has arrived is paid for. It may be ``burst`` ahead of now.

    Args:
        limit: the limit.
    """

    __slots__ = ("_bytes_until", "_is_lifted", "_messages_until", "is_waiting", "limit", "resumes_at")

    def __init__(self, limit: RateLimit) -> None:
        self.limit: RateLimit = limit
        self.resumes_at: float = -math.inf
        """When the peer may send again."""
        self.is_waiting: bool = False
        """Whether reading is paused until then."""
        self._messages_until = self._bytes_until = -math.inf
        self._is_lifted = False

    def __str__(self) -> str:
        rates = {"messages": self.limit.messages, "bytes": self.limit.bytes}
        shown = " and ".join(f"{rate:,.10g} {unit}" for unit, rate in rates.items() if rate is not None)
        return f"{shown} per second"

    @property
    def deadline(self) -> float:
        """When to resume reading; infinity if it is not paused because of the limit."""
        return self.resumes_at if self.is_waiting else math.inf

    def must_wait(self, now: float) -> bool:
        """Return whether the peer is to be slowed down, because it has sent as much as it may."""
        return now < self.resumes_at and self.limit.exceeded == "slow down"

    def add(self, messages: int, size: int, now: float) -> bool:
        """Note that messages and bytes have arrived; return whether they were more than the limit allows."""
        limit, is_exceeded = self.limit, False
        if self._is_lifted:
            return False
        if limit.messages is not None and messages:
            price = 1 / limit.messages
            self._messages_until = max(self._messages_until, now) + messages * price
            ahead = max(limit.burst, price)
            is_exceeded = self._messages_until > now + ahead + _TOLERANCE
            self.resumes_at = max(self.resumes_at, self._messages_until - ahead + price - _TOLERANCE)
        if limit.bytes is not None and size:
            self._bytes_until = max(self._bytes_until, now) + size / limit.bytes
            is_exceeded = is_exceeded or self._bytes_until > now + limit.burst + _TOLERANCE
            self.resumes_at = max(self.resumes_at, self._bytes_until - limit.burst - _TOLERANCE)
        return is_exceeded

    def lift(self) -> None:
        """Lift the limit, because the connection is closing."""
        self._is_lifted = True
        self.resumes_at = -math.inf
