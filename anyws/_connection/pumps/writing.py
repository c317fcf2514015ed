"""The writing half of the pumps for sockets: directly, or in a task for what the socket does not accept yet."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

from anyws._connection.keepalive import Output
from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSRecords

from .pump import GatheringPump, LinkInterface

__all__ = ["SocketWriter"]


class SocketWriter(GatheringPump):
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
        "_is_postponed",
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
        self._is_postponed = False  # what ends the connection has been read, and is processed soon

    def _allow_direct(self) -> None:
        """Note whether the next message may be written to the socket before anything else is."""
        self._link.outbox.is_direct = not (self._is_writing or self._is_lost or self._is_tls_ended)

    def flush(self, *, is_last: bool = False) -> None:
        """Write what the core has queued, as much as the socket accepts; see `Pump.flush`."""
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
                written = self._stream.send_nowait(buffers, more_follows=is_last and records is None)
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


def _without(buffers: Sequence[bytes], written: int) -> list[memoryview]:
    """Return the buffers without their first ``written`` bytes."""
    rest: list[memoryview] = []
    for buffer in buffers:
        if written < len(buffer):
            rest.append(memoryview(buffer)[written:])
        written = max(0, written - len(buffer))
    return rest
