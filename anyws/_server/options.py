"""The options of a server: each with its name, unit, default and reason.

The dataclasses hold the values; the typed dictionaries beside them give type checkers and editors the same names as
keywords of `serve`, `open_server` and `accept`. A test keeps the two equal.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from anyio.abc import ByteStream, Listener

from anyws._checking import check_positive
from anyws._connection.options import ConnectionKeywords, ConnectionOptions, check_side
from anyws.protocol.extensions import Extension
from anyws.protocol.headers import HeadersLike
from anyws.protocol.http11 import Request, Response
from anyws.protocol.negotiation import check_extensions
from anyws.protocol.origins import OriginPolicy
from anyws.protocol.subprotocols import SubprotocolSelector, check_subprotocols
from anyws.protocol.terms import ServerTerms, check_response_headers

__all__ = [
    "AcceptKeywords",
    "AcceptOptions",
    "RequestHook",
    "ServeKeywords",
    "ServerOptions",
]

RequestHook = Callable[[Request], Response | Awaitable[Response | None] | None]
"""Looks at a request before it is answered: None to go on, a `Response` to answer it with plain HTTP."""


class _RemembersTerms(ConnectionOptions):
    """Has a slot for what is worked out of the options once; it is not an option itself."""

    __slots__ = ("_terms",)

    _terms: ServerTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptOptions(_RemembersTerms):
    """The options of `accept`: what a server knows of each connection.

    Attributes:
        extensions: `Extension` objects that the server speaks besides.
        subprotocols: the subprotocols that the server speaks, in its order of preference: the first that the client
            offers is agreed. Or a callable that gets the offered ones and returns one of them or None.
        headers: further headers of the response 101: a mapping, or (name, value) pairs.
        open_timeout: bounds TLS, the request and ``on_request`` together, from the TCP accept on; then the connection
            is destroyed. 5 s, as the document that anyws implements demands. A refusal or a plain HTTP answer is not
            bounded by it: that is written for as long as the client reads some of it every ``close_timeout``.
        on_request: a sync or async callable that gets the `Request` before it is answered. None goes on with the
            opening handshake; an `anyws.Response` is sent instead: a refusal, or plain HTTP. It is called for requests
            that do not ask for WebSocket too (GET and HEAD), and only for valid ones from an allowed origin. Or a
            sequence of such callables: each is called when those before it have returned None.
        origins: the origins whose pages may connect, as a browser writes them: ``https://example.com``, with the port
            only if it is not that of the scheme, and no slash at the end. ``*``: any. None: only pages from the same
            host and port. Clients that are no browsers send no ``Origin`` and pass. Each origin that is refused is
            logged once as a warning.
        allowed_hosts: the host names, without port, that ``Host`` may have when there is an ``Origin``; IP addresses
            pass. None: a server bound to loopback only takes ``localhost``, against DNS rebinding; any other takes
            every name.
        accept_unmasked: take frames without a mask, against RFC 6455, 5.1. See ``masking`` of the client.
        max_head_bytes: the largest request head; 431. 16 KiB, as in h11 and Node.
        max_headers: the most request headers; 431. 128, as in websockets.
    """

    extensions: Sequence[Extension] = ()
    subprotocols: Sequence[str] | SubprotocolSelector = ()
    headers: HeadersLike = field(default=(), repr=False)
    open_timeout: float | None = 5
    on_request: RequestHook | Sequence[RequestHook] | None = None
    origins: Sequence[str] | None = None
    allowed_hosts: Sequence[str] | None = None
    accept_unmasked: bool = False
    max_head_bytes: int = 16384
    max_headers: int = 128

    def __post_init__(self) -> None:
        ConnectionOptions.__post_init__(self)
        check_positive(self, "open_timeout", "max_head_bytes", "max_headers")
        check_side("ssl_context", self.ssl_context, ssl.Purpose.CLIENT_AUTH)
        object.__setattr__(self, "headers", check_response_headers(self.headers))
        check_extensions(self.extensions)
        for hook in self.request_hooks:
            if not callable(hook):
                raise TypeError(f"option on_request has a {type(hook).__name__}, expected callables")
        if not callable(self.subprotocols):
            check_subprotocols(self.subprotocols)
        OriginPolicy(self.origins, self.allowed_hosts)

    @property
    def request_hooks(self) -> Sequence[RequestHook]:
        """What ``on_request`` asks for, as a sequence."""
        if self.on_request is None:
            return ()
        return (self.on_request,) if callable(self.on_request) else self.on_request

    @property
    def terms(self) -> ServerTerms:
        """What these options say of the opening handshake, worked out once for all connections."""
        try:
            return self._terms
        except AttributeError:
            terms = ServerTerms(
                subprotocols=self.subprotocols,
                extensions=[*self.extensions, *self.deflate],
                origins=self.origins,
                allowed_hosts=self.allowed_hosts,
                headers=self.headers,
                max_head_bytes=self.max_head_bytes,
                max_headers=self.max_headers,
            )
            object.__setattr__(self, "_terms", terms)
            return terms


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(AcceptOptions):
    """The options of `serve` and `open_server`.

    Attributes:
        path: listen on a unix socket of this path, instead of TCP.
        listeners: AnyIO listeners, or sockets that listen, to use instead of new ones. They are closed with the server.
            See `anyws.listeners_from_systemd`.
        backlog: how many connections may wait to be accepted. 128.
        reuse_port: let several processes listen on the same port (``SO_REUSEPORT``).
        max_connections: how many connections there may be at a time, those in their handshake included; more are
            answered 503. None: as many as the system's limit on file descriptors.
        max_connections_per_address: how many of them may come from one address, or from one IPv6 network of 64 bits;
            more are answered 429. None: no limit, for behind a proxy all have the proxy's address.
        max_handshakes: how many connections may be in the opening handshake at a time; more are answered 503 at once,
            or cut where TLS is to come. 1,024, as the connections of a worker of nginx are counted. A connection that
            is refused for one of these three limits counts for none of them. The server waits for the requests of 64
            such connections; further ones are answered at once, or cut where TLS is to come.
    """

    path: str | None = None
    listeners: Sequence[Listener[ByteStream] | socket.socket] | None = None
    backlog: int = 128
    reuse_port: bool = False
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_handshakes: int | None = 1024

    def __post_init__(self) -> None:
        AcceptOptions.__post_init__(self)
        check_positive(self, "backlog", "max_connections", "max_connections_per_address", "max_handshakes")


class AcceptKeywords(ConnectionKeywords, total=False):
    """The keywords of `accept`: see `AcceptOptions`."""

    extensions: Sequence[Extension]
    subprotocols: Sequence[str] | SubprotocolSelector
    headers: HeadersLike
    open_timeout: float | None
    on_request: RequestHook | Sequence[RequestHook] | None
    origins: Sequence[str] | None
    allowed_hosts: Sequence[str] | None
    accept_unmasked: bool
    max_head_bytes: int
    max_headers: int


class ServeKeywords(AcceptKeywords, total=False):
    """The keywords of `serve`: see `ServerOptions`."""

    path: str | None
    listeners: Sequence[Listener[ByteStream] | socket.socket] | None
    backlog: int
    reuse_port: bool
    max_connections: int | None
    max_connections_per_address: int | None
    max_handshakes: int | None
