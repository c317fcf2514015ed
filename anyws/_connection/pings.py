"""Pings that are waiting for their Pongs (RFC 6455, sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

import anyio

__all__ = ["PendingPing", "PendingPings"]


class PendingPing:
    """A Ping that was sent and not yet answered.

    Attributes:
        payload: the payload that the Pong will repeat.
        sent_at: when it was queued, in seconds of `time.perf_counter` (an event loop's clock may be coarse).
        done: set when the Pong arrives or the connection ends.
        latency: seconds from the Ping to its Pong; None until then, or if the connection ended first.
    """

    __slots__ = ("done", "latency", "payload", "sent_at")

    def __init__(self, payload: bytes, sent_at: float) -> None:
        self.payload: bytes = payload
        self.sent_at: float = sent_at
        self.done: anyio.Event = anyio.Event()
        self.latency: float | None = None


class PendingPings:
    """The unanswered Pings, in the order they were sent."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: tuple[PendingPing, ...] = ()

    def add(self, payload: bytes, sent_at: float) -> PendingPing:
        """Record a Ping that is being sent."""
        ping = PendingPing(payload, sent_at)
        self._pending = (*self._pending, ping)
        return ping

    def discard(self, ping: PendingPing) -> None:
        """Forget a Ping that nobody is waiting for anymore."""
        self._pending = tuple(each for each in self._pending if each is not ping)

    def answered(self, payload: bytes, now: float) -> None:
        """Handle a Pong: it answers the Ping with this payload and all earlier ones. An unsolicited Pong is ignored."""
        payloads = [ping.payload for ping in self._pending]
        if payload in payloads:
            count = payloads.index(payload) + 1
            answered, self._pending = self._pending[:count], self._pending[count:]
            for ping in answered:
                ping.latency = now - ping.sent_at
                ping.done.set()

    def abandon(self) -> None:
        """Wake all waiting tasks, because the connection has ended."""
        abandoned, self._pending = self._pending, ()
        for ping in abandoned:
            ping.done.set()
