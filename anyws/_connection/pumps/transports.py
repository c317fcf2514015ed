"""The pump for an asyncio transport that another server has created, such as an ASGI server.

How this works: the transport delivers data unasked, so the pump pauses it while the inbox is full. The transport also
buffers what the socket does not accept, and pauses the pump meanwhile; both buffers together have the limit of ours.

For speed, the first message of a task's turn is written to the socket directly, if the transport has nothing buffered.
What follows in the same turn is written together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anyws._connection.keepalive import Output
from anyws._transport.stream import unacknowledged_bytes

from .background import Background
from .pump import GatheringPump, LinkInterface
from .signals import Signal, clock_of
from .transport_stream import TransportStream

__all__ = ["TransportPump"]


class TransportPump(GatheringPump):
    """Processes the calls that a transport makes to its protocol; whoever is the protocol forwards them.

    It starts no task.
    """

    __slots__ = (
        "_arrived",
        "_buffered",
        "_has_ended",
        "_is_direct",
        "_is_lost",
        "_is_reading_paused",
        "_is_running_task",
        "_loop",
        "_stream",
    )

    _arrived: Signal

    def __init__(
        self, link: LinkInterface, stream: TransportStream, loop: asyncio.AbstractEventLoop, *, has_sockets: bool
    ) -> None:
        self._loop = loop
        super().__init__(link, clock_of(loop))
        self._stream = stream
        # Whether the socket may be written to while the transport has nothing buffered.
        self._is_direct = has_sockets and stream.is_plain_socket
        self._is_running_task = False
        self._is_lost = False  # nothing more can be written
        self._has_ended = False  # our side has ended; whatever still arrives is dropped
        self._is_reading_paused = False
        # A transport in memory need not have a buffer.
        self._buffered: Callable[[], int] = getattr(stream.transport, "get_write_buffer_size", int)

    def new_wakeup(self) -> Signal:
        """Return the cheapest kind of `Wakeup` on this event loop."""
        return Signal(self._loop)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if not self._is_running_task:  # otherwise, `data_received` flushes
            self._loop.call_soon(callback)

    def start(self, background: Background) -> None:
        """Start reading and writing."""
        super().start(background)
        # Without a descriptor, the plain path leaves writing to this pump. It never reads.
        descriptor = self._stream.raw_socket.fileno() if self._is_direct else -1
        self._link.path.attach(self, self._link.keepalive, self.now, self._arrived, None, descriptor)
        if self._is_direct:
            self._stream.transport.set_write_buffer_limits(0)
        self._link.outbox.gathers = True
        self._allow_direct()
        self.flush()
        self._pause_if_full()

    def on_readable(self) -> None:
        """Do nothing: the transport reads on its own."""

    # -- reading -------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Process data, and run the task that waits for a message; then write what that has sent."""
        if self._has_ended:
            return
        link = self._link
        inbox = link.inbox
        try:
            if inbox.is_on_fast_path and inbox.is_open and inbox.size < inbox.limit:  # for speed: plain messages
                link.keepalive.last_heard = self.now()
                position = inbox.put_frames(data)
                if position < len(data):
                    link.feed(data[position:])
            else:
                link.feed(data)
            if inbox.size or link.intake.has_piece:
                self._run_task()
        except Exception as exc:
            link.fail_internally(exc)
        self._pause_if_full()

    def _run_task(self) -> None:
        """Run the task that waits for a message, and write what it sends."""
        if self._stream.raw_socket is None:  # a transport in memory: this may be a call of a task
            self._arrived.set()
            return
        self._allow_direct()
        self._is_running_task = True
        try:
            self._arrived.set_now()
        finally:
            self._is_running_task = False
        if self._link.outbox.is_flush_due:
            self.flush()

    def eof_received(self) -> None:
        """Process the end of the peer's side; the transport then closes itself."""
        if not self._has_ended:
            self._link.feed_eof()

    def resume(self) -> None:
        """Read again, if the link now wants to."""
        if self._is_reading_paused and not self._is_lost and self._link.may_read():
            self._link.keepalive.last_heard = self.now()
            self._resume_reading()

    def _pause_if_full(self) -> None:
        inbox = self._link.inbox
        if (inbox.is_on_fast_path and inbox.size < inbox.limit) or self._is_reading_paused or self._is_lost:
            return
        if not (self._link.may_read() or self._link.input_ended):  # at the end, the transport watches for its peer's
            self._is_reading_paused = True
            self._stream.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._stream.transport.resume_reading()

    # -- writing -------------------------------------------------------------------------------------------------------

    def flush(self, *, is_last: bool = False) -> None:
        """Pass what the core has queued to the transport, unless the transport has paused writing."""
        if self._is_writing or self._is_lost or self._background is None:
            return
        link, transport = self._link, self._stream.transport
        outbox = link.outbox
        while buffers := outbox.take():
            if len(buffers) == 1:
                outbox.sent += len(buffers[0])
                transport.write(buffers[0])
            else:
                outbox.sent += sum(map(len, buffers))
                transport.writelines(buffers)
            if self._is_writing or not (outbox.size or outbox.pongs):
                break
        self._allow_direct()
        if link.drained is not None:
            link.drained.set()

    def write_rest(self, header: bytes, payload: bytes, written: int, error: int) -> None:
        """Pass to the transport what the socket did not accept of a frame; it also finds the error, if there was one.

        Args:
            header: the header; empty if the payload is the whole frame.
            payload: the payload.
            written: the number of bytes that the socket has accepted.
            error: the error number of a failed write; 0 if there was no error.
        """
        rest = (header + payload)[written:]
        self._link.outbox.sent += len(rest)
        self._stream.transport.write(rest)

    def _allow_direct(self) -> None:
        """Note whether the next message may be written to the socket before anything else is."""
        self._link.outbox.is_direct = self._is_direct and not (self._is_writing or self._has_ended)

    def pause_writing(self) -> None:
        """Write nothing until the transport has written its buffer. If that is full, no message is accepted."""
        self._is_writing = True
        outbox, buffered = self._link.outbox, self._buffered()
        outbox.is_direct = False
        outbox.limit = max(0, self._link.options.send_buffer - buffered) if buffered else 0

    def resume_writing(self) -> None:
        """Write again: the socket has accepted the buffer."""
        self._is_writing = False
        self._link.outbox.limit = self._link.options.send_buffer
        self._allow_direct()
        self.flush()
        if not self._is_writing:
            self._notify_written()

    @property
    def has_written(self) -> bool:
        """Whether the socket has accepted everything, or nothing more can be written.

        If not, the transport is asked to tell `resume_writing` when it has.
        """
        if not self._is_lost and not self._is_writing and self._buffered():
            self._stream.transport.set_write_buffer_limits(0)  # calls pause_writing()
        return self._is_lost or not self._is_writing

    def output(self) -> Output:
        """Return how many of our bytes were delivered, and how many are waiting."""
        outbox = self._link.outbox
        queued = self._buffered()
        if self._stream.raw_socket is not None:
            queued += unacknowledged_bytes(self._stream.raw_socket)
        return Output(outbox.sent - queued, outbox.size + queued)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End our side. If the peer may still be sending, wait until it has ended its side.

        Closing a socket that has unread data resets the connection, and a reset may destroy the last bytes that we sent
        (RFC 6455, section 7.1.1). With TLS, the transport waits for the peer's close_notify by itself.
        """
        self._has_ended = True
        self._link.outbox.is_direct = False
        self._resume_reading()
        transport = self._stream.transport
        if self._link.core.close_received is not None or not self._stream.is_plain_socket:
            transport.close()
        elif not transport.is_closing():
            transport.write_eof()

    def close(self) -> None:
        """Close the transport immediately; it then calls `connection_lost`."""
        self._is_lost = self._has_ended = True
        self._link.outbox.is_direct = False
        transport = self._stream.transport
        if self._stream.ssl_object is not None or self._buffered():
            transport.abort()
        else:
            transport.close()  # there is nothing for which it could wait

    def connection_lost(self, exc: Exception | None) -> None:
        """Process the end of the transport."""
        self._is_lost = self._has_ended = True
        self._is_writing = self._link.outbox.is_direct = False
        self._link.path.detach()
        if exc is not None:
            self._link.connection_lost(exc, input_too=True)
        self._notify_written()
        self._link.closed()
