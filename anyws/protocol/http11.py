"""HTTP requests and responses as immutable values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from .headers import Headers, HeadersLike, check_header, has_token, shown_value
from .query import Query

__all__ = ["Request", "Response", "checked_response"]

# The part before the path in the absolute form of a target (RFC 9112, section 3.2.2). Any other target starts with its
# path, so "//a/b" is a path; a generic URI parser would misread it.
_SCHEME_AND_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?@]*@)?([^/?]*)")
_REASON = re.compile(r"[\t \x21-\x7e\x80-\xff]*")  # RFC 9112, section 4.


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of an HTTP request.

    Attributes:
        target: the request target as sent: the path and query.
        headers: the headers.
        method: the method; ``GET`` for an opening handshake.
        http_version: the HTTP version, for example ``1.1``.
        state: a dictionary in which a request hook can store values for the handler, such as the authenticated user.
    """

    target: str
    headers: Headers
    method: str = "GET"
    http_version: str = "1.1"
    state: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __repr__(self) -> str:
        """Show the request, with its query and other possible secrets hidden."""
        target = shown_value(self.target)
        return f"Request({self.method!r}, {target!r}, {self.headers!r}, http_version={self.http_version!r})"

    @property
    def path(self) -> str:
        """The path of the target, percent-decoded once, as in WSGI and ASGI.

        Use it for every decision about a request, in hooks and in routers alike. It may contain any character; bytes
        that are not valid UTF-8 become U+FFFD.
        """
        path = self.raw_path
        return unquote(path) if "%" in path else path

    @property
    def raw_path(self) -> str:
        """The path of the target as sent, still percent-encoded."""
        path = self.target.partition("?")[0]
        if (before := _SCHEME_AND_AUTHORITY.match(path)) is not None:
            path = path[before.end() :]
        return path or "/"

    @property
    def host(self) -> str:
        """The host that the client requested, in lower case and without port; empty if there is none.

        A host in the target takes precedence over ``Host`` (RFC 9112, section 3.2.2).
        """
        authority = _SCHEME_AND_AUTHORITY.match(self.target)
        host = (authority[1] if authority is not None else self.headers.get("host", "")).lower()
        return host if host.endswith("]") else host.rpartition(":")[0] or host

    @property
    def query(self) -> Query:
        """The decoded parameters of the query, as in ``request.query.get("token")``; empty if there is no query.

        It is parsed each time, so look up several parameters in the same object.
        """
        return Query(self.raw_query)

    @property
    def raw_query(self) -> str:
        """The query as sent, without the question mark; empty if there is none."""
        return self.target.partition("?")[2]

    @property
    def is_websocket(self) -> bool:
        """Whether this is a request to upgrade to WebSocket, not a plain HTTP request."""
        return has_token(self.headers.get("upgrade", ""), "websocket")


@dataclass(frozen=True, slots=True, init=False)
class Response:
    """An HTTP response.

    Args:
        status: the HTTP status, 100 to 999.
        headers: a mapping, or (name, value) pairs. A server adds ``Content-Length`` and ``Connection: close`` if they
            are missing.
        body: the body. A `str` is encoded as UTF-8, and ``Content-Type`` defaults to ``text/plain; charset=utf-8``.
        reason: the reason phrase; by default the standard one for the status.

    Raises:
        ValueError: HTTP does not allow the status, a header or the reason.
        TypeError: an argument has the wrong type.
    """

    status: int
    headers: Headers
    body: bytes
    reason: str = field(compare=False)

    def __init__(
        self, status: int, headers: HeadersLike = (), body: str | bytes = b"", *, reason: str | None = None
    ) -> None:
        if not isinstance(status, int):
            raise TypeError(f"the status must be an int, not {type(status).__name__}")
        if not 100 <= status <= 999:
            raise ValueError(f"invalid status {status}: expected 100 to 999")
        if not isinstance(body, str | bytes):
            raise TypeError(f"the body must be str or bytes, not {type(body).__name__}")
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"the reason must be a str, not {type(reason).__name__}")
        if reason is not None and not _REASON.fullmatch(reason):
            raise ValueError(f"reason {reason!r} contains a forbidden character (RFC 9112, section 4)")
        if isinstance(headers, str | bytes):
            raise TypeError(
                f"headers must be a mapping or (name, value) pairs, not {type(headers).__name__}; "
                "pass a body as the argument body"
            )
        checked = Headers(headers)
        for name, value in checked.multi_items():
            check_header(name, value)
        if isinstance(body, str):
            if "content-type" not in checked:
                checked = Headers([*checked.multi_items(), ("Content-Type", "text/plain; charset=utf-8")])
            body = body.encode()
        object.__setattr__(self, "status", int(status))
        object.__setattr__(self, "headers", checked)
        object.__setattr__(self, "body", body)
        object.__setattr__(self, "reason", _standard_phrase(status) if reason is None else reason)

    def __repr__(self) -> str:
        """Show the response, with its body and possible secrets hidden."""
        return f"Response({self.status}, {self.headers!r}, {len(self.body)} bytes, reason={self.reason!r})"


def checked_response(status: int, headers: Headers, body: bytes, reason: str) -> Response:
    """Return a response built from parts that are known to be valid, without checking each of them."""
    response = object.__new__(Response)
    _set_status(response, status)
    _set_headers(response, headers)
    _set_body(response, body)
    _set_reason(response, reason)
    return response


# A frozen dataclass cannot be assigned to. For speed, this bypasses the lookup of the names, too.
_set_status, _set_headers, _set_body, _set_reason = (
    Response.__dict__[name].__set__ for name in ("status", "headers", "body", "reason")
)


def _standard_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
