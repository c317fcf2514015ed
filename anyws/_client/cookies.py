"""Cookies of the opening handshake (RFC 6265), by the standard library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from http.cookiejar import Cookie, CookieJar
from http.cookies import Morsel
from urllib.request import Request as URLRequest

from anyws.protocol.headers import Headers, is_token
from anyws.protocol.uri import WebSocketURI

from .dates import parse_date

__all__ = ["CookiesLike", "check_cookies", "cookie_header", "keep_cookies"]

CookiesLike = Mapping[str, str | Morsel[str]] | CookieJar
"""What callers may pass for cookies: names and values, a `http.cookies.SimpleCookie`, or a jar."""

# RFC 6265, 4.1.1, and what browsers send as well: inner spaces, commas, quotes, backslashes.
_VALUE = re.compile(r"(?:[\x21-\x3a\x3c-\x7e](?:[\x20-\x3a\x3c-\x7e]*[\x21-\x3a\x3c-\x7e])?)?")

_SECONDS = re.compile(r"-?[0-9]{1,12}")  # 30,000 years at most
_EPOCH = datetime.fromtimestamp(0, UTC)  # no clock of a jar is before it
_MAX_COOKIES = 180  # of one domain in a jar, as in Chrome and Firefox
_MAX_SIZE = 4096  # bytes of name and value of one, as in browsers (RFC 6265, section 6.1)


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
    for value in headers.get_all("set-cookie"):
        if (tidied := _tidied(value)) is not None:
            message["Set-Cookie"] = tidied
    request = _as_request(uri)
    for cookie in cookies.make_cookies(_Response(message), request):  # type: ignore[arg-type]
        cookies.set_cookie_if_ok(cookie, request)
        _make_room(cookies, cookie)


def _tidied(value: str) -> str | None:
    """Return what RFC 6265, section 5.2, makes of a ``Set-Cookie``; None if it is to be ignored.

    What that section ignores makes `http.cookiejar` stumble, with a warning that has a traceback.
    """
    pair, *attributes = value.split(";")
    name, equals, _ = pair.partition("=")
    if not name.strip() or not equals or len(pair) > _MAX_SIZE:
        return None
    return "; ".join([pair.strip(), *filter(None, map(_tidied_attribute, attributes))])


def _tidied_attribute(attribute: str) -> str | None:
    name, _, value = (part.strip() for part in attribute.partition("="))
    match name.lower():
        case "secure" | "httponly":
            return name
        case "domain" | "path" if value:
            return f"{name}={value}"
        case "max-age" if _SECONDS.fullmatch(value):
            return f"{name}={value}"
        case "expires" if (date := parse_date(value)) is not None:
            return f"{name}={format_datetime(max(date, _EPOCH), usegmt=True)}"
        case _:
            return None


def _make_room(cookies: CookieJar, new: Cookie) -> None:
    """Drop the oldest cookies of a domain that has too many."""
    of_domain = [each for each in cookies if each.domain == new.domain]
    for cookie in of_domain[: max(0, len(of_domain) - _MAX_COOKIES)]:
        cookies.clear(cookie.domain, cookie.path, cookie.name)


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
            shown = name.partition("=")[0]  # perhaps the value stands in the name, by mistake
            raise ValueError(f"cookie name {shown!r} is not a token (RFC 6265, section 4.1.1)")
        if not _VALUE.fullmatch(text):
            raise ValueError(f"the value of cookie {name} has a character that no cookie can carry: percent-encode it")
        pairs.append(f"{name}={text}")
    return pairs


def _as_request(uri: WebSocketURI) -> URLRequest:
    return URLRequest(f"{uri.origin}{uri.resource}")
