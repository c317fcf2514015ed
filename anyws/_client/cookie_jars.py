"""Cookie jars (RFC 6265), on top of `http.cookiejar`. Imported only by programs that use one: it takes long to load."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from http.cookiejar import Cookie, CookieJar
from urllib.request import Request as URLRequest

from anyws.protocol.headers import Headers
from anyws.protocol.uri import WebSocketURI

from .dates import parse_date

__all__ = ["header_from_jar", "store_in_jar"]

_SECONDS = re.compile(r"-?[0-9]{1,12}")  # at most 30,000 years
_EPOCH = datetime.fromtimestamp(0, UTC)  # earlier dates have expired in any case
_MAX_COOKIES = 180  # per domain in a jar, as in Chrome and Firefox
_MAX_SIZE = 4096  # bytes of a cookie's name and value, as in browsers (RFC 6265, section 6.1)


def header_from_jar(jar: CookieJar, uri: WebSocketURI) -> str | None:
    """Return the value of the ``Cookie`` header for a request to this URI; None to send no such header."""
    request = _as_request(uri)
    jar.add_cookie_header(request)
    return request.get_header("Cookie")


def store_in_jar(jar: CookieJar, uri: WebSocketURI, headers: Headers) -> None:
    """Store the cookies that a response sets."""
    message = Message()
    for value in headers.get_all("set-cookie"):
        if (normalized := _normalized(value)) is not None:
            message["Set-Cookie"] = normalized
    request = _as_request(uri)
    for cookie in jar.make_cookies(_Response(message), request):  # type: ignore[arg-type]
        jar.set_cookie_if_ok(cookie, request)
        _drop_oldest(jar, cookie)


def _normalized(value: str) -> str | None:
    """Normalize a ``Set-Cookie`` as in RFC 6265, section 5.2; None if it must be ignored.

    `http.cookiejar` emits a warning with a traceback for some values that this section tells clients to ignore.
    """
    pair, *attributes = value.split(";")
    name, equals, _ = pair.partition("=")
    if not name.strip() or not equals or len(pair) > _MAX_SIZE:
        return None
    return "; ".join([pair.strip(), *filter(None, map(_normalized_attribute, attributes))])


def _normalized_attribute(attribute: str) -> str | None:
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


def _drop_oldest(cookies: CookieJar, new: Cookie) -> None:
    """Drop the oldest cookies of a domain that has too many."""
    of_domain = [each for each in cookies if each.domain == new.domain]
    for cookie in of_domain[: max(0, len(of_domain) - _MAX_COOKIES)]:
        cookies.clear(cookie.domain, cookie.path, cookie.name)


class _Response:
    """The part of a response that a `CookieJar` uses."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


def _as_request(uri: WebSocketURI) -> URLRequest:
    return URLRequest(f"{uri.origin}{uri.resource}")
