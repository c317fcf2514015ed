"""Cookies of the opening handshake (RFC 6265): the values of the option ``cookies``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from anyws.protocol.headers import Headers, is_token
from anyws.protocol.uri import WebSocketURI

if TYPE_CHECKING:
    from http.cookiejar import CookieJar
    from http.cookies import Morsel
else:  # for type checks at runtime, because the modules of these classes take long to load, and few programs use them
    T = TypeVar("T")

    @runtime_checkable
    class CookieJar(Protocol):
        """Stands for `http.cookiejar.CookieJar`."""

        __module__ = "http.cookiejar"

        def add_cookie_header(self, request: object) -> None: ...
        def make_cookies(self, response: object, request: object) -> Sequence[object]: ...

    @runtime_checkable
    class Morsel(Protocol[T]):
        """Stands for `http.cookies.Morsel`."""

        __module__ = "http.cookies"
        coded_value: str


__all__ = ["CookieJar", "CookiesLike", "check_cookies", "cookie_header", "store_cookies"]

CookiesLike = Mapping[str, str | Morsel[str]] | CookieJar
"""The option ``cookies``: a mapping of names to values, a `http.cookies.SimpleCookie`, or a cookie jar."""

# RFC 6265, section 4.1.1, plus what browsers send: inner spaces, commas, quotes, backslashes.
_VALUE = re.compile(r"(?:[\x21-\x3a\x3c-\x7e](?:[\x20-\x3a\x3c-\x7e]*[\x21-\x3a\x3c-\x7e])?)?")


def check_cookies(cookies: CookiesLike) -> None:
    """Check that these cookies can be sent.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: a name is not a token, or a value has an invalid character. The message does not show the value.
    """
    if not isinstance(cookies, CookieJar):
        _pairs(cookies)


def cookie_header(cookies: CookiesLike, uri: WebSocketURI) -> str | None:
    """Return the value of the ``Cookie`` header for a request to this URI; None to send no such header."""
    if not isinstance(cookies, CookieJar):
        return "; ".join(_pairs(cookies)) or None
    from .cookie_jars import header_from_jar

    return header_from_jar(cookies, uri)


def store_cookies(cookies: CookiesLike | None, uri: WebSocketURI, headers: Headers) -> None:
    """Store the cookies that a response sets, if ``cookies`` is a jar."""
    if cookies is not None and isinstance(cookies, CookieJar):
        from .cookie_jars import store_in_jar

        store_in_jar(cookies, uri, headers)


def _pairs(cookies: Mapping[str, str | Morsel[str]]) -> list[str]:
    pairs = []
    for name, value in cookies.items():
        text = value.coded_value if isinstance(value, Morsel) else value
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"cookie names and values must be str, not ({type(name).__name__}, {type(text).__name__})")
        if not is_token(name):
            shown = name.partition("=")[0]  # "name=value" given as the name: do not show the value
            raise ValueError(f"cookie name {shown!r} is not a token (RFC 6265, section 4.1.1)")
        if not _VALUE.fullmatch(text):
            raise ValueError(f"the value of cookie {name} has an invalid character: percent-encode it")
        pairs.append(f"{name}={text}")
    return pairs
