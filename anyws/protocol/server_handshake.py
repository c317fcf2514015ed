"""The server's side of the opening handshake (RFC 6455, 4.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from .errors import HandshakeRefused, in_one_line
from .exchange import InvalidHead, ServerExchange
from .extensions import Codec, Extension, ExtensionOffer, parse_extensions, serialize_extensions
from .headers import Headers, HeadersLike, check_headers, is_token, split_list
from .http11 import Request, Response
from .keys import VERSION, accept_value, is_valid_key
from .negotiation import accept_offers, check_extensions
from .subprotocols import SubprotocolSelector, check_subprotocols, prefer

__all__ = ["ServerHandshake", "check_answer", "check_response_headers"]

_UPGRADE = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
# RFC 9110, 7.8: who sends Upgrade also sends the connection option; and a refusal ends the connection.
_UPGRADE_REQUIRED = [("Upgrade", "websocket"), ("Connection", "Upgrade, close")]
# RFC 9110, 7.2: a host and perhaps a port, without user name.
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~\-]+\]|[0-9A-Za-z._~!$&'()*+,;=%\-]+)(?::[0-9]*)?")
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


def check_answer(response: Response) -> None:
    """Check a response that is to be sent instead of the 101.

    Raises:
        ValueError: a status that does not answer a request, or a header that contradicts how the body is sent.
    """
    if not 200 <= response.status <= 599:
        raise ValueError(f"status {response.status} cannot answer a request: expected 200 to 599")
    if "transfer-encoding" in response.headers:
        raise ValueError("header Transfer-Encoding cannot be set: the body is sent with its Content-Length")
    if "connection" in response.headers and not _has_token(response.headers, "connection", "close"):
        connection = response.headers["connection"]
        raise ValueError(f"header Connection is {connection}, but the connection ends: expected close")
    length = response.headers.get("content-length")
    if length is not None and length != str(len(response.body)):
        raise ValueError(f"header Content-Length is {length}, but the body has {len(response.body)} bytes")


class ServerHandshake:
    """Reads and checks the request, writes the response.

    Args:
        subprotocols: the names that we speak, in the order of preference, of which the first that the client offers is
            agreed; or a callable that chooses among the offered ones.
        extensions: the extensions that we speak.
        origins: the origins from which a browser may connect, each such as ``https://example.com`` or ``*`` for any;
            None for the same origin only, which compares host and port with ``Host``. Requests without ``Origin`` do
            not come from a browser and pass.
        allowed_hosts: the hosts, without port, that ``Host`` may name when there is an ``Origin``; None for any.
        max_head_bytes: the largest request head, in bytes.
        max_headers: the largest number of request headers.
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
        self._select = subprotocols if callable(subprotocols) else prefer(check_subprotocols(subprotocols))
        check_extensions(extensions)
        self._extensions = extensions
        self._origins = _lower_case("origins", origins)
        self._allowed_hosts = _lower_case("allowed_hosts", allowed_hosts)
        self._exchange = ServerExchange(max_bytes=max_head_bytes, max_headers=max_headers)
        self.request: Request | None = None
        """The request, once its head has come."""
        self._offered: list[str] = []
        self.subprotocol: str | None = None
        """The agreed subprotocol, after `accept`; None if there is none."""
        self._offers: Sequence[ExtensionOffer] = ()
        self.codecs: Sequence[Codec] = ()
        """The agreed extensions, after `accept`."""

    @property
    def trailing_data(self) -> bytes:
        """What came behind the request, that is the first frames."""
        return self._exchange.trailing_data

    def receive_data(self, data: bytes) -> Request | None:
        """Add bytes; return the request once its head is whole.

        The request is then HTTP/1.1, a GET with one Host and without a body; and, where it asks for WebSocket, a valid
        opening handshake from an allowed origin. Where it does not, it may be a HEAD, and a server may answer it with
        plain HTTP.

        Raises:
            HandshakeRefused: with the response that is to be sent.
        """
        try:
            request = self._exchange.receive_data(data)
        except InvalidHead as exc:
            raise self.refusal(exc.status, str(exc)) from exc
        if request is None:
            return None
        self.request = request
        self._check_http(request)
        if request.asks_for_websocket:
            self._check_opening(request.headers)
            self._check_origin(request.headers)
        return request

    def accept(self, headers: HeadersLike = ()) -> Response:
        """Return the response 101, and agree on a subprotocol.

        Args:
            headers: further response headers.

        Raises:
            HandshakeRefused: the request did not ask for WebSocket.
            ValueError: a header cannot be sent, or the subprotocol that was chosen was not offered.
        """
        assert self.request is not None
        if not self.request.asks_for_websocket:
            raise self.refusal(426, "a WebSocket opening handshake was expected", _UPGRADE_REQUIRED)
        extra = check_response_headers(headers).multi_items()
        self.subprotocol = self._agreed_subprotocol()
        pairs = [
            *_UPGRADE,
            ("Sec-WebSocket-Accept", accept_value(self.request.headers["sec-websocket-key"].strip())),
        ]
        if self.subprotocol is not None:
            pairs.append(("Sec-WebSocket-Protocol", self.subprotocol))
        answers, self.codecs = accept_offers(self._extensions, self._offers)
        if answers:
            pairs.append(("Sec-WebSocket-Extensions", serialize_extensions(answers)))
        return Response(101, [*pairs, *extra])

    def data_to_send(self, response: Response) -> bytes:
        """Return the bytes of the one response."""
        return self._exchange.send(response)

    def refusal(self, status: int, problem: str, headers: HeadersLike = ()) -> HandshakeRefused:
        """Return the exception that refuses the request, with a response that says why."""
        problem = in_one_line(problem)  # It may quote the client.
        response = Response(status, headers, f"{problem}\n")
        return HandshakeRefused(f"refused with {status}: {problem}", response=response, request=self.request)

    def _check_http(self, request: Request) -> None:
        headers = request.headers
        if request.http_version < "1.1":
            raise self.refusal(505, f"HTTP/{request.http_version}: expected HTTP/1.1")
        # h11 has seen to it that there is no second one; that there is one, for HTTP/1.1 only.
        if not _HOST.fullmatch(headers.get("host", "")):
            raise self.refusal(400, "Host: expected a host and perhaps a port")
        if "#" in request.target:
            raise self.refusal(400, "a fragment in the request target (RFC 9112, 3.2)")
        # RFC 6455, 4.1 wants GET; plain HTTP has HEAD besides (RFC 9110, 9.1).
        allowed = ("GET",) if request.asks_for_websocket else ("GET", "HEAD")
        if request.method not in allowed:
            names = [("Allow", ", ".join(allowed))]
            raise self.refusal(405, f"method {request.method}: expected {' or '.join(allowed)}", names)
        if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0, "):
            raise self.refusal(400, "a body on the request: expected none")

    def _check_opening(self, headers: Headers) -> None:
        """Check what RFC 6455, 4.2.1 lists."""
        if not _has_token(headers, "connection", "upgrade"):
            raise self.refusal(400, "Connection without Upgrade")
        versions = headers.get_all("sec-websocket-version")
        if versions != [VERSION]:
            version = ", ".join(versions) or "none"
            required = [("Sec-WebSocket-Version", VERSION), *_UPGRADE_REQUIRED]
            raise self.refusal(426, f"Sec-WebSocket-Version {version}: expected {VERSION}", required)
        keys = headers.get_all("sec-websocket-key")
        if len(keys) != 1 or not is_valid_key(keys[0].strip()):
            raise self.refusal(400, "Sec-WebSocket-Key: expected one, the base64 of 16 bytes")
        self._offered = split_list(headers.get("sec-websocket-protocol", ""))
        if not all(map(is_token, self._offered)) or len(set(self._offered)) < len(self._offered):
            raise self.refusal(400, "Sec-WebSocket-Protocol: expected unique tokens")
        if "sec-websocket-protocol" in headers and not self._offered:
            raise self.refusal(400, "Sec-WebSocket-Protocol is empty")
        if "sec-websocket-extensions" in headers:
            try:
                self._offers = parse_extensions(headers["sec-websocket-extensions"])
            except ValueError as exc:
                raise self.refusal(400, f"Sec-WebSocket-Extensions: {exc}") from exc

    def _check_origin(self, headers: Headers) -> None:
        """Check where a browser's page comes from (RFC 6455, 10.2), and that the name it used for us is ours."""
        if "origin" not in headers:
            return
        origin, host = headers["origin"].lower(), headers["host"].lower()
        if self._origins is None:
            theirs = _host_and_port(origin)
            if theirs is None or theirs != _host_and_port(f"{urlsplit(origin).scheme}://{host}"):
                raise self.refusal(403, "a foreign Origin")
        elif "*" not in self._origins and origin not in self._origins:
            raise self.refusal(403, "an Origin that is not allowed")
        if self._allowed_hosts is not None:
            ours = _host_and_port(f"http://{host}")
            if ours is None or not (ours[0] in self._allowed_hosts or _is_ip_address(ours[0])):
                raise self.refusal(403, "a Host that is not allowed")

    def _agreed_subprotocol(self) -> str | None:
        if not self._offered:
            return None
        chosen = self._select(tuple(self._offered))
        if chosen is not None and chosen not in self._offered:
            raise ValueError(f"subprotocol {chosen!r} was chosen, but the client offered {', '.join(self._offered)}")
        return chosen


def _lower_case(option: str, values: Sequence[str] | None) -> list[str] | None:
    if isinstance(values, str):
        raise TypeError(f"{option} is a sequence, such as [{values!r}], not a str")
    return None if values is None else [value.lower() for value in values]


def _has_token(headers: Headers, name: str, token: str) -> bool:
    return token in [element.lower() for element in split_list(headers.get(name, ""))]


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
