"""Every knob, once: its name, unit, default and why.

The dataclasses hold the values; the typed dictionaries beside them give type checkers and editors the same names as
keywords of `connect`, `serve` and `accept`. A test keeps the two equal.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Literal, TypedDict

from anyio.abc import ByteStream, Listener

from .authorization import AuthLike, authorization
from .checking import check_positive
from .cookies import CookiesLike, check_cookies
from .outages import OutageHook
from .protocol.client_handshake import check_request_headers
from .protocol.deflate import PRESETS, PerMessageDeflate, Preset
from .protocol.errors import InvalidURI
from .protocol.extensions import Extension
from .protocol.headers import Headers, HeadersLike, check_header
from .protocol.hosts import ascii_host
from .protocol.http11 import Request, Response
from .protocol.negotiation import as_extensions, check_extensions
from .protocol.origins import OriginPolicy
from .protocol.proxy import parse_proxy
from .protocol.subprotocols import SubprotocolSelector, check_subprotocols
from .protocol.terms import ServerTerms, check_response_headers

__all__ = [
    "AcceptKeywords",
    "AcceptOptions",
    "ClientOptions",
    "ConnectKeywords",
    "ConnectionOptions",
    "ReconnectKeywords",
    "ReconnectOptions",
    "RequestHook",
    "ServeKeywords",
    "ServerOptions",
    "server_name",
]

RequestHook = Callable[[Request], Response | Awaitable[Response | None] | None]
"""Looks at a request before it is answered: None to go on, a `Response` to answer it with plain HTTP."""


class _Remembering:
    """Has room for what is worked out of options once; it is no option itself."""

    __slots__ = ("_terms",)

    _terms: ServerTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions(_Remembering):
    """The options of clients and servers. Times are in seconds, sizes in bytes; None switches a limit off.

    Attributes:
        ssl_context: the TLS context. A client without one uses a default context for ``wss:``, which trusts what the
            system trusts and checks the name. Each thread makes it at its first connection and keeps it, so
            certificates that the system gets later count after a restart. A server without one speaks plain TCP.
        close_timeout: bounds the closing handshake and the end of TCP and TLS together; then the connection is cut.
            10 s, as in websockets.
        ping_interval: a peer that was silent for so long gets a Ping. Any byte that comes in counts as a sign of life,
            also while the application receives nothing. 20 s, below the 30 s or 60 s of common proxies.
        ping_timeout: a peer that stays silent for so long after that Ping is given up (1006). 20 s, as in websockets.
        write_timeout: a peer that takes nothing of what is written for so long is given up (1006). None: no limit,
            because a peer may have its reasons to read late; then only its silence counts (``ping_timeout``).
        max_message_size: the largest message, over all its fragments; refused with 1009 at the header of the frame that
            would exceed it. 1 MiB, as in websockets.
        max_frame_size: the largest data frame; 1009 likewise. No limit besides that of the message.
        max_fragments: the most frames that one message may have, empty ones included; 1009. 16,384, as in ws.
        receive_buffer: received messages that nobody has taken yet may fill so much memory; beyond, nothing more is
            read, and TCP holds the peer back. 64 KiB, as the receive window of a new TCP connection.
        send_buffer: frames that wait to be written may fill so much memory before ``send()`` waits. One message more
            may stand beyond it. 64 KiB, as in uWebSockets.
        compression: permessage-deflate (RFC 7692): True or the name of a preset, ``"memory"``, ``"default"``,
            ``"ratio"`` or ``"speed"``; or a `PerMessageDeflate` with exact parameters. None: off, because it costs
            memory and time for each connection, and because compressed secrets beside a peer's data can be guessed
            (RFC 7692, 8).
    """

    ssl_context: ssl.SSLContext | None = None
    close_timeout: float | None = 10
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    write_timeout: float | None = None
    max_message_size: int | None = 1024 * 1024
    max_frame_size: int | None = None
    max_fragments: int | None = 16384
    receive_buffer: int = 65536
    send_buffer: int = 65536
    compression: bool | Preset | PerMessageDeflate | None = None

    def __post_init__(self) -> None:
        check_positive(
            self,
            "close_timeout",
            "ping_interval",
            "ping_timeout",
            "write_timeout",
            "max_message_size",
            "max_frame_size",
            "max_fragments",
            "receive_buffer",
            "send_buffer",
        )

    @property
    def deflate(self) -> Sequence[Extension]:
        """What ``compression`` asks for, as extensions."""
        if isinstance(self.compression, PerMessageDeflate):
            return [self.compression]
        return [PRESETS["default" if self.compression is True else self.compression]] if self.compression else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions(ConnectionOptions):
    """The options of `connect`.

    Attributes:
        subprotocols: the subprotocols to offer, in the order of preference.
        headers: further request headers: a mapping, or (name, value) pairs.
        extensions: extensions to offer besides: `Extension` objects, in the order of preference; or offers as a header
            value, for which there is no codec, so that a server must decline them.
        origin: the value of ``Origin``. None: no such header, as is usual outside a browser.
        open_timeout: bounds name resolution, TCP, TLS and the opening handshake together; then `TimeoutError`. 10 s.
        masking: whether to mask frames, as RFC 6455, 5.3 demands. False is outside the RFC: every conformant server
            answers 1002. It is meant for a server that was told to accept it (``accept_unmasked=True``).
        server_hostname: the name that the server's certificate must have, and SNI; by default the URI's host. A dot at
            the end is left out.
        stream: a byte stream to use instead of a new connection. TLS is put on it when the URI says ``wss:``.
        local_host: the address to connect from.
        local_port: the port to connect from; needs ``local_host``.
        happy_eyeballs_delay: how long one address of a host may take before the next is tried beside it. 0.25 s, as in
            RFC 8305, 5.
        max_connecting: how many connections of this program to one address may be in their opening handshake at a
            time; the next ones wait, and ``open_timeout`` begins to count when they have their turn. None: no limit, as
            in every other library, so that one server which hangs does not hold up the rest. RFC 6455, section 4.1,
            asks for 1, to spare servers the many connections that pages open in browsers: set 1 in a program that
            connects where strangers tell it to.
        auth: who we are: ``(user, password)`` for Basic authentication (RFC 7617), or a bearer token (RFC 6750) as a
            `str`; or a sync or async callable that gives one of them and is called for each connection, within
            ``open_timeout``.
        cookies: cookies to send: names and values, a `http.cookies.SimpleCookie`; or a `http.cookiejar.CookieJar`,
            which also takes those that the server sets, and can be shared by connections.
        max_redirects: how many redirects to follow (301, 302, 303, 307, 308). 0: none, as RFC 6455, 4.1 leaves it to
            the client, and a server shall not choose where we connect to unless asked for. Never from ``wss:`` to
            ``ws:``. To another scheme, host or port go no ``auth``, no ``cookies`` but those of a jar, no
            ``server_hostname``, and of ``headers`` no ``Host``, ``Authorization``, ``Cookie`` and names with auth,
            token, key and the like. With ``ssl_context``, which may have a client certificate, such a redirect is a
            `RedirectError`: connect to the last of its ``chain`` with the context that is meant for it.
        proxy: the URI of a proxy: ``http:``, ``https:``, ``socks4:``, ``socks4a:``, ``socks5:`` or ``socks5h:``, with
            user name and password where it needs them. SOCKS needs the extra ``socks``. True: what the environment
            (``https_proxy``, ``all_proxy``, ``no_proxy`` ...) or the system says, except for servers on loopback; the
            default, for where there is a proxy there is mostly no other way out. None: no proxy. It is not asked for
            with ``stream`` and for unix sockets.
        proxy_ssl_context: the TLS context for an ``https:`` proxy; by default that of a client without ``ssl_context``.
    """

    subprotocols: Sequence[str] = field(default=(), repr=False)  # tokens are sent among them
    headers: HeadersLike = field(default=(), repr=False)
    extensions: str | Sequence[Extension] = ()
    origin: str | None = None
    open_timeout: float | None = 10
    masking: bool = True
    server_hostname: str | None = None
    stream: ByteStream | None = None
    local_host: str | None = None
    local_port: int = 0
    happy_eyeballs_delay: float = 0.25
    max_connecting: int | None = None
    auth: AuthLike | None = field(default=None, repr=False)
    cookies: CookiesLike | None = field(default=None, repr=False)
    max_redirects: int = 0
    proxy: str | Literal[True] | None = field(default=True, repr=False)
    proxy_ssl_context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        # super() without arguments does not know the class that slots=True makes anew.
        ConnectionOptions.__post_init__(self)
        check_positive(self, "open_timeout", "happy_eyeballs_delay", "max_connecting")
        _check_side("ssl_context", self.ssl_context, ssl.Purpose.SERVER_AUTH)
        _check_side("proxy_ssl_context", self.proxy_ssl_context, ssl.Purpose.SERVER_AUTH)
        object.__setattr__(self, "headers", check_request_headers(self.headers))
        if self.origin is not None:
            check_header("Origin", self.origin)
        if self.server_hostname is not None:
            object.__setattr__(self, "server_hostname", server_name("server_hostname", self.server_hostname))
        check_subprotocols(self.subprotocols)
        as_extensions(self.extensions)
        if self.local_port and self.local_host is None:
            raise ValueError("option local_port needs local_host")
        if self.max_redirects < 0:
            raise ValueError(f"option max_redirects is {self.max_redirects}: expected 0 or more")
        self._check_credentials()
        self._check_route()

    def _check_credentials(self) -> None:
        if self.auth is not None and not callable(self.auth):
            authorization(self.auth)
        if self.cookies is not None:
            check_cookies(self.cookies)
        for option, header in (("auth", "Authorization"), ("cookies", "Cookie")):
            if getattr(self, option) is not None and header in Headers(self.headers):
                raise ValueError(f"option {option} and header {header} say the same: give one of them")

    def _check_route(self) -> None:
        proxy = parse_proxy(self.proxy) if isinstance(self.proxy, str) else None
        if self.stream is not None and (proxy is not None or self.max_redirects):
            raise ValueError("options proxy and max_redirects are for new connections: not with stream")
        if proxy is not None and proxy.scheme != "https" and self.proxy_ssl_context is not None:
            raise ValueError("proxy_ssl_context is given, but the proxy's URI says no TLS: expected https://")

    @property
    def cookie_jar(self) -> CookieJar | None:
        """The option ``cookies``, if it is a jar."""
        return self.cookies if isinstance(self.cookies, CookieJar) else None


def server_name(option: str, name: str) -> str:
    """Return the name that a server's certificate must have, in ASCII.

    Raises:
        InvalidURI: it is no host.
    """
    try:
        return ascii_host(name)
    except ValueError as exc:
        raise InvalidURI(name, f"option {option}: {name!r} {exc}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectOptions(ClientOptions):
    """What a client knows that connects again.

    Attributes:
        first_delay: the most that is waited after a first failure; it doubles with each further one. 5 s, as RFC 6455,
            7.2.3 suggests.
        max_delay: the most that is ever waited, ``Retry-After`` aside. 60 s.
        settled_after: a connection that lived for so long is no failure: the delays begin anew. 60 s. A server that
            takes connections and drops them at once gets no more of them than one that takes none.
        on_outage: a sync or async callable that gets each `Outage` before anything is waited: True to try again, False
            to give up, None for the default. To give up raises the exception, or, where there is none, ends the loop.
    """

    first_delay: float = 5
    max_delay: float = 60
    settled_after: float = 60
    on_outage: OutageHook | None = None

    def __post_init__(self) -> None:
        ClientOptions.__post_init__(self)
        check_positive(self, "first_delay", "max_delay", "settled_after")
        if self.stream is not None:
            raise ValueError("option stream is one connection only: not for connecting again")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptOptions(ConnectionOptions):
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
        _check_side("ssl_context", self.ssl_context, ssl.Purpose.CLIENT_AUTH)
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


def _check_side(option: str, context: ssl.SSLContext | None, purpose: ssl.Purpose) -> None:
    """Check that a context is not one of the other side, with which every handshake would fail."""
    ours, theirs = ("server", "client") if purpose is ssl.Purpose.CLIENT_AUTH else ("client", "server")
    other = ssl.PROTOCOL_TLS_CLIENT if ours == "server" else ssl.PROTOCOL_TLS_SERVER
    if context is not None and context.protocol is other:
        raise ValueError(
            f"option {option} is a context of a {theirs} ({other.name}): expected one of a {ours}, "
            f"such as ssl.create_default_context(ssl.Purpose.{purpose.name})"
        )


class _ConnectionKeywords(TypedDict, total=False):
    ssl_context: ssl.SSLContext | None
    close_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    max_message_size: int | None
    max_frame_size: int | None
    max_fragments: int | None
    receive_buffer: int
    send_buffer: int
    compression: bool | Preset | PerMessageDeflate | None


class ConnectKeywords(_ConnectionKeywords, total=False):
    """The keywords of `connect`: see `ClientOptions`."""

    subprotocols: Sequence[str]
    headers: HeadersLike
    extensions: str | Sequence[Extension]
    origin: str | None
    open_timeout: float | None
    masking: bool
    server_hostname: str | None
    stream: ByteStream | None
    local_host: str | None
    local_port: int
    happy_eyeballs_delay: float
    max_connecting: int | None
    auth: AuthLike | None
    cookies: CookiesLike | None
    max_redirects: int
    proxy: str | Literal[True] | None
    proxy_ssl_context: ssl.SSLContext | None


class ReconnectKeywords(ConnectKeywords, total=False):
    """The keywords of `reconnecting`: see `ReconnectOptions`."""

    first_delay: float
    max_delay: float
    settled_after: float
    on_outage: OutageHook | None


class AcceptKeywords(_ConnectionKeywords, total=False):
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
