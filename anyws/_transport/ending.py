"""The end of a byte stream: in peace, so that nothing which was sent is lost to a reset."""

from __future__ import annotations

import ssl

import anyio
from anyio.abc import AnyByteStream
from anyio.streams.tls import TLSStream as AnyIOTLSStream

from .stream import SocketStream, receive_at_once
from .tls import TLSStream

__all__ = ["LINGER", "STREAM_ERRORS", "cut_stream", "end_stream"]

LINGER = 1
"""How long a peer that owes us nothing more may take to read our last bytes and end its side, in seconds."""

STREAM_ERRORS = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, ssl.SSLError)
"""What a stream raises when its connection is lost."""


async def end_stream(stream: AnyByteStream) -> None:
    """End our side and wait for the end of the peer's side; to close the stream is then the caller's part.

    Closing a socket that still has unread data resets the connection, and a reset may destroy the last bytes that we
    sent (RFC 6455, section 7.1.1): so what still comes is read and dropped. The caller bounds the time.
    """
    try:
        while isinstance(stream, TLSStream | AnyIOTLSStream):  # two, where a proxy is reached over TLS
            stream = await _end_tls(stream)
        if isinstance(stream, SocketStream):
            stream.send_eof_nowait()
            await receive_at_once(stream)  # mostly there is nothing but the end
        else:
            try:
                await stream.send_eof()
            except (NotImplementedError, RuntimeError):  # no half-close; or a stream of AnyIO's on uvloop is lost
                pass
        while True:
            await stream.receive()
    except (anyio.EndOfStream, *STREAM_ERRORS):
        pass


async def cut_stream(stream: AnyByteStream) -> None:
    """Close a stream at once, also within a scope that is cancelled."""
    below = stream.transport_stream if isinstance(stream, TLSStream) else stream
    if isinstance(below, SocketStream):
        below.close()
    else:
        await anyio.aclose_forcefully(stream)


async def _end_tls(stream: TLSStream | AnyIOTLSStream) -> AnyByteStream:
    """Send close_notify (RFC 8446, section 6.1); AnyIO waits for the peer's as well, which is forgiven if it does not come."""
    try:
        if isinstance(stream, TLSStream):
            await stream.send_eof()
        else:
            await stream.unwrap()
    except (anyio.EndOfStream, *STREAM_ERRORS):
        pass
    return stream.transport_stream
