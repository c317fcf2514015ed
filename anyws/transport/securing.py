"""TLS on a client's stream."""

from __future__ import annotations

import ssl

import anyio
from anyio.abc import ByteStream

from .tls import TLSStream

__all__ = ["default_context", "start_tls"]


def default_context() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, and asks for HTTP/1.1 (ALPN)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])  # a server that prefers HTTP/2 must know that we do not speak it
    return context


async def start_tls(stream: ByteStream, context: ssl.SSLContext, hostname: str) -> TLSStream:
    """Put TLS on a stream; if that fails, the stream is closed.

    Raises:
        ssl.SSLError: the two do not agree, or the certificate is not trusted.
        ConnectionError: the connection was lost.
    """
    try:
        return await TLSStream.wrap(stream, context, server_side=False, hostname=hostname)
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        await anyio.aclose_forcefully(stream)
        raise ConnectionError(f"the connection to {hostname} was lost during the TLS handshake") from exc
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
