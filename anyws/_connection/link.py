"""The running connection: the protocol core between the pump that moves bytes and the tasks that send and receive.

How this works. A pump moves the bytes: it feeds the link with what arrives, and writes what the core has queued.
Senders and receivers change the core and the inbox directly, and tell the pump. The link itself never waits, so it
needs no task: whatever changes, and a timer, calls it. `Life` says what is due then, and the link carries it out.
Nothing here ever raises into a task group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from anyws._logs import ConnectionLogger
from anyws.protocol.connection import Connection, State

from .keepalive import Keepalive
from .life import CLOSE_IN_PROGRESS, Event, Phase
from .lifecycle import MESSAGE_BUDGET, Lifecycle
from .options import ConnectionOptions
from .pumps import CLOSED, Background, Pump, new_pump

__all__ = ["MESSAGE_BUDGET", "Link"]

# How long a cancelled block may take to write its Close, in seconds.
_CANCELLED_CLOSE_TIME = 0.05

_CLOSED = State.CLOSED  # To look up a member takes as long as ten lines here (Python 3.11).


class Link(Lifecycle):
    """One running connection.

    Args:
        stream: the byte stream; the link owns it.
        core: the protocol, OPEN.
        options: limits and times.
        logger: the connection's logger; it is never given the contents of messages.
    """

    __slots__ = ()

    def __init__(
        self, stream: ByteStream, core: Connection, options: ConnectionOptions, logger: ConnectionLogger
    ) -> None:
        super().__init__(stream, core, options, logger)
        self._pump: Pump = new_pump(self, stream)
        self.now: Callable[[], float] = self._pump.now
        self.keepalive: Keepalive = Keepalive(options.ping_interval, options.ping_timeout, self.now())

    # -- for senders and receivers -------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether a sender need not wait."""
        return self.outbox.size < self.outbox.limit

    async def wait_for_progress(self) -> None:
        """Wait until something was written, or nothing will be; for one task at a time."""
        self.drained = self._pump.new_wakeup()
        try:
            await self.drained.wait()
        finally:
            self.drained = None

    async def checkpoint(self) -> None:
        """Let other tasks run, and renew the budget of messages."""
        self.inbox.budget = self.outbox.budget = MESSAGE_BUDGET
        await checkpoint()

    def wait_for_arrival(self, *, pieces: bool = False) -> Awaitable[None]:
        """Return what to await, at once, until something has changed for the task that receives.

        Args:
            pieces: whether a part of a message that is still arriving counts.

        Raises:
            ConnectionClosedOK: no message will come; the connection was closed cleanly.
            ConnectionClosedError: no message will come.
        """
        intake = self.intake
        if self.core.state is _CLOSED or intake.is_discarding:
            raise self.ending.for_receiver()
        intake.receiver_waits = True
        intake.wants_pieces = pieces
        self.inbox.budget = self.outbox.budget = MESSAGE_BUDGET
        if intake.is_paused:
            self.resume_reading()
        return self._pump.wait_for_arrival()

    def resume_reading(self) -> None:
        """There is room again, or a task waits."""
        if self.core.is_failing:
            # Whoever received a message has yet to answer it.
            if self._background is not None:
                self._background.call_soon(self._advance)
        elif self.core.has_more and self.intake.has_space:
            self.feed(b"")
            self._pump.wake_receiver()
        self._pump.resume()

    def begin_close(self, code: int | None, reason: str, *, discard: bool) -> None:
        """Queue a Close, unless that was done before.

        Args:
            code: the close code; None for a Close without one.
            reason: the reason.
            discard: whether the messages that have arrived or still arrive are dropped.

        Raises:
            TypeError: the code is not an `int`, or the reason not a `str`.
            ValueError: the code cannot be sent.
        """
        if not isinstance(reason, str):
            raise TypeError(f"a close reason is a str, not {type(reason).__name__}")
        if self.core.state is State.OPEN and not self.core.is_failing and self.ending.error is None:
            self.core.send_close(code, reason)
            self.logger.debug("sent Close %s", self.core.close_sent)
        self.ending.is_ours = True
        if discard:
            self.discard()
        self._happened(Event.CLOSE)

    def discard(self) -> None:
        """Drop the messages that have arrived or still arrive."""
        self.ending.is_ours = True
        self.intake.discard()
        self.resume_reading()

    async def ping(self, payload: bytes | None) -> float:
        """Send a Ping and return the latency of its Pong, in seconds."""
        self.check_sendable()
        payload = os.urandom(4) if payload is None else bytes(payload)
        self.core.send_ping(payload)
        ping = self.pings.add(payload, time.perf_counter())
        self.flush()
        self._pump.ensure_reading()
        try:
            await ping.done.wait()
        finally:
            self.pings.discard(ping)
        if ping.latency is None:
            raise self.ending.for_ping()
        return ping.latency

    async def close_cancelled(self, code: int) -> None:
        """Write a Close if that needs no waiting, and close the stream at once."""
        try:
            if not self.is_over and not self._pump.is_writing:
                self.core.fail()
                if self.core.state is State.OPEN:
                    self.core.send_close(code)
                with anyio.move_on_after(_CANCELLED_CLOSE_TIME, shield=True):
                    await self._pump.write_all()
        finally:
            self.abort()

    async def wait_over(self) -> None:
        """Wait until the stream is closed."""
        if not self.is_over:
            await self._pump.read_in_task()
        if not self.is_over:
            self._over = self._over or anyio.Event()
            await self._over.wait()

    def check_sendable(self) -> None:
        """Raise unless something can be sent.

        Raises:
            ConnectionClosedLocally: this side began to close.
            ConnectionClosedError: the peer closed, or the connection is lost.
        """
        if self.core.state is not State.OPEN or self.ending.error is not None:
            raise self.ending.for_sender()

    # -- for the pump --------------------------------------------------------------------------------------------------

    def feed_first(self, data: bytes) -> None:
        """Take the bytes that came behind the head of the opening handshake, before the connection starts."""
        try:
            self.feed(data)
        except Exception as exc:
            self.fail_internally(exc)

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer.

        The pump wakes the task that receives, if there is something for it.
        """
        self.keepalive.heard = self.now()
        if not self.intake.feed(data):
            if self.core.has_data_to_send:
                self._pump.flush()
            if self.core.state is _CLOSED:
                self._happened(Event.HANDSHAKE_DONE if self.core.is_server_done else Event.CLOSE)
            elif self.core.failure is not None:
                self._happened(Event.VIOLATION)

    def feed_buffer(self, count: int) -> None:
        """Take this many bytes, which were read into the buffer that `Connection.get_buffer` returned."""
        if count:
            self.keepalive.heard = self.now()
        self.intake.feed_buffer(count)

    def feed_eof(self) -> None:
        """The peer has ended its side."""
        self.intake.is_on_fast_path = False
        self._happened(Event.INPUT_ENDED)

    def connection_lost(self, error: BaseException, *, input_too: bool) -> None:
        """The connection is lost.

        If only writing has failed, what the peer has sent before can still be read, above all its Close.
        """
        self.ending.lost_by(error)
        self._note_undelivered()
        self.outbox.is_open = False
        if input_too:
            self.feed_eof()
        else:
            self._happened(Event.OUTPUT_LOST)

    def written(self) -> None:
        """All is written that waited for the peer."""
        if self._life.phase in CLOSE_IN_PROGRESS:
            self._observe()
        self._advance()

    def closed(self, error: Exception | None = None) -> None:
        """The stream is closed, as far as possible: the connection is over."""
        if error is not None:
            self.logger.error("the stream could not be closed", exc_info=error)
        self._note_undelivered()
        self.core.receive_eof()
        self._alarm.cancel()
        self._happened(Event.STREAM_CLOSED)
        if self._over is not None:
            self._over.set()
        self._pump = CLOSED
        self.pings.abandon()
        self.logger.debug("closed (%s)", self.core.close_code)

    def start(self, background: Background) -> None:
        """Begin; the connection lives until its stream is closed.

        Args:
            background: outlives the connection.
        """
        self._background = background
        try:
            self._pump.start(background)
        except Exception as exc:
            self.fail_internally(exc)
        if self._life.phase is Phase.ABORTING:
            self._pump.close()
        self._advance()
