"""Options of a client, each with its unit, its default and the reason for it.

The dataclass holds the values. The typed dictionary gives type checkers and editors the same names as keywords of
`connect`. A test keeps the two in sync.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from anyio.abc import ByteStream

from anyws._checking import check_positive
from anyws._client.authorization import AuthLike, authorization
from anyws._client.cookies import CookieJar, CookiesLike, check_cookies
from anyws._connection.options import ConnectionKeywords, ConnectionOptions, check_side
from anyws.protocol.client_handshake import check_request_headers
from anyws.protocol.errors import InvalidURI
from anyws.protocol.extensions import Extension
from anyws.protocol.headers import Headers, HeadersLike, check_header
from anyws.protocol.hosts import ascii_host
from anyws.protocol.negotiation import as_extensions
from anyws.protocol.proxy import parse_proxy
from anyws.protocol.subprotocols import check_subprotocols

__all__ = [
    "ClientOptions",
    "ConnectKeywords",
    "server_name",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions(ConnectionOptions):
    """Options of `connect`.

    Attributes:
        subprotocols: the subprotocols to offer, in order of preference.
        headers: additional request headers: a mapping, or (name, value) pairs.
        extensions: additional extensions to offer: `Extension` objects, in order of preference; or the value of the
            header as a `str`, for which there is no codec, so the server must decline them.
        origin: the value of the ``Origin`` header. None: no such header, as is usual outside browsers.
        open_timeout: time limit for name resolution, TCP, TLS and the opening handshake together, after which
            `TimeoutError` is raised. 10 s.
        masking: whether to mask frames, as RFC 6455, section 5.3, requires. False violates the RFC, and conformant
            servers respond by closing with 1002; use it only with a server that accepts it (``accept_unmasked=True``).
        server_hostname: the host name to expect in the server's certificate and to send as SNI; by default the URI's
            host. A trailing dot is removed.
        stream: a byte stream to use instead of a new connection. For ``wss:``, TLS is started on it.
        local_host: the local address to connect from.
        local_port: the local port to connect from; requires ``local_host``.
        happy_eyeballs_delay: how long to wait for one address of a host before also trying the next one. 0.25 s, as in
            RFC 8305, section 5.
        max_connecting: how many connections of this program to one address may be in the opening handshake at the same
            time. Further ones wait for their turn, and ``open_timeout`` starts when they get it. None: no limit, as in
            other libraries, so one unresponsive server does not block other connections. RFC 6455, section 4.1,
            requires 1, to protect servers from web pages that open many connections: set 1 in a program that connects
            to URIs from untrusted users.
        auth: credentials: ``(user, password)`` for Basic authentication (RFC 7617), or a bearer token (RFC 6750) as a
            `str`; or a sync or async callable that returns one of these. It is called for each connection, within
            ``open_timeout``.
        cookies: cookies to send: a mapping of names to values, a `http.cookies.SimpleCookie`, or a
            `http.cookiejar.CookieJar`, which also stores cookies set by the server and can be shared by connections.
        max_redirects: maximum number of redirects to follow (301, 302, 303, 307, 308). 0: none. RFC 6455, section 4.1,
            leaves this to the client, and a server should not decide where you connect unless you allow it. A redirect
            from ``wss:`` to ``ws:`` is never followed. When redirected to another scheme, host or port, ``auth``,
            ``server_hostname`` and ``cookies`` (other than those of a jar) are not sent along, nor are the headers
            ``Host``, ``Authorization``, ``Cookie`` and those with auth, token, key and the like in their names. If you
            set ``ssl_context``, which may hold a client certificate, such a redirect raises `RedirectError`: connect to
            the last URI of its ``chain`` with the right context.
        proxy: the URI of a proxy: ``http:``, ``https:``, ``socks4:``, ``socks4a:``, ``socks5:`` or ``socks5h:``, with
            a user name and password if needed. SOCKS requires the extra ``socks``. True (the default): use the proxy
            from the environment (``https_proxy``, ``all_proxy``, ``no_proxy`` ...) or the system settings, except for
            servers on loopback; where a proxy is configured, there is often no other way out. None: no proxy. Unused
            with ``stream`` and for unix sockets.
        proxy_ssl_context: the TLS context for an ``https:`` proxy; by default, the default context of a client.
    """

    subprotocols: Sequence[str] = field(default=(), repr=False)  # some clients send tokens as subprotocols
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
        # super() without arguments does not work here, because slots=True creates a new class.
        ConnectionOptions.__post_init__(self)
        check_positive(self, "open_timeout", "happy_eyeballs_delay", "max_connecting")
        check_side("ssl_context", self.ssl_context, ssl.Purpose.SERVER_AUTH)
        check_side("proxy_ssl_context", self.proxy_ssl_context, ssl.Purpose.SERVER_AUTH)
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
                raise ValueError(f"give either the option {option} or the header {header}, not both")

    def _check_route(self) -> None:
        proxy = parse_proxy(self.proxy) if isinstance(self.proxy, str) else None
        if self.stream is not None and (proxy is not None or self.max_redirects):
            raise ValueError("options proxy and max_redirects cannot be used with stream")
        if proxy is not None and proxy.scheme != "https" and self.proxy_ssl_context is not None:
            raise ValueError("proxy_ssl_context is given, but the proxy's URI does not use TLS: expected https://")

    @property
    def cookie_jar(self) -> CookieJar | None:
        """The option ``cookies``, if it is a jar."""
        return self.cookies if isinstance(self.cookies, CookieJar) else None


def server_name(option: str, name: str) -> str:
    """Return the host name to expect in a server's certificate, in ASCII.

    Raises:
        InvalidURI: it is not a valid host.
    """
    try:
        return ascii_host(name)
    except ValueError as exc:
        raise InvalidURI(name, f"option {option}: {name!r} {exc}") from None


class ConnectKeywords(ConnectionKeywords, total=False):
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
