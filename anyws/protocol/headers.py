"""HTTP header fields: a case-insensitive multi-mapping, and the list syntax that WebSocket headers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

__all__ = [
    "HIDDEN",
    "SHARED",
    "Headers",
    "HeadersLike",
    "check_header",
    "check_headers",
    "free_values_by_name",
    "has_token",
    "headers_of",
    "is_secret",
    "is_token",
    "shared",
    "shown_value",
    "split_list",
    "values_by_name",
]

T = TypeVar("T")

HIDDEN = "[hidden]"
"""Replaces possible secrets in log messages and representations."""

HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers as callers may pass them: a mapping, or (name, value) pairs in which names may repeat."""

# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, section 5.5: visible characters, obs-text, and inner spaces and tabs.
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
# Names of headers that carry credentials, both common ones and those that services invent; Sec-WebSocket-Key does not.
_SECRET = re.compile(
    r"auth(?!enticate|ority)|cookie|token|secret|passw|session|signature|credential|(?<!websocket-)key"
    r"|websocket-protocol",  # where browser code puts its token, because it cannot set headers
    re.IGNORECASE,
)
_BEFORE_VALUE = re.compile(r"[\s:=;,].*", re.DOTALL)  # the value, if it was passed as part of the name by mistake
_USER = re.compile(r"(?:(?<=//)|^)[^/\s]*@")


# The names and values that most opening handshakes use. All connections share these strings; any other one is freed
# with its headers. `sys.intern` is unsuitable: CPython 3.12 and free-threaded builds never free interned strings, and
# the peer chooses the names.
_USUAL = """
Accept Accept-Encoding Accept-Language Authorization Cache-Control Connection Content-Length Content-Type Cookie Date
Forwarded Host Location Origin Pragma Retry-After Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-WebSocket-Accept
Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version Server Set-Cookie
Transfer-Encoding Upgrade User-Agent Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Real-IP
""".split()  # noqa: SIM905 (a list would take a line for each)
_USUAL_VALUES = ("13", "websocket", "Upgrade", "keep-alive, Upgrade", "no-cache")
SHARED = {text: text for usual in (*_USUAL, *_USUAL_VALUES) for text in (usual, usual.lower())}


def shared(text: str) -> str:
    """Return the string that all connections share for a common name or value; for any other text, the text itself."""
    return SHARED.get(text, text)


