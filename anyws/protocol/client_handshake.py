"""The client's side of the opening handshake (RFC 6455, section 4.1)."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from .credentials import basic_credentials
from .errors import HandshakeError, HandshakeRefused
from .exchange import ClientExchange, HeadEnded, InvalidHead
from .extensions import Codec, Extension, parse_extensions, serialize_extensions
from .headers import Headers, HeadersLike, check_header, check_headers, has_token, headers_of
from .http11 import Request, Response
from .keys import VERSION, accept_value
from .negotiation import as_extensions, take_answers
from .subprotocols import check_subprotocols
from .uri import WebSocketURI

__all__ = ["ClientHandshake", "check_request_headers"]

# Headers that the opening handshake owns: a caller that sets them would break it.
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)


def check_request_headers(headers: HeadersLike) -> Headers:
    """Check the headers that a caller adds to the request, and return them.

    Raises:
        TypeError: a name or a value is not a `str`.
        ValueError: one cannot be sent, or belongs to the opening handshake.
    """
    checked = check_headers(headers, reserved=_RESERVED)
    if len(checked.get_all("host")) > 1:
        raise ValueError("header Host is given twice")
    return checked


class ClientHandshake:
    """Writes the request, checks the response.

    Args:
        uri: where the request goes.
        headers: further request headers. ``Host``, ``Origin`` and ``Authorization`` here win over what would be sent.
        subprotocols: the names that are offered, in the order of preference.
        extensions: the extensions to offer, in the order of preference; or offers as a header value, for which there is
            no codec, so that a server must decline them.
        origin: the value of ``Origin``; None for no such header, as is usual outside a browser.
        nonce: 16 random bytes; by default from the operating system.
        max_head_bytes: the largest response head, in bytes.
        max_headers: the largest number of response headers.
        max_body_bytes: how much of the body of a refusal to keep, in bytes.

    Raises:
        ValueError: a header, a subprotocol or the extensions cannot be sent, or the nonce is not of 16 bytes.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        headers: HeadersLike = (),
        subprotocols: Sequence[str] = (),
        extensions: str | Sequence[Extension] = (),
        origin: str | None = None,
        nonce: bytes | None = None,
        max_head_bytes: int = 16384,
        max_headers: int = 128,
        max_body_bytes: int = 65536,
    ) -> None:
        if nonce is not None and len(nonce) != 16:
            raise ValueError(f"nonce of {len(nonce)} bytes, expected 16 (4.1)")
        self._hint = "" if uri.secure else "; if it speaks TLS, use wss:// or https://"
        self._key = base64.b64encode(os.urandom(16) if nonce is None else nonce).decode()
        self._offered = check_subprotocols(subprotocols)
        self._extensions = as_extensions(extensions)
        offers = serialize_extensions([offer for extension in self._extensions for offer in extension.offers()])
        self.request: Request = Request(
            target=uri.resource, headers=self._headers(uri, check_request_headers(headers), offers, origin)
        )
        self._exchange = ClientExchange(max_bytes=max_head_bytes, max_headers=max_headers, max_body=max_body_bytes)
        self.subprotocol: str | None = None
        """The agreed subprotocol, after the response; None if there is none."""
        self.codecs: Sequence[Codec] = ()
        """The agreed extensions, after the response."""

    @property
    def trailing_data(self) -> bytes:
        """What came behind the response, that is the first frames."""
        return self._exchange.trailing_data

    @property
    def is_refused(self) -> bool:
        """Whether the head of a refusal has come, and more of its body may follow.

        Do not wait for all of it: it may be slow or endless. ``receive_data(b"")`` ends it.
        """
        return self._exchange.is_in_body

    def data_to_send(self) -> bytes:
        """Return the bytes of the request, once."""
        return self._exchange.send(self.request)

    def receive_data(self, data: bytes) -> Response | None:
        """Add bytes, or ``b""`` for their end; return the response once it is whole and has been checked.

        Raises:
            HandshakeRefused: the status is not 101; the exception has the response and a bounded body.
            HandshakeError: the response is not HTTP, or does not agree to what was asked for.
        """
        try:
            response = self._exchange.receive_data(data)
        except HeadEnded as exc:
            raise HandshakeError(f"invalid response: {exc}{self._hint}", request=self.request) from exc
        except InvalidHead as exc:
            raise HandshakeError(f"invalid response: {exc}", request=self.request) from exc
        if response is None:
            return None
        if response.status != 101:
            status = f"{response.status} {response.reason}".rstrip()
            raise HandshakeRefused(f"the server answered {status}", response=response, request=self.request)
        try:
            self.subprotocol = self._check(response.headers)
        except ValueError as exc:
            raise HandshakeError(f"invalid response: {exc}", request=self.request, response=response) from exc
        return response

    def _headers(self, uri: WebSocketURI, extra: Headers, offers: str, origin: str | None) -> Headers:
        pairs = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", self._key),
            ("Sec-WebSocket-Version", VERSION),
        ]
        if self._offered:
            pairs.append(("Sec-WebSocket-Protocol", ", ".join(self._offered)))
        if offers:
            pairs.append(("Sec-WebSocket-Extensions", offers))
        if origin is not None:
            check_header("Origin", origin)
            pairs.append(("Origin", origin))
        if uri.username is not None and "authorization" not in extra:
            pairs.append(("Authorization", basic_credentials(uri.username, uri.password or "")))
        if "origin" in extra:
            pairs = [pair for pair in pairs if pair[0] != "Origin"]
        host = extra.get("host", uri.host_header)
        others = [(name, value) for name, value in extra.multi_items() if name.lower() != "host"]
        return headers_of([("Host", host), *pairs, *others])

    def _check(self, headers: Headers) -> str | None:
        """Check what RFC 6455, section 4.1 lists under the server's response; return the agreed subprotocol."""
        if [value.lower() for value in headers.get_all("upgrade")] != ["websocket"]:
            raise ValueError(f"Upgrade is {headers.get('upgrade')!r}, expected 'websocket'")
        if not has_token(headers.get("connection", ""), "upgrade"):
            raise ValueError(f"Connection is {headers.get('connection')!r}, expected 'Upgrade'")
        if headers.get_all("sec-websocket-accept") != [accept_value(self._key)]:
            raise ValueError("Sec-WebSocket-Accept does not fit the key that was sent")
        if "sec-websocket-extensions" in headers:
            self.codecs = take_answers(self._extensions, parse_extensions(headers["sec-websocket-extensions"]))
        if "sec-websocket-protocol" not in headers:
            return None
        agreed_protocols = headers.get_all("sec-websocket-protocol")
        if len(agreed_protocols) != 1 or agreed_protocols[0] not in self._offered:
            # Those that were offered are not shown: tokens are sent among them, as a browser's page has to.
            agreed = ", ".join(agreed_protocols)
            raise ValueError(f"subprotocol {agreed!r} agreed to, which is none of the {len(self._offered)} offered")
        return agreed_protocols[0]
