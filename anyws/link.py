"""The running connection: the protocol core, what waits to be received, and the clock.

How this works. A pump moves the bytes: it feeds the link with what comes, and writes what the core has queued. Senders
and receivers change the core and the inbox directly, and tell the pump. The link itself never waits, so it needs no
task: whatever changes, and a timer, calls it, and it does what is then due. It sends Pings to a silent peer, answers a
violation, ends the stream, and cuts a close that takes too long. Nothing here ever raises into a task group.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from .exceptions import ConnectionBroken, ConnectionClosed, ConnectionClosedLocally, ConnectionEnded, is_clean
from .keepalive import Keepalive, Verdict
from .logs import ConnectionLogger
from .options import ConnectionOptions
from .pings import PendingPings
from .protocol.closing import Close
from .protocol.connection import Connection, Event, Pong, State
from .protocol.outbox import Outbox
from .protocol.speedups import MessageQueue
from .pumps import CLOSED, Background, Pump, Timer, new_pump
from .transport.ending import LINGER
from .wakeup import Wakeup

__all__ = ["MESSAGES_PER_TURN", "Link"]

C = TypeVar("C", bound=ConnectionClosed)

MESSAGES_PER_TURN = 64
"""How many messages a task may receive, or send, before others have their turn, and cancellation is looked at."""

# A Close that is written in passing, when a block is cancelled, may take no longer than this. Seconds.
_PARTING_TIME = 0.05
# How long messages that came before a violation may take to be answered, before the violation is. Seconds.
_FAILURE_GRACE = 0.5

_MESSAGE = (str, bytes)
_CLOSED = State.CLOSED  # To look up a member takes as long as ten lines here (Python 3.11).


class Link:
    """One running connection.

    Args:
        stream: the byte stream; the link owns it.
        core: the protocol, OPEN.
        options: limits and times.
        logger: where to say what happens; contents of messages are never said.
    """

    __slots__ = (
        "_background",
        "_closing_since",
        "_detail",
        "_error",
        "_failing_since",
        "_has_failed",
        "_has_said_end",
        "_is_cut",
        "_is_ending",
        "_is_over",
        "_lingers_until",
        "_over",
        "_pump",
        "_timer",
        "_timer_due",
        "_wants_pieces",
        "core",
        "drained",
        "inbox",
        "input_ended",
        "is_discarding",
        "is_held_back",
        "keepalive",
        "logger",
        "now",
        "options",
        "outbox",
        "pings",
        "reads_freely",
        "receiver_waits",
        "stream",
    )

    def __init__(
        self, stream: ByteStream, core: Connection, options: ConnectionOptions, logger: ConnectionLogger
    ) -> None:
        self.stream: ByteStream = stream
        self.core: Connection = core
        self.options: ConnectionOptions = options
        self.logger: ConnectionLogger = logger
        self.inbox: MessageQueue = core.inbox
        """Received messages that nobody has taken yet."""
        self.outbox: Outbox = core.outbox
        self.inbox.limit, self.outbox.limit = options.receive_buffer, options.send_buffer
        self.pings: PendingPings = PendingPings()
        self._pump: Pump = new_pump(self, stream)
        self.drained: Wakeup | None = None
        """What wakes the one task that waits for room to send, while one does."""
        self.receiver_waits: bool = False
        """Whether a task waits for a message: it has taken all before, and one larger than the inbox may come.

        The task that receives takes it back.
        """
        self.is_held_back: bool = False
        """Whether `resume_reading` is to be called when a message has been taken."""
        self.reads_freely: bool = True
        """Whether there is no need to ask `may_read`."""
        self.input_ended: bool = False
        """Nothing more is to be read: the peer has ended, or it is on us to end."""
        self._wants_pieces = False  # that task takes a message piece by piece, while it is still coming in
        self._has_said_end = False  # that we would send no more
        self.is_discarding: bool = False
        """Whether messages that come are dropped: nobody wants them any more."""
        self._detail = ""  # why the connection broke, where neither the network nor the core says so
        self._error: BaseException | None = None  # the network's error
        self._is_cut = False
        self._is_over = False  # the stream is closed
        self._over: anyio.Event | None = None
        self.now: Callable[[], float] = self._pump.now
        self.keepalive: Keepalive = Keepalive(options.ping_interval, options.ping_timeout, self.now())
        self._background: Background | None = None  # until it begins
        self._timer: Timer | None = None
        self._timer_due = math.inf
        self._failing_since: float | None = None
        self._has_failed = False  # the violation was answered
        self._closing_since: float | None = None
        self._is_ending = False  # nothing more is to be read, and nothing more to be sent but what is queued
        self._lingers_until: float | None = None
        self.inbox.turns = self.outbox.turns = MESSAGES_PER_TURN

    # -- for senders and receivers -------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether a sender need not wait."""
        return self.outbox.size < self.outbox.limit

    async def drain(self) -> None:
        """Wait until something was written, or nothing will be; for one task at a time."""
        self.drained = self._pump.new_wakeup()
        try:
            await self.drained.wait()
        finally:
            self.drained = None

    def flush(self) -> None:
        """Let the pump write what the core has queued; together with the answers to messages that wait to be taken."""
        if self.inbox.size:
            self._pump.flush_soon()
        else:
            self._pump.flush()

    async def yield_turn(self) -> None:
        """Let others have their turn."""
        self.inbox.turns = self.outbox.turns = MESSAGES_PER_TURN
        await checkpoint()

    def next_arrival(self, *, of_a_piece: bool = False) -> Awaitable[None]:
        """Return what to await, at once, until something has changed for the task that receives.

        Args:
            of_a_piece: whether a part of a message that is still coming in is something.

        Raises:
            ConnectionEnded: no message will come; the connection was closed cleanly.
            ConnectionBroken: no message will come.
        """
        if self.core.state is _CLOSED or self.is_discarding:
            raise self._at_end()
        self.receiver_waits = True
        self._wants_pieces = of_a_piece
        self.inbox.turns = self.outbox.turns = MESSAGES_PER_TURN
        if self.is_held_back:
            self.resume_reading()
        return self._pump.next_arrival()

    def resume_reading(self) -> None:
        """There is room again, or a task waits."""
        if self.core.is_failing:
            self._advance_soon()  # whoever takes a message is yet to answer it
        elif self.core.has_more and self._has_space:
            self.feed(b"")
            self._pump.wake_receiver()
        self._pump.resume()

    def begin_close(self, code: int | None, reason: str, *, discard: bool) -> None:
        """Queue a Close, unless that was done before.

        Args:
            code: the close code; None for a Close without one.
            reason: the reason.
            discard: whether the messages that have come or still come are dropped.

        Raises:
            TypeError: the code is no `int`, or the reason no `str`.
            ValueError: the code cannot be sent.
        """
        if not isinstance(reason, str):
            raise TypeError(f"a close reason is a str, not {type(reason).__name__}")
        self.core.fail()  # A violation that waits to be answered decides what the Close says.
        if self.core.state is State.OPEN and self._error is None:
            self.core.send_close(code, reason)
            self.logger.debug("sent Close %s", self.core.close_sent)
        self._has_said_end = True
        if discard:
            self.discard()
        if not self._is_ending:
            self._close_has_begun()

    def discard(self) -> None:
        """Drop the messages that have come or still come: nobody wants them."""
        self.is_discarding = self._has_said_end = True
        self.reads_freely = False
        self.inbox.clear()
        self.resume_reading()

    async def ping(self, payload: bytes | None) -> float:
        """Send a Ping and return the latency of its Pong, in seconds."""
        self.check_sendable()
        payload = os.urandom(4) if payload is None else bytes(payload)
        self.core.send_ping(payload)
        ping = self.pings.add(payload, time.perf_counter())
        self.flush()
        self._pump.expect()
        try:
            await ping.done.wait()
        finally:
            self.pings.discard(ping)
        if ping.latency is None:
            raise self._closed(ConnectionEnded if is_clean(self.core.close_received) else ConnectionBroken)
        return ping.latency

    async def part(self, code: int) -> None:
        """Write a Close if that needs no waiting, and close the stream at once."""
        if not self._is_over and not self._pump.is_writing:
            self.core.fail()
            if self.core.state is State.OPEN:
                self.core.send_close(code)
            with anyio.move_on_after(_PARTING_TIME, shield=True):
                await self._pump.write_all()
        self.cut()

    def cut(self) -> None:
        """Close the stream at once."""
        self._is_cut = True
        if self._background is not None:
            self._pump.close()

    @property
    def is_over(self) -> bool:
        """Whether the stream is closed."""
        return self._is_over

    async def wait_over(self) -> None:
        """Wait until the stream is closed."""
        if not self._is_over:
            await self._pump.attend()
        if not self._is_over:
            self._over = self._over or anyio.Event()
            await self._over.wait()

    def check_sendable(self) -> None:
        """Raise unless something can be sent.

        Raises:
            ConnectionClosedLocally: we began to close.
            ConnectionBroken: the peer closed, or the connection is lost.
        """
        if self.core.state is not State.OPEN or self._error is not None:
            raise self._closed(ConnectionClosedLocally if self._has_said_end else ConnectionBroken)

    def _at_end(self) -> ConnectionClosed:
        core = self.core
        decisive = core.close_sent if core.state is not State.CLOSED else core.close_received
        return self._closed(ConnectionEnded if is_clean(decisive) else ConnectionBroken)

    def broken(self) -> ConnectionBroken:
        """Return the exception for what was cut short, whatever the close code."""
        return self._closed(ConnectionBroken)

    def _closed(self, exception: type[C]) -> C:
        closed = exception(received=self.core.close_received, sent=self.core.close_sent, detail=self._detail)
        closed.__cause__ = self.core.failure or self._error
        return closed

    def _close_has_begun(self) -> None:
        """Start the clock of the close; let everybody see what has changed."""
        if self._is_over:
            return
        if self._closing_since is None:
            self._closing_since = self.now()
        self._pump.flush()
        self._pump.resume()
        self._wake_users()
        self._advance()

    def _wake_users(self) -> None:
        if self.drained is not None:
            self.drained.set()
        self._pump.wake_receiver()

    # -- for the pump --------------------------------------------------------------------------------------------------

    def may_read(self) -> bool:
        """Say whether to read on; if not, the pump is told when that may have changed."""
        core = self.core
        self.is_held_back = core.has_more or core.is_failing or self.input_ended or not self._has_space
        return not self.is_held_back

    @property
    def _has_space(self) -> bool:
        return (
            self.inbox.size + self.core.held < self.inbox.limit
            or (self.receiver_waits and not self.inbox)
            or self.core.state is State.CLOSED
            or self.is_discarding
        )

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; also what came behind the head of the opening handshake.

        It is on the pump to wake the task that receives, if there is something for it.
        """
        self.keepalive.heard = self.now()
        core, inbox = self.core, self.inbox
        taken = inbox.put_frames(data) if core.expects_frame and not self.is_discarding else 0
        if taken < len(data) or not data:
            self._feed_rest(data, taken)
        self.reads_freely = core.expects_frame and inbox.size < inbox.limit and not self.input_ended

    @property
    def has_piece(self) -> bool:
        """Whether there is a part of a message for the task that receives."""
        return self._wants_pieces and self.core.held > 0

    def _feed_rest(self, data: bytes, start: int) -> None:
        """Take what is not just whole, plain messages, or more than there is room for."""
        try:
            self._receive(data, start)
            while self.core.has_more and self._has_space:
                self._receive(b"", 0)
        except Exception as exc:  # of an extension
            self.crash(exc)
        if self.core.has_data_to_send:
            self._pump.flush()
        if self.core.state is State.CLOSED:
            if self.core.is_server_done:
                self.input_ended = True
            self._close_has_begun()
        elif self.core.failure is not None:
            self.is_held_back = True
            self._advance()
        elif self.core.has_more:
            self.is_held_back = True

    def _receive(self, data: bytes, start: int) -> None:
        room = self.inbox.limit - self.inbox.size
        self._take(self.core.receive_data(data, start=start, enough=room))

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, _MESSAGE):
                if not self.is_discarding:
                    self.inbox.put(event)
            elif isinstance(event, Pong):
                self.pings.answered(event.payload, time.perf_counter())
            elif isinstance(event, Close):
                self.logger.debug("received Close %s", event)

    def feed_buffer(self, count: int) -> None:
        """Take so many bytes, that were read into what `Connection.get_buffer` has given."""
        if count:
            self.keepalive.heard = self.now()
        self._take(self.core.buffer_updated(count))
        self.reads_freely = self.core.expects_frame and self.inbox.size < self.inbox.limit

    def feed_eof(self) -> None:
        """Take notice that the peer has ended its side."""
        self.input_ended = True
        self.reads_freely = False
        self._advance()

    def lose(self, error: BaseException, *, input_too: bool) -> None:
        """Take notice that the connection is lost.

        What the peer has sent before may still be read, its Close above all, if only writing has failed.
        """
        if self._is_over:
            return
        self._error = self._error or error
        self.outbox.is_open = False
        if input_too:
            self.feed_eof()
        else:
            self._close_has_begun()

    def written(self) -> None:
        """Take notice that all is written that waited for the peer."""
        self._advance()

    def crash(self, exc: Exception) -> None:
        """Cut the connection: something went wrong that cannot."""
        self._detail = self._detail or "internal error"
        self.logger.error("internal error; the connection is cut", exc_info=exc)
        self.cut()

    def give_up(self, why: str) -> None:
        """Cut the connection, and say why."""
        self._detail = self._detail or why
        self.logger.info("%s; the connection is cut", why)
        self.cut()

    def closed(self, error: Exception | None = None) -> None:
        """Take notice that the stream is closed, as far as it could be: the connection is over."""
        if error is not None:
            self.logger.error("the stream could not be closed", exc_info=error)
        self._is_over = True
        self.core.receive_eof()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._over is not None:
            self._over.set()
        self._wake_users()
        self._pump = CLOSED
        self.pings.abandon()
        self.logger.debug("closed (%s)", self.core.close_code)

    # -- the life of the connection ------------------------------------------------------------------------------------

    def start(self, background: Background) -> None:
        """Begin; the connection lives until its stream is closed.

        Args:
            background: outlives the connection.
        """
        self._background = background
        try:
            self._pump.start(background)
        except Exception as exc:
            self.crash(exc)
        if self._is_cut:
            self._pump.close()
        self._advance()

    def _advance(self) -> None:
        """Do what is due."""
        if self._background is None or self._is_cut:
            return
        if self.core.failure is not None and not self._has_failed:
            self._fail_when_due()
        if self.input_ended and not self._is_cut:
            self._end_when_due()
        self._watch_clock()

    def _advance_soon(self) -> None:
        if self._background is not None:
            self._background.call_soon(self._advance)

    def _fail_when_due(self) -> None:
        """Answer a violation, once the messages before it have been taken and answered and the next is asked for."""
        if self._failing_since is None:
            self._failing_since = self.now()
        if self.core.is_failing and self.now() < self._failing_since + _FAILURE_GRACE:
            if self.core.has_data_to_send:
                self._pump.flush()
            if self.inbox or not self.receiver_waits or not self._pump.has_written:
                self.is_held_back = True
                return
        if self._has_failed:  # in writing
            return
        self._has_failed = True
        self.logger.info("the peer broke a rule: %s", self.core.failure)
        self.core.fail()
        if self.core.is_server_done:
            self.input_ended = True
        self._close_has_begun()

    def _end_when_due(self) -> None:
        """Write the rest, and then end the stream; in ``close_timeout`` at most, from the beginning of the close."""
        if not self._is_ending:
            self._is_ending = True
            if self.core.state is not State.CLOSED or self._closing_since is None:
                self.core.receive_eof()
                self._close_has_begun()  # and it comes back
                return
        if self._lingers_until is None and self._pump.has_written:
            # Once the peer's Close has come, nothing follows that a reset could destroy.
            self._lingers_until = math.inf if self.core.close_received is None else self.now() + LINGER
            self._pump.end()

    @property
    def _deadline(self) -> float:
        """When to look at the clock."""
        if self._closing_since is not None:
            timeout = self.options.close_timeout
            deadline = math.inf if timeout is None else self._closing_since + timeout
            return deadline if self._lingers_until is None else min(deadline, self._lingers_until)
        if self._failing_since is not None:
            return self._failing_since + _FAILURE_GRACE
        return self.keepalive.deadline

    def _watch_clock(self) -> None:
        deadline = self._deadline
        if self._background is None or self._is_cut or (self._timer is not None and self._timer_due <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline == math.inf else self._background.call_at(deadline, self._check_clock)
        self._timer_due = deadline

    def _check_clock(self) -> None:
        self._timer = None
        now = self.now()
        if now >= self._deadline:
            if self._lingers_until is not None and now >= self._lingers_until:
                self.cut()
            elif self._closing_since is not None:
                self.give_up(f"the close took more than {self.options.close_timeout:g} s")
            elif self._failing_since is not None:
                self._advance()
            else:
                self._check_silence(now)
        self._watch_clock()

    def _check_silence(self, now: float) -> None:
        verdict = self.keepalive.check(now, deaf=not self.may_read())
        if verdict is Verdict.PING and self.core.state is State.OPEN:
            self.core.send_ping(os.urandom(4))
            self.flush()
        elif verdict is Verdict.PONG and self.core.state is State.OPEN and not self.core.has_data_to_send:
            self.core.send_pong()
            self.flush()
        elif verdict is Verdict.GIVE_UP:
            interval, timeout = self.options.ping_interval or 0, self.options.ping_timeout or 0
            self.give_up(f"the peer was silent for {interval + timeout:g} s")
