"""A running connection: the protocol core, between the pump that moves bytes and the tasks that send and receive.

How this works: the pump feeds received bytes to the link, and writes the bytes that the core has queued. Senders and
receivers use the core and the inbox directly, and then tell the pump. The link reacts to each change and to one timer;
`Life` decides what to do, and the link does it. So the link never waits and needs no task of its own, and it never
raises into a task group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from anyws._logs import ConnectionLogger
from anyws.protocol.closing import check_close_reason
from anyws.protocol.connection import Connection, State

from .expiry import Expiry, expiry_of
from .keepalive import Keepalive
from .life import CLOSE_IN_PROGRESS, READING, Event, Phase
from .lifecycle import MESSAGE_BUDGET, Lifecycle
from .options import ConnectionOptions
from .plain_path import PlainPath
from .pumps import CLOSED, Background, Pump, TransportStream, new_pump
from .wakeup import Progress

__all__ = ["MESSAGE_BUDGET", "Link"]

# How long a cancelled block may spend on writing its Close, in seconds.
_CANCELLED_CLOSE_TIME = 0.05

_CLOSED = State.CLOSED  # on Python 3.11, looking up an enum member takes as long as ten lines of this module


class Link(Lifecycle):
    """One running connection.

    Args:
        stream: the byte stream, or the transport of another server; the link owns it.
        core: the protocol, OPEN.
        options: limits and timeouts.
        logger: the connection's logger. It never logs the contents of messages.
    """

    __slots__ = ()

    def __init__(
        self,
        stream: ByteStream | TransportStream,
        core: Connection,
        options: ConnectionOptions,
        logger: ConnectionLogger,
    ) -> None:
        super().__init__(stream, core, options, logger)
        self.path: PlainPath = PlainPath(self.inbox, self.outbox, self, MESSAGE_BUDGET)
        if core.transforms_messages:
            self.path.use_extension(core.decoded_rsv, core.decode_message, core.send_message)
        self._pump: Pump = new_pump(self, stream)
        self.now: Callable[[], float] = self._pump.now
        self.keepalive: Keepalive = Keepalive(options.ping_interval, options.ping_timeout, self.now())
        self.expiry: Expiry | None = expiry_of(options, core.role, self.now())

    # -- for senders and receivers -------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether there is room in the send buffer."""
        return self.outbox.size < self.outbox.limit

    async def wait_for_progress(self) -> None:
        """Wait until something was written or nothing more can be. For one task at a time."""
        progress = self.drained = self.drained or Progress()
        progress.waiting = self._pump.new_wakeup()
        try:
            await progress.waiting.wait()
        finally:
            progress.waiting = None
            if not progress:
                self.drained = None

    def call_on_progress(self, callback: Callable[[], None]) -> None:
        """Call a function once, when something was written or nothing more can be. It must not send."""
        self.drained = self.drained or Progress()
        self.drained.callbacks.append(callback)

    async def checkpoint(self) -> None:
        """Let other tasks run, and renew the budget of messages."""
        self.inbox.budget = self.outbox.budget = MESSAGE_BUDGET
        await checkpoint()

    def wait_for_arrival(self, *, pieces: bool = False) -> Awaitable[None]:
        """Return an awaitable for the receiving task, to await immediately. It may return without a message.

        Args:
            pieces: whether to return also for a part of a message that is still arriving.

        Raises:
            ConnectionClosedOK: there will be no more messages, because the connection was closed normally.
            ConnectionClosedError: there will be no more messages, because the connection ended in any other way.
        """
        intake = self.intake
        if self.core.state is _CLOSED or intake.is_discarding:
            raise self.ending.for_receiver()
        self.inbox.receiver_waits = True
        self.inbox.wants_pieces = pieces
        self.inbox.budget = self.outbox.budget = MESSAGE_BUDGET
        if self.inbox.is_paused:
            self.resume_reading()
        return self._pump.wait_for_arrival()

    def resume_reading(self) -> None:
        """Read again, because there is room in the inbox or a task is waiting for a message."""
        if self.core.is_failing:
            # The task that has just received a message may still respond to it.
            if self._background is not None:
                self._background.call_soon(self._advance)
        elif self.core.has_more and self.intake.has_space:
            self.feed(b"")
            self._pump.wake_receiver()
        self._pump.resume()

    def begin_close(self, code: int | None, reason: str, *, discard: bool) -> None:
        """Begin the closing handshake, unless it has begun already.

        Args:
            code: the close code; None for a Close without one.
            reason: the reason.
            discard: whether to drop messages that nobody has received yet.

        Raises:
            TypeError: the code is not an `int`, or the reason is not a `str`.
            ValueError: the code cannot be sent.
        """
        check_close_reason(reason)
        if self.core.state is State.OPEN and not self.core.is_failing and self.ending.error is None:
            self.core.send_close(code, reason)
            self.logger.debug("sent Close %s", self.core.close_sent)
        self.ending.is_local = True
        if discard:
            self.discard()
        if self.core.state is _CLOSED and self._life.phase is Phase.OPEN:
            self.abort()  # an exception in an extension has ended the protocol, so there is no closing handshake
        elif self._life.phase in READING:
            self._handle(Event.CLOSE)
        if self.limiter is not None and not self.input_ended:
            self.limiter.lift()  # the peer's Close is waited for
            self.resume_reading()

    def discard(self) -> None:
        """Drop all messages that nobody has received yet, and all that arrive from now on."""
        self.ending.is_local = True
        self.intake.discard()
        if self._life.phase in READING:
            self.resume_reading()

    async def ping(self, payload: bytes | None) -> float:
        """Send a Ping, wait for its Pong, and return the latency in seconds."""
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

    async def abort_with_close(self, code: int) -> None:
        """Write a Close if this is possible without waiting for the peer, and close the stream immediately."""
        try:
            if not self.is_over and not self._pump.is_writing:
                self.core.fail()
                if self.core.state is State.OPEN:
                    self.core.send_close(code)
                with anyio.move_on_after(_CANCELLED_CLOSE_TIME, shield=True):
                    await self._pump.write_all()
        finally:
            self.abort()

    async def wait_closed(self) -> None:
        """Wait until the stream is closed."""
        if self.is_over:
            await checkpoint()
            return
        await self._pump.read_in_task()
        if not self.is_over:
            ended = self._pump.new_wakeup()  # costs less than an event
            self._waiting_for_end = (*self._waiting_for_end, ended)
            await ended.wait()

    def check_sendable(self) -> None:
        """Check that messages can be sent.

        Raises:
            ConnectionClosedLocally: this side has begun to close.
            ConnectionClosedError: the peer has begun to close, or the connection was lost.
        """
        if self.core.state is not State.OPEN or self.ending.error is not None:
            raise self.ending.for_sender()

    # -- for the pump --------------------------------------------------------------------------------------------------

    def feed_first(self, data: bytes) -> None:
        """Process the bytes that arrived together with the opening handshake, before the connection starts."""
        try:
            self.feed(data)
        except Exception as exc:
            self.fail_internally(exc)

    def feed(self, data: bytes) -> None:
        """Process bytes from the peer. If there is something to receive, the pump then wakes the receiving task."""
        self.keepalive.last_heard = self.now()
        if not self.intake.feed(data):
            core = self.core
            is_done = core.is_server_done
            if core.has_data_to_send:
                self._pump.flush(is_last=is_done)
            if is_done:
                self._handle(Event.HANDSHAKE_WRITTEN if self._pump.has_written else Event.HANDSHAKE_DONE)
            elif core.state is _CLOSED:
                self._handle(Event.CLOSE)
            elif core.failure is not None:
                self._handle(Event.VIOLATION)
            if self.limiter is not None:
                self._set_alarm()

    def feed_buffer(self, count: int) -> None:
        """Process the first ``count`` bytes of the buffer that `Connection.get_buffer` returned."""
        if count:
            self.keepalive.last_heard = self.now()
        self.intake.feed_buffer(count)
        if self.limiter is not None:
            if self.core.failure is not None:
                self._handle(Event.VIOLATION)
            self._set_alarm()

    def feed_eof(self) -> None:
        """Handle the end of the peer's side of the stream."""
        self.inbox.is_on_fast_path = False
        self._handle(Event.INPUT_ENDED)

    def connection_lost(self, error: BaseException, *, input_too: bool) -> None:
        """Handle a lost connection.

        Args:
            error: the error of the stream.
            input_too: whether reading has failed too. If only writing has failed, data that the peer has sent can still
                be read, in particular its Close.
        """
        self.ending.note_error(error)
        self._note_undelivered()
        self.outbox.is_open = False
        if input_too:
            self.feed_eof()
        else:
            self._handle(Event.OUTPUT_LOST)

    def written(self) -> None:
        """Handle that everything queued has been written."""
        if self._life.phase in CLOSE_IN_PROGRESS:
            self._observe()
        self._advance()

    def closed(self, error: Exception | None = None) -> None:
        """Handle that the stream has been closed; ``error`` if closing it failed."""
        if error is not None:
            self.logger.error("the stream could not be closed", exc_info=error)
        self._note_undelivered()
        self.core.receive_eof()
        self._alarm.cancel()
        self._handle(Event.STREAM_CLOSED)
        for each in self._waiting_for_end:
            each.set()
        self._pump = CLOSED
        self.pings.abandon()
        self.logger.debug("closed (%s)", self.core.close_code)

    def start(self, background: Background) -> None:
        """Start the connection.

        Args:
            background: where its tasks and timers run; must outlive the connection.
        """
        self._background = background
        try:
            self._pump.start(background)
        except Exception as exc:
            self.fail_internally(exc)
        if self._life.phase is Phase.ABORTING:
            self._pump.close()
        self._advance()
