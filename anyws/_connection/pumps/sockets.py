"""The base of the pumps for sockets: TCP and unix sockets, with or without TLS, on every event loop."""

from __future__ import annotations

import errno
import functools
import os
from abc import abstractmethod
from collections.abc import Callable

import anyio

from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords
from anyws.protocol.speedups import Payload

from .background import Background
from .pump import READ_SIZE, LinkInterface
from .writing import SocketWriter

__all__ = ["SocketPump"]

_CLOSE = 0x88  # the first byte of a Close (RFC 6455, section 5.2)


class SocketPump(SocketWriter):
    """A pump that reads a socket without waiting, whenever its subclass finds it readable, and ends it."""

    __slots__ = ("_is_tls_end_due",)

    def __init__(
        self, link: LinkInterface, stream: SocketStream, records: TLSRecords | None, now: Callable[[], float]
    ) -> None:
        super().__init__(link, stream, records, now)
        self._is_tls_end_due = False  # the end of TLS is to be reported after the messages before it

    def start(self, background: Background) -> None:
        """Start reading and writing."""
        super().start(background)
        link = self._link
        link.path.attach(self, link.keepalive, self.now, self._arrived, self._records, self._stream.fileno())
        if link.outbox or self._records is not None:  # TLS may have responses to send as well
            self.flush()
        self._allow_direct()
        if self._records is not None:
            self._check_tls_end(self._records)

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
            self._link.abort()  # in the middle of a transition
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
            self._process(self.close)

    def close(self) -> None:
        """Close the stream immediately."""
        if not self._is_closed:
            self._is_closed = True
            self._is_lost = True
            self._link.outbox.is_direct = False
            self._link.path.detach()
            self._stop()
            self._stream.close()
            if self._written is not None:
                self._written.set()
            self._link.closed()

    @abstractmethod
    def _stop(self) -> None:
        """Stop waiting for the socket."""

    def resume(self) -> None:
        """Report the end of TLS once there was room for the messages before it."""
        if self._is_tls_end_due and self._records is not None and not self._is_closed:
            self._check_tls_end(self._records)

    def poll(self) -> None:
        """Read what has arrived, if the link wants it."""
        if not self._is_closed and not self._is_postponed and self._background is not None:
            if self._has_ended:
                self._discard_input()
            elif self._link.may_read():
                self._read()
                self.wake_receiver()

    def _read(self) -> None:
        """Read once, without waiting. An error while processing, such as a `MemoryError`, aborts the connection."""
        link = self._link
        try:
            if not link.inbox.is_on_fast_path and (buffer := link.core.get_buffer()) is not None:
                self._read_into(buffer)
            else:
                self._read_and_feed()
        except anyio.WouldBlock:
            pass
        except anyio.EndOfStream:
            self.reading_ended()
        except STREAM_ERRORS as exc:
            self._process(functools.partial(link.connection_lost, exc, input_too=True))
        except Exception as exc:
            link.fail_internally(exc)

    def _process(self, end: Callable[[], None]) -> None:
        """Process what ends the connection, now or soon; until then, read nothing.

        If a proxy or a network fails, thousands of connections end at the same moment, and each runs a handler to its
        end. In slices, that does not hold up the other connections.
        """
        assert self._background is not None
        if not self._background.call_in_slices(functools.partial(self._process_now, end)):
            self._is_postponed = True
            self._pause_reading()

    def _pause_reading(self) -> None:
        """Let the event loop no longer report that the socket is readable, if it does so without being asked."""

    def _process_now(self, end: Callable[[], None]) -> None:
        was_postponed, self._is_postponed = self._is_postponed, False
        if self._is_closed:
            return
        try:
            end()
        except Exception as exc:
            self._link.fail_internally(exc)
        if was_postponed:
            self.wake_receiver()
            self.resume()

    # -- for the plain path, which reads by itself ---------------------------------------------------------------------

    @abstractmethod
    def on_readable(self) -> None:
        """Read once, without waiting, and wake the task that waits for a message."""

    @abstractmethod
    def _wake_now(self) -> None:
        """Wake the task that waits, if there is something for it."""

    # An exception in these methods ends the connection as well: the plain path calls `Link.fail_internally`.

    def feed(self, data: bytes) -> None:
        """Process bytes that are not plain."""
        self._feed(data)
        self._wake_now()

    def _feed(self, data: bytes) -> None:
        """Process bytes that were not encrypted; TLS may end with the bytes of a Close, so that must not wait."""
        if data[0] == _CLOSE:
            self._process(functools.partial(self._link.feed, data))
        else:
            self._link.feed(data)

    def feed_large(self, header: bytes, payload: Payload) -> None:
        """Process the beginning of a large message; see `Connection.receive_large`."""
        self._link.intake.feed_large(header, payload)
        self._wake_now()

    def feed_decrypted(self, data: bytes) -> None:
        """Process decrypted bytes that are not plain, and what else TLS has received."""
        self._feed_decrypted(data)
        self._wake_now()

    def reading_ended(self) -> None:
        """Process the end of the peer's side."""
        self._process(self._input_ended)

    def _input_ended(self) -> None:
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
            lost = self._stream.translated(exc)
            self._process(functools.partial(self._link.connection_lost, lost, input_too=True))

    def _read_and_feed(self) -> None:
        data = self._stream.receive_nowait(READ_SIZE)
        if self._records is None:
            self._feed(data)
        else:
            self._feed_decrypted(self._records.decrypt(data))

    def _feed_decrypted(self, data: bytes) -> None:
        records = self._records
        assert records is not None
        self._link.feed(data)
        self._check_tls(records)

    def _read_into(self, buffer: memoryview) -> None:
        """Read part of a large message directly into its final buffer."""
        records, count, size = self._records, 0, len(buffer)
        try:
            with buffer:
                if records is None:
                    count = self._stream.receive_into_nowait(buffer)
                else:
                    data = self._stream.receive_nowait(READ_SIZE)
                    self._link.keepalive.last_heard = self.now()  # even if no record is complete
                    count = records.decrypt_into(data, buffer, 0)
                    while len(data) == READ_SIZE and count < size and records.is_quiet:  # there is probably more
                        data = self._stream.receive_nowait(READ_SIZE)
                        count = records.decrypt_into(data, buffer, count)
        finally:
            self._link.feed_buffer(count)
        if records is not None:
            if count == size and (rest := records.decrypt(b"")):
                self._link.feed(rest)
            self._check_tls(records)

    def _check_tls(self, records: TLSRecords) -> None:
        """Process what else TLS has received, and write its responses."""
        if not records.is_quiet:
            self._check_tls_end(records)
            if records.has_data_to_send:
                self.flush()

    def _check_tls_end(self, records: TLSRecords) -> None:
        """Report the end of TLS, which may arrive together with the last data: after all of that, see `resume`."""
        self._is_tls_end_due = records.end is not None and self._link.core.has_more
        if self._is_tls_end_due:
            return
        if isinstance(records.end, anyio.EndOfStream):
            self._link.feed_eof()
        elif records.end is not None:
            self._link.connection_lost(records.end, input_too=True)
