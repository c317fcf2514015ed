"""The running connection: the protocol core, the received messages, and the clock.

How this works. A pump moves the bytes: it feeds the link with what arrives, and writes what the core has queued.
Senders and receivers change the core and the inbox directly, and tell the pump. The link itself never waits, so it
needs no task: whatever changes, and a timer, calls it. `Life` says what is due then, and the link carries it out.
Nothing here ever raises into a task group.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint

from anyws._logs import ConnectionLogger
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSStream
from anyws.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedLocally,
    ConnectionClosedOK,
    is_clean,
)
from anyws.protocol.closing import Close
from anyws.protocol.connection import Connection, Event as Received, Pong, State
from anyws.protocol.outbox import Outbox
from anyws.protocol.speedups import MessageQueue

from .keepalive import CONTROL_FRAMES_SIZE, Keepalive, Verdict
from .life import CLOSE_IN_PROGRESS, READING, Due, Event, Life, Phase
from .options import ConnectionOptions
from .pings import PendingPings
from .pumps import CLOSED, Background, Pump, Timer, new_pump
from .wakeup import Wakeup

__all__ = ["MESSAGES_PER_TURN", "Link"]

C = TypeVar("C", bound=ConnectionClosed)

MESSAGES_PER_TURN = 64
"""How many messages a task may receive, or send, before others have their turn, and cancellation is looked at."""

# How long a cancelled block may take to write its Close, in seconds.
_CANCELLED_CLOSE_TIME = 0.05
# How often all tasks have their turn before a silent peer is dropped: what waits in a stream needs a few to arrive.
_LOOK_TURNS = 8

_MESSAGE = (str, bytes)
_NONE: Mapping[Any, Callable[[], Any]] = {}
_ADDRESSES = (
    SocketAttribute.local_address,
    SocketAttribute.local_port,
    SocketAttribute.remote_address,
    SocketAttribute.remote_port,
)
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
        "_detail",
        "_error",
        "_has_said_end",
        "_is_looking",
        "_life",
        "_over",
        "_pump",
        "_timer",
        "_timer_due",
        "_undelivered",
        "_wants_pieces",
        "addresses",
        "core",
        "drained",
        "inbox",
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
        self.addresses: Mapping[Any, Callable[[], Any]] = _addresses(stream)
        """Typed attributes that the stream may not know any more when the connection has ended."""
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
        self._wants_pieces = False  # that task takes a message piece by piece, while it is still coming in
        self._has_said_end = False  # that we would send no more
        self.is_discarding: bool = False
        """Whether messages that come are dropped: nobody wants them any more."""
        self._detail = ""  # why the connection was lost, where neither the network nor the core says so
        self._error: BaseException | None = None  # the network's error
        self._undelivered: int | None = 0  # bytes of messages that the peer has not taken; None once that was told
        self._life = Life(options.close_timeout)
        self._over: anyio.Event | None = None
        self.now: Callable[[], float] = self._pump.now
        self.keepalive: Keepalive = Keepalive(options.ping_interval, options.ping_timeout, self.now())
        self._background: Background | None = None  # until it begins
        self._timer: Timer | None = None
        self._timer_due = math.inf
        self._is_looking = False  # whether a deadline has passed, and what may wait unread is read first
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
            ConnectionClosedOK: no message will come; the connection was closed cleanly.
            ConnectionClosedError: no message will come.
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
            self._advance_soon()  # whoever received a message has yet to answer it
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
        if self.core.state is State.OPEN and not self.core.is_failing and self._error is None:
            self.core.send_close(code, reason)
            self.logger.debug("sent Close %s", self.core.close_sent)
        self._has_said_end = True
        if discard:
            self.discard()
        self._happened(Event.CLOSE)

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
            raise self._closed(ConnectionClosedOK if is_clean(self.core.close_received) else ConnectionClosedError)
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

    def abort(self) -> None:
        """Close the stream at once."""
        self._note_undelivered()
        self._happened(Event.ABORT)

    @property
    def is_over(self) -> bool:
        """Whether the stream is closed."""
        return self._life.phase is Phase.OVER

    async def wait_over(self) -> None:
        """Wait until the stream is closed."""
        if not self.is_over:
            await self._pump.attend()
        if not self.is_over:
            self._over = self._over or anyio.Event()
            await self._over.wait()

    def check_delivered(self) -> None:
        """Raise, once, if messages were accepted that the peer has not taken.

        Raises:
            ConnectionClosedError: some were not delivered.
        """
        if self._undelivered and self.core.close_received is None:
            raise self._closed(ConnectionClosedError)

    def check_sendable(self) -> None:
        """Raise unless something can be sent.

        Raises:
            ConnectionClosedLocally: we began to close.
            ConnectionClosedError: the peer closed, or the connection is lost.
        """
        if self.core.state is not State.OPEN or self._error is not None:
            raise self._closed(ConnectionClosedLocally if self._has_said_end else ConnectionClosedError)

    def _at_end(self) -> ConnectionClosed:
        core = self.core
        decisive = core.close_sent if core.state is not State.CLOSED else core.close_received
        return self._closed(ConnectionClosedOK if is_clean(decisive) else ConnectionClosedError)

    def broken(self) -> ConnectionClosedError:
        """Return the exception for what was cut short, whatever the close code."""
        return self._closed(ConnectionClosedError)

    def _closed(self, exception: type[C]) -> C:
        undelivered = (self._undelivered or 0) if self.core.close_received is None else 0
        if undelivered:
            self._undelivered = None
        closed = exception(
            received=self.core.close_received,
            sent=self.core.close_sent,
            detail=self._detail,
            undelivered=undelivered,
        )
        closed.__cause__ = self.core.failure or self._error
        return closed

    def _note_undelivered(self, in_kernel: int = 0) -> None:
        """Remember how many bytes of messages the peer has not taken, unless its Close says that it wants no more."""
        core = self.core
        if core.close_received is None and self._undelivered is not None:
            held = self.outbox.data_size + max(0, self._pump.unsent - self.outbox.control_taken) - core.close_size
            unacknowledged = in_kernel if in_kernel > CONTROL_FRAMES_SIZE else 0
            self._undelivered = max(self._undelivered, held + unacknowledged, 0)

    def _wake_users(self) -> None:
        if self.drained is not None:
            self.drained.set()
        self._pump.wake_receiver()

    # -- for the pump --------------------------------------------------------------------------------------------------

    @property
    def input_ended(self) -> bool:
        """Whether nothing more is to be read: the peer has ended its side, or it is up to us to end."""
        return self._life.phase not in READING

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
        self._receive(data, start)
        while self.core.has_more and self._has_space:
            self._receive(b"", 0)
        if self.core.has_data_to_send:
            self._pump.flush()
        if self.core.state is State.CLOSED:
            self._happened(Event.HANDSHAKE_DONE if self.core.is_server_done else Event.CLOSE)
        elif self.core.failure is not None:
            self.is_held_back = True
            self._happened(Event.VIOLATION)
        elif self.core.has_more:
            self.is_held_back = True

    def _receive(self, data: bytes, start: int) -> None:
        room = self.inbox.limit - self.inbox.size
        self._take(self.core.receive_data(data, start=start, enough=room))

    def _take(self, events: Sequence[Received]) -> None:
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
        """The peer has ended its side."""
        self.reads_freely = False
        self._happened(Event.INPUT_ENDED)

    def connection_lost(self, error: BaseException, *, input_too: bool) -> None:
        """The connection is lost.

        If only writing has failed, what the peer has sent before can still be read, above all its Close.
        """
        self._error = self._error or error
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

    def fail_internally(self, exc: BaseException) -> None:
        """Abort the connection because of an error that should be impossible; no message is skipped or cut short."""
        self._detail = self._detail or "internal error"
        self._error = self._error or exc
        self.abort()
        self.logger.error("internal error; the connection is aborted", exc_info=exc)

    def drop(self, why: str) -> None:
        """Abort the connection, and say why."""
        self._detail = self._detail or why
        self._note_undelivered(self._pump.output().waiting - self.outbox.size - self._pump.unsent)
        self.abort()
        self.logger.info("%s; the connection is aborted", why)

    def closed(self, error: Exception | None = None) -> None:
        """The stream is closed, as far as possible: the connection is over."""
        if error is not None:
            self.logger.error("the stream could not be closed", exc_info=error)
        self._note_undelivered()
        self.core.receive_eof()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._happened(Event.STREAM_CLOSED)
        if self._over is not None:
            self._over.set()
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
            self.fail_internally(exc)
        if self._life.phase is Phase.ABORTING:
            self._pump.close()
        self._advance()

    def _happened(self, event: Event) -> None:
        """Tell the life of the connection, and do what is due."""
        self._carry_out(self._life.happened(event, self.now()))

    def _carry_out(self, dues: Sequence[Due]) -> None:
        for due in dues:
            self._carry_out_one[due](self)
        self._advance()

    def _advance(self) -> None:
        """Report what has become true, and watch the clock."""
        if self._background is None:
            return
        phase = self._life.phase
        if phase is Phase.FAILING:
            self._answer_when_due()
        elif phase is Phase.ENDING and self._pump.has_written:
            self._happened(Event.WRITTEN if self.core.close_received is None else Event.FINISHED)
        self._watch_clock()

    def _advance_soon(self) -> None:
        if self._background is not None:
            self._background.call_soon(self._advance)

    def _answer_when_due(self) -> None:
        """Answer a violation once the messages before it were received and answered, and the next is asked for."""
        if self.core.has_data_to_send:
            self._pump.flush()
        if self._life.phase is not Phase.FAILING:  # writing failed
            return
        if self.inbox or not self.receiver_waits or not self._pump.has_written:
            self.is_held_back = True
        else:
            self._happened(Event.ANSWERED)

    def _fail(self) -> None:
        self.logger.info("the peer broke a rule: %s", self.core.failure)
        self._note_undelivered()
        self.core.fail()
        if self.core.is_server_done:
            self._life.happened(Event.HANDSHAKE_DONE, self.now())  # what is due then follows here anyway

    def _end_input(self) -> None:
        self._note_undelivered()
        self.core.receive_eof()

    def _notify(self) -> None:
        self._pump.flush()
        self._pump.resume()
        self._wake_users()

    def _observe(self) -> None:
        self._life.observe(self.now(), self._pump.output())

    def _end_output(self) -> None:
        self._pump.end()

    def _close_stream(self) -> None:
        if self._background is not None:
            self._pump.close()

    def _report_timeout(self) -> None:
        why = f"the close took more than {self.options.close_timeout:g} s"
        self._detail = self._detail or why
        self._note_undelivered(self._pump.output().waiting - self.outbox.size - self._pump.unsent)
        self.logger.info("%s; the connection is aborted", why)

    def _look(self) -> None:
        """Read what waits, and then look at the clock again."""
        assert self._background is not None
        self._is_looking = True
        self._pump.look()
        self._background.start_soon(self._look_again)

    async def _look_again(self) -> None:
        for _ in range(_LOOK_TURNS):
            await checkpoint()
        self._is_looking = False
        self._check_clock()

    @property
    def _deadline(self) -> float:
        """When to look at the clock."""
        return self.keepalive.deadline if self._life.phase is Phase.OPEN else self._life.deadline

    def _watch_clock(self) -> None:
        deadline = self._deadline
        if self._background is None or self._is_looking or (self._timer is not None and self._timer_due <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline == math.inf else self._background.call_at(deadline, self._check_clock)
        self._timer_due = deadline

    def _check_clock(self) -> None:
        self._timer = None
        if self._is_looking or self.is_over:
            return
        try:
            now = self.now()
            if now >= self._deadline:
                if self._life.phase is Phase.OPEN:
                    self._check_silence(now)
                else:
                    self._carry_out(self._life.check(now, self._pump.output()))
        except Exception as exc:
            self.fail_internally(exc)
        self._watch_clock()

    def _check_silence(self, now: float) -> None:
        verdict = self.keepalive.check(now, deaf=not self.may_read(), output=self._pump.output())
        if verdict is Verdict.PING and self.core.state is State.OPEN:
            self.core.send_ping(os.urandom(4))
            self.flush()
        elif verdict is Verdict.PONG and self.core.state is State.OPEN and not self.core.has_data_to_send:
            self.core.send_pong()
            self.flush()
        elif verdict is Verdict.LOOK:
            self._look()
        elif verdict is Verdict.DROP:
            interval, timeout = self.options.ping_interval or 0, self.options.ping_timeout or 0
            self.drop(f"the peer was silent for {interval + timeout:g} s")

    _carry_out_one: ClassVar[dict[Due, Callable[[Link], None]]] = {
        Due.FAIL: _fail,
        Due.END_INPUT: _end_input,
        Due.NOTIFY: _notify,
        Due.OBSERVE: _observe,
        Due.END_OUTPUT: _end_output,
        Due.LOOK: _look,
        Due.REPORT_TIMEOUT: _report_timeout,
        Due.CLOSE_STREAM: _close_stream,
    }


def _addresses(stream: ByteStream) -> Mapping[Any, Callable[[], Any]]:
    """Return the addresses that a stream has now; ours remembers its own."""
    if isinstance(stream, SocketStream) or (
        isinstance(stream, TLSStream) and isinstance(stream.transport_stream, SocketStream)
    ):
        return _NONE
    found = {name: stream.extra(name, None) for name in _ADDRESSES}
    return {name: functools.partial(found.__getitem__, name) for name in found if found[name] is not None}
