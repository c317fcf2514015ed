"""Proxies: choosing one, and connecting to a server through it."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
from anyio.abc import ByteStream

from anyws._transport.connecting import resolve
from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.securing import default_context, start_tls
from anyws._transport.stream import SocketStream
from anyws._transport.turns import Turn
from anyws.protocol.errors import HandshakeError, InvalidURI, ProxyError
from anyws.protocol.hosts import bare_host, is_loopback, with_port
from anyws.protocol.proxy import Proxy, ProxyHandshake, parse_proxy
from anyws.protocol.uri import WebSocketURI

from .handshakes import perform_handshake

__all__ = ["ConnectTCP", "choose_proxy", "connect_through"]

ConnectTCP = Callable[[str, int], Awaitable[SocketStream]]
"""Connects to a host and a port over TCP."""


def choose_proxy(proxy: str | Literal[True] | None, uri: WebSocketURI) -> Proxy | None:
    """Return the proxy to use for a server; None to connect directly.

    Args:
        proxy: the URI of the proxy; True for the one from the environment; None for no proxy.
        uri: the server.

    Raises:
        InvalidURI: the proxy's URI is invalid.
        ImportError: it is a SOCKS proxy, and python-socks is not installed.
    """
    if proxy is None or uri.socket_path is not None:
        return None
    chosen = _from_environment(uri) if proxy is True else parse_proxy(proxy)
    if chosen is not None and chosen.is_socks and _socks_tunnel() is None:
        raise ImportError(
            f"the proxy {chosen} requires python-socks: pip install 'anyio-websocket[socks]'; or connect without a "
            "proxy (proxy=None, or --proxy none on the command line)"
        )
    return chosen


async def connect_through(
    proxy: Proxy, uri: WebSocketURI, connect_tcp: ConnectTCP, turn: Turn, context: ssl.SSLContext | None
) -> ByteStream:
    """Connect to a server through a proxy.

    Connections wait for their turn by the address of the server or, if the proxy resolves names, by its name
    (RFC 6455, section 4.1). If cancelled, all sockets are closed.

    Args:
        proxy: the proxy.
        uri: the server.
        connect_tcp: connects to the proxy.
        turn: the turn to wait for before connecting.
        context: the TLS context for an ``https:`` proxy; None for a default one.

    Raises:
        OSError: the proxy cannot be reached, or the server's name cannot be resolved (if the proxy does not do that).
        ssl.SSLError: TLS with the proxy failed.
        ProxyError: the proxy refuses the connection or sends an invalid response.
    """
    note = f"while connecting to the proxy {proxy}"
    host = uri.host if proxy.resolves_names else await _resolve(uri, only_ipv4=proxy.scheme == "socks4")
    await turn.wait([(host, uri.port)])
    try:
        stream: ByteStream = await connect_tcp(proxy.host, proxy.port)
        if proxy.scheme == "https":
            stream = await start_tls(stream, context or default_context(), proxy.host)
    except (OSError, HandshakeError) as exc:
        exc.add_note(note)
        raise
    try:
        if proxy.is_socks:
            open_socks_tunnel = _socks_tunnel()
            assert open_socks_tunnel is not None, "see choose_proxy"
            await open_socks_tunnel(stream, proxy, host, uri.port)
        else:
            await perform_handshake(ProxyHandshake(proxy, uri), stream)
    except ssl.SSLError as exc:
        await anyio.aclose_forcefully(stream)
        exc.add_note(note)
        raise
    except STREAM_ERRORS as exc:
        await anyio.aclose_forcefully(stream)
        raise ProxyError(str(proxy), "lost the connection before it responded") from exc
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    return stream


def _socks_tunnel() -> Callable[[ByteStream, Proxy, str, int], Awaitable[None]] | None:
    """Return `open_socks_tunnel`; None if python-socks is not installed."""
    try:
        from .socks import open_socks_tunnel
    except ModuleNotFoundError:
        return None
    return open_socks_tunnel


def _from_environment(uri: WebSocketURI) -> Proxy | None:
    """Return the proxy for this server from the environment, or from the system settings on macOS and Windows.

    RFC 6455, section 4.1, prefers SOCKS, then the proxy for HTTPS, then the one for HTTP. As in browsers and in Go's
    net/http, no proxy is used for loopback.
    """
    host = bare_host(uri.host)  # hosts in no_proxy have no trailing dot
    if is_loopback(host) or not _may_have_proxies():
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    if not proxies or any(proxy_bypass(each) for each in {host, with_port(host, uri.port)}):
        return None
    for name in ("wss", "socks", "https", "all") if uri.secure else ("ws", "socks", "https", "http", "all"):
        if value := proxies.get(name):
            if name == "socks" and value.startswith("http://"):  # from the macOS settings
                value = f"socks5h://{value.removeprefix('http://')}"
            try:
                return parse_proxy(value)
            except InvalidURI as exc:
                raise InvalidURI(value, f"{name}_proxy in the environment: {exc}") from None
    return None


def _may_have_proxies() -> bool:
    """Return whether to look for a proxy: `urllib.request` takes long to load, and usually there is none."""
    return sys.platform in ("darwin", "win32") or any(name.lower().endswith("_proxy") for name in os.environ)


async def _resolve(uri: WebSocketURI, *, only_ipv4: bool) -> str:
    """Resolve the server's name, preferring IPv4, because a proxy may have no IPv6."""
    addresses = await resolve(uri.host, uri.port, family=socket.AF_INET if only_ipv4 else socket.AF_UNSPEC)
    return str(min(addresses, key=lambda each: ":" in each[1][0])[1][0])
