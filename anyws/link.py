"""The running connection: what moves bytes between a byte stream and the protocol core, and watches the clock.

How this works. Three tasks belong to a link, and none of them ever raises into the task group of its owner:

* the reader feeds the core, unless the inbox is full; it alone decides that the connection has ended;
* the writer writes what the core has queued, one batch at a time: it alone writes, so a cancelled sender leaves nothing
  half-sent, and a blocked write never keeps the reader from reading;
* the watch sends Pings to a silent peer, and once a close has begun it cuts the connection after ``close_timeout``.

Senders and receivers change the core and the inbox directly, and wake the tasks.
"""

from __future__ import annotations

import enum
import os
import time
from typing import TypeVar

import anyio
from anyio.abc import ByteStream

from .exceptions import ConnectionBroken, ConnectionClosed, ConnectionClosedLocally, ConnectionEnded, is_clean
from .inbox import Inbox
from .logs import ConnectionLogger
from .options import ConnectionOptions
from .pings import PendingPings
from .protocol.closing import Close
from .protocol.connection import Connection, Pong, State
from .transport.ending import LINGER, STREAM_ERRORS, end_stream
from .wakeup import Wakeup

__all__ = ["Link"]

C = TypeVar("C", bound=ConnectionClosed)

_READ_SIZE = 65536  # above it the allocator maps fresh pages for every read
_WRITE_SIZE = 65536  # of which each part must go out within ``write_timeout``
# A Close that is written in passing, when a block is cancelled, may take no longer than this. Seconds.
_PARTING_TIME = 0.05
# How long messages that came before a violation may take to be answered, before the violation is. Seconds.
_FAILURE_GRACE = 0.5


class _Ending(enum.Enum):
    """Whether we said that we would send no more, and whether we still want what the peer sends."""

    NOT_YET = enum.auto()
    SENDING_ENDED = enum.auto()
    ALL_ENDED = enum.auto()


