"""The handshake options of a server, checked and prepared once for all its connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .extensions import Extension
from .headers import Headers, HeadersLike, check_headers
from .http11 import Request
from .negotiation import check_extensions
from .origins import OriginPolicy
from .subprotocols import SubprotocolSelector, check_subprotocols, prefer

__all__ = ["HeadersHook", "ServerTerms", "check_response_headers"]

HeadersHook = Callable[[Request], HeadersLike]
"""Receives a request that is about to be accepted, and returns additional headers of the 101 response."""

# Headers of the 101 response that only the opening handshake may set.
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


def check_response_headers(headers: HeadersLike) -> Headers:
    """Check and return the headers that a caller adds to the 101 response.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: a header is invalid, or only the opening handshake may set it.
    """
    return check_headers(headers, reserved=_RESERVED)


class ServerTerms:
    """The subprotocols, extensions, origins and limits that a server applies to opening handshakes.

    Args:
        subprotocols: see `ServerHandshake`.
        extensions: see `ServerHandshake`.
        origins: see `ServerHandshake`.
        allowed_hosts: see `ServerHandshake`.
        headers: additional headers for every 101 response, or a function that returns them for a request.
        max_head_bytes: see `ServerHandshake`.
        max_headers: see `ServerHandshake`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a subprotocol is not a token, a header is invalid, or an origin or host cannot match any request.
    """

    def __init__(
        self,
        *,
        subprotocols: Sequence[str] | SubprotocolSelector,
        extensions: Sequence[Extension],
        origins: Sequence[str] | None,
        allowed_hosts: Sequence[str] | None,
        headers: HeadersLike | HeadersHook = (),
        max_head_bytes: int,
        max_headers: int,
    ) -> None:
        self.select: SubprotocolSelector = (
            subprotocols if callable(subprotocols) else prefer(check_subprotocols(subprotocols))
        )
        check_extensions(extensions)
        self.extensions: Sequence[Extension] = extensions
        self.origins: OriginPolicy = OriginPolicy(origins, allowed_hosts)
        self.headers_hook: HeadersHook | None = headers if callable(headers) else None
        self.headers: Sequence[tuple[str, str]] = (
            () if callable(headers) else check_response_headers(headers).multi_items()
        )
        self.max_head_bytes = max_head_bytes
        self.max_headers = max_headers
