"""The options of the callback API: the names of the document, in Python.

Beside them stand all options of the native API, such as ``max_message_size``.
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

_NO_HOST = frozenset("/?#@[]\\")  # would make another URI of host, port and resource

IdentityCheck = Callable[[str, dict[str, Any]], Exception | None]
"""Gets the server's name and its certificate, as of `ssl.SSLSocket.getpeercert`; raises or returns an exception."""

_MAX_KEEP_ALIVE = 32767  # seconds, in Linux


def _check_keep_alive(delay: float | None) -> None:
    if delay is not None and not 0 < delay <= _MAX_KEEP_ALIVE:
        raise ValueError(f"option keep_alive_initial_delay is {delay}: expected more than 0, at most {_MAX_KEEP_ALIVE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSocketOptions(TLSOptions):
    """``socket_options``: where and how to connect, as Node's ``net.connect`` and ``tls.connect``.

    Attributes:
        host: the host. ``localhost``.
        port: the port; required unless there is a ``path`` or a ``stream``.
        path: the path of a unix socket, instead of host and port.
        local_address: the address to connect from.
        local_port: the port to connect from; needs ``local_address``.
        family: 4 or 6 for one version of IP only, 0 for both.
        no_delay: send small segments at once (``TCP_NODELAY``). True.
        keep_alive: let TCP probe a silent peer (``SO_KEEPALIVE``). False: Pings do so already.
        keep_alive_initial_delay: seconds of silence before the first probe.
        timeout: how long connecting may take, the opening handshake included, in seconds; else ``open_timeout``.
        servername: the name that the certificate must have, and SNI; by default the host.
        check_server_identity: checks the name in the certificate, instead of Python's own check.
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
            raise ValueError("socket_options have a port and a path: expected one of them")
        if self.local_port and self.local_address is None:
            raise ValueError("option local_port needs local_address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """``listener_options``: where to listen, as Node's ``server.listen``.

    Attributes:
        host: a name or an address; None for all of the machine's.
        port: the TCP port; 0 for a free one.
        path: the path of a unix socket, instead of host and port.
        backlog: how many connections may wait to be accepted; None for the server's ``backlog``.
        ipv6_only: whether ``::`` leaves IPv4 alone. False.
        reuse_port: let several processes listen on the same port.
        exclusive: share the port with nobody, which is so anyhow unless there is ``reuse_port``.
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
    """``server_options``: the accepted sockets, as Node's ``net.createServer`` and ``tls.createServer``.

    Attributes:
        request_cert: ask clients for a certificate; with ``reject_unauthorized`` they must have one. A certificate
            that is not trusted is refused in any case.
        sni_callback: chooses a context by the name that the client asks for.
        handshake_timeout: how long the TLS handshake may take, in seconds; never more than the 5 seconds for all.
        no_delay: send small segments at once (``TCP_NODELAY``). True.
        keep_alive: let TCP probe a silent peer (``SO_KEEPALIVE``). False: Pings do so already.
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
    """The options of `client_connect`.

    Attributes:
        callback_open: ``callback_open(err, socket)``, once the opening handshake has ended.
        message_handler: ``message_handler(message, socket)``, for each message; without it they are discarded.
        sub_protocol: one subprotocol to offer, or several.
        authentication: the value of ``Authorization``.
        id: the value of a header of this name.
        type: the value of a header of this name.
        proxy_authorization: the value of ``Proxy-Authorization``.
        secure: TLS or plain. True.
        resource: path and query of the request. ``/``.
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
            raise ValueError(f"option resource is {self.resource!r}: expected a path that begins with /")
        if self.max_redirects:
            raise ValueError("client_connect() follows no redirects: use connect()")
        _check_sub_protocol(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketServerOptions(ServerOptions):
    """The options of `server`.

    Attributes:
        callback_connect: ``callback_connect(header_values, socket, ready)``, before the opening handshake completes.
        callback_listener: ``callback_listener(server)``, once the server listens.
        callback_open: ``callback_open(err, socket)``, for each connection, once its opening handshake has ended.
        message_handler: ``message_handler(message, socket)``, for each message; without it they are discarded.
        sub_protocol: the subprotocol that the server speaks, or several in its order of preference.
        secure: TLS or plain. True.
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
        raise ValueError("sub_protocol and subprotocols are the same option: give one of them")


def sub_protocols(sub_protocol: str | Sequence[str]) -> Sequence[str]:
    """Return the names that ``sub_protocol`` gives: one, or several."""
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
