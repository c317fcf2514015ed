"""Pings that wait for their Pongs (RFC 6455, 5.5.2 and 5.5.3)."""

from __future__ import annotations

import anyio

__all__ = ["PendingPing", "PendingPings"]


class PendingPing:
    """A Ping on its way.

    Attributes:
        payload: what the Pong will repeat.
        sent_at: when it was handed over, in seconds of `time.perf_counter` (the clock of an event loop may be coarse).
        done: set when the Pong has come, or the connection has ended.
        latency: seconds from the Ping to its Pong; None before, and when the connection ended without.
    """

    __slots__ = ("done", "latency", "payload", "sent_at")

    def __init__(self, payload: bytes, sent_at: float) -> None:
        self.payload: bytes = payload
        self.sent_at: float = sent_at
        self.done: anyio.Event = anyio.Event()
        self.latency: float | None = None


class PendingPings:
    """The Pings that no Pong has answered yet, in the order in which they were sent."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: tuple[PendingPing, ...] = ()

    def add(self, payload: bytes, sent_at: float) -> PendingPing:
        """Note a Ping that is being sent."""
        ping = PendingPing(payload, sent_at)
        self._pending = (*self._pending, ping)
        return ping

    def discard(self, ping: PendingPing) -> None:
        """Forget a Ping whose waiter has gone."""
        self._pending = tuple(each for each in self._pending if each is not ping)

    def answered(self, payload: bytes, now: float) -> None:
        """Take a Pong: it answers the Ping of this payload and those before it. One that answers nothing is ignored."""
        payloads = [ping.payload for ping in self._pending]
        if payload in payloads:
            count = payloads.index(payload) + 1
            answered, self._pending = self._pending[:count], self._pending[count:]
            for ping in answered:
                ping.latency = now - ping.sent_at
                ping.done.set()

    def abandon(self) -> None:
        """The connection has ended: wake whoever waits."""
        abandoned, self._pending = self._pending, ()
        for ping in abandoned:
            ping.done.set()
