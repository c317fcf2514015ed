"""Ends byte streams gracefully, so that a reset does not destroy data that was sent."""

from __future__ import annotations

import ssl

import anyio
from anyio.abc import AnyByteStream
from anyio.streams.tls import TLSStream as AnyIOTLSStream

from .stream import SocketStream, receive_eagerly
from .tls import TLSStream

__all__ = ["LINGER", "STREAM_ERRORS", "abort_stream", "end_stream"]

LINGER = 1
"""The time in seconds for a peer to read our last bytes and end its side, once we expect nothing more from it."""

STREAM_ERRORS = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, ssl.SSLError)
"""What a stream raises when its connection is lost."""


async def end_stream(stream: AnyByteStream) -> None:
    """End our side and wait until the peer ends its side. The caller must set a timeout and close the stream.

    Closing a socket that has unread data resets the connection, and a reset may destroy the last bytes that we sent
    (RFC 6455, section 7.1.1). Therefore incoming data is read and discarded.
    """
    try:
        while isinstance(stream, TLSStream | AnyIOTLSStream):  # nested if the proxy also uses TLS
            stream = await _end_tls(stream)
        if isinstance(stream, SocketStream):
            stream.send_eof_nowait()
            await receive_eagerly(stream)  # usually there is no data, and this raises EndOfStream
        else:
            try:
                await stream.send_eof()
            except (NotImplementedError, RuntimeError):  # no half-close; or the connection was lost (AnyIO on uvloop)
                pass
        while True:
            await stream.receive()
    except (anyio.EndOfStream, *STREAM_ERRORS):
        pass


async def abort_stream(stream: AnyByteStream) -> None:
    """Close a stream immediately, even in a cancelled scope."""
    below = stream.transport_stream if isinstance(stream, TLSStream) else stream
    if isinstance(below, SocketStream):
        below.close()
    else:
        await anyio.aclose_forcefully(stream)


async def _end_tls(stream: TLSStream | AnyIOTLSStream) -> AnyByteStream:
    """Send close_notify (RFC 8446, section 6.1). AnyIO also waits for the peer's; a missing one is ignored."""
    try:
        if isinstance(stream, TLSStream):
            await stream.send_eof()
        else:
            await stream.unwrap()
    except (anyio.EndOfStream, *STREAM_ERRORS):
        pass
    return stream.transport_stream
