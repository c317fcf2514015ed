"""TLS (RFC 8446) over a byte stream.

AnyIO's own TLS stream always does the I/O itself. Here, records are encrypted and decrypted without I/O, so that the
owner of a socket can read and write it in its own way.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from .stream import receive_eagerly, send_eagerly

__all__ = ["TLSRecords", "TLSStream", "tls_attributes"]

_RECORD_SIZE = 16384  # the maximum size of a record (RFC 8446, section 5.1)
_PIECE_SIZE = 65536  # bytes to encrypt at once, below the size for which the allocator maps new pages
_READ_SIZE = 65536
# TLS responds to some messages automatically: to a KeyUpdate (RFC 8446, section 4.6.3) and to a renegotiation. This is
# the maximum number of bytes of such responses, about 600 of them, that may be queued. BoringSSL accepts 32 KeyUpdates
# in a row, and Go accepts 16 records without data.
_MAX_RESPONSES = 16384


class TLSRecords:
    """One end of a TLS connection, without I/O.

    Args:
        context: the TLS settings.
        server_side: whether this side is the server.
        hostname: the host for SNI and for the verification of the certificate, on a client.
    """

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl_object: ssl.SSLObject = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname
        )
        self.is_quiet: bool = True
        """Whether `decrypt` left nothing else to do: no end, and no bytes to send."""
        self.end: Exception | None = None
        """Why there will be no more data: `anyio.EndOfStream` after the peer's close_notify, an `ssl.SSLError`, or
        `anyio.BrokenResourceError`."""

    def handshake(self, data: bytes) -> bool:
        """Process handshake bytes from the peer; return whether the handshake is complete. Then send `data_to_send`.

        Raises:
            ssl.SSLError: the handshake failed, or the certificate is not trusted.
        """
        self._incoming.write(data)
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return any bytes."""
        return self._outgoing.pending > 0

    def data_to_send(self) -> bytes:
        """Return and remove the bytes to send that are not application data, such as handshake messages and alerts."""
        return self._outgoing.read()

    def buffers_to_send(self) -> list[bytes]:
        """Return the bytes of `data_to_send` in a list, which is empty if there are none."""
        return [self._outgoing.read()] if self._outgoing.pending else []

    def encrypt(self, buffers: Sequence[bytes]) -> list[bytes]:
        """Encrypt application data; return its records after any other bytes to send, in a few pieces.

        Raises:
            BrokenResourceError: the peer is renegotiating (TLS 1.2), which is not supported.
            ssl.SSLError: we have already sent close_notify.
        """
        pieces: list[bytes] = []
        for buffer in buffers:
            if len(buffer) <= _PIECE_SIZE:
                pieces.append(self.encrypt_piece(buffer))
            else:
                view = memoryview(buffer)
                for start in range(0, len(buffer), _PIECE_SIZE):
                    pieces.append(self.encrypt_piece(view[start : start + _PIECE_SIZE]))
        return pieces

    def encrypt_piece(self, data: bytes | memoryview) -> bytes:
        """Encrypt at most 64 KiB; return its records after any other bytes to send. Raises as `encrypt`."""
        try:
            self.ssl_object.write(data)
        except ssl.SSLWantReadError as exc:
            raise anyio.BrokenResourceError("the peer is renegotiating TLS, which is not supported") from exc
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt bytes from the peer; return all available application data, which may be empty. See also `end`.

        Raises:
            MemoryError: memory ran out and a part of the data was lost, so there will be no more data.
        """
        incoming = self._incoming
        pieces: list[bytes] = []
        try:
            incoming.write(data)
            while self.end is None and (incoming.pending or self.ssl_object.pending()):
                piece = self.ssl_object.read(_RECORD_SIZE)
                if not piece:
                    self.end = anyio.EndOfStream()
                else:
                    pieces.append(piece)
                    if len(piece) < _RECORD_SIZE and not incoming.pending:  # the usual case, for speed
                        break
        except (ssl.SSLError, MemoryError) as exc:
            self._reading_failed(exc)
        if self.end is not None or self._outgoing.pending:
            self._note_response()
        else:
            self.is_quiet = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def decrypt_into(self, data: bytes, buffer: memoryview, count: int) -> int:
        """Decrypt bytes from the peer into a buffer until it is full. This saves two copies of a large message.

        ``decrypt(b"")`` returns what did not fit. See also `end`.

        Args:
            data: the bytes.
            buffer: where the data goes; no part of it is referred to later.
            count: how many bytes the buffer has already.

        Returns:
            How many bytes the buffer has now.

        Raises:
            MemoryError: see `decrypt`.
        """
        incoming, size = self._incoming, len(buffer)
        read: Any = self.ssl_object.read  # with a buffer, it returns an int, which its annotation lacks
        try:
            incoming.write(data)
            while count < size and self.end is None and (incoming.pending or self.ssl_object.pending()):
                piece = read(_RECORD_SIZE, buffer[count : count + _RECORD_SIZE])
                if not piece:
                    self.end = anyio.EndOfStream()
                count += piece
        except (ssl.SSLError, MemoryError) as exc:
            self._reading_failed(exc)
        self._note_response()
        return count

    def _reading_failed(self, exc: ssl.SSLError | MemoryError) -> None:
        if isinstance(exc, ssl.SSLWantReadError):
            return
        if isinstance(exc, MemoryError):
            self.end = anyio.BrokenResourceError("a part of the data was lost when memory ran out")
            raise exc
        if isinstance(exc, ssl.SSLZeroReturnError):  # the peer's close_notify after ours
            self.end = anyio.EndOfStream()
        else:
            self.end = exc

    def _note_response(self) -> None:
        """Note what else there is to do, and limit the responses that TLS has queued."""
        self.is_quiet = self.end is None and not self._outgoing.pending
        if self._outgoing.pending > _MAX_RESPONSES:
            self.end = self.end or anyio.BrokenResourceError(
                f"the peer does not read TLS responses: more than {_MAX_RESPONSES} bytes of them are queued"
            )

    def decrypt_eof(self) -> None:
        """Handle the end of the peer's side of the stream."""
        if self.end is None:
            self.end = anyio.BrokenResourceError("the peer ended the stream without close_notify")

    def close(self) -> bytes:
        """Return the bytes to send up to our close_notify. The peer may still send data (RFC 8446, section 6.1)."""
        try:
            self.ssl_object.unwrap()
        except (ssl.SSLError, OSError):  # it waits for the peer's close_notify, or the connection has already failed
            pass
        return self._outgoing.read()


