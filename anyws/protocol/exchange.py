"""A single HTTP/1.1 request and its response, as a client and as a server (RFC 9112), built on h11.

h11 is lenient where RFC 9112 permits it. This module is strict, because attackers use such leniency to smuggle requests
and to forge log lines: it rejects bare LF and CR, control characters, and folded lines in requests before h11 sees
them. Folded lines in a response must be accepted (RFC 9112, section 5.2).
"""

from __future__ import annotations

import functools
import re

import h11

from .headers import Headers, headers_of, shared
from .http11 import Request, Response, checked_response
from .usual_heads import parse_usual_request, parse_usual_response, serialize_usual_request

__all__ = ["ClientExchange", "HeadEnded", "InvalidHead", "ServerExchange"]

_END = b"\r\n\r\n"
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)(?=.)", re.DOTALL)
_FOLDED_LINE = re.compile(rb"\r\n[ \t]")
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROLS = bytes(code for code in range(256) if _CONTROL.match(bytes([code])))
_TLS_RECORDS = b"\x15\x16"  # the content types alert and handshake (RFC 8446, section 5.1)
_NO_ACCEPT = ("Sec-WebSocket-Accept", "")
_NOT_A_TOKEN = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


class InvalidHead(Exception):
    """The head of a request or response is invalid; ``status`` is the HTTP status to respond with."""

    def __init__(self, problem: str, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


class HeadEnded(InvalidHead):
    """The stream ended before the head was complete."""


class _HeadReader:
    """Collects the bytes of one head, split at any point."""

    def __init__(self, *, max_bytes: int, max_headers: int, is_response: bool) -> None:
        self._max_bytes = max_bytes
        self._max_headers = max_headers
        self._is_response = is_response
        self._buffer: bytes | bytearray = b""
        self._may_be_empty = not is_response  # some clients send an extra line break before the request
        self.has_control = False
        """Whether the head contains a control character."""

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the head, including its blank line, and the data after it; None until the head is complete."""
        searched = max(0, len(self._buffer) - len(_END) + 1)
        if isinstance(self._buffer, bytearray):
            self._buffer += data
        else:  # the head usually arrives in one piece
            self._buffer = bytearray(self._buffer + data) if self._buffer else bytes(data)
        if self._may_be_empty and not self._skip_empty_line():
            return None
        if _NOT_A_TOKEN.match(self._buffer):
            raise InvalidHead(self._describe_non_http())
        end = self._buffer.find(_END, searched)
        length = len(self._buffer) if end < 0 else end + len(_END)
        if length > self._max_bytes:
            raise InvalidHead(f"the head exceeds {self._max_bytes} bytes", 431)
        if end < 0:
            self._check_line_ends(searched, length)
            return None
        head = bytes(self._buffer[:length])
        lines = head.count(b"\r\n")
        if not head.count(b"\r") == lines == head.count(b"\n"):
            self._check_line_ends(searched, length)
        if b"\0" in head:
            raise InvalidHead("the head contains NUL (RFC 9110, section 5.5)")
        self.has_control = len(head.translate(None, _CONTROLS)) < len(head)
        if not self._is_response:  # `Response` checks responses, in which folded lines must be accepted
            self._check_request(head)
        if lines - 2 > self._max_headers:
            raise InvalidHead(f"the head has more than {self._max_headers} header lines", 431)
        return head, bytes(self._buffer[length:])

    def _skip_empty_line(self) -> bool:
        """Skip an empty line before a request (RFC 9112, section 2.2); return whether the request has begun."""
        if self._buffer in (b"", b"\r"):
            return False
        self._may_be_empty = False
        if self._buffer.startswith(b"\r\n"):
            self._buffer = self._buffer[2:]
        return bool(self._buffer)

    def _describe_non_http(self) -> str:
        """Describe bytes that are not HTTP."""
        if self._buffer[0] not in _TLS_RECORDS:
            return "not HTTP"
        if self._is_response:
            return "not HTTP but TLS; did you mean wss:// or https://?"
        return "not HTTP but TLS; set an ssl_context on the server, or use ws:// on the client"

    def _check_request(self, head: bytes) -> None:
        if _FOLDED_LINE.search(head):
            raise InvalidHead("folded header line in a request (RFC 9112, section 5.2)")
        if self.has_control and (control := _CONTROL.search(head)) is not None:
            raise InvalidHead(f"control character at byte {control.start()} (RFC 9110, section 5.5)")

    def _check_line_ends(self, searched: int, length: int) -> None:
        if (bare := _BARE_LINE_END.search(self._buffer, max(0, searched - 1), length)) is not None:
            raise InvalidHead(f"line break other than CR LF at byte {bare.start()} (RFC 9112, section 2.2)")


class ServerExchange:
    """The server's side: reads a request head and writes a response.

    Args:
        max_bytes: the maximum size of the head, in bytes.
        max_headers: the maximum number of header lines.
    """

    def __init__(self, *, max_bytes: int, max_headers: int) -> None:
        self._max_bytes = max_bytes
        self._max_headers = max_headers
        self._reader: _HeadReader | None = None  # once it is not a usual request in one piece
        self._usual_head = b""  # which h11 has not seen
        self._connection: h11.Connection | None = None  # created on demand: usually, nothing needs it
        self._method = "GET"
        self.trailing_data: bytes = b""
        """The data received after the head."""

    def receive_data(self, data: bytes) -> Request | None:
        """Process bytes from the client; return the request once its head is complete.

        Raises:
            InvalidHead: the bytes are not a valid request head, or exceed a limit.
        """
        if self._reader is None:
            usual = parse_usual_request(data, max_bytes=self._max_bytes, max_headers=self._max_headers)
            if usual is not None:
                request, length = usual
                self._usual_head, self.trailing_data = data[:length], data[length:]
                return request
            self._reader = _HeadReader(max_bytes=self._max_bytes, max_headers=self._max_headers, is_response=False)
        parts = self._reader.feed(data)
        if parts is None:
            return None
        head, self.trailing_data = parts
        try:
            event = self._give_to_h11(head)
        except h11.RemoteProtocolError as exc:
            raise InvalidHead(_problem(exc), exc.error_status_hint) from None  # exc quotes the line, maybe with secrets
        assert isinstance(event, h11.Request)
        self._method = event.method.decode("ascii")
        return Request(
            target=event.target.decode("latin-1"),
            headers=_decode(event.headers.raw_items()),
            method=self._method,
            http_version=event.http_version.decode("ascii"),
        )

    def send(self, response: Response) -> bytes:
        """Return the bytes of a response: a 101 if the request asked for an upgrade, or any other with its body."""
        if response.status == 101:
            return _serialize_101(response)
        headers = _encode(response.headers)
        reason = response.reason.encode("latin-1", "replace")
        if "content-length" not in response.headers and response.status not in (204, 304):
            headers.append((b"Content-Length", str(len(response.body)).encode()))
        if "connection" not in response.headers:
            headers.append((b"Connection", b"close"))
        if self._connection is None:
            self._give_to_h11(self._usual_head)
        assert self._connection is not None
        event = h11.Response(status_code=response.status, headers=headers, reason=reason)
        head = self._connection.send(event) or b""
        return head if response.status in (204, 304) or self._method == "HEAD" else head + response.body

    def _give_to_h11(self, head: bytes) -> object:
        """Pass the head to h11, if there is one, and return its event."""
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._max_bytes)
        if head:
            self._connection.receive_data(head)
        return self._connection.next_event()


class ClientExchange:
    """The client's side: writes a request, and reads the response and, unless it is a 101, the beginning of its body.

    Args:
        max_bytes: the maximum size of the head in bytes, including the other 1xx responses before it (RFC 9110,
            section 15.2).
        max_headers: the maximum number of header lines.
        max_body: how much of the body to keep, in bytes.
    """

    def __init__(self, *, max_bytes: int, max_headers: int, max_body: int) -> None:
        self._max_bytes = max_bytes
        self._max_headers = max_headers
        self._max_body = max_body
        self._request: Request | None = None
        self._reader: _HeadReader | None = None  # once it is not a usual response in one piece
        self._given: h11.Connection | None = None  # created on demand: usually, nothing needs it
        self._response: h11.Response | None = None
        self._body = bytearray()
        self.trailing_data: bytes = b""
        """The data received after the head of a 101, or of a 2xx response to CONNECT."""

    @property
    def is_in_body(self) -> bool:
        """Whether a head other than a 101 was received and more of its body may follow."""
        return self._response is not None

    def send(self, request: Request) -> bytes:
        """Return the bytes of the request."""
        self._request = request
        return serialize_usual_request(request) or self._give_to_h11(request)

    def receive_data(self, data: bytes) -> Response | None:
        """Process bytes from the server, or ``b""`` at the end of the stream.

        Return the response once it is complete or its body has reached ``max_body`` bytes, and None before.

        Raises:
            InvalidHead: the bytes are not a valid response head, exceed a limit, or end within the head.
        """
        if self._reader is None:
            if self._request is not None and self._request.is_websocket:
                usual = parse_usual_response(data, max_bytes=self._max_bytes, max_headers=self._max_headers)
                if usual is not None:
                    response, length = usual
                    self.trailing_data = data[length:]
                    return response
            self._reader = self._new_reader()
        while self._response is None:
            if not data:
                raise HeadEnded("the server closed the connection without a response")
            parts = self._reader.feed(data)
            if parts is None:
                return None
            head, data = parts
            event = self._next_event(head)
            assert isinstance(event, h11.InformationalResponse | h11.Response)
            if not event.http_version.startswith(b"1."):
                raise InvalidHead(f"HTTP version {event.http_version.decode('ascii')}, expected 1.1")
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    self.trailing_data = data
                    return self._to_response(event)
                # Any other 1xx precedes the final response (RFC 9110, section 15.2).
                self._max_bytes -= len(head)
                self._reader = self._new_reader()
                if not data:
                    return None
            else:
                self._response = event
                return self._read_body(data or None)
        return self._read_body(data)

    @property
    def _connection(self) -> h11.Connection:
        if self._given is None:
            assert self._request is not None
            self._give_to_h11(self._request)
        assert self._given is not None
        return self._given

    def _give_to_h11(self, request: Request) -> bytes:
        """Pass the request to h11 and return its bytes."""
        self._given = connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._max_bytes)
        event = h11.Request(method=request.method, target=request.target, headers=_encode(request.headers))
        return (connection.send(event) or b"") + (connection.send(h11.EndOfMessage()) or b"")

    def _next_event(self, data: bytes) -> object:
        try:
            self._connection.receive_data(data)
            return self._connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise InvalidHead(_problem(exc)) from None  # exc quotes the line, maybe with secrets

    def _new_reader(self) -> _HeadReader:
        return _HeadReader(max_bytes=self._max_bytes, max_headers=self._max_headers, is_response=True)

    def _read_body(self, data: bytes | None) -> Response | None:
        """Return the response if its body has ended, has reached the limit, or is invalid; else None."""
        assert self._response is not None
        try:
            if data is not None:
                self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not h11.NEED_DATA:
                # A 2xx response to CONNECT has no body, whatever its headers say (RFC 9110, section 9.3.6).
                if event is h11.PAUSED:
                    self.trailing_data, _ = self._connection.trailing_data
                if not isinstance(event, h11.Data):
                    break
                self._body += event.data
                if len(self._body) >= self._max_body:
                    break
            else:
                return None
        except h11.RemoteProtocolError:
            pass
        return self._to_response(self._response, bytes(self._body[: self._max_body]))

    def _to_response(self, event: h11.Response | h11.InformationalResponse, body: bytes = b"") -> Response:
        headers = _decode(event.headers.raw_items())
        reason = event.reason.decode("latin-1")
        if self._reader is not None and not self._reader.has_control:  # h11 has checked everything else
            return checked_response(event.status_code, headers, body, reason)
        try:
            return Response(event.status_code, headers, body, reason=reason)
        except ValueError as exc:
            raise InvalidHead(str(exc)) from exc


def _serialize_101(response: Response) -> bytes:
    """Return the bytes of a 101 response. Most differ in only one value, so the bytes around it are cached."""
    pairs = response.headers.multi_items()
    names = [name for name, _ in pairs]
    if "Sec-WebSocket-Accept" not in names:
        return b"".join(_serialize_101_parts(tuple(pairs), response.reason))
    number = names.index("Sec-WebSocket-Accept")
    value = pairs[number][1]
    pairs[number] = _NO_ACCEPT
    before, after = _serialize_101_parts(tuple(pairs), response.reason)
    return b"%b%b%b" % (before, value.encode("ascii"), after)


@functools.lru_cache(maxsize=64)
def _serialize_101_parts(pairs: tuple[tuple[str, str], ...], reason: str) -> tuple[bytes, bytes]:
    """Return the bytes of a 101 response before and after the value of ``Sec-WebSocket-Accept``."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
    connection.next_event()
    connection.next_event()  # the end of the request: h11 now knows that the client asked for an upgrade
    event = h11.InformationalResponse(
        status_code=101, headers=_encode(headers_of(pairs)), reason=reason.encode("latin-1", "replace")
    )
    before, accept, after = (connection.send(event) or b"").partition(b"\r\nSec-WebSocket-Accept: ")
    return before + accept, after


def _problem(exc: h11.RemoteProtocolError) -> str:
    """Return the message of an h11 error, without the quoted bytes."""
    return str(exc).partition(": bytearray(")[0]


def _encode(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.multi_items()]


def _decode(pairs: list[tuple[bytes, bytes]]) -> Headers:
    return headers_of([(shared(name.decode("ascii")), shared(value.decode("latin-1"))) for name, value in pairs])
