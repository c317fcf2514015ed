"""Where a server listens, as the URI that a client on the same machine connects to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from anyio.abc import Listener, SocketAttribute
from anyio.streams.tls import TLSListener

from anyws.protocol.uri import WebSocketURI

__all__ = ["addresses_of", "is_secure", "port_of", "uri_of"]

_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def uri_of(addresses: Sequence[Any], host: str | None, *, secure: bool) -> str:
    """Return the URI of the first address.

    Args:
        addresses: the addresses, as from `socket.socket.getsockname`.
        host: the host that the server was asked to listen on. A name is kept: a certificate is valid for the name.
        secure: whether clients use TLS.

    Raises:
        RuntimeError: there is no address, or no URI can express it.
    """
    address = addresses[0] if addresses else None
    if isinstance(address, str) and address.startswith("/"):
        path: str | None = address
        name, port = "localhost", 443 if secure else 80
    elif isinstance(address, tuple):
        path = None
        name, port = _connectable(host, address), address[1]
    else:
        raise RuntimeError(f"this server has no URI: {_described(address)}")
    return str(WebSocketURI(secure=secure, host=name, port=port, socket_path=path))


def port_of(addresses: Sequence[Any]) -> int:
    """Return the TCP port of the first address.

    Raises:
        RuntimeError: the server does not listen on TCP.
    """
    address = addresses[0] if addresses else None
    if not isinstance(address, tuple):
        raise RuntimeError(f"this server has no port: {_described(address)}")
    return int(address[1])


def addresses_of(listeners: Iterable[Listener[Any]]) -> list[Any]:
    """Return the addresses of listeners, as from `socket.socket.getsockname`; nothing for those that have none."""
    sockets = (_below_tls(listener).extra(SocketAttribute.raw_socket, None) for listener in listeners)
    return [raw.getsockname() for raw in sockets if raw is not None and raw.fileno() >= 0]


def is_secure(listener: Listener[Any]) -> bool:
    """Return whether a listener starts TLS on each connection."""
    return isinstance(listener, TLSListener)


def _below_tls(listener: Listener[Any]) -> Listener[Any]:
    return listener.listener if isinstance(listener, TLSListener) else listener


def _described(address: Any) -> str:
    return "its listeners have no address" if address is None else f"it listens on {address!r}"


def _connectable(host: str | None, address: Any) -> str:
    """Return the host to connect to: the loopback address for a server on all interfaces."""
    numeric, scope = str(address[0]).partition("%")[0], address[3] if len(address) == 4 else 0
    parsed = ip_address(numeric)
    if parsed.is_unspecified:
        return _LOOPBACK[parsed.version] if host else "localhost"
    if host and _is_name(host):
        return host.lower()
    return f"{numeric}%{scope}" if scope else numeric


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
