"""What a server agrees to in opening handshakes: checked and prepared once, for all its connections."""

from __future__ import annotations

from collections.abc import Sequence

from .extensions import Extension
from .headers import Headers, HeadersLike, check_headers
from .negotiation import check_extensions
from .origins import OriginPolicy
from .subprotocols import SubprotocolSelector, check_subprotocols, prefer

__all__ = ["ServerTerms", "check_response_headers"]

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
        ValueError: a subprotocol is no token, a header cannot be sent, or no request can match an origin or a host.
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
