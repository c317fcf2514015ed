"""The local and remote addresses of any network socket: `get_address`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

__all__ = ["Address", "SocketAddresses", "get_address"]


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one end of a connection.

    Attributes:
        address: the IP address (an IPv4-mapped IPv6 address is shown as IPv4), or the path of a unix socket, empty if
            it has none.
        port: the port; None for a unix socket.
    """

    address: str
    port: int | None


@dataclass(frozen=True, slots=True)
class SocketAddresses:
    """The addresses of both ends of a socket.

    Attributes:
        local: the local address; None if unknown.
        remote: the peer's address; None for a listener, or if unknown, for example after the connection has ended.
    """

    local: Address | None
    remote: Address | None


def get_address(socket: object) -> SocketAddresses:
    """Return the local and remote addresses of any network socket.

    Args:
        socket: a `WebSocket` or a `Server` of anyws, a stream or a listener of AnyIO or trio, a trio socket, an asyncio
            transport, stream writer or server, or a `socket.socket`.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(socket, type):
        raise TypeError(f"expected a network socket, not {type(socket).__name__}")
    if isinstance(socket, TypedAttributeProvider):
        found = SocketAddresses(
            _address(_get_or_none(lambda: socket.extra(SocketAttribute.local_address, None))),
            _address(_get_or_none(lambda: socket.extra(SocketAttribute.remote_address, None))),
        )
        if found.local is not None or found.remote is not None:
            return found
    # AnyIO's TLSListener, trio's SSLStream and SSLListener
    for wrapped in ("listener", "transport_stream", "transport_listener"):
        if (inner := getattr(socket, wrapped, None)) is not None:
            return get_address(inner)
    if isinstance(socket, TypedAttributeProvider):
        return SocketAddresses(None, None)
    if callable(get_extra_info := getattr(socket, "get_extra_info", None)):  # asyncio's transports and writers
        return SocketAddresses(_address(get_extra_info("sockname")), _address(get_extra_info("peername")))
    if hasattr(socket, "getsockname"):
        return _addresses_of(socket)
    if hasattr(inner := getattr(socket, "socket", None), "getsockname"):  # trio's SocketStream and SocketListener
        return _addresses_of(inner)
    if (listening := getattr(socket, "sockets", None)) is not None:  # asyncio's Server; none when it is closed
        return _addresses_of(listening[0]) if listening else SocketAddresses(None, None)
    raise TypeError(f"expected a network socket, not {type(socket).__name__}")


def _addresses_of(raw: Any) -> SocketAddresses:
    return SocketAddresses(_address(_get_or_none(raw.getsockname)), _address(_get_or_none(raw.getpeername)))


def _get_or_none(get: Any) -> Any:
    try:
        return get()
    except OSError:  # not connected, or closed
        return None


def _address(found: Any) -> Address | None:
    if isinstance(found, tuple):
        host, port = found[:2]
        return Address(_without_ipv4_mapping(str(host)), int(port))
    if isinstance(found, bytes):  # a unix socket in Linux's abstract namespace
        return Address(found.decode(errors="surrogateescape"), None)
    return Address(found, None) if isinstance(found, str) else None


def _without_ipv4_mapping(host: str) -> str:
    try:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)
