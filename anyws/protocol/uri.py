"""WebSocket URIs (RFC 6455, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from .errors import InvalidURI, in_one_line
from .headers import HIDDEN
from .hosts import host_in_uri, parse_host, with_port

__all__ = ["WebSocketURI", "check_characters", "host_of", "parse_uri", "without_query"]

_SECURE_BY_SCHEME = {"ws": False, "http": False, "wss": True, "https": True}
_DEFAULT_PORT = {False: 80, True: 443}
_UNIX_SCHEME = re.compile(r"wss?\+unix:", re.IGNORECASE)
_UNIX = re.compile(r"(wss?)\+unix:(?://)?(/[^:]+)(?::(/.*)?)?", re.DOTALL | re.IGNORECASE)
_HINT = "percent-encode what a user name or a password has"
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
# What may stand in a path or a query as it is (RFC 3986, sections 3.3 and 3.4), and "%" of what is encoded already.
_SAFE = "/?:@!$&'()*+,;=-._~%"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketURI:
    """A WebSocket URI, taken apart.

    Attributes:
        secure: whether TLS is used (``wss``).
        host: the host, in lower case, ASCII (IDNA) and without brackets; ``localhost`` for a unix socket. A zone of an
            IPv6 address is decoded (``fe80::1%eth0``); a dot at the end stays.
        port: the port; the scheme's default where the URI has none.
        resource: path and query, as they stand in the request line.
        username: percent-decoded user name, or None.
        password: percent-decoded password, or None.
        socket_path: the path of the unix socket, or None for TCP.
    """

    secure: bool
    host: str
    port: int
    resource: str = "/"
    username: str | None = None
    password: str | None = None
    socket_path: str | None = None

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header: brackets around IPv6, no zone, no default port (RFC 6455, section 4.1)."""
        return with_port(self.host, self._port)

    @property
    def origin(self) -> str:
        """The origin of this URI as a browser would write it, such as ``https://example.com``."""
        return f"{'https' if self.secure else 'http'}://{self.host_header}"

    def __repr__(self) -> str:
        """Show the URI, without user name, password and query."""
        return f"<WebSocketURI {without_query(self)}{f'?{HIDDEN}' if '?' in self.resource else ''}>"

    def __str__(self) -> str:
        """The URI without user name and password."""
        scheme = "wss" if self.secure else "ws"
        if self.socket_path is not None:
            slashes = "//" if self.socket_path.startswith("//") else ""  # the first two would be those of the scheme
            return f"{scheme}+unix:{slashes}{quote(self.socket_path)}:{self.resource}"
        return f"{scheme}://{host_in_uri(self.host, self._port)}{self.resource}"

    @property
    def _port(self) -> int | None:
        """The port, unless it is the default."""
        return None if self.port == _DEFAULT_PORT[self.secure] else self.port


def without_query(uri: WebSocketURI) -> str:
    """Return a URI as it may stand in a message or a log: without query, user name and password."""
    return str(uri).partition("?")[0]


def parse_uri(uri: str) -> WebSocketURI:
    """Take a URI apart: ``ws:``, ``wss:``, ``http:``, ``https:`` or ``ws+unix:/the/socket:/resource``.

    Raises:
        InvalidURI: it is no such URI; the message says what was expected.
        TypeError: it is no `str`.
    """
    if not isinstance(uri, str):
        raise TypeError(f"a URI is a str, not {type(uri).__name__}")
    check_characters(uri)
    if _UNIX_SCHEME.match(uri) is not None:
        return _parse_unix(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:  # which quotes what may be a password
        raise InvalidURI(uri, f"not a URI; {_HINT}" if "@" in uri else "not a URI") from None
    if parts.scheme not in _SECURE_BY_SCHEME:
        # What stands before a colon without slashes may be a user name.
        scheme = parts.scheme if "@" not in uri or uri[len(parts.scheme) :].startswith("://") else ""
        raise InvalidURI(uri, f"scheme {scheme or 'none'}: expected ws, wss, http, https, ws+unix or wss+unix")
    host, port = host_of(uri, parts)
    _check_no_fragment(uri)
    if port == 0:
        raise InvalidURI(uri, "port 0: expected 1 to 65535")
    secure = _SECURE_BY_SCHEME[parts.scheme]
    return WebSocketURI(
        secure=secure,
        host=host,
        port=_DEFAULT_PORT[secure] if port is None else port,
        resource=_resource(parts.path or "/") + (f"?{_resource(parts.query)}" if parts.query else ""),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def check_characters(uri: str) -> None:
    """Check that the text has nothing that no URI has.

    Raises:
        InvalidURI: it has.
    """
    if _FORBIDDEN.search(uri):
        raise InvalidURI(uri, "a URI has no white space, control characters or surrogates; percent-encode them")


def _parse_unix(uri: str) -> WebSocketURI:
    match = _UNIX.fullmatch(uri)
    if match is None:
        raise InvalidURI(
            uri, "not a URI of a unix socket: expected ws+unix:/the/socket or ws+unix:/the/socket:/resource"
        )
    _check_no_fragment(uri)
    scheme, socket_path, resource = match.groups()
    secure = scheme.lower() == "wss"
    return WebSocketURI(
        secure=secure,
        host="localhost",
        port=_DEFAULT_PORT[secure],
        resource=_resource(resource or "/"),
        socket_path=unquote(socket_path),
    )


def _check_no_fragment(uri: str) -> None:
    if "#" in uri:
        raise InvalidURI(uri, "a WebSocket URI has no fragment; write %23 for a number sign (RFC 6455, section 3)")


def host_of(uri: str, parts: SplitResult) -> tuple[str, int | None]:
    """Return host and port of a URI; no message shows what may be a part of a password.

    Raises:
        InvalidURI: there is no host, or one of them is none.
    """
    try:
        port = parts.port
    except ValueError:
        raise InvalidURI(uri, f"the port is no number from 1 to 65535; {_HINT}") from None
    authority = parts.netloc.rpartition("@")[2]
    host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    behind = authority.removeprefix(host)
    if not host:
        raise InvalidURI(uri, "a URI has a host, as in ws://localhost:8765/")
    try:
        if behind and not behind.startswith(":"):
            raise ValueError("has text behind its bracket")
        if "\\" in parts.netloc:
            raise ValueError("has a backslash, which browsers take for the beginning of the path")
        return parse_host(host), port
    except ValueError as exc:
        problem = f"not a host; {_HINT}" if "@" in uri else f"host {in_one_line(host)!r} {exc}"
        raise InvalidURI(uri, problem) from None


def _resource(text: str) -> str:
    return quote(text, safe=_SAFE)
