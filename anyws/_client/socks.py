"""SOCKS (RFC 1928, RFC 1929), by python-socks; the extra ``socks``."""

from __future__ import annotations

import math

import anyio
from anyio.abc import ByteStream
from python_socks import ProxyError as SocksProxyError, ProxyType
from python_socks.async_.anyio.v2 import Proxy as SocksProxy

from anyws.protocol.errors import ProxyError
from anyws.protocol.proxy import Proxy

__all__ = ["ask_socks"]


class _SocksStream:
    """A stream as python-socks wants it, standing where it expects another proxy that it is to go through.

    So the connection is ours, with our happy eyeballs and our deadline, and stays ours.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def connect(self, **_: object) -> _SocksStream:
        """Give the stream."""
        return self

    async def write(self, data: bytes) -> None:
        """Write all of the bytes."""
        await self._stream.send(bytes(data))

    async def read_exactly(self, count: int) -> bytes:
        """Read so many bytes, and none of what comes behind them."""
        data = b""
        while len(data) < count:
            data += await self._stream.receive(count - len(data))
        return data

    write_all = write  # python-socks 2
    read_exact = read_exactly

    async def close(self) -> None:
        """Do nothing: who gave the stream closes it."""


async def ask_socks(stream: ByteStream, proxy: Proxy, host: str, port: int) -> None:
    """Ask a SOCKS proxy for a tunnel.

    Args:
        stream: the connection to the proxy.
        proxy: says the version, and has user name and password.
        host: the server: a name that the proxy looks up, or an address.
        port: its port.

    Raises:
        ProxyError: the proxy refuses, or its answer is none.
    """
    asking = SocksProxy(
        ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        username=proxy.username,
        password=proxy.password,
        rdns=True,  # what we are to look up is looked up
        forward=_SocksStream(stream),  # type: ignore[arg-type]
    )
    try:
        await asking.connect(host, port, timeout=math.inf)
    except SocksProxyError as exc:
        raise ProxyError(str(proxy), f"answered: {exc}", status=exc.error_code) from exc
    except anyio.EndOfStream as exc:
        raise ProxyError(str(proxy), "closed the connection before it answered") from exc
    except (ValueError, IndexError) as exc:  # python-socks tripped over what came
        raise ProxyError(str(proxy), "gave no valid answer") from exc
