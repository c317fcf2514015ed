"""Options of the callback API, with the names of the node:websocket proposal in Python style.

All options of the native API, such as ``max_message_size``, are available as well.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyws._checking import check_positive
from anyws._client.options import ClientOptions, ConnectKeywords, server_name
from anyws._server.options import ServeKeywords, ServerOptions

from ._certificates import ServerNameHook, TLSOptions

__all__ = [
    "ClientConnectKeywords",
    "ClientConnectOptions",
    "ClientSocketOptions",
    "IdentityCheck",
    "ListenerOptions",
    "ServerKeywords",
    "ServerSocketOptions",
    "SocketServerOptions",
    "sub_protocols",
]

_NO_HOST = frozenset("/?#@[]\\")  # would change the meaning of the URI

IdentityCheck = Callable[[str, dict[str, Any]], Exception | None]
"""Checks a host name against a certificate (from `ssl.SSLSocket.getpeercert`); raises or returns an exception."""

_MAX_KEEP_ALIVE = 32767  # seconds, on Linux


def _check_keep_alive(delay: float | None) -> None:
    if delay is not None and not 0 < delay <= _MAX_KEEP_ALIVE:
        raise ValueError(f"option keep_alive_initial_delay is {delay}: expected more than 0, at most {_MAX_KEEP_ALIVE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSocketOptions(TLSOptions):
    """``socket_options``: where and how to connect, as in Node's ``net.connect`` and ``tls.connect``.

    Attributes:
        host: the host. ``localhost``.
        port: the port; required unless ``path`` or ``stream`` is given.
        path: the path of a unix socket, instead of host and port.
        local_address: the local address to connect from.
        local_port: the local port to connect from; requires ``local_address``.
        family: 4 or 6 for IPv4 or IPv6 only, 0 for both.
        no_delay: send small segments immediately (``TCP_NODELAY``). True.
        keep_alive: let TCP probe a silent peer (``SO_KEEPALIVE``). False: Pings already do that.
        keep_alive_initial_delay: seconds of silence before the first probe.
        timeout: time limit for connecting, including the opening handshake, in seconds; by default ``open_timeout``.
        servername: the host name to expect in the certificate and to send as SNI; by default the host.
        check_server_identity: a callable that checks the host name against the certificate, instead of Python's check.
    """

    host: str = "localhost"
    port: int | None = None
    path: str | None = None
    local_address: str | None = None
    local_port: int = 0
    family: int = 0
    no_delay: bool = True
    keep_alive: bool = False
    keep_alive_initial_delay: float | None = None
    timeout: float | None = None
    servername: str | None = None
    check_server_identity: IdentityCheck | None = None

    def __post_init__(self) -> None:
        check_positive(self, "timeout", "port")
        _check_keep_alive(self.keep_alive_initial_delay)
        if self.family not in (0, 4, 6):
            raise ValueError(f"option family is {self.family}: expected 0, 4 or 6")
        if not self.host or _NO_HOST.intersection(self.host):
            raise ValueError(f"option host is {self.host!r}: expected a name or an address")
        if self.servername is not None:
            object.__setattr__(self, "servername", server_name("servername", self.servername))
        if self.port is not None and self.path is not None:
            raise ValueError("socket_options have both a port and a path: expected one of them")
        if self.local_port and self.local_address is None:
            raise ValueError("option local_port requires local_address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """``listener_options``: where to listen, as in Node's ``server.listen``.

    Attributes:
        host: a host name or an address; None for all interfaces.
        port: the TCP port; 0 for a free one.
        path: the path of a unix socket, instead of host and port.
        backlog: how many connections may wait to be accepted; None for the server's ``backlog``.
        ipv6_only: whether ``::`` accepts only IPv6 connections. False.
        reuse_port: let several processes listen on the same port.
        exclusive: do not share the port with other processes; this is always so without ``reuse_port``.
    """

    host: str | None = None
    port: int = 0
    path: str | None = None
    backlog: int | None = None
    ipv6_only: bool = False
    reuse_port: bool = False
    exclusive: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "backlog")
        if self.exclusive and self.reuse_port:
            raise ValueError("options exclusive and reuse_port contradict each other")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSocketOptions(TLSOptions):
    """``server_options``: settings of accepted sockets, as in Node's ``net.createServer`` and ``tls.createServer``.

    Attributes:
        request_cert: request a certificate from clients; with ``reject_unauthorized`` it is required. A certificate
            that is not trusted is rejected in any case.
        sni_callback: a callable that chooses a TLS context by the host name that the client requests.
        handshake_timeout: time limit for the TLS handshake, in seconds, within ``open_timeout``.
        no_delay: send small segments immediately (``TCP_NODELAY``). True.
        keep_alive: let TCP probe a silent peer (``SO_KEEPALIVE``). False: Pings already do that.
        keep_alive_initial_delay: seconds of silence before the first probe.
    """

    request_cert: bool = False
    sni_callback: ServerNameHook | None = None
    handshake_timeout: float | None = None
    no_delay: bool = True
    keep_alive: bool = False
    keep_alive_initial_delay: float | None = None

    def __post_init__(self) -> None:
        check_positive(self, "handshake_timeout")
        _check_keep_alive(self.keep_alive_initial_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConnectOptions(ClientOptions):
    """Options of `client_connect`.

    Attributes:
        callback_open: called as ``callback_open(err, socket)`` when the opening handshake has succeeded or failed.
        message_handler: called as ``message_handler(message, socket)`` for each message; without it, messages are
            discarded.
        sub_protocol: one or several subprotocols to offer.
        authentication: the value of the ``Authorization`` header.
        id: the value of the ``id`` header.
        type: the value of the ``type`` header.
        proxy_authorization: the value of the ``Proxy-Authorization`` header.
        secure: whether to use TLS. True.
        resource: the path and query of the request. ``/``.
        socket_options: see `ClientSocketOptions`.
    """

    callback_open: Callable[..., object] | None = None
    message_handler: Callable[..., object] | None = None
    sub_protocol: str | Sequence[str] | None = None
    authentication: str | None = field(default=None, repr=False)
    id: str | None = None
    type: str | None = None
    proxy_authorization: str | None = field(default=None, repr=False)
    secure: bool = True
    resource: str = "/"
    socket_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def __post_init__(self) -> None:
        ClientOptions.__post_init__(self)
        if not self.resource.startswith("/"):
            raise ValueError(f"option resource is {self.resource!r}: expected a path that starts with /")
        if self.max_redirects:
            raise ValueError("client_connect() does not follow redirects: use connect()")
        _check_sub_protocol(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketServerOptions(ServerOptions):
    """Options of `server`.

    Attributes:
        callback_connect: called as ``callback_connect(header_values, socket, ready)`` for each connection, before the
            opening handshake completes.
        callback_listener: called as ``callback_listener(server)`` once the server is listening.
        callback_open: called as ``callback_open(err, socket)`` for each connection, when its opening handshake has
            succeeded or failed.
        message_handler: called as ``message_handler(message, socket)`` for each message; without it, messages are
            discarded.
        sub_protocol: the subprotocol that the server supports, or several in order of preference.
        secure: whether to use TLS. True.
        listener_options: see `ListenerOptions`.
        server_options: see `ServerSocketOptions`.
        backlog: how many connections may wait to be accepted. 511, as in Node.
    """

    callback_connect: Callable[..., object] | None = None
    callback_listener: Callable[..., object] | None = None
    callback_open: Callable[..., object] | None = None
    message_handler: Callable[..., object] | None = None
    sub_protocol: str | Sequence[str] | None = None
    secure: bool = True
    listener_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    server_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    backlog: int = 511

    def __post_init__(self) -> None:
        ServerOptions.__post_init__(self)
        _check_sub_protocol(self)


def _check_sub_protocol(options: ClientConnectOptions | SocketServerOptions) -> None:
    if options.sub_protocol is not None and options.subprotocols:
        raise ValueError("sub_protocol and subprotocols are the same option: give only one of them")


def sub_protocols(sub_protocol: str | Sequence[str]) -> Sequence[str]:
    """Return the value of ``sub_protocol``, one name or several, as a sequence."""
    return [sub_protocol] if isinstance(sub_protocol, str) else sub_protocol


class ClientConnectKeywords(ConnectKeywords, total=False):
    """The keywords of `client_connect`: see `ClientConnectOptions`."""

    callback_open: Callable[..., object] | None
    message_handler: Callable[..., object] | None
    sub_protocol: str | Sequence[str] | None
    authentication: str | None
    id: str | None
    type: str | None
    proxy_authorization: str | None
    secure: bool
    resource: str
    socket_options: Mapping[str, Any]


class ServerKeywords(ServeKeywords, total=False):
    """The keywords of `server`: see `SocketServerOptions`."""

    callback_connect: Callable[..., object] | None
    callback_listener: Callable[..., object] | None
    callback_open: Callable[..., object] | None
    message_handler: Callable[..., object] | None
    sub_protocol: str | Sequence[str] | None
    secure: bool
    listener_options: Mapping[str, Any]
    server_options: Mapping[str, Any]