class TLSStream(ByteStream):
    """TLS over a byte stream, which it owns. Use `wrap` to create one.

    Cancelling `receive` loses no data. Cancelling `send` may have sent a part of the data, so it breaks the stream.

    Attributes:
        transport_stream: the underlying stream.
        records: encrypts and decrypts the data.
    """

    def __init__(self, transport_stream: ByteStream, records: TLSRecords) -> None:
        self.transport_stream = transport_stream
        self.records = records
        self._received = b""
        self._broken = False

    @classmethod
    async def wrap(
        cls, stream: ByteStream, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None
    ) -> TLSStream:
        """Make the TLS handshake. If it fails, the peer receives an alert, and the caller must close the stream.

        Args:
            stream: the byte stream.
            context: the TLS settings.
            server_side: whether this side is the server.
            hostname: the host in ASCII, for SNI and for the verification of the certificate, on a client.

        Raises:
            ssl.SSLError: the handshake failed, or the certificate is not trusted.
            EndOfStream: the peer ended the stream.
            BrokenResourceError: the connection was lost.
        """

        def new_records() -> TLSRecords:
            return TLSRecords(context, server_side=server_side, hostname=hostname)

        # A subclass of SSLContext may read files or access the system, so it needs a thread.
        records = new_records() if type(context) is ssl.SSLContext else await to_thread.run_sync(new_records)
        data = b""
        try:
            while not records.handshake(data):
                await send_eagerly(stream, records.data_to_send())
                data = await (stream.receive() if data else receive_eagerly(stream))
        except ssl.SSLError:
            try:
                await send_eagerly(stream, records.data_to_send())
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            raise
        await send_eagerly(stream, records.data_to_send())
        return cls(stream, records)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive at least 1 and at most ``max_bytes`` bytes.

        Raises:
            EndOfStream: the peer has sent close_notify.
            BrokenResourceError: the connection was lost, or ended without close_notify.
            ssl.SSLError: the peer violated the TLS protocol, or sent an alert.
        """
        data = b""
        while not self._received:
            self._received = self.records.decrypt(data)
            if not self._received:
                if self.records.end is not None:
                    raise self.records.end
                try:
                    data = await self.transport_stream.receive(_READ_SIZE)
                except anyio.EndOfStream:
                    self.records.decrypt_eof()
        data, self._received = self._received[:max_bytes], self._received[max_bytes:]
        return data

    async def send(self, item: bytes) -> None:
        """Write all bytes.

        Raises:
            BrokenResourceError: the connection was lost, or an earlier `send` was cancelled.
            ssl.SSLError: we have already sent close_notify.
        """
        if self._broken:
            raise anyio.BrokenResourceError("an earlier send() was cancelled")
        self._broken = True
        for piece in self.records.encrypt([item]):
            await self.transport_stream.send(piece)
        self._broken = False

    async def send_eof(self) -> None:
        """Send close_notify. The peer's side stays open."""
        await self.transport_stream.send(self.records.close())

    async def aclose(self) -> None:
        """Send close_notify, unless a `send` was cancelled, and close the underlying stream."""
        try:
            if not self._broken:
                await self.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            # Replace an error that was raised: its traceback refers to this stream, which would be a reference cycle.
            self.records.end = anyio.ClosedResourceError()
            await self.transport_stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of the underlying stream and of `anyio.streams.tls.TLSAttribute`."""
        return {**self.transport_stream.extra_attributes, **tls_attributes(self.records.ssl_object)}


def tls_attributes(tls: ssl.SSLObject | ssl.SSLSocket) -> dict[Any, Callable[[], Any]]:
    """Return the attributes of `anyio.streams.tls.TLSAttribute` for an established connection."""
    attributes: list[tuple[Any, Callable[[], Any]]] = [
        (TLSAttribute.alpn_protocol, tls.selected_alpn_protocol),
        (TLSAttribute.channel_binding_tls_unique, tls.get_channel_binding),
        (TLSAttribute.cipher, tls.cipher),
        (TLSAttribute.peer_certificate, tls.getpeercert),
        (TLSAttribute.peer_certificate_binary, lambda: tls.getpeercert(binary_form=True)),
        (TLSAttribute.server_side, lambda: tls.server_side),
        (TLSAttribute.shared_ciphers, lambda: tls.shared_ciphers() if tls.server_side else None),
        (TLSAttribute.standard_compatible, lambda: True),
        (TLSAttribute.ssl_object, lambda: tls),
        (TLSAttribute.tls_version, tls.version),
    ]
    return dict(attributes)
