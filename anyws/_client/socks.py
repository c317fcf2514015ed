"""SOCKS (RFC 1928, RFC 1929), on top of python-socks; requires the extra ``socks``."""

from __future__ import annotations

import math

import anyio
from anyio.abc import ByteStream
from python_socks import ProxyError as SocksProxyError, ProxyType
from python_socks.async_.anyio.v2 import Proxy as SocksProxy

from anyws.protocol.errors import ProxyError
from anyws.protocol.proxy import Proxy

__all__ = ["open_socks_tunnel"]


class _SocksStream:
    """Adapts our stream to python-socks, in place of a proxy to forward through.

    So python-socks uses a connection that we opened and own, with our Happy Eyeballs and timeouts.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def connect(self, **_: object) -> _SocksStream:
        """Return the stream."""
        return self

    async def write(self, data: bytes) -> None:
        """Write all bytes."""
        await self._stream.send(bytes(data))

    async def read_exactly(self, count: int) -> bytes:
        """Read exactly this many bytes."""
        data = b""
        while len(data) < count:
            data += await self._stream.receive(count - len(data))
        return data

    write_all = write  # python-socks 2
    read_exact = read_exactly

    async def close(self) -> None:
        """Do nothing: the owner of the stream closes it."""


async def open_socks_tunnel(stream: ByteStream, proxy: Proxy, host: str, port: int) -> None:
    """Ask a SOCKS proxy for a tunnel.

    Args:
        stream: the connection to the proxy.
        proxy: the proxy, with the SOCKS version, user name and password.
        host: the server: a name for the proxy to resolve, or an address.
        port: the server's port.

    Raises:
        ProxyError: the proxy refuses the connection or sends an invalid response.
    """
    client = SocksProxy(
        ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        username=proxy.username,
        password=proxy.password,
        rdns=True,  # a name that we should resolve is an address by now
        forward=_SocksStream(stream),  # type: ignore[arg-type]
    )
    try:
        await client.connect(host, port, timeout=math.inf)
    except SocksProxyError as exc:
        raise ProxyError(str(proxy), f"responded: {exc}", status=exc.error_code) from exc
    except anyio.EndOfStream as exc:
        raise ProxyError(str(proxy), "closed the connection without a response") from exc
    except (ValueError, IndexError) as exc:  # python-socks failed to parse the response
        raise ProxyError(str(proxy), "sent an invalid response") from exc
