"""Which web pages may connect (RFC 6455, section 10.2), and by which host names they may reach the server."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from .hosts import idna_encoded

__all__ = ["ForeignOrigin", "OriginPolicy"]

_MAX_CACHED_LENGTH = 256  # characters of an Origin and a Host together; browsers send much less
_MAX_REPORTED = (
    128  # distinct refusals to remember; more of them come from a scanner, not from a page missing in the list
)

# An origin as a browser sends it (RFC 6454, section 6.2), in lower case; some have no host, such as file://.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://(\[[0-9a-f:.]+\]|[^/?#@:\[\]\s]*)(?::([0-9]+))?")
_DEFAULT_PORT = {"http": 80, "https": 443}
_OF_PAGES = {"ws": "http", "wss": "https"}


class ForeignOrigin(Exception):
    """The ``Origin`` or ``Host`` of a request is not allowed; the ``__cause__`` of the `HandshakeRefused`.

    Attributes:
        is_first_rejection: whether this page is rejected for the first time; False if the policy cannot tell.
    """

    def __init__(self, problem: str, *, is_first_rejection: bool) -> None:
        super().__init__(problem)
        self.is_first_rejection = is_first_rejection


class OriginPolicy:
    """Decides which web pages may connect.

    Args:
        origins: see `ServerHandshake`.
        allowed_hosts: see `ServerHandshake`.

    Raises:
        TypeError: an argument is a `str` instead of a sequence.
        ValueError: an entry cannot match any request.
    """

    def __init__(self, origins: Sequence[str] | None, allowed_hosts: Sequence[str] | None) -> None:
        self._origins = _checked("origins", origins, _check_origin)
        self._allowed_hosts = _checked("allowed_hosts", allowed_hosts, _check_host)
        self._find_problem_cached = functools.lru_cache(maxsize=128)(
            self._find_problem
        )  # most browsers send the same values
        self._reported: set[str] = set()

    def check(self, origin: str, host: str) -> None:
        """Check the ``Origin`` and ``Host`` of a request.

        Raises:
            ForeignOrigin: the page may not connect.
        """
        is_short = len(origin) + len(host) <= _MAX_CACHED_LENGTH
        problem = (self._find_problem_cached if is_short else self._find_problem)(origin, host)
        if problem is not None:
            is_first_rejection = is_short and _is_origin(origin.lower()) and self._remember(problem)
            raise ForeignOrigin(problem, is_first_rejection=is_first_rejection)

    def _remember(self, problem: str) -> bool:
        """Remember a problem; return whether it is new."""
        if problem in self._reported or len(self._reported) >= _MAX_REPORTED:
            return False
        self._reported.add(problem)
        return True

    def _find_problem(self, origin: str, host: str) -> str | None:
        origin, host = origin.lower(), host.lower()
        if self._origins is None:
            theirs = _host_and_port(origin)
            is_known = theirs is not None and theirs == _host_and_port(f"{urlsplit(origin).scheme}://{host}")
        else:
            is_known = "*" in self._origins or origin in self._origins
        if not is_known:
            advice = "; to allow it, add it to the option origins" if _is_origin(origin) else ""
            return f"Origin {origin!r} is not allowed{advice}"
        if self._allowed_hosts is not None:
            ours = _host_and_port(f"http://{host}")
            if ours is None or not (ours[0] in self._allowed_hosts or _is_ip_address(ours[0])):
                return f"Host {host!r} is not allowed for web pages; to allow it, add it to the option allowed_hosts"
        return None


def _checked(option: str, values: Sequence[str] | None, check: Callable[[str], None]) -> frozenset[str] | None:
    if values is None:
        return None
    if isinstance(values, str):
        raise TypeError(f"{option} must be a sequence, such as [{values!r}], not a str")
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"option {option} contains {type(value).__name__}, expected str")
        try:
            check(value.lower())
        except ValueError as exc:
            raise ValueError(f"option {option} contains {value!r}, which cannot match any request: {exc}") from exc
    return frozenset(value.lower() for value in values)


def _check_origin(origin: str) -> None:
    if origin in ("*", "null"):
        return
    parts = _ORIGIN.fullmatch(origin)
    if parts is None:
        raise ValueError(f"expected {_suggested_origin(origin)}")
    scheme, host, port = parts.groups()
    if "*" in host:
        raise ValueError("use '*' alone for any origin, list each origin, or check Origin in on_request")
    written = _written_host(host)
    if scheme in _OF_PAGES:
        raise ValueError(f"the origin of a page starts with {_OF_PAGES[scheme]}://, not with {scheme}://")
    if port is not None and (int(port) == _DEFAULT_PORT.get(scheme) or not 0 < int(port) < 65536):
        raise ValueError(f"expected '{scheme}://{written}', because browsers omit the default port")
    if written != host or (not host and scheme in _DEFAULT_PORT):
        raise ValueError(f"expected '{scheme}://{written or 'example.com'}'")


def _is_origin(origin: str) -> bool:
    """Return whether a browser could send this; scanners send anything."""
    try:
        _check_origin(origin)
    except ValueError:
        return False
    return True


def _suggested_origin(origin: str) -> str:
    for text in (origin, f"https://{origin}"):
        found = _ORIGIN.match(text)
        if found is not None and found[2] and text[found.end() :][:1] in ("", "/"):
            return f"'{found[0]}'"
    return "a scheme and a host, such as 'https://example.com'"


def _check_host(host: str) -> None:
    if "*" in host:
        raise ValueError("list each name; without this option any name is allowed, except for servers on loopback")
    if _is_ip_address(host):
        return
    parts = _ORIGIN.match(host) or _ORIGIN.match(f"http://{host}")
    name = "" if parts is None else parts[2].strip("[]")
    if name != host or not name:
        raise ValueError(f"expected '{name or 'example.com'}', without scheme, port or path")
    if (written := _written_host(name)) != host:
        raise ValueError(f"expected '{written}'")


def _written_host(host: str) -> str:
    """Return a host as browsers send it: names in ASCII (RFC 5890), IPv6 addresses in short form (RFC 5952)."""
    if host.startswith("["):
        return f"[{IPv6Address(host.strip('[]')).compressed}]"
    if host.isascii():
        return host
    try:
        return idna_encoded(host)
    except ValueError as exc:
        raise ValueError(f"{host!r} {exc}") from None


def _host_and_port(origin: str) -> tuple[str, int] | None:
    """Return the host and port of an origin; None for ``null`` and for anything that is not an origin."""
    try:
        parts = urlsplit(origin)
        port = _DEFAULT_PORT.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return None
    return None if parts.hostname is None or port is None else (parts.hostname, port)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
