"""WebSocket URIs (RFC 6455, 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import idna

from .errors import InvalidURI

__all__ = ["WebSocketURI", "ascii_host", "check_characters", "parse_uri", "with_port"]

_SECURE_BY_SCHEME = {"ws": False, "http": False, "wss": True, "https": True}
_DEFAULT_PORT = {False: 80, True: 443}
_UNIX_SCHEME = re.compile(r"wss?\+unix:", re.IGNORECASE)
_UNIX = re.compile(r"(wss?)\+unix:(?://)?(/[^:]+)(?::(/.*)?)?", re.DOTALL | re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
# What may stand in a path or a query as it is (RFC 3986, 3.3 and 3.4), and "%" of what is encoded already.
_SAFE = "/?:@!$&'()*+,;=-._~%"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketURI:
    """A WebSocket URI, taken apart.

    Attributes:
        secure: whether TLS is used (``wss``).
        host: the host, in lower case, ASCII (IDNA) and without brackets; ``localhost`` for a unix socket.
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
        """The value of the ``Host`` header: brackets around IPv6, no port where it is the default (RFC 6455, 4.1)."""
        return with_port(self.host, None if self.port == _DEFAULT_PORT[self.secure] else self.port)

    @property
    def origin(self) -> str:
        """The origin of this URI as a browser would write it, such as ``https://example.com``."""
        return f"{'https' if self.secure else 'http'}://{self.host_header}"

    def __str__(self) -> str:
        """The URI without user name and password."""
        scheme = "wss" if self.secure else "ws"
        if self.socket_path is not None:
            slashes = "//" if self.socket_path.startswith("//") else ""  # the first two would be those of the scheme
            return f"{scheme}+unix:{slashes}{quote(self.socket_path)}:{self.resource}"
        return f"{scheme}://{self.host_header}{self.resource}"


def with_port(host: str, port: int | None) -> str:
    """Return host and port as they stand in a URI: brackets around IPv6; None for no port."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


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
    except ValueError as exc:
        raise InvalidURI(uri, f"not a URI: {exc}") from None
    try:
        port = parts.port
    except ValueError:
        # What stands in the port's place may be a part of a password, so it is not shown.
        raise InvalidURI(uri, "the port is no number from 1 to 65535; percent-encode what a password has") from None
    if parts.scheme not in _SECURE_BY_SCHEME:
        scheme = parts.scheme or "none"
        raise InvalidURI(uri, f"scheme {scheme}: expected ws, wss, http, https, ws+unix or wss+unix (3)")
    _check_no_fragment(uri)
    if not parts.hostname:
        raise InvalidURI(uri, "a WebSocket URI has a host (3)")
    if port == 0:
        raise InvalidURI(uri, "port 0: expected 1 to 65535")
    secure = _SECURE_BY_SCHEME[parts.scheme]
    return WebSocketURI(
        secure=secure,
        host=ascii_host(uri, parts.hostname),
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
        raise InvalidURI(uri, "a WebSocket URI has no fragment; write %23 for a number sign (3)")


def ascii_host(uri: str, host: str) -> str:
    """Return the host of a URI in ASCII (IDNA).

    Raises:
        InvalidURI: it is no domain name.
    """
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise InvalidURI(uri, f"host {host!r} is not a domain name: {exc}") from exc


def _resource(text: str) -> str:
    return quote(text, safe=_SAFE)