class Link:
    """One running connection.

    Args:
        stream: the byte stream; the link owns it.
        core: the protocol, OPEN.
        options: limits and times.
        logger: where to say what happens; contents of messages are never said.
    """

    def __init__(
        self, stream: ByteStream, core: Connection, options: ConnectionOptions, logger: ConnectionLogger
    ) -> None:
        self.stream = stream
        self.core = core
        self.options = options
        self.logger = logger
        self.inbox: Inbox = Inbox(options.receive_buffer)
        self.pings: PendingPings = PendingPings()
        self.arrived: Wakeup = Wakeup()
        """Something has changed for the one task that receives."""
        self.drained: Wakeup = Wakeup()
        """Something has changed for the one task that waits for room to send."""
        self.ended: anyio.Event = anyio.Event()
        """The stream is closed."""
        self.receiver_waits = False
        """Whether a task waits for a message: it has taken all before, and one larger than the inbox may come."""
        self._ending = _Ending.NOT_YET
        self._detail = ""  # why the connection broke, where neither the network nor the core says so
        self._error: BaseException | None = None  # the network's error
        # Shielded: a cancelled owner parts, and cuts, before the stream is closed.
        self._scope = anyio.CancelScope(shield=True)
        self._to_read = Wakeup()
        self._to_write = Wakeup()
        self._writing = False
        self._written = Wakeup()
        self._closing = anyio.Event()
        self._last_heard = anyio.current_time()
        self._reading_paused = False

    # -- for senders and receivers -------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether a sender need not wait."""
        return self.core.queued < self.options.send_buffer

    def flush(self) -> None:
        """Let the writer see what the core has queued."""
        self._to_write.set()

    def resume_reading(self) -> None:
        """Let the reader see that there is room again, or that a task waits."""
        if self._reading_paused:
            self._to_read.set()

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
        if self.core.state is State.OPEN:
            self.core.send_close(code, reason)
            self.logger.debug("sent Close %s", self.core.close_sent)
        if discard:
            self.discard()
        elif self._ending is _Ending.NOT_YET:
            self._ending = _Ending.SENDING_ENDED
        self._close_has_begun()

    def discard(self) -> None:
        """Drop the messages that have come or still come: nobody wants them."""
        self._ending = _Ending.ALL_ENDED
        self.inbox.clear()
        self._to_read.set()

    async def ping(self, payload: bytes | None) -> float:
        """Send a Ping and return the latency of its Pong, in seconds."""
        self.check_sendable()
        payload = os.urandom(4) if payload is None else bytes(payload)
        self.core.send_ping(payload)
        self.flush()
        ping = self.pings.add(payload, time.perf_counter())
        try:
            await ping.done.wait()
        finally:
            self.pings.discard(ping)
        if ping.latency is None:
            raise self._closed(ConnectionEnded if is_clean(self.core.close_received) else ConnectionBroken)
        return ping.latency

    async def part(self, code: int) -> None:
        """Write a Close if that needs no waiting, and close the stream at once."""
        if not self._writing:
            self.core.fail()
            if self.core.state is State.OPEN:
                self.core.send_close(code)
            with anyio.move_on_after(_PARTING_TIME, shield=True):
                await self._write_rest()
        self.cut()

    def cut(self) -> None:
        """Close the stream at once."""
        self._scope.cancel()

    def check_sendable(self) -> None:
        """Raise unless something can be sent.

        Raises:
            ConnectionClosedLocally: we began to close.
            ConnectionBroken: the peer closed, or the connection is lost.
        """
        if self.core.state is not State.OPEN or self._error is not None:
            raise self._closed(ConnectionBroken if self._ending is _Ending.NOT_YET else ConnectionClosedLocally)

    def check_receivable(self) -> None:
        """Raise unless a message may still come.

        Raises:
            ConnectionEnded: the connection was closed cleanly.
            ConnectionBroken: it ended in any other way.
        """
        core = self.core
        if core.state is State.CLOSED or self._ending is _Ending.ALL_ENDED:
            decisive = core.close_sent if core.state is not State.CLOSED else core.close_received
            raise self._closed(ConnectionEnded if is_clean(decisive) else ConnectionBroken)

    def broken(self) -> ConnectionBroken:
        """Return the exception for what was cut short, whatever the close code."""
        return self._closed(ConnectionBroken)

    def _closed(self, exception: type[C]) -> C:
        closed = exception(received=self.core.close_received, sent=self.core.close_sent, detail=self._detail)
        closed.__cause__ = self.core.failure or self._error
        return closed

    def _close_has_begun(self) -> None:
        """Start the clock of the close; let everybody see what has changed."""
        self._closing.set()
        self._to_write.set()
        self._wake_users()

    def _wake_users(self) -> None:
        self.arrived.set()
        self.drained.set()

    # -- the tasks -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the connection until its stream is closed; `cut` ends it, but no cancellation from outside does."""
        try:
            with self._scope:
                await self._run_tasks()
        except Exception:
            self._detail = self._detail or "internal error"
            self.logger.exception("internal error; the connection is cut")
        finally:
            self.core.receive_eof()
            await self._close_stream()
            self.ended.set()
            self._wake_users()
            self.pings.abandon()
            self.logger.debug("closed (%s)", self.core.close_code)

    async def _run_tasks(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            tasks.start_soon(self._watch)
            await self._read()
            self.core.receive_eof()
            self._close_has_begun()
            await self._write_rest()
            # Once the peer's Close has come, nothing follows that a reset could destroy.
            with anyio.move_on_after(None if self.core.close_received is None else LINGER):
                await end_stream(self.stream)
            tasks.cancel_scope.cancel()

    async def _close_stream(self) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.aclose_forcefully(self.stream)
            except Exception:
                self.logger.exception("the stream could not be closed")

    async def _read(self) -> None:
        """Feed the core, until the peer has ended or it is on us to end."""
        while not self.core.is_server_done:
            if self.core.is_failing:
                await self._fail()
                continue
            if not self._wants_data():
                await self._pause()
                self._last_heard = anyio.current_time()
                continue
            try:
                data = await self.stream.receive(_READ_SIZE)
            except anyio.EndOfStream:
                return
            except STREAM_ERRORS as exc:
                self._error = self._error or exc
                return
            self.feed(data)
            del data  # an idle connection keeps nothing

    async def _pause(self) -> None:
        """Wait until a receiver has taken something, or wants something."""
        self._reading_paused = True
        try:
            await self._to_read.wait()
        finally:
            self._reading_paused = False

    async def _fail(self) -> None:
        """Answer a violation, once the messages before it have been taken and answered and the next is asked for."""
        with anyio.move_on_after(_FAILURE_GRACE):
            while self._ending is not _Ending.ALL_ENDED and (self.inbox or not self.receiver_waits):
                await self._pause()
            await self._write_rest()
        self.logger.info("the peer broke a rule: %s", self.core.failure)
        self.core.fail()
        self._close_has_begun()

    def _wants_data(self) -> bool:
        if self.core.state is State.CLOSED or self._ending is _Ending.ALL_ENDED:
            return True
        if self.receiver_waits and not self.inbox:
            return True
        return self.inbox.size + self.core.held < self.inbox.limit

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; also what came behind the head of the opening handshake."""
        self._last_heard = anyio.current_time()
        for event in self.core.receive_data(data):
            if isinstance(event, str | bytes):
                if self._ending is not _Ending.ALL_ENDED:
                    self.inbox.put(event)
            elif isinstance(event, Pong):
                self.pings.answered(event.payload, time.perf_counter())
            elif isinstance(event, Close):
                self.logger.debug("received Close %s", event)
        if self.core.has_data_to_send:
            self._to_write.set()
        if self.core.state is State.CLOSED:
            self._close_has_begun()
        self.arrived.set()

    async def _write(self) -> None:
        """Write what the core has queued, as it comes."""
        while True:
            while data := self.core.data_to_send():
                self._writing = True
                try:
                    await self._send(data)
                except STREAM_ERRORS as exc:
                    # What the peer has sent before may still be read, its Close above all.
                    self._error = self._error or exc
                    self._close_has_begun()
                    self._written.set()
                    return
                self._writing = False
                self.drained.set()
            self._written.set()
            await self._to_write.wait()

    async def _send(self, data: bytes) -> None:
        timeout = self.options.write_timeout
        if timeout is None:
            await self.stream.send(data)
            return
        for start in range(0, len(data), _WRITE_SIZE):  # a large message may well take longer than a part of it
            with anyio.move_on_after(timeout) as scope:
                await self.stream.send(data[start : start + _WRITE_SIZE])
            if scope.cancelled_caught:
                self._detail = f"the peer took no data for {timeout:g} s"
                self.logger.info("%s; the connection is cut", self._detail)
                self.cut()

    async def _write_rest(self) -> None:
        while self._error is None and (self._writing or self.core.has_data_to_send):
            self._to_write.set()
            await self._written.wait()

    async def _watch(self) -> None:
        """Find out whether a silent peer is alive; see that a close comes to an end."""
        await self._keep_alive()
        timeout = self.options.close_timeout
        if timeout is not None and not await self._ended_within(timeout):
            self._detail = self._detail or f"the close took more than {timeout:g} s"
            self.cut()

    async def _keep_alive(self) -> None:
        """Return when a close has begun; cut the connection of a peer that does not answer."""
        interval, timeout = self.options.ping_interval, self.options.ping_timeout
        if interval is None:
            await self._closing.wait()
            return
        while True:
            heard = self._last_heard
            if await self._closing_within(heard + interval - anyio.current_time()):
                return
            if self._reading_paused:
                # Its sign of life may well be among what we do not read.
                self._last_heard = anyio.current_time()
            if self._last_heard > heard:
                continue
            self.core.send_ping(os.urandom(4))
            self.flush()
            if timeout is None:
                self._last_heard = anyio.current_time()
                continue
            if await self._closing_within(timeout):
                return
            if self._last_heard == heard and not self._reading_paused:
                self._detail = f"the peer was silent for {interval + timeout:g} s"
                self.logger.info("%s; the connection is cut", self._detail)
                self.cut()

    async def _closing_within(self, seconds: float) -> bool:
        with anyio.move_on_after(max(seconds, 0)):
            await self._closing.wait()
        return self._closing.is_set()

    async def _ended_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self.ended.wait()
        return self.ended.is_set()
