"""The fast code for usual heads accepts nothing that h11 would reject, and its result is the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings, strategies as st

from anyws.protocol import ClientHandshake, Headers, Request, Response, parse_uri
from anyws.protocol.exchange import ClientExchange, InvalidHead, ServerExchange
from anyws.protocol.usual_heads import parse_usual_request, parse_usual_response, serialize_usual_request

MAX_BYTES, MAX_HEADERS = 400, 8

OF_A_BROWSER = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com:8765\r\nConnection: keep-alive, Upgrade\r\nPragma: no-cache\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\nOrigin: https://example.com\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def exchange() -> ServerExchange:
    return ServerExchange(max_bytes=MAX_BYTES, max_headers=MAX_HEADERS)


def by_h11() -> ServerExchange:
    """Return an exchange that has already seen that this is not a usual request, although nothing has arrived."""
    slow = exchange()
    assert slow.receive_data(b"") is None
    return slow


def outcome(of: ServerExchange, data: bytes) -> tuple[object, ...]:
    """Return what an exchange reads, and how it would refuse that."""
    try:
        request = of.receive_data(data)
    except InvalidHead as exc:
        return str(exc), exc.status, of.send(Response(exc.status))
    if request is None:
        return ("incomplete",)
    pairs = request.headers.multi_items()
    return request, pairs, request.http_version, of.trailing_data, of.send(Response(403, body="no"))


def check_same(data: bytes) -> None:
    assert outcome(exchange(), data) == outcome(by_h11(), data)


def lines(*headers: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", *headers, "", ""]).encode("latin-1")


MOSTLY = rb"GET~ ~/~ ~HTTP/1.1~\r\n~Host~:~ ~a~\r\n~X-Y~: ~z~\r\n\r\n".replace(rb"\r\n", b"\r\n").split(b"~")
OTHERS = [
    *(b"HEAD", b"get", b"HTTP/1.0", b"#", b"host", b"Host: b\r\n", b"Content-Length: 0\r\n", b"-" * 99, b"\x81\x80"),
    *(b"Transfer-Encoding: chunked\r\n", b"\n", b"\r", b"\t", b"\0", b"\xe9", b"\x85", b"\x0b", b"\x1c", b""),
]
PIECES = st.sampled_from([*MOSTLY, *OTHERS])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return a valid head in which a few pieces were replaced, removed or inserted."""
    pieces = list(MOSTLY)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(pieces) - 1))
        pieces[at : at + draw(st.integers(0, 2))] = draw(st.lists(PIECES, max_size=3))
        pieces = pieces or [b""]
    return b"".join(pieces)


@given(heads())
@settings(max_examples=500, deadline=None)
@example(lines("Host: a", "X:"))
@example(lines("Host: a", "X: "))
@example(lines("Host: a", "X: b "))
@example(lines("Host: a", "X:  b"))
@example(lines("Host: a", "X:b"))
@example(lines("Host: a", "X : b"))
@example(lines("Host: a", "X: b", " c"))
@example(lines("Host: a", "host: a"))
@example(lines("X: b"))
@example(lines("Host: a", "content-length: 3"))
@example(lines("Host: a", "Transfer-Encoding: gzip"))
@example(lines("Host: a", *["X: b"] * (MAX_HEADERS - 1)))
@example(lines("Host: a", *["X: b"] * MAX_HEADERS))
@example(lines("Host: a", "X: " + "b" * MAX_BYTES))
@example(b"\r\n" + lines("Host: a"))
@example(lines("Host: a")[:-1])
@example(lines("Host: a", "X: \x85b\x1cc"))
def test_the_result_is_that_of_h11(data: bytes) -> None:
    check_same(data)


@given(st.binary(max_size=6), st.integers(0, len(OF_A_BROWSER)), st.integers(0, 3))
@settings(max_examples=500, deadline=None)
def test_any_bytes_anywhere_in_a_request_give_the_result_of_h11(data: bytes, at: int, replaced: int) -> None:
    check_same(OF_A_BROWSER[:at] + data + OF_A_BROWSER[at + replaced :])


def request_of_anyws() -> bytes:
    return ClientHandshake(parse_uri("ws://localhost:8765/a?b=c"), headers=Headers([("X-Y", "z")])).data_to_send()


