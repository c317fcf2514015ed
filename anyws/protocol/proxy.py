"""Proxy URIs, and the CONNECT request for HTTP proxies (RFC 9110, section 9.3.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from .credentials import basic_credentials
from .errors import InvalidURI, ProxyError, in_one_line
from .exchange import ClientExchange, HeadEnded, InvalidHead
from .headers import Headers
from .hosts import host_in_uri, with_port
from .http11 import Request
from .uri import WebSocketURI, check_characters, host_of

__all__ = ["Proxy", "ProxyHandshake", "parse_proxy"]

# Desktop environments write "socks" into all_proxy.
_SCHEMES = {"socks": "socks5h"}
_DEFAULT_PORT = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A parsed proxy URI.

    Attributes:
        scheme: ``http``, ``https``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``.
        host: the host, in lower case and ASCII, without brackets.
        port: the port; the default port of the scheme (80, 443 or 1080) if the URI has none.
        username: the percent-decoded user name, or None.
        password: the percent-decoded password; empty if there is only a user name.
    """

    scheme: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether the proxy uses SOCKS rather than HTTP."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy resolves the host name of the server; with ``socks4`` and ``socks5`` the client does."""
        return self.scheme not in ("socks4", "socks5")

    def __str__(self) -> str:
        """Return the URI without user name and password."""
        return f"{self.scheme}://{host_in_uri(self.host, self.port)}"


def parse_proxy(uri: str) -> Proxy:
    """Parse the URI of a proxy. The default scheme is ``http:``.

    Raises:
        InvalidURI: the URI is not valid; the message shows no part of it that may be secret.
        TypeError: the URI is not a `str`.
    """
    if not isinstance(uri, str):
        raise TypeError(f"the proxy must be a str, not {type(uri).__name__}")
    check_characters(uri)
    try:
        parts = urlsplit(uri if "://" in uri else f"http://{uri}")
    except ValueError:  # its message may quote a password
        raise InvalidURI(
            uri, "invalid proxy URI; percent-encode special characters in the user name and password"
        ) from None
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme not in _DEFAULT_PORT:
        raise InvalidURI(
            uri, f"proxy scheme '{in_one_line(scheme)}' is not supported: expected {', '.join(_DEFAULT_PORT)}"
        )
    try:
        host, port = host_of(uri, parts)
    except InvalidURI as exc:
        raise InvalidURI(uri, f"invalid proxy URI: {exc}") from None
    if port == 0:
        raise InvalidURI(uri, "invalid proxy URI: invalid port 0: expected 1 to 65535")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidURI(
            uri, "a proxy URI must end after the port; percent-encode special characters in the user name and password"
        )
    proxy = Proxy(
        scheme=scheme,
        host=host,
        port=port or _DEFAULT_PORT[scheme],
        username=None if parts.username is None else unquote(parts.username),
        password=unquote(parts.password or ""),
    )
    try:
        _check_credentials(proxy)
    except ValueError as exc:
        raise InvalidURI(uri, f"proxy {proxy}: {exc}") from None  # the message of exc shows no credentials
    return proxy


def _check_credentials(proxy: Proxy) -> None:
    if proxy.username is None:
        return
    if not proxy.is_socks:
        basic_credentials(proxy.username, proxy.password)
        return
    for text in (proxy.username, proxy.password):
        if not text.isascii() or "\0" in text or len(text) > 255:  # RFC 1929, section 2.
            raise ValueError("the user name and password for a SOCKS proxy must be ASCII, at most 255 characters each")


class ProxyHandshake:
    """Requests a tunnel from an HTTP proxy: writes the CONNECT request and checks the response.

    Args:
        proxy: the proxy; its user name and password are sent with HTTP Basic authentication.
        uri: the server to which the tunnel should lead.
        user_agent: the value of ``User-Agent``; None to omit the header.
        max_head_bytes: the maximum size of the response head, in bytes.
        max_headers: the maximum number of response headers.
        max_body_bytes: how much of the body of an error response to keep, in bytes.
    """

    def __init__(
        self,
        proxy: Proxy,
        uri: WebSocketURI,
        *,
        user_agent: str | None = None,
        max_head_bytes: int = 16384,
        max_headers: int = 128,
        max_body_bytes: int = 65536,
    ) -> None:
        self._proxy = proxy
        target = with_port(uri.host, uri.port)
        headers = [("Host", target)]
        if user_agent is not None:
            headers.append(("User-Agent", user_agent))
        if proxy.username is not None:
            headers.append(("Proxy-Authorization", basic_credentials(proxy.username, proxy.password)))
        self._request = Request(method="CONNECT", target=target, headers=Headers(headers))
        self._exchange = ClientExchange(max_bytes=max_head_bytes, max_headers=max_headers, max_body=max_body_bytes)

    @property
    def is_refused(self) -> bool:
        """Whether the head of an error response was received and more of its body may follow; see `ClientHandshake`."""
        return self._exchange.is_in_body

    def data_to_send(self) -> bytes:
        """Return the bytes of the request. Call it only once."""
        return self._exchange.send(self._request)

    def receive_data(self, data: bytes) -> bool:
        """Process bytes from the proxy, or ``b""`` at the end of the stream; return whether the tunnel is open.

        Raises:
            ProxyError: the proxy refuses the connection or sends an invalid response.
        """
        name = str(self._proxy)
        try:
            response = self._exchange.receive_data(data)
        except HeadEnded as exc:
            raise ProxyError(name, "closed the connection without a response") from exc
        except InvalidHead as exc:
            raise ProxyError(name, f"sent an invalid response: {exc}") from exc
        if response is None:
            return False
        if not 200 <= response.status <= 299:
            status = in_one_line(f"{response.status} {response.reason}".rstrip())
            raise ProxyError(name, f"responded with {status}", status=response.status, response=response)
        if self._exchange.trailing_data:
            # The client speaks first in both TLS and HTTP, so the server cannot have sent these bytes.
            raise ProxyError(name, "sent data after its response", status=response.status, response=response)
        return True