def is_token(text: str) -> bool:
    """Return whether the text is a token (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def check_header(name: str, value: str) -> None:
    """Check that a header may be sent.

    Raises:
        TypeError: the name or the value is not a `str`.
        ValueError: the name is not a token, or the value contains a character that is not allowed in a header, such as
            a line break.
    """
    _check_pair(name, value)
    if not is_token(name):
        shown = _BEFORE_VALUE.sub("...", name)
        raise ValueError(f"header name {shown!r} is not a token (RFC 9110, section 5.6.2)")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"header {name}: the value contains a forbidden character (RFC 9110, section 5.5)")


def _check_pair(name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        shown = f"header {_BEFORE_VALUE.sub('...', name)}: the value" if isinstance(name, str) else "a header name"
        raise TypeError(f"{shown} must be a str, not {type(value if isinstance(name, str) else name).__name__}")


def split_list(value: str) -> list[str]:
    """Split a comma-separated list without quoted strings; drop spaces and empty elements (RFC 9110, section 5.6.1)."""
    return [element for part in value.split(",") if (element := part.strip(" \t"))]


def has_token(value: str, token: str) -> bool:
    """Return whether a comma-separated list contains this token, which must be in lower case. Case is ignored."""
    value = value.lower()
    return value == token or token in split_list(value)


def check_headers(headers: HeadersLike, *, reserved: frozenset[str]) -> Headers:
    """Check and return the headers that a caller adds to an opening handshake.

    Args:
        headers: the headers.
        reserved: the names, in lower case, that only the opening handshake may set.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: a header is invalid, or only the opening handshake may set it.
    """
    checked = Headers(headers)
    for name, value in checked.multi_items():
        check_header(name, value)
        if name.lower() in reserved:
            raise ValueError(f"header {name} cannot be set: the opening handshake sets it")
    return checked


class Headers(Mapping[str, str]):
    """The headers of a request or response: an immutable, case-insensitive multi-mapping of `str` to `str`.

    ``headers["Name"]`` joins repeated headers with ``", "`` (RFC 9110, section 5.2). `get_all` returns the values of
    one name separately, and `multi_items` returns all headers in order. Bytes outside ASCII are decoded as Latin-1.

    Args:
        headers: a mapping, or (name, value) pairs.
    """

    __slots__ = ("_joined", "_pairs")

    def __init__(self, headers: HeadersLike = ()) -> None:
        if isinstance(headers, Headers):
            self._pairs: tuple[tuple[str, str], ...] = headers._pairs
            self._joined: dict[str, str] | None = headers._joined  # values by name; built on first use
            return
        if isinstance(headers, Mapping):
            headers = cast(Mapping[str, str], headers).items()
        self._pairs = _unpacked(headers)
        self._joined = None
        for name, value in self._pairs:
            _check_pair(name, value)

    def _join(self) -> dict[str, str]:
        """Build and cache the values by name. All connections share the strings of common names."""
        index = {shared(name.lower()): value for name, value in self._pairs}
        if len(index) < len(self._pairs):
            index.clear()
            for name, value in self._pairs:
                key = shared(name.lower())
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
        """Return the value of a header, or the default."""
        # Mapping.get() would be slower: it catches a KeyError.
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
        """Show the headers, with possible secrets hidden: credentials, cookies, tokens and queries."""
        return f"Headers({[(name, _shown(name, value)) for name, value in self._pairs]!r})"

    def get_all(self, name: str) -> list[str]:
        """Return the values of all headers with this name, in order; an empty list if there are none."""
        name = name.lower()
        index = self._joined or self._join()
        if name not in index:
            return []
        if len(index) == len(self._pairs):  # no header is repeated
            return [index[name]]
        return [value for each, value in self._pairs if each.lower() == name]

    def multi_items(self) -> list[tuple[str, str]]:
        """Return all (name, value) pairs in order, with the original spelling of the names."""
        return list(self._pairs)


def _unpacked(headers: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    expected = "headers must be a mapping or (name, value) pairs"
    if not isinstance(headers, Iterable):
        raise TypeError(f"{expected}, not {type(headers).__name__}")
    pairs = []
    for header in headers:
        if isinstance(header, str):
            raise ValueError(f"{expected}, got {_BEFORE_VALUE.sub('...', header)!r}")
        if not isinstance(header, Iterable):
            raise TypeError(f"{expected}, got {type(header).__name__}")
        pair = tuple(header)
        if len(pair) != 2:
            raise ValueError(f"{expected}, got {type(header).__name__} of {len(pair)}")
        pairs.append(pair)
    return tuple(pairs)


def _shown(name: str, value: str) -> str:
    return HIDDEN if is_secret(name) else shown_value(value)


def is_secret(name: str) -> bool:
    """Return whether the value of a header with this name may be a secret."""
    return _SECRET.search(name) is not None


def shown_value(value: str) -> str:
    """Return a value with the user name, password and query hidden, in case it is a URI."""
    before, query, _ = _USER.sub(f"{HIDDEN}@", value).partition("?")
    return f"{before}?{HIDDEN}" if query else before


def values_by_name(headers: Headers) -> Mapping[str, str]:
    """Return the values by name in lower case, as `Headers.get` does. Several lookups are faster with it."""
    return headers._joined or headers._join()  # pyright: ignore[reportPrivateUsage]


def free_values_by_name(headers: Headers) -> None:
    """Free the memory that lookups use, a fortieth of an idle connection. The next lookup builds it again."""
    headers._joined = None  # pyright: ignore[reportPrivateUsage]


def headers_of(pairs: Sequence[tuple[str, str]], by_name: dict[str, str] | None = None) -> Headers:
    """Return headers built from pairs that are known to be valid, without checking each of them.

    Args:
        pairs: the names and values.
        by_name: the values by name in lower case, if they are known already.
    """
    headers = Headers.__new__(Headers)
    headers._pairs = tuple(pairs)  # pyright: ignore[reportPrivateUsage]
    headers._joined = by_name  # pyright: ignore[reportPrivateUsage]
    return headers
