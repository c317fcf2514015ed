"""The server's side of the opening handshake (RFC 6455, section 4.2)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Coroutine, Sequence

from .errors import HandshakeRefused, in_one_line
from .exchange import InvalidHead, ServerExchange
from .extensions import Codec, Extension, ExtensionOffer, parse_extensions, serialize_extensions
from .headers import (
    Headers,
    HeadersLike,
    check_header,
    free_values_by_name,
    has_token,
    headers_of,
    is_token,
    split_list,
    values_by_name,
)
from .http11 import Request, Response, checked_response
from .keys import VERSION, accept_value, is_valid_key
from .negotiation import accept_offers
from .origins import ForeignOrigin
from .subprotocols import SubprotocolSelector
from .terms import HeadersHook, ServerTerms, check_response_headers

__all__ = ["ServerHandshake", "begin_handshake", "check_final_response"]

_UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
# RFC 9110, section 7.8: Upgrade requires the connection option of the same name; "close" because the connection ends.
_UPGRADE_REQUIRED = [("Upgrade", "websocket"), ("Connection", "Upgrade, close")]
# RFC 9110, section 7.2: a host and an optional port, without user name.
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~\-]+\]|[0-9A-Za-z._~!$&'()*+,;=%\-]+)(?::[0-9]*)?")


def check_final_response(response: Response) -> None:
    """Check a response that will be sent instead of a 101.

    Raises:
        ValueError: the status is not a final one, or a header contradicts how the body is sent.
    """
    if not 200 <= response.status <= 599:
        raise ValueError(f"cannot respond with status {response.status}: expected 200 to 599")
    if "transfer-encoding" in response.headers:
        raise ValueError("header Transfer-Encoding cannot be set: the body is sent with Content-Length")
    if "connection" in response.headers and not has_token(response.headers["connection"], "close"):
        connection = response.headers["connection"]
        raise ValueError(f"header Connection is {connection}, expected close: the connection ends after the response")
    length = response.headers.get("content-length")
    if length is not None and length != str(len(response.body)):
        raise ValueError(f"header Content-Length is {length}, but the body has {len(response.body)} bytes")


class ServerHandshake:
    """The opening handshake of a server: reads and checks the request, and writes the response.

    Args:
        subprotocols: the supported names in order of preference, of which the first that the client offers is selected;
            or a callable that selects one of the offered names, or returns a response to refuse with.
        extensions: the supported extensions.
        origins: the origins from which browsers may connect, such as ``https://example.com``, or ``*`` for any. None
            allows the same origin only: its host and port must equal ``Host``. Requests without ``Origin`` are always
            allowed, because they do not come from a browser.
        allowed_hosts: the hosts, without port, that ``Host`` may contain in requests with an ``Origin``; None for any.
        max_head_bytes: the maximum size of the request head, in bytes.
        max_headers: the maximum number of request headers.
    """

    def __init__(
        self,
        *,
        subprotocols: Sequence[str] | SubprotocolSelector = (),
        extensions: Sequence[Extension] = (),
        origins: Sequence[str] | None = None,
        allowed_hosts: Sequence[str] | None = None,
        max_head_bytes: int = 16384,
        max_headers: int = 128,
    ) -> None:
        self._begin(
            ServerTerms(
                subprotocols=subprotocols,
                extensions=extensions,
                origins=origins,
                allowed_hosts=allowed_hosts,
                max_head_bytes=max_head_bytes,
                max_headers=max_headers,
            )
        )

    def _begin(self, terms: ServerTerms) -> None:
        self._terms = terms
        self._exchange = ServerExchange(max_bytes=terms.max_head_bytes, max_headers=terms.max_headers)
        self.request: Request | None = None
        """The request, once its head was received."""
        self._asks_for_websocket = False
        self._offered: list[str] = []
        self.subprotocol: str | None = None
        """The negotiated subprotocol, after `accept`; None if there is none."""
        self._key = ""
        self._offers: Sequence[ExtensionOffer] = ()
        self.codecs: Sequence[Codec] = ()
        """The negotiated extensions, after `accept`."""

    @property
    def trailing_data(self) -> bytes:
        """The data received after the request, which is the start of the first frames."""
        return self._exchange.trailing_data

    def receive_data(self, data: bytes) -> Request | None:
        """Process bytes from the client; return the request once its head is complete, and None before.

        A returned request is a GET with one ``Host`` and without a body. If it asks for an upgrade to WebSocket, it is
        a valid opening handshake over HTTP/1.1 from an allowed origin. Otherwise it may also be a HEAD request, or use
        HTTP/1.0 without ``Host``, as health checks do; a server may respond with plain HTTP.

        Raises:
            HandshakeRefused: the request is rejected; the exception has the response to send.
        """
        try:
            request = self._exchange.receive_data(data)
        except InvalidHead as exc:
            raise self.refusal(exc.status, str(exc)) from exc
        if request is None:
            return None
        self.request = request
        self._asks_for_websocket = request.is_websocket
        self._check_http(request)
        if self._asks_for_websocket:
            self._check_opening(request.headers)
            self._check_origin(request.headers)
        return request

    @property
    def offered_subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers, in its order of preference; empty before the request has arrived."""
        return tuple(self._offered)

    def accept(self, headers: HeadersLike = (), *, subprotocol: str | None = None) -> Response:
        """Select a subprotocol and the extensions, and return the 101 response.

        Args:
            headers: additional response headers.
            subprotocol: one of the offered subprotocols, to select it instead.

        Raises:
            HandshakeRefused: the request did not ask for an upgrade to WebSocket, or the selector of subprotocols has
                refused it.
            TypeError: a header has the wrong type.
            ValueError: a header is invalid, or the selected subprotocol was not offered.
        """
        assert self.request is not None
        if not self._asks_for_websocket:
            raise self.refusal(426, "expected a WebSocket opening handshake", _UPGRADE_REQUIRED)
        terms = self._terms
        extra = check_response_headers(headers).multi_items() if headers else ()
        self.subprotocol = self._select_subprotocol(subprotocol)
        pairs = [*_UPGRADE, ("Sec-WebSocket-Accept", accept_value(self._key))]
        if self.subprotocol is not None:
            pairs.append(("Sec-WebSocket-Protocol", self.subprotocol))
        accepted, self.codecs = accept_offers(terms.extensions, self._offers) if self._offers else ((), ())
        if accepted:
            value = serialize_extensions(accepted)
            check_header("Sec-WebSocket-Extensions", value)
            pairs.append(("Sec-WebSocket-Extensions", value))
        if terms.headers_hook is not None:
            extra = [*check_response_headers(_called(terms.headers_hook, self.request)).multi_items(), *extra]
        headers = headers_of([*pairs, *terms.headers, *extra])
        free_values_by_name(self.request.headers)
        return checked_response(101, headers, b"", "Switching Protocols")

    def data_to_send(self, response: Response) -> bytes:
        """Return the bytes of the response. Call it only once."""
        return self._exchange.send(response)

    def refusal(self, status: int, problem: str, headers: HeadersLike = ()) -> HandshakeRefused:
        """Return an exception that rejects the request, with a response that says why."""
        problem = in_one_line(problem)  # it may quote the client
        response = Response(status, headers, f"{problem}\n")
        return HandshakeRefused(f"refused with {status}: {problem}", response=response, request=self.request)

    def _check_http(self, request: Request) -> None:
        values = values_by_name(request.headers)
        is_http_1_0 = request.http_version == "1.0"  # used by some health checks; an opening handshake needs 1.1
        if not request.http_version.startswith("1.") or (is_http_1_0 and self._asks_for_websocket):
            raise self.refusal(505, f"HTTP version {request.http_version}, expected 1.1")
        # h11 has rejected a repeated Host; HTTP/1.0 does not require one.
        if not (is_http_1_0 and "host" not in values) and not _HOST.fullmatch(values.get("host", "")):
            raise self.refusal(400, "invalid Host: expected a host and an optional port")
        if "#" in request.target:
            raise self.refusal(400, "the request target contains a fragment (RFC 9112, section 3.2)")
        # RFC 6455, section 4.1 requires GET; plain HTTP requests may also use HEAD (RFC 9110, section 9.1).
        allowed = ("GET",) if self._asks_for_websocket else ("GET", "HEAD")
        if request.method not in allowed:
            names = [("Allow", ", ".join(allowed))]
            raise self.refusal(405, f"method {request.method}, expected {' or '.join(allowed)}", names)
        if "transfer-encoding" in values or values.get("content-length", "0").strip("0, "):
            raise self.refusal(400, "the request has a body, expected none")

    def _check_opening(self, headers: Headers) -> None:
        """Check the headers as required by RFC 6455, section 4.2.1. A repeated one has its values joined by commas."""
        values = values_by_name(headers)
        if not has_token(values.get("connection", ""), "upgrade"):
            raise self.refusal(400, "invalid Connection: expected Upgrade")
        version = values.get("sec-websocket-version", "none")
        if version != VERSION:
            required = [("Sec-WebSocket-Version", VERSION), *_UPGRADE_REQUIRED]
            raise self.refusal(426, f"Sec-WebSocket-Version is {version}, expected {VERSION}", required)
        self._key = values.get("sec-websocket-key", "").strip()
        if not is_valid_key(self._key):
            raise self.refusal(400, "invalid Sec-WebSocket-Key: expected the base64 encoding of 16 bytes")
        if (subprotocols := values.get("sec-websocket-protocol")) is not None:
            self._offered = split_list(subprotocols)
            if not all(map(is_token, self._offered)) or len(set(self._offered)) < len(self._offered):
                raise self.refusal(400, "invalid Sec-WebSocket-Protocol: expected unique tokens")
            if not self._offered:
                raise self.refusal(400, "Sec-WebSocket-Protocol is empty")
        if (extensions := values.get("sec-websocket-extensions")) is not None:
            try:
                self._offers = parse_extensions(extensions)
            except ValueError as exc:
                raise self.refusal(400, f"invalid Sec-WebSocket-Extensions: {exc}") from exc

    def _check_origin(self, headers: Headers) -> None:
        """Check the origin of a browser's request (RFC 6455, section 10.2), and the host name that it used."""
        origin = headers.get("origin")
        if origin is None:
            return
        try:
            self._terms.origins.check(origin, headers["host"])
        except ForeignOrigin as exc:
            raise self.refusal(403, str(exc)) from exc

    def _select_subprotocol(self, selected: str | None) -> str | None:
        if selected is None and self._offered:
            choice = self._terms.select(tuple(self._offered))
            if isinstance(choice, Response):
                check_final_response(choice)
                raise HandshakeRefused(f"responded with {choice.status}", response=choice, request=self.request)
            selected = choice
        if selected is not None and selected not in self._offered:
            # Do not show the offered subprotocols: some clients send access tokens as subprotocols.
            count = len(self._offered)
            raise ValueError(f"subprotocol {selected!r} was selected, but is not one of the {count} offered")
        return selected


def _called(hook: HeadersHook, request: Request) -> HeadersLike:
    headers = hook(request)
    if isinstance(headers, Awaitable):
        if isinstance(headers, Coroutine):
            headers.close()  # otherwise, Python warns that it was never awaited
        raise TypeError("option headers cannot be async: use on_request, and pass values on in request.state")
    return headers


def begin_handshake(terms: ServerTerms) -> ServerHandshake:
    """Return a handshake with terms that were checked before."""
    handshake = ServerHandshake.__new__(ServerHandshake)
    handshake._begin(terms)  # pyright: ignore[reportPrivateUsage]
    return handshake
