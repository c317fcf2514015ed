"""Cookies of the opening handshake (RFC 6265), by the standard library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.message import Message
from http.cookiejar import CookieJar
from http.cookies import Morsel
from urllib.request import Request as URLRequest

from .protocol.headers import Headers, is_token
from .protocol.uri import WebSocketURI

__all__ = ["CookiesLike", "check_cookies", "cookie_header", "keep_cookies"]

CookiesLike = Mapping[str, str | Morsel[str]] | CookieJar
"""What callers may pass for cookies: names and values, a `http.cookies.SimpleCookie`, or a jar."""

# RFC 6265, 4.1.1, and what browsers send as well: inner spaces, commas, quotes, backslashes.
_VALUE = re.compile(r"(?:[\x21-\x3a\x3c-\x7e](?:[\x20-\x3a\x3c-\x7e]*[\x21-\x3a\x3c-\x7e])?)?")


def check_cookies(cookies: CookiesLike) -> None:
    """Check that these cookies can be sent.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: a name is not a token, or a value has what no cookie can carry; it is not shown.
    """
    if not isinstance(cookies, CookieJar):
        _pairs(cookies)


def cookie_header(cookies: CookiesLike, uri: WebSocketURI) -> str | None:
    """Return the value of ``Cookie`` for a request to this URI; None for no such header."""
    if not isinstance(cookies, CookieJar):
        return "; ".join(_pairs(cookies)) or None
    request = _as_request(uri)
    cookies.add_cookie_header(request)
    return request.get_header("Cookie")


def keep_cookies(cookies: CookiesLike | None, uri: WebSocketURI, headers: Headers) -> None:
    """Put what a response sets into the jar, if it is one."""
    if not isinstance(cookies, CookieJar):
        return
    message = Message()
    for name in ("Set-Cookie", "Set-Cookie2"):
        for value in headers.get_all(name):
            message[name] = value
    cookies.extract_cookies(_Response(message), _as_request(uri))  # type: ignore[arg-type]


class _Response:
    """As much of a response as a `CookieJar` looks at."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


def _pairs(cookies: Mapping[str, str | Morsel[str]]) -> list[str]:
    pairs = []
    for name, value in cookies.items():
        text = value.coded_value if isinstance(value, Morsel) else value
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"a cookie is a pair of str, not ({type(name).__name__}, {type(text).__name__})")
        if not is_token(name):
            raise ValueError(f"cookie name {name!r} is not a token (RFC 6265, 4.1.1)")
        if not _VALUE.fullmatch(text):
            raise ValueError(f"the value of cookie {name} has a character that no cookie can carry: percent-encode it")
        pairs.append(f"{name}={text}")
    return pairs


def _as_request(uri: WebSocketURI) -> URLRequest:
    return URLRequest(f"{uri.origin}{uri.resource}")
