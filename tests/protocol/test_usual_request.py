"""The fast parser for the usual request accepts nothing that h11 would reject, and its result is the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings, strategies as st

from anyws.protocol import ClientHandshake, Headers, Request, Response, parse_uri
from anyws.protocol.exchange import InvalidHead, ServerExchange
from anyws.protocol.usual_request import parse_usual_request

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
