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
_HINT = "percent-encode special characters in the user name and password"
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]|[\ud800-\udfff]")  # in two sets for speed: one takes long to compile
_SHORT_NUMBER = re.compile(r"-?[0-9]{1,6}")  # a port that is out of range; anything else may be a secret
_SCHEMES = "ws, wss, http, https, ws+unix or wss+unix"
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/?#\[\]]+)(?::[0-9]+)?(?:[/?]|$)")
# Allowed unencoded in a path or query (RFC 3986, sections 3.3 and 3.4); and "%", because the rest is encoded already.
_SAFE = "/?:@!$&'()*+,;=-._~%"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketURI:
    """A parsed WebSocket URI.

    Attributes:
        secure: whether the connection uses TLS (``wss``).
        host: the host in lower case and ASCII (IDNA), without brackets; ``localhost`` for a unix socket. The zone of an
            IPv6 address is decoded (``fe80::1%eth0``); a trailing dot is kept.
        port: the port; the default port of the scheme if the URI has none.
        resource: the path and query, as sent in the request line.
        username: the percent-decoded user name, or None.
        password: the percent-decoded password, or None.
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
        """The origin of this URI as a browser would send it, for example ``https://example.com``."""
        return f"{'https' if self.secure else 'http'}://{self.host_header}"

    def __repr__(self) -> str:
        """Show the URI, without user name, password and query."""
        return f"<WebSocketURI {without_query(self)}{f'?{HIDDEN}' if '?' in self.resource else ''}>"

    def __str__(self) -> str:
        """The URI without user name and password."""
        scheme = "wss" if self.secure else "ws"
        if self.socket_path is not None:
            slashes = "//" if self.socket_path.startswith("//") else ""  # else the path would lose its first two
            return f"{scheme}+unix:{slashes}{quote(self.socket_path)}:{self.resource}"
        return f"{scheme}://{host_in_uri(self.host, self._port)}{self.resource}"

    @property
    def _port(self) -> int | None:
        """The port, or None if it is the default port of the scheme."""
        return None if self.port == _DEFAULT_PORT[self.secure] else self.port


def without_query(uri: WebSocketURI) -> str:
    """Return a URI in a form that is safe to log: without query, user name and password."""
    return str(uri).partition("?")[0]


def parse_uri(uri: str) -> WebSocketURI:
    """Parse a WebSocket URI: ``ws:``, ``wss:``, ``http:``, ``https:`` or ``ws+unix:/the/socket:/resource``.

    Raises:
        InvalidURI: the URI is not valid; the message says what was expected.
        TypeError: the URI is not a `str`.
    """
    if not isinstance(uri, str):
        raise TypeError(f"the URI must be a str, not {type(uri).__name__}")
    check_characters(uri)
    if _UNIX_SCHEME.match(uri) is not None:
        return _parse_unix(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:  # its message may quote a password
        raise InvalidURI(uri, f"invalid URI; {_HINT}" if "@" in uri else "invalid URI") from None
    if parts.scheme not in _SECURE_BY_SCHEME:
        raise InvalidURI(uri, _scheme_problem(uri, parts.scheme))
    host, port = host_of(uri, parts)
    _check_no_fragment(uri)
    if port == 0:
        raise InvalidURI(uri, "invalid port 0: expected 1 to 65535")
    secure = _SECURE_BY_SCHEME[parts.scheme]
    return WebSocketURI(
        secure=secure,
        host=host,
        port=_DEFAULT_PORT[secure] if port is None else port,
        resource=_resource(parts.path or "/") + (f"?{_resource(parts.query)}" if parts.query else ""),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _scheme_problem(uri: str, scheme: str) -> str:
    """Describe a missing or unknown scheme without showing what may be a user name or a password."""
    if uri[len(scheme) :].startswith("://"):
        return f"scheme '{in_one_line(scheme)}' is not supported: expected {_SCHEMES}"
    if "@" in uri or _HOST_AND_PORT.match(uri) is None:
        return f"the URI has no scheme: expected {_SCHEMES}"
    shown = in_one_line(uri.partition("?")[0])
    return f"'{shown}' has no scheme; did you mean 'ws://{shown}'?"


def check_characters(uri: str) -> None:
    """Check that a URI contains no white space, control characters or surrogates.

    Raises:
        InvalidURI: it contains one.
    """
    if (forbidden := _FORBIDDEN.search(uri)) is not None:
        what, hint = ("a space", " (%20)") if forbidden[0] == " " else (f"character {forbidden[0]!a}", "")
        raise InvalidURI(uri, f"the URI contains {what} at position {forbidden.start()}; percent-encode it{hint}")


def _parse_unix(uri: str) -> WebSocketURI:
    match = _UNIX.fullmatch(uri)
    if match is None:
        raise InvalidURI(
            uri, "invalid URI of a unix socket: expected ws+unix:/the/socket or ws+unix:/the/socket:/resource"
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
        raise InvalidURI(
            uri, "the URI must not contain a fragment; write %23 for a literal number sign (RFC 6455, section 3)"
        )


def host_of(uri: str, parts: SplitResult) -> tuple[str, int | None]:
    """Return the host and port of a URI. Error messages never show text that may be part of a password.

    Raises:
        InvalidURI: the host is missing, or the host or the port is invalid.
    """
    try:
        port = parts.port
    except ValueError:
        if "@" in uri:
            raise InvalidURI(uri, f"invalid port: expected 1 to 65535; {_HINT}") from None
        port_text = parts.netloc.rpartition(":")[2]
        shown = f" {port_text}" if _SHORT_NUMBER.fullmatch(port_text) else ""
        raise InvalidURI(uri, f"invalid port{shown}: expected 1 to 65535") from None
    authority = parts.netloc.rpartition("@")[2]
    host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    behind = authority.removeprefix(host)
    if not host:
        shown = "the URI" if "@" in uri else f"'{in_one_line(uri.partition('?')[0])}'"
        raise InvalidURI(uri, f"{shown} has no host: expected {parts.scheme}://host")
    try:
        if behind and not behind.startswith(":"):
            raise ValueError("is followed by text after its bracket")
        if "\\" in parts.netloc:
            raise ValueError("contains a backslash, which browsers treat as the start of the path")
        return parse_host(host), port
    except ValueError as exc:
        problem = f"invalid host; {_HINT}" if "@" in uri else f"host {in_one_line(host)!r} {exc}"
        raise InvalidURI(uri, problem) from None


def _resource(text: str) -> str:
    return quote(text, safe=_SAFE)
