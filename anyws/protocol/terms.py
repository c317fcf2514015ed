"""What a server agrees to in opening handshakes: checked and prepared once, for all its connections."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from .extensions import Extension
from .headers import Headers, HeadersLike, check_headers
from .negotiation import check_extensions
from .subprotocols import SubprotocolSelector, check_subprotocols, prefer

__all__ = ["OriginPolicy", "ServerTerms", "check_response_headers"]

# Headers that the opening handshake owns, in what a caller adds to the 101.
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "transfer-encoding",
        "upgrade",
    }
)
_MAX_REMEMBERED = 256  # characters of an Origin and a Host together; browsers send much less


def check_response_headers(headers: HeadersLike) -> Headers:
    """Check the headers that a caller adds to the 101, and return them.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: one cannot be sent, or belongs to the opening handshake.
    """
    return check_headers(headers, reserved=_RESERVED)


class ServerTerms:
    """What a server agrees to.

    Args:
        subprotocols: as of `ServerHandshake`.
        extensions: as of `ServerHandshake`.
        origins: as of `ServerHandshake`.
        allowed_hosts: as of `ServerHandshake`.
        headers: further headers of each response 101.
        max_head_bytes: as of `ServerHandshake`.
        max_headers: as of `ServerHandshake`.

    Raises:
        TypeError: one is of the wrong type.
        ValueError: a subprotocol is no token, or a header cannot be sent.
    """

    def __init__(
        self,
        *,
        subprotocols: Sequence[str] | SubprotocolSelector,
        extensions: Sequence[Extension],
        origins: Sequence[str] | None,
        allowed_hosts: Sequence[str] | None,
        headers: HeadersLike = (),
        max_head_bytes: int,
        max_headers: int,
    ) -> None:
        self.select: SubprotocolSelector = (
            subprotocols if callable(subprotocols) else prefer(check_subprotocols(subprotocols))
        )
        check_extensions(extensions)
        self.extensions: Sequence[Extension] = extensions
        self.origins: OriginPolicy = OriginPolicy(origins, allowed_hosts)
        self.headers: Sequence[tuple[str, str]] = check_response_headers(headers).multi_items()
        self.max_head_bytes = max_head_bytes
        self.max_headers = max_headers


class OriginPolicy:
    """Where a browser's page may come from (RFC 6455, 10.2), and by which name it may know us.

    Args:
        origins: as of `ServerHandshake`.
        allowed_hosts: as of `ServerHandshake`.

    Raises:
        TypeError: one is a `str` instead of a sequence.
    """

    def __init__(self, origins: Sequence[str] | None, allowed_hosts: Sequence[str] | None) -> None:
        self._origins = _lower_case("origins", origins)
        self._allowed_hosts = _lower_case("allowed_hosts", allowed_hosts)
        self._remembered = functools.lru_cache(maxsize=128)(self._find_problem)  # of browsers most ask for the same

    def problem(self, origin: str, host: str) -> str | None:
        """Say what is wrong with a request that has this ``Origin`` and this ``Host``, if anything is."""
        look = self._remembered if len(origin) + len(host) <= _MAX_REMEMBERED else self._find_problem
        return look(origin, host)

    def _find_problem(self, origin: str, host: str) -> str | None:
        origin, host = origin.lower(), host.lower()
        if self._origins is None:
            theirs = _host_and_port(origin)
            if theirs is None or theirs != _host_and_port(f"{urlsplit(origin).scheme}://{host}"):
                return "a foreign Origin"
        elif "*" not in self._origins and origin not in self._origins:
            return "an Origin that is not allowed"
        if self._allowed_hosts is not None:
            ours = _host_and_port(f"http://{host}")
            if ours is None or not (ours[0] in self._allowed_hosts or _is_ip_address(ours[0])):
                return "a Host that is not allowed"
        return None


def _lower_case(option: str, values: Sequence[str] | None) -> frozenset[str] | None:
    if isinstance(values, str):
        raise TypeError(f"{option} is a sequence, such as [{values!r}], not a str")
    return None if values is None else frozenset(value.lower() for value in values)


def _host_and_port(origin: str) -> tuple[str, int] | None:
    """The host and the port of an origin, with the scheme's default; None for ``null`` and other nonsense."""
    try:
        parts = urlsplit(origin)
        port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return None
    return None if parts.hostname is None or port is None else (parts.hostname, port)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
