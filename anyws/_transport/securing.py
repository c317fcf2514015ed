"""TLS on a client's stream."""

from __future__ import annotations

import ssl
import threading

import anyio
from anyio.abc import ByteStream

from anyws.protocol.errors import HandshakeError
from anyws.protocol.hosts import bare_host

from .tls import TLSStream

__all__ = ["default_context", "is_plain_peer", "start_tls"]

# What OpenSSL calls bytes of a peer that are not TLS; it depends on its version, and on how they begin.
_PLAIN = frozenset(
    {
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "UNKNOWN_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    }
)

_of_thread = threading.local()


def default_context() -> ssl.SSLContext:
    """Return this thread's context that trusts what the system trusts, and asks for HTTP/1.1.

    It is made when a thread first asks for it, because reading the certificates of the system takes some 20 ms and
    700 KiB, and is kept as long as the thread lives.
    """
    try:
        context: ssl.SSLContext = _of_thread.context
    except AttributeError:
        context = _of_thread.context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])  # a server that prefers HTTP/2 must know that we do not speak it
    return context


def is_plain_peer(exc: ssl.SSLError) -> bool:
    """Say whether a TLS handshake most likely failed because the peer does not speak TLS."""
    return exc.reason in _PLAIN


async def start_tls(stream: ByteStream, context: ssl.SSLContext, hostname: str) -> TLSStream:
    """Put TLS on a stream; if that fails, the stream is closed.

    Args:
        stream: the stream.
        context: the trust store and the rest.
        hostname: the host, in ASCII. Its name is asked for, and expected in the certificate.

    Raises:
        ssl.SSLError: the two do not agree, or the certificate is not trusted; the message has the server's alert.
        ConnectionError: the connection was lost.
        HandshakeError: the server speaks HTTP/2, because the context offers it.
    """
    hostname = bare_host(hostname)
    try:
        secured = await TLSStream.wrap(stream, context, server_side=False, hostname=hostname)
        if secured.records.ssl_object.selected_alpn_protocol() == "h2":
            raise HandshakeError(
                f"{hostname} chose HTTP/2, which the TLS context offers: expected HTTP/1.1; "
                'use context.set_alpn_protocols(["http/1.1"])'
            )
        return secured
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        await anyio.aclose_forcefully(stream)
        raise ConnectionError(f"the connection to {hostname} was lost during the TLS handshake") from exc
    except ssl.SSLError as exc:
        await anyio.aclose_forcefully(stream)
        if is_plain_peer(exc):
            exc.strerror = f"{exc.strerror}: {hostname} does not speak TLS here; did you mean ws:// or http://?"
        raise
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
