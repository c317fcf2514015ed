"""The options of a client: each with its name, unit, default and reason.

The dataclasses hold the values; the typed dictionaries beside them give type checkers and editors the same names as
keywords of `connect` and `reconnecting`. A test keeps the two equal.
"""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Literal

from anyio.abc import ByteStream

from anyws._checking import check_positive
from anyws._client.authorization import AuthLike, authorization
from anyws._client.cookies import CookiesLike, check_cookies
from anyws._client.outages import DisconnectHook
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
    "ReconnectKeywords",
    "ReconnectOptions",
    "server_name",
]


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
    """The options of `reconnecting`, besides those of `connect`.

    Attributes:
        initial_delay: the upper bound of the delay after a first failure; it doubles with each further one. 5 s, as RFC
            6455, section 7.2.3, suggests.
        max_delay: the largest upper bound, ``Retry-After`` aside. 60 s.
        reset_after: a connection that stays open this many seconds resets the delays. 60 s. A server that accepts
            connections and drops them at once is not sent more of them than one that accepts none.
        on_disconnect: a sync or async callable that is given each `Outage` before the delay. It returns True to try
            again, False to stop, or None for the default. To stop raises the exception, or, without one, ends the loop.
    """

    initial_delay: float = 5
    max_delay: float = 60
    reset_after: float = 60
    on_disconnect: DisconnectHook | None = None

    def __post_init__(self) -> None:
        ClientOptions.__post_init__(self)
        check_positive(self, "initial_delay", "max_delay", "reset_after")
        if self.stream is not None:
            raise ValueError("option stream is one connection only: not for connecting again")


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


class ReconnectKeywords(ConnectKeywords, total=False):
    """The keywords of `reconnecting`: see `ReconnectOptions`."""

    initial_delay: float
    max_delay: float
    reset_after: float
    on_disconnect: DisconnectHook | None
