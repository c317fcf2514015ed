"""TLS (RFC 8446) over a byte stream.

Why not AnyIO's own stream: there nobody else can move the bytes. Here the records are made and read without I/O, so
that what owns a socket may read and write it in its own way.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from .stream import receive_at_once, send_at_once

__all__ = ["TLSRecords", "TLSStream"]

_RECORD_SIZE = 16384  # the largest record (5.1)
_PIECE_SIZE = 65536  # bytes that are encrypted in one go: below the size for which the allocator maps fresh pages
_READ_SIZE = 65536
# TLS answers some messages by itself: a KeyUpdate (RFC 8446, section 4.6.3), an attempt to renegotiate. This many bytes of such
# answers may wait to be sent, about 600. BoringSSL accepts 32 KeyUpdates in a row, Go 16 records without data.
_MAX_ANSWERS = 16384


class TLSRecords:
    """One end of a TLS connection, without I/O.

    Args:
        context: certificates, and what is demanded of the peer's.
        server_side: which end we are.
        hostname: whom a client asks for, and expects in the certificate.
    """

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl_object: ssl.SSLObject = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname
        )
        self.end: Exception | None = None
        """Why no more data will come: `anyio.EndOfStream` after the peer's close_notify, an `ssl.SSLError`, or
        `anyio.BrokenResourceError`."""

    def handshake(self, data: bytes) -> bool:
        """Take bytes of the peer's handshake; say whether it is complete. What to answer is in `data_to_send`.

        Raises:
            ssl.SSLError: the two do not agree, or the certificate is not trusted.
        """
        self._incoming.write(data)
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would give anything."""
        return self._outgoing.pending > 0

    def data_to_send(self) -> bytes:
        """Take what is to be sent and is no application data: of the handshake, an alert, an answer of TLS itself."""
        return self._outgoing.read()

    def answers(self) -> list[bytes]:
        """Return what `data_to_send` gives in a list; an empty one if there is nothing."""
        return [self._outgoing.read()] if self._outgoing.pending else []

    def encrypt(self, buffers: Sequence[bytes]) -> list[bytes]:
        """Return the records of application data, and of what waited to be sent before it, in a few pieces.

        Raises:
            BrokenResourceError: the peer negotiates anew (TLS 1.2): it is not waited for.
            ssl.SSLError: we have sent close_notify.
        """
        pieces: list[bytes] = []
        try:
            for buffer in buffers:
                if len(buffer) <= _PIECE_SIZE:
                    self.ssl_object.write(buffer)
                    pieces.append(self._outgoing.read())
                else:
                    view = memoryview(buffer)
                    for start in range(0, len(buffer), _PIECE_SIZE):
                        self.ssl_object.write(view[start : start + _PIECE_SIZE])
                        pieces.append(self._outgoing.read())
        except ssl.SSLWantReadError as exc:
            raise anyio.BrokenResourceError("the peer negotiates TLS anew") from exc
        return pieces

    def decrypt(self, data: bytes) -> bytes:
        """Take bytes of the peer and return all application data that has come; empty if there is none, see `end`.

        Raises:
            MemoryError: a part of the data is lost, so no more will come.
        """
        pieces: list[bytes] = []
        try:
            self._incoming.write(data)
            while self.end is None and (self._incoming.pending or self.ssl_object.pending()):
                piece = self.ssl_object.read(_RECORD_SIZE)
                if piece:
                    pieces.append(piece)
                else:
                    self.end = anyio.EndOfStream()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # once we have sent ours
            self.end = anyio.EndOfStream()
        except ssl.SSLError as exc:
            self.end = exc
        except MemoryError:
            self.end = anyio.BrokenResourceError("a part of the data was lost when memory ran out")
            raise
        if self._outgoing.pending > _MAX_ANSWERS:
            self.end = self.end or anyio.BrokenResourceError(
                f"the peer makes TLS answer more than it reads: over {_MAX_ANSWERS} bytes of answers wait to be sent"
            )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def decrypt_eof(self) -> None:
        """Take notice that the peer has ended its side of the stream."""
        if self.end is None:
            self.end = anyio.BrokenResourceError("the peer ended TCP without TLS's close_notify")

    def close(self) -> bytes:
        """Return our close_notify, with what waited to be sent before it; the peer's data may still come (6.1)."""
        try:
            self.ssl_object.unwrap()
        except (ssl.SSLError, OSError):  # it wants the peer's, or the connection has failed before
            pass
        return self._outgoing.read()


class TLSStream(ByteStream):
    """TLS on a byte stream; from `wrap`. It owns the stream.

    A cancelled `receive` loses nothing. A cancelled `send` may have sent a part: the stream is then broken.

    Attributes:
        transport_stream: the stream below.
        records: what encrypts and decrypts.
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
        """Make the TLS handshake. If that fails, the peer gets the alert, and the stream is still the caller's.

        Args:
            stream: the byte stream.
            context: certificates, and what is demanded of the peer's.
            server_side: which end we are.
            hostname: whom a client asks for, in ASCII.

        Raises:
            ssl.SSLError: the two do not agree, or the certificate is not trusted.
            EndOfStream: the peer ended the stream.
            BrokenResourceError: the connection is lost.
        """

        def new_records() -> TLSRecords:
            return TLSRecords(context, server_side=server_side, hostname=hostname)

        # Another kind of context may read files or ask the system.
        records = new_records() if type(context) is ssl.SSLContext else await to_thread.run_sync(new_records)
        data = b""
        try:
            while not records.handshake(data):
                await send_at_once(stream, records.data_to_send())
                data = await (stream.receive() if data else receive_at_once(stream))
        except ssl.SSLError:
            try:
                await send_at_once(stream, records.data_to_send())
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            raise
        await send_at_once(stream, records.data_to_send())
        return cls(stream, records)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has come, at least 1 byte and at most ``max_bytes``.

        Raises:
            EndOfStream: the peer has sent close_notify.
            BrokenResourceError: the connection is lost, or was ended without close_notify.
            ssl.SSLError: the peer broke a rule of TLS, or sent an alert.
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
        """Write all of the bytes.

        Raises:
            BrokenResourceError: the connection is lost, or a `send` was cancelled before.
            ssl.SSLError: we have sent close_notify.
        """
        if self._broken:
            raise anyio.BrokenResourceError("a send was cancelled before")
        self._broken = True
        for piece in self.records.encrypt([item]):
            await self.transport_stream.send(piece)
        self._broken = False

    async def send_eof(self) -> None:
        """Send close_notify; the peer's side stays open."""
        await self.transport_stream.send(self.records.close())

    async def aclose(self) -> None:
        """Send close_notify if that needs no waiting, and close the stream below."""
        try:
            if not self._broken:
                await self.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self.records.end = anyio.ClosedResourceError()  # an error that was raised would refer to this stream
            await self.transport_stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the stream below, and `anyio.streams.tls.TLSAttribute`."""
        tls = self.records.ssl_object
        ours: list[tuple[Any, Callable[[], Any]]] = [
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
        return {**self.transport_stream.extra_attributes, **dict(ours)}