@pytest.mark.parametrize("data", [OF_A_BROWSER, request_of_anyws()], ids=["browser", "anyws"])
def test_the_requests_of_real_clients_are_usual(data: bytes) -> None:
    found = parse_usual_request(data + b"\x81", max_bytes=MAX_BYTES, max_headers=MAX_HEADERS)
    assert found is not None
    assert found == (by_h11().receive_data(data), len(data))


def test_names_and_values_that_most_requests_have_are_shared() -> None:
    first, second = (exchange().receive_data(OF_A_BROWSER) for _ in range(2))
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    for name in ("upgrade", "sec-websocket-version", "pragma"):
        assert first.headers[name] is second.headers[name]


# -- the response ------------------------------------------------------------------------------------------------------

RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n\x81\x00"
)
UPGRADE = Request(target="/", headers=Headers([("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]))


def client_exchange() -> ClientExchange:
    asking = ClientExchange(max_bytes=MAX_BYTES, max_headers=MAX_HEADERS, max_body=100)
    asking.send(UPGRADE)
    return asking


def client_by_h11() -> ClientExchange:
    """Return an exchange that leaves the response to h11."""
    slow = client_exchange()
    slow._reader = slow._new_reader()
    return slow


def response_outcome(of: ClientExchange, data: bytes) -> tuple[object, ...]:
    try:
        response = of.receive_data(data)
    except InvalidHead as exc:
        return type(exc), str(exc)
    if response is None:
        return ("incomplete",)
    return response, response.headers.multi_items(), response.reason, response.body, of.trailing_data


OF_RESPONSES = [
    *(b"HTTP/1.1 101", b"HTTP/1.0 101", b"HTTP/1.1 200", b" ", b"OK", b"\r\n", b"X: y\r\n", b"Upgrade", b"X: \r\n"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\t", b"\0", b"\xe9", b"\n", b"-" * MAX_BYTES),
]


@given(st.sampled_from(OF_RESPONSES) | st.binary(max_size=6), st.integers(0, len(RESPONSE)), st.integers(0, 12))
@settings(max_examples=1000, deadline=None)
@example(b"HTTP/1.1 101", 0, 12)
@example(b"", 12, 20)
@example(b"", 13, 19)
@example(b"X: y\r\n" * 9, 34, 0)
@example(b"Content-Length: 0\r\n", 34, 0)
@example(b"X: y\r\nX: z\r\n", 34, 0)
def test_any_bytes_anywhere_in_a_response_give_the_result_of_h11(data: bytes, at: int, replaced: int) -> None:
    whole = RESPONSE[:at] + data + RESPONSE[at + replaced :]
    assert response_outcome(client_exchange(), whole) == response_outcome(client_by_h11(), whole)


def test_the_response_of_anyws_is_usual() -> None:
    found = parse_usual_response(RESPONSE, max_bytes=MAX_BYTES, max_headers=MAX_HEADERS)
    assert found is not None
    assert found == (client_by_h11().receive_data(RESPONSE), len(RESPONSE) - 2)


def test_a_101_that_was_not_asked_for_is_left_to_h11() -> None:
    asking = ClientExchange(max_bytes=MAX_BYTES, max_headers=MAX_HEADERS, max_body=100)
    asking.send(Request(target="a:1", method="CONNECT", headers=Headers([("Host", "a:1")])))
    with pytest.raises(InvalidHead):
        asking.receive_data(RESPONSE)


# -- writing the request -----------------------------------------------------------------------------------------------


@given(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4))
@settings(max_examples=500, deadline=None)
@example("/", "X-Y", "z")
@example("/", "Host", "z")
@example("/ HTTP/1.1\r\nX: y\r\n\r\nGET /", "X", "y")
@example("/", "X: y\r\nZ", "z")
@example("/", "X", "y\r\nZ: z")
@example("/", "X", "y\r\n\r\nGET / HTTP/1.1")
@example("/", "X", "\xe9")
@example("/", "Content-Length", "3")
def test_a_usual_request_has_the_bytes_that_h11_writes(target: str, name: str, value: str) -> None:
    request = Request(target=target, headers=Headers([("Host", "a"), (name, value)]))
    data = serialize_usual_request(request)
    if data is not None:
        assert data == ClientExchange(max_bytes=MAX_BYTES, max_headers=9, max_body=0)._give_to_h11(request)


def test_the_request_of_anyws_is_usual() -> None:
    handshake = ClientHandshake(parse_uri("ws://localhost:8765/a?b=c"), headers=Headers([("X-Y", "z")]))
    assert serialize_usual_request(handshake.request) == handshake.data_to_send()
