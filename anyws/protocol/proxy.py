"""Proxies: their URIs, and the CONNECT request to those that speak HTTP (RFC 9110, section 9.3.6)."""

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

# "socks" is what desktops write into all_proxy.
_SCHEMES = {"socks": "socks5h"}
_DEFAULT_PORT = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``http``, ``https``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``.
        host: the host, in lower case, ASCII and without brackets.
        port: the port; the scheme's default where the URI has none: 80, 443 or 1080.
        username: percent-decoded user name, or None.
        password: percent-decoded password; empty where there is a user name only.
    """

    scheme: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, and not HTTP."""
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy looks up the name of the server; with ``socks4`` and ``socks5`` we do."""
        return self.scheme not in ("socks4", "socks5")

    def __str__(self) -> str:
        """The URI without user name and password."""
        return f"{self.scheme}://{host_in_uri(self.host, self.port)}"


def parse_proxy(uri: str) -> Proxy:
    """Take the URI of a proxy apart; without a scheme it is ``http:``.

    Raises:
        InvalidURI: it is none; the message shows nothing of it that may be a secret.
        TypeError: it is no `str`.
    """
    if not isinstance(uri, str):
        raise TypeError(f"a proxy is a str, not {type(uri).__name__}")
    check_characters(uri)
    try:
        parts = urlsplit(uri if "://" in uri else f"http://{uri}")
    except ValueError:  # which quotes what may be a password
        raise InvalidURI(uri, "the proxy is no URI; percent-encode what a user name or a password has") from None
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme not in _DEFAULT_PORT:
        raise InvalidURI(uri, f"proxy of scheme {in_one_line(scheme)}: expected {', '.join(_DEFAULT_PORT)}")
    try:
        host, port = host_of(uri, parts)
    except InvalidURI as exc:
        raise InvalidURI(uri, f"the proxy: {exc}") from None
    if port == 0:
        raise InvalidURI(uri, "the proxy: port 0: expected 1 to 65535")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidURI(uri, "the URI of a proxy ends with the port; percent-encode what a password has")
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
        raise InvalidURI(uri, f"proxy {proxy}: {exc}") from None
    return proxy


def _check_credentials(proxy: Proxy) -> None:
    if proxy.username is None:
        return
    if not proxy.is_socks:
        basic_credentials(proxy.username, proxy.password)
        return
    for text in (proxy.username, proxy.password):
        if not text.isascii() or "\0" in text or len(text) > 255:  # RFC 1929, section 2.
            raise ValueError("user name and password of a SOCKS proxy are ASCII of at most 255 characters")


class ProxyHandshake:
    """Asks a proxy that speaks HTTP for a tunnel: writes the CONNECT request, checks the response.

    Args:
        proxy: the proxy; its user name and password are sent as Basic authentication.
        uri: where the tunnel is to end.
        max_head_bytes: the largest response head, in bytes.
        max_headers: the largest number of response headers.
        max_body_bytes: how much of the body of a refusal to keep, in bytes.
    """

    def __init__(
        self,
        proxy: Proxy,
        uri: WebSocketURI,
        *,
        max_head_bytes: int = 16384,
        max_headers: int = 128,
        max_body_bytes: int = 65536,
    ) -> None:
        self._proxy = proxy
        target = with_port(uri.host, uri.port)
        headers = [("Host", target)]
        if proxy.username is not None:
            headers.append(("Proxy-Authorization", basic_credentials(proxy.username, proxy.password)))
        self._request = Request(method="CONNECT", target=target, headers=Headers(headers))
        self._exchange = ClientExchange(max_bytes=max_head_bytes, max_headers=max_headers, max_body=max_body_bytes)

    @property
    def is_refused(self) -> bool:
        """Whether the head of a refusal has come, and more of its body may follow; as of `ClientHandshake`."""
        return self._exchange.is_in_body

    def data_to_send(self) -> bytes:
        """Return the bytes of the request, once."""
        return self._exchange.send(self._request)

    def receive_data(self, data: bytes) -> bool:
        """Add bytes, or ``b""`` for their end; return whether the tunnel is there.

        Raises:
            ProxyError: the proxy refuses, or its answer is none.
        """
        name = str(self._proxy)
        try:
            response = self._exchange.receive_data(data)
        except HeadEnded as exc:
            raise ProxyError(name, "closed the connection before it answered") from exc
        except InvalidHead as exc:
            raise ProxyError(name, f"gave no valid answer: {exc}") from exc
        if response is None:
            return False
        if not 200 <= response.status <= 299:
            answer = in_one_line(f"{response.status} {response.reason}".rstrip())
            raise ProxyError(name, f"answered {answer}", status=response.status, response=response)
        if self._exchange.trailing_data:
            # The client speaks first in TLS and in HTTP, so these cannot be the server's bytes.
            raise ProxyError(name, "sent more than its answer", status=response.status, response=response)
        return True
