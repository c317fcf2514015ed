"""Options of a server, each with its unit, its default and the reason for it.

The dataclasses hold the values. The typed dictionaries give type checkers and editors the same names as keywords of
`serve`, `open_server` and `accept`. A test keeps the two in sync.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from anyio.abc import ByteStream, Listener

from anyws._checking import check_accepts_one, check_positive
from anyws._connection.options import ConnectionKeywords, ConnectionOptions, check_side
from anyws._transport.given_streams import TrioListener
from anyws.protocol.extensions import Extension
from anyws.protocol.headers import HeadersLike
from anyws.protocol.http11 import Request, Response
from anyws.protocol.negotiation import check_extensions
from anyws.protocol.origins import OriginPolicy
from anyws.protocol.subprotocols import SubprotocolSelector, check_subprotocols
from anyws.protocol.terms import HeadersHook, ServerTerms, check_response_headers

__all__ = [
    "AcceptKeywords",
    "AcceptOptions",
    "DecidesOnRequests",
    "RequestHook",
    "RunKeywords",
    "RunOptions",
    "ServeKeywords",
    "ServerOptions",
]

RequestHook = Callable[[Request], Response | Awaitable[Response | None] | None]
"""Receives a request before the server responds; returns None to continue, or a `Response` to send instead."""


class DecidesOnRequests:
    """The options that decide who may connect, and with which subprotocol. The class of the options has the fields."""

    __slots__ = ()

    on_request: RequestHook | Sequence[RequestHook] | None
    subprotocols: Sequence[str] | SubprotocolSelector
    origins: Sequence[str] | None
    allowed_hosts: Sequence[str] | None

    @property
    def request_hooks(self) -> Sequence[RequestHook]:
        """The value of ``on_request``, as a sequence."""
        if self.on_request is None:
            return ()
        return (self.on_request,) if callable(self.on_request) else self.on_request

    def _check_decisions(self) -> None:
        for hook in self.request_hooks:
            if not callable(hook):
                raise TypeError(f"option on_request contains {type(hook).__name__}, expected callables")
            check_accepts_one(hook, "option on_request:", "the request")
        if not callable(self.subprotocols):
            check_subprotocols(self.subprotocols)
        OriginPolicy(self.origins, self.allowed_hosts)


class _CachesTerms(ConnectionOptions):
    """Caches the `ServerTerms` computed from the options. The cache is not an option itself."""

    __slots__ = ("_terms",)

    _terms: ServerTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptOptions(DecidesOnRequests, _CachesTerms):
    """Server-side options for a single connection, as accepted by `accept`.

    Attributes:
        extensions: additional `Extension` objects that the server supports.
        subprotocols: the subprotocols that the server supports, in order of preference: the first one that the client
            offers is agreed on. Or a callable that receives the offered ones and returns one of them or None, or an
            `anyws.Response` to refuse the client with. It is not called for a client that offers none; to refuse such
            clients, look for ``Sec-WebSocket-Protocol`` in ``on_request``.
        headers: additional headers of the response 101: a mapping, or (name, value) pairs. Or a callable, not async,
            that receives the `Request` and returns them, for example to set a cookie. It is called last, after
            ``on_request``, and only if the connection is accepted.
        open_timeout: time limit for TLS, the request and ``on_request`` together, starting when TCP is accepted; after
            that the connection is dropped. 5 s, as in the node:websocket proposal. It does not apply to sending a
            refusal or a plain HTTP response: that goes on for as long as the client reads some of it every
            ``close_timeout``.
        on_request: a sync or async callable that receives the `Request` before the server responds. Return None to
            continue with the opening handshake, or an `anyws.Response` to send instead: a refusal or plain HTTP. It is
            also called for GET and HEAD requests that do not ask for WebSocket, but only for valid requests from an
            allowed origin. Or a sequence of such callables, called in order until one returns a response.
        origins: the origins whose pages may connect, as browsers write them: ``https://example.com``, with a port only
            if it is not the scheme's default, and without a trailing slash. ``*``: any origin. None: only pages from
            the same host and port. Clients other than browsers send no ``Origin`` and are accepted. Each rejected
            origin is logged once, as a warning.
        allowed_hosts: the host names, without a port, that are accepted in ``Host`` if the request has an ``Origin``;
            IP addresses are always accepted. None: a server bound to loopback accepts only ``localhost``, to protect
            against DNS rebinding; any other server accepts every name.
        accept_unmasked: accept unmasked frames, contrary to RFC 6455, section 5.1. See ``masking`` of the client.
        max_head_bytes: maximum size of the request head; a larger one is rejected with 431. 16 KiB, as in h11 and Node.
        max_headers: maximum number of request headers; more are rejected with 431. 128, as in websockets.
    """

    extensions: Sequence[Extension] = ()
    subprotocols: Sequence[str] | SubprotocolSelector = ()
    headers: HeadersLike | HeadersHook = field(default=(), repr=False)
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
        if callable(self.headers):
            check_accepts_one(self.headers, "option headers:", "the request")
        else:
            object.__setattr__(self, "headers", check_response_headers(self.headers))
        check_extensions(self.extensions)
        self._check_decisions()

    @property
    def terms(self) -> ServerTerms:
        """The terms of the opening handshake, computed once for all connections."""
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
    """Options of `serve` and `open_server`.

    Attributes:
        path: listen on a unix socket at this path instead of TCP.
        listeners: AnyIO listeners, ``trio.SocketListener`` objects or listening sockets to use instead of new ones.
            They are closed with the server. See `anyws.listeners_from_systemd`.
        backlog: how many connections may wait to be accepted. 128.
        reuse_port: let several processes listen on the same port (``SO_REUSEPORT``).
        max_connections: maximum number of concurrent connections, including those in the opening handshake; the server
            responds to further ones with 503. None: limited only by the system's limit on file descriptors.
        max_connections_per_address: maximum number of concurrent connections from one address, or from one IPv6 /64
            network; the server responds to further ones with 429. None: no limit, because behind a proxy all
            connections come from the proxy's address.
        max_handshakes: maximum number of connections in the opening handshake; the server responds to further ones
            with 503 immediately, or aborts them if TLS is used. 1,024, like nginx's default for the connections of a
            worker. A connection refused because of one of these three limits counts towards none of them. The server
            waits for the requests of 64 refused connections; it responds to further ones immediately, or aborts them
            if TLS is used.
        stop_signals: signals that shut the server down, such as ``[signal.SIGINT, signal.SIGTERM]``: the first one
            gracefully, as with `Server.aclose`; the second one cancels the handlers. The program's own handling of
            these signals is back from then on, and when the server has shut down. Only in the main thread. Empty: none.
        stop_grace: how long handlers have to finish after the first of these signals; then they are cancelled. 3 s.
    """

    path: str | None = None
    listeners: Sequence[Listener[ByteStream] | TrioListener | socket.socket] | None = None
    backlog: int = 128
    reuse_port: bool = False
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_handshakes: int | None = 1024
    stop_signals: Sequence[int] = ()
    stop_grace: float = 3

    def __post_init__(self) -> None:
        AcceptOptions.__post_init__(self)
        check_positive(self, "backlog", "max_connections", "max_connections_per_address", "max_handshakes")
        _check_signals(self.stop_signals)
        if not self.stop_grace >= 0:
            raise ValueError(f"option stop_grace is {self.stop_grace}: expected 0 or more")


def _check_signals(numbers: Sequence[int]) -> None:
    for number in numbers:
        if not isinstance(number, int) or number not in signal.valid_signals():
            raise ValueError(f"option stop_signals contains {number!r}: expected signals, such as signal.SIGTERM")
        if (name := signal.Signals(number).name) in ("SIGKILL", "SIGSTOP"):
            raise ValueError(f"option stop_signals contains {name}, which no program can handle")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ServerOptions):
    """Options of `run`, in addition to those of `serve`.

    Attributes:
        backend: the event loop: ``"asyncio"`` or ``"trio"``.
        backend_options: options of the event loop, as for `anyio.run`; for example ``{"use_uvloop": True}``.
        stop_signals: signals that shut the server down: the first one gracefully, as with `Server.aclose`; the second
            one cancels the handlers. SIGINT (Ctrl-C) and SIGTERM. Empty: none; then SIGINT raises `KeyboardInterrupt`.
    """

    backend: Literal["asyncio", "trio"] = "asyncio"
    backend_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stop_signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)


class AcceptKeywords(ConnectionKeywords, total=False):
    """The keywords of `accept`: see `AcceptOptions`."""

    extensions: Sequence[Extension]
    subprotocols: Sequence[str] | SubprotocolSelector
    headers: HeadersLike | HeadersHook
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
    listeners: Sequence[Listener[ByteStream] | TrioListener | socket.socket] | None
    backlog: int
    reuse_port: bool
    max_connections: int | None
    max_connections_per_address: int | None
    max_handshakes: int | None
    stop_signals: Sequence[int]
    stop_grace: float


class RunKeywords(ServeKeywords, total=False):
    """The keywords of `run`: see `RunOptions`."""

    backend: Literal["asyncio", "trio"]
    backend_options: Mapping[str, Any]
