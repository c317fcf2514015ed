"""Starts TLS on the stream of a client."""

from __future__ import annotations

import ssl
import threading

import anyio
from anyio.abc import ByteStream

from anyws.protocol.errors import HandshakeError
from anyws.protocol.hosts import bare_host

from .tls import TLSStream

__all__ = ["default_context", "is_plain_peer", "start_tls"]

# The errors with which OpenSSL reports a peer that does not use TLS, depending on its version and the first bytes.
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

_thread_local = threading.local()


def default_context() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's CA certificates and negotiates HTTP/1.1.

    Loading the certificates takes about 20 ms and 700 KiB, so each thread creates the context on first use and keeps
    it.
    """
    try:
        context: ssl.SSLContext = _thread_local.context
    except AttributeError:
        context = _thread_local.context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])  # a server that prefers HTTP/2 must know that we do not support it
    return context


def is_plain_peer(exc: ssl.SSLError) -> bool:
    """Return whether a TLS handshake probably failed because the peer does not use TLS."""
    return exc.reason in _PLAIN


async def start_tls(stream: ByteStream, context: ssl.SSLContext, hostname: str) -> TLSStream:
    """Make a TLS handshake on a stream as the client. If it fails, the stream is closed.

    Args:
        stream: the stream.
        context: the TLS settings, including the trusted CA certificates.
        hostname: the host in ASCII, for SNI and for the verification of the certificate.

    Raises:
        ssl.SSLError: the handshake failed or the certificate is not trusted; the message contains the server's alert.
        ConnectionError: the connection was lost.
        HandshakeError: the server selected HTTP/2, because the context offers it.
    """
    hostname = bare_host(hostname)
    try:
        secured = await TLSStream.wrap(stream, context, server_side=False, hostname=hostname)
        if secured.records.ssl_object.selected_alpn_protocol() == "h2":
            raise HandshakeError(
                f"{hostname} selected HTTP/2, which the TLS context offers, expected HTTP/1.1; "
                'use context.set_alpn_protocols(["http/1.1"])'
            )
        return secured
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        await anyio.aclose_forcefully(stream)
        raise ConnectionError(f"the connection to {hostname} was lost during the TLS handshake") from exc
    except ssl.SSLError as exc:
        await anyio.aclose_forcefully(stream)
        if is_plain_peer(exc):
            exc.strerror = f"{hostname} does not use TLS on this port; did you mean ws:// or http://? ({exc.strerror})"
        raise
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
