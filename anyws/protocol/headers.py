"""HTTP header fields: a case-insensitive multi-mapping, and the list grammar that WebSocket headers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, cast, overload

__all__ = [
    "HIDDEN",
    "Headers",
    "HeadersLike",
    "check_header",
    "check_headers",
    "has_token",
    "headers_of",
    "is_secret",
    "is_token",
    "shared_name",
    "shown_value",
    "split_list",
]

T = TypeVar("T")

HIDDEN = "[hidden]"
"""Stands in texts for what may be a secret."""

HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]
"""What callers may pass for headers: a mapping, or (name, value) pairs where names may repeat."""

# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5: visible characters, obs-text, and inner spaces and tabs.
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
# Names of headers with credentials, the usual ones and those that services make up; not the key of a WebSocket.
_SECRET = re.compile(
    r"auth(?!enticate|ority)|cookie|token|secret|passw|session|signature|credential|(?<!websocket-)key"
    r"|websocket-protocol",  # where a browser's page puts its token, for it can set no header
    re.IGNORECASE,
)
_BEFORE_VALUE = re.compile(r"[\s:=;,].*", re.DOTALL)  # of a name that has the value as well, by mistake
_USER = re.compile(r"(?:(?<=//)|^)[^/\s]*@")


# The names that most handshakes have. All connections share these strings; no other name outlives its headers. Not
# `sys.intern`: on CPython 3.12 and on free-threaded builds an interned string is never freed, and a peer chooses it.
_USUAL = """
Accept Accept-Encoding Accept-Language Authorization Cache-Control Connection Content-Length Content-Type Cookie Date
Forwarded Host Location Origin Pragma Retry-After Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-WebSocket-Accept
Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version Server Set-Cookie
Transfer-Encoding Upgrade User-Agent Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Real-IP
""".split()  # noqa: SIM905 (a list would take a line for each)
_SHARED = {name: name for usual in _USUAL for name in (usual, usual.lower())}


def shared_name(name: str) -> str:
    """Return the string that all connections share for a usual name, as it is written here; else the name itself."""
    return _SHARED.get(name, name)


def is_token(text: str) -> bool:
    """Say whether the text is a token (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def check_header(name: str, value: str) -> None:
    """Check one header that a caller wants to send.

    Raises:
        TypeError: the name or the value is not a `str`.
        ValueError: the name is not a token, or the value has a character that a header cannot carry,
            such as a line break.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a header is a pair of str, not ({type(name).__name__}, {type(value).__name__})")
    if not is_token(name):
        shown = _BEFORE_VALUE.sub("...", name)
        raise ValueError(f"header name {shown!r} is not a token (RFC 9110, section 5.6.2)")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value of header {name} has a character that a header cannot carry (RFC 9110, section 5.5)")


def split_list(value: str) -> list[str]:
    """Split a comma-separated list without quoted strings; drop white space and empty elements (RFC 9110, section 5.6.1)."""
    return [element for part in value.split(",") if (element := part.strip(" \t"))]


def has_token(value: str, token: str) -> bool:
    """Say whether a comma-separated list has this element, which is in lower case; in whatever case it stands there."""
    value = value.lower()
    return value == token or token in split_list(value)


def check_headers(headers: HeadersLike, *, reserved: frozenset[str]) -> Headers:
    """Check the headers that a caller adds to an opening handshake, and return them.

    Args:
        headers: the headers.
        reserved: the names, in lower case, that belong to the opening handshake.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: a header cannot be sent, or belongs to the opening handshake.
    """
    checked = Headers(headers)
    for name, value in checked.multi_items():
        check_header(name, value)
        if name.lower() in reserved:
            raise ValueError(f"header {name} belongs to the opening handshake and cannot be set")
    return checked


class Headers(Mapping[str, str]):
    """The headers of a request or a response: an immutable, case-insensitive multi-mapping of `str` to `str`.

    ``headers["Name"]`` joins repeated headers by ``", "`` (RFC 9110, section 5.2); `get_all` gives them one by one and
    `multi_items` all of them in their order. Bytes outside ASCII appear as Latin-1.

    Args:
        headers: a mapping, or (name, value) pairs.
    """

    __slots__ = ("_joined", "_pairs")

    def __init__(self, headers: HeadersLike = ()) -> None:
        if isinstance(headers, Headers):
            self._pairs: tuple[tuple[str, str], ...] = headers._pairs
            self._joined: dict[str, str] | None = headers._joined  # by name, once somebody has asked for one
            return
        if isinstance(headers, Mapping):
            headers = cast(Mapping[str, str], headers).items()
        self._pairs = tuple((name, value) for name, value in headers)
        self._joined = None
        for name, value in self._pairs:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"a header is a pair of str, not ({type(name).__name__}, {type(value).__name__})")

    def _join(self) -> dict[str, str]:
        """Return the values by name, and keep them; all connections share the usual names."""
        index = {shared_name(name.lower()): value for name, value in self._pairs}
        if len(index) < len(self._pairs):
            index.clear()
            for name, value in self._pairs:
                key = shared_name(name.lower())
                index[key] = f"{index[key]}, {value}" if key in index else value
        self._joined = index
        return index

    @property
    def _index(self) -> dict[str, str]:
        return self._joined or self._join()

    def __getitem__(self, name: str) -> str:
        return self._index[name.lower()]

    @overload
    def get(self, key: str, /) -> str | None: ...

    @overload
    def get(self, key: str, /, default: str | T) -> str | T: ...

    def get(self, key: str, /, default: object = None) -> object:
        """Return the value of a name, or the default; without the exception that `Mapping` makes for a missing one."""
        return (self._joined or self._join()).get(key.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in (self._joined or self._join())

    def __iter__(self) -> Iterator[str]:
        """Iterate over the distinct names, in lower case."""
        return iter(self._index)

    def __len__(self) -> int:
        """Count the distinct names."""
        return len(self._index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._index == other._index and all(self.get_all(name) == other.get_all(name) for name in self)

    def __hash__(self) -> int:
        return hash(frozenset(self._index.items()))

    def __repr__(self) -> str:
        """Show the headers, without what may be a secret: credentials, cookies, tokens, queries."""
        return f"Headers({[(name, _shown(name, value)) for name, value in self._pairs]!r})"

    def get_all(self, name: str) -> list[str]:
        """Return the values of each header of this name, in their order; an empty list if there is none."""
        name = name.lower()
        index = self._joined or self._join()
        if name not in index:
            return []
        if len(index) == len(self._pairs):  # none is repeated
            return [index[name]]
        return [value for each, value in self._pairs if each.lower() == name]

    def multi_items(self) -> list[tuple[str, str]]:
        """Return all (name, value) pairs in their order, the names as they were written."""
        return list(self._pairs)


def _shown(name: str, value: str) -> str:
    return HIDDEN if is_secret(name) else shown_value(value)


def is_secret(name: str) -> bool:
    """Say whether the name of a header is such that its value may be a secret."""
    return _SECRET.search(name) is not None


def shown_value(value: str) -> str:
    """Return a value, which may be a URI, without user name, password and query."""
    before, query, _ = _USER.sub(f"{HIDDEN}@", value).partition("?")
    return f"{before}?{HIDDEN}" if query else before


def headers_of(pairs: Sequence[tuple[str, str]]) -> Headers:
    """Return the headers of what is known to be pairs of `str`, without a look at each."""
    headers = Headers.__new__(Headers)
    headers._pairs = tuple(pairs)  # pyright: ignore[reportPrivateUsage]
    headers._joined = None  # pyright: ignore[reportPrivateUsage]
    return headers
