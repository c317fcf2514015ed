"""The base of the pumps for sockets: TCP and unix sockets, with or without TLS, on every event loop."""

from __future__ import annotations

import errno
import functools
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence

import anyio

from anyws._connection.keepalive import Output
from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords
from anyws.protocol.speedups import Payload

from .background import Background
from .pump import READ_SIZE, LinkInterface, Pump

__all__ = ["SocketPump"]

_WRITE_SIZE = 65536  # when this much is queued, it is written immediately


class SocketPump(Pump):
    """A pump that writes to a socket directly, and starts a task for what the socket does not accept yet.

    Args:
        link: the link.
        stream: the socket.
        records: the TLS layer, if TLS is used.
        now: the clock of the event loop, in seconds.
    """

    __slots__ = (
        "_has_ended",
        "_has_peer_ended",
        "_is_closed",
        "_is_lost",
        "_is_tls_ended",
        "_records",
        "_stream",
    )

    def __init__(
        self, link: LinkInterface, stream: SocketStream, records: TLSRecords | None, now: Callable[[], float]
    ) -> None:
        super().__init__(link, now)
        self._stream = stream
        self._records = records
        self._is_lost = False
        self._is_closed = False
        self._is_tls_ended = False  # on our side
        self._has_ended = False  # our side has ended; whatever still arrives is dropped
        self._has_peer_ended = False

    @abstractmethod
    def _call_soon(self, callback: Callable[[], None]) -> None:
        """Call a function in the next iteration of the event loop."""

    def start(self, background: Background) -> None:
        """Start reading and writing."""
        super().start(background)
        link = self._link
        link.path.attach(self, link.keepalive, self.now, self._arrived, self._records, self._stream.fileno())
        self.flush()
        self._allow_direct()
        if self._records is not None:
            self._check_tls_end(self._records)

    def _allow_direct(self) -> None:
        """Note whether the next message may be written to the socket before anything else is."""
        self._link.outbox.is_direct = not (self._is_writing or self._is_lost or self._is_tls_ended)

    def flush(self) -> None:
        """Write what the core has queued, as much as the socket accepts."""
        if self._is_writing or self._is_lost or self._background is None:
            return
        outbox, records = self._link.outbox, self._records
        try:
            while True:
                buffers = outbox.take()
                if records is not None and buffers:
                    buffers = records.encrypt(buffers)
                elif records is not None:
                    buffers = records.buffers_to_send()
                    outbox.control_taken = sum(map(len, buffers))
                if not buffers:
                    break
                self.unsent = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
                written = self._stream.send_nowait(buffers)
                outbox.sent += written
                self.unsent -= written
                if self.unsent:
                    self._write_later(_without(buffers, written))
                    break
                if not outbox.size and not outbox.pongs:
                    break
        except Exception as exc:  # for example MemoryError; what was taken from the outbox is lost
            self.writing_failed(exc)
        else:
            if self._link.drained is not None:
                self._link.drained.set()

    def flush_soon(self) -> None:
        """Write soon, together with what is queued next; at the latest in the next iteration of the event loop."""
        outbox = self._link.outbox
        if outbox.size >= _WRITE_SIZE:
            self.flush()
        elif not outbox.is_flush_due:
            outbox.is_flush_due = True
            self._call_soon(self._flush_now)

    def end(self) -> None:
        """End our side, and abort once the peer has ended its side.

        Closing a socket that has unread data resets the connection, and a reset may destroy the last bytes that we sent
        (RFC 6455, section 7.1.1). So whatever still arrives is read and dropped.
        """
        try:
            if self._records is not None and not self._is_tls_ended:
                self._is_tls_ended = True
                last = self._records.close()
                written = self._stream.send_nowait([last]) if last and not self._is_lost else len(last)
                if written < len(last):
                    self._write_later([memoryview(last)[written:]])
                    return
            self._stream.send_eof_nowait()
        except STREAM_ERRORS:
            self._has_peer_ended = True
        self._has_ended = True
        if self._has_peer_ended:
            self._link.abort()
        else:
            self._start_discarding()

    @abstractmethod
    def _start_discarding(self) -> None:
        """Call `_discard_input` whenever data arrives."""

    def _discard_input(self) -> None:
        """Drop the data that has arrived."""
        try:
            self._stream.receive_nowait(READ_SIZE)
        except anyio.WouldBlock:
            pass
        except (anyio.EndOfStream, *STREAM_ERRORS):
            self._link.abort()

    def close(self) -> None:
        """Close the stream immediately."""
        if not self._is_closed:
            self._is_closed = True
            self._is_lost = True
            self._link.outbox.is_direct = False
            self._link.path.detach()
            self._stop()
            self._stream.close()
            self._notify_written()
            self._link.closed()

    @abstractmethod
    def _stop(self) -> None:
        """Stop waiting for the socket."""

    def _flush_now(self) -> None:
        if self._link.outbox.is_flush_due:
            self._link.outbox.is_flush_due = False
            self.flush()

    def write_rest(self, header: bytes, payload: bytes, written: int, error: int) -> None:
        """Write what the socket did not accept of a frame that was written directly.

        Args:
            header: the header; empty if the payload is the whole frame.
            payload: the payload.
            written: the number of bytes that the socket has accepted.
            error: the error number of a failed write; 0 if there was no error.
        """
        self.unsent = len(header) + len(payload) - written
        self._link.outbox.control_taken = 0  # nothing of the rest is a control frame
        try:
            if error:
                self._output_lost(self._stream.translated(OSError(error, os.strerror(error))))
            else:
                self._write_later(_without([header, payload], written))
        except Exception as exc:
            self._link.fail_internally(exc)

    def writing_failed(self, exc: Exception) -> None:
        """Process an error in a message that was accepted."""
        if isinstance(exc, STREAM_ERRORS):
            self._output_lost(exc)
        else:
            self._link.fail_internally(exc)

    def _write_later(self, rest: list[memoryview]) -> None:
        self._is_writing = True
        self._link.outbox.is_direct = False
        self._start(functools.partial(self._write, rest))

    async def _write(self, rest: list[memoryview]) -> None:
        try:
            for view in rest:
                buffer = view
                while buffer and not self._is_lost:
                    await self._within_write_timeout(self._stream.wait_writable)
                    written = 0 if self._is_closed else self._stream.send_nowait([buffer])
                    self._link.outbox.sent += written
                    self.unsent -= written
                    buffer = buffer[written:]
        except STREAM_ERRORS as exc:
            self._is_writing = False
            self._output_lost(exc)
        else:
            self._is_writing = False
            self.flush()
            self._allow_direct()
        if not self._is_writing:
            self._notify_written()
            if self._is_tls_ended and not self._has_ended:
                self.end()

    def _output_lost(self, exc: BaseException) -> None:
        self._is_lost = True
        self._link.outbox.is_direct = False
        self._link.connection_lost(exc, input_too=False)

    def output(self) -> Output:
        """Return how many of our bytes were delivered, and how many are waiting."""
        return self._output_of(None if self._is_closed else self._stream.raw_socket)

    def poll(self) -> None:
        """Read what has arrived, if the link wants it."""
        if not self._is_closed and self._background is not None:
            if self._has_ended:
                self._discard_input()
            elif self._link.may_read():
                self._read()
                self.wake_receiver()

    def _read(self) -> None:
        """Read once, without waiting. An error while processing, such as a `MemoryError`, aborts the connection."""
        link = self._link
        try:
            if (
                not link.inbox.is_on_fast_path
                and self._records is None
                and (buffer := link.core.get_buffer()) is not None
            ):
                self._read_into(buffer)
            else:
                self._read_and_feed()
        except anyio.WouldBlock:
            pass
        except anyio.EndOfStream:
            self.reading_ended()
        except STREAM_ERRORS as exc:
            link.connection_lost(exc, input_too=True)
        except Exception as exc:
            link.fail_internally(exc)

    # -- for the plain path, which reads by itself ---------------------------------------------------------------------

    @abstractmethod
    def on_readable(self) -> None:
        """Read once, without waiting, and wake the task that waits for a message."""

    @abstractmethod
    def _wake_now(self) -> None:
        """Wake the task that waits, if there is something for it."""

    def feed(self, data: bytes) -> None:
        """Process bytes that are not plain."""
        try:
            self._link.feed(data)
        except Exception as exc:
            self._link.fail_internally(exc)
        self._wake_now()

    def feed_large(self, header: bytes, payload: Payload) -> None:
        """Process the beginning of a large message; see `Connection.receive_large`."""
        try:
            self._link.intake.feed_large(header, payload)
        except Exception as exc:
            self._link.fail_internally(exc)
        self._wake_now()

    def feed_decrypted(self, data: bytes) -> None:
        """Process decrypted bytes that are not plain, and what else TLS has received."""
        try:
            self._feed_decrypted(data)
        except Exception as exc:
            self._link.fail_internally(exc)
        self._wake_now()

    def reading_ended(self) -> None:
        """Process the end of the peer's side."""
        self._has_peer_ended = True
        if self._records is None:
            self._link.feed_eof()
        else:
            self._records.decrypt_eof()
            self._check_tls_end(self._records)

    def reading_failed(self, error: int) -> None:
        """Process an error while reading, by its number."""
        exc = OSError(error, os.strerror(error))
        if error == errno.ENOMEM:
            self._link.fail_internally(exc)
        else:
            self._link.connection_lost(self._stream.translated(exc), input_too=True)

    def _read_and_feed(self) -> None:
        data = self._stream.receive_nowait(READ_SIZE)
        if self._records is None:
            self._link.feed(data)
        else:
            self._feed_decrypted(self._records.decrypt(data))

    def _feed_decrypted(self, data: bytes) -> None:
        records = self._records
        assert records is not None
        self._link.feed(data)
        if not records.is_quiet:
            self._check_tls_end(records)
            if records.has_data_to_send:
                self.flush()

    def _read_into(self, buffer: memoryview) -> None:
        """Read part of a large message directly into its final buffer."""
        count = 0
        try:
            with buffer:
                count = self._stream.receive_into_nowait(buffer)
        finally:
            self._link.feed_buffer(count)

    def _check_tls_end(self, records: TLSRecords) -> None:
        """Report the end of TLS, which may arrive together with the last data."""
        if isinstance(records.end, anyio.EndOfStream):
            self._link.feed_eof()
        elif records.end is not None:
            self._link.connection_lost(records.end, input_too=True)


def _without(buffers: Sequence[bytes], written: int) -> list[memoryview]:
    """Return the buffers without their first ``written`` bytes."""
    rest: list[memoryview] = []
    for buffer in buffers:
        if written < len(buffer):
            rest.append(memoryview(buffer)[written:])
        written = max(0, written - len(buffer))
    return rest
