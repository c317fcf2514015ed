"""HTTP/1.1 requests and responses, from both sides (RFC 9110 and 9112)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import Headers, Request, Response
from anyws.protocol.exchange import ClientExchange, InvalidHead, ServerExchange
from tests.chunks import Chunked, chunked


def server(max_bytes: int = 16384, max_headers: int = 128) -> ServerExchange:
    return ServerExchange(max_bytes=max_bytes, max_headers=max_headers)


def client(max_bytes: int = 16384, max_headers: int = 128, max_body: int = 65536) -> ClientExchange:
    """Return the exchange of a client that has sent its request."""
    exchange = ClientExchange(max_bytes=max_bytes, max_headers=max_headers, max_body=max_body)
    exchange.send(
        Request(target="/", headers=Headers([("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]))
    )
    return exchange


Result = TypeVar("Result")


def feed(receive: Callable[[bytes], Result | None], chunks: Iterable[bytes]) -> Result | None:
    """Feed chunks until there is a result."""
    return next((result for chunk in chunks if (result := receive(chunk)) is not None), None)


def request(target: str = "/", *headers: tuple[str, str], **others: Any) -> Request:
    return Request(target=target, headers=Headers([("Host", "a"), *headers]), **others)


REQUESTS = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", request(), id="shortest"),
    pytest.param(
        b"GET /a%20b?c=d HTTP/1.1\r\nHost: a\r\nX-Y: z\r\nx-y: \r\n\r\n",
        request("/a%20b?c=d", ("X-Y", "z"), ("x-y", "")),
        id="order-and-case-are-kept",
    ),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9 \t b\r\n\r\n", request("/", ("X", "\xe9 \t b")), id="latin-1"),
    pytest.param(b"HEAD * HTTP/1.1\r\nHost: a\r\n\r\n", request("*", method="HEAD"), id="method"),
]

MORE_REQUESTS = [
    pytest.param(b"GET / HTTP/1.1\r\nHost:a\r\nX:  y \t\r\n\r\n", request("/", ("X", "y")), id="space-around-value"),
    pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", request(http_version="1.0"), id="http-1.0"),
    pytest.param(b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", request("http://a/b"), id="absolute-form"),
    pytest.param(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", request(), id="an-empty-line-before"),
]


@pytest.mark.parametrize(("data", "value"), REQUESTS)
def test_writing_and_reading_a_request_are_inverses(data: bytes, value: Request) -> None:
    assert ClientExchange(max_bytes=999, max_headers=9, max_body=9).send(value) == data
    assert server().receive_data(data) == value


@chunked
@pytest.mark.parametrize("trailing", [b"", b"\x81", b"\r\n\r\n", b"G\n\0"])
@pytest.mark.parametrize(("data", "value"), [*REQUESTS, *MORE_REQUESTS])
def test_a_request_can_be_split_anywhere_and_keeps_its_trailing_data(
    data: bytes, value: Request, trailing: bytes, chunked: Chunked
) -> None:
    exchange = server()
    *before, last = chunked(data)
    assert feed(exchange.receive_data, before) is None
    assert exchange.receive_data(last + trailing) == value
    assert exchange.trailing_data == trailing


@given(st.lists(st.integers(1, 12)))
@settings(deadline=None)
def test_any_chunking_gives_the_same_request(sizes: list[int]) -> None:
    data = b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    assert feed(server().receive_data, [*chunks, data[start:] + b""]) == request("/a", ("X", "y"))


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"

# (bytes, status, message); the failure comes with the last byte, or with the end of the head.
BAD_REQUESTS = [
    pytest.param(b"\x16", 400, "not HTTP", id="tls"),
    pytest.param(b" ", 400, "not HTTP", id="leading-space"),
    pytest.param(b"\r\n\r", 400, "not HTTP", id="two-empty-lines"),
    pytest.param(b"\rG", 400, "not HTTP", id="cr-before"),
    pytest.param(b"\n", 400, "not HTTP", id="lf-before"),
    pytest.param(b"\r\n\x16", 400, "not HTTP but TLS", id="tls-behind-an-empty-line"),
    pytest.param(GET + b"X: y\n", 400, "line break other than CR LF at byte 29", id="bare-lf"),
    pytest.param(b"GET / HTTP/1.1\n", 400, "line break other than CR LF at byte 14", id="only-lf"),
    pytest.param(GET + b"X: y\rz", 400, "line break other than CR LF at byte 29", id="bare-cr"),
    pytest.param(GET + b"X: y\r\r", 400, "line break other than CR LF at byte 29", id="cr-cr"),
    pytest.param(GET + b"\n", 400, "line break other than CR LF", id="lf-for-blank-line"),
    pytest.param(GET + b"X: a\0b\r\n\r\n", 400, "the head contains NUL", id="nul"),
    pytest.param(GET + b"X: a\r\n b\r\n\r\n", 400, "folded header line", id="folded-by-space"),
    pytest.param(GET + b"X: a\r\n\tb\r\n\r\n", 400, "folded header line", id="folded-by-tab"),
    pytest.param(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "folded header line", id="space-before-first"),
    pytest.param(GET + b"X y: z\r\n\r\n", 400, "illegal header line", id="name-is-no-token"),
    pytest.param(GET + b"X : y\r\n\r\n", 400, "illegal header line", id="space-before-colon"),
    pytest.param(GET + b": y\r\n\r\n", 400, "illegal header line", id="no-name"),
    pytest.param(GET + b"X\r\n\r\n", 400, "illegal header line", id="no-colon"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "Host", id="no-host"),
    pytest.param(GET + b"Host: a\r\n\r\n", 400, "Host", id="two-hosts"),
    pytest.param(b"GET /\r\nHost: a\r\n\r\n", 400, "illegal request line", id="no-version"),
    pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "illegal request line", id="two-spaces"),
    pytest.param(b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "illegal request line", id="target-not-ascii"),
    pytest.param(b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "illegal request line", id="space-behind-version"),
    pytest.param(GET + b"Content-Length: x\r\n\r\n", 400, "Content-Length", id="bad-length"),
    pytest.param(GET + b"Content-Length: 1, 2\r\n\r\n", 400, "Content-Length", id="two-lengths"),
    pytest.param(GET + b"Transfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding", id="unknown-encoding"),
]


@chunked
@pytest.mark.parametrize(("data", "status", "message"), BAD_REQUESTS)
def test_an_invalid_request_head_is_rejected(data: bytes, status: int, message: str, chunked: Chunked) -> None:
    exchange = server()
    *before, last = chunked(data)
    assert feed(exchange.receive_data, before) is None
    with pytest.raises(InvalidHead, match=message) as caught:
        exchange.receive_data(last)
    assert caught.value.status == status


@chunked
def test_limits_of_the_head(chunked: Chunked) -> None:
    head = GET + b"A: b\r\nC: d\r\n\r\n"
    assert feed(server(len(head), 3).receive_data, chunked(head)) is not None
    with pytest.raises(InvalidHead, match=f"the head exceeds {len(head) - 1} bytes") as caught:
        feed(server(len(head) - 1, 3).receive_data, chunked(head))
    assert caught.value.status == 431
    with pytest.raises(InvalidHead, match="more than 2 header lines") as caught:
        feed(server(len(head), 2).receive_data, chunked(head))
    assert caught.value.status == 431


def test_an_endless_head_is_rejected_at_the_limit() -> None:
    exchange = server(max_bytes=100)
    assert exchange.receive_data(b"G" * 100) is None
    with pytest.raises(InvalidHead, match="exceeds 100 bytes"):
        exchange.receive_data(b"G")


def test_trailing_data_does_not_count() -> None:
    exchange = server(max_bytes=len(GET) + 2, max_headers=1)
    assert exchange.receive_data(GET + b"\r\n" + b"\r\n" * 1000) is not None
    assert exchange.trailing_data == b"\r\n" * 1000


# -- responses ---------------------------------------------------------------------------------------------------------

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

RESPONSES = [
    pytest.param(SWITCHING, Response(101, [("Upgrade", "websocket")]), id="101"),
    pytest.param(
        b"HTTP/1.1 403 Forbidden\r\nX: \xe9\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        Response(403, [("X", "\xe9"), ("Content-Length", "2"), ("Connection", "close")], b"no"),
        id="body",
    ),
    pytest.param(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        Response(404, [("Content-Length", "0"), ("Connection", "close")]),
        id="empty-body",
    ),
    pytest.param(
        b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        Response(599, [("Content-Length", "0"), ("Connection", "close")], reason="Odd"),
        id="own-reason",
    ),
    pytest.param(
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", Response(204, [("Connection", "close")]), id="204"
    ),
]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

MORE_RESPONSES = [
    pytest.param(CHUNKED, Response(200, [("Transfer-Encoding", "chunked")], b"abcde"), id="chunked"),
    pytest.param(
        b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHING, Response(101, [("Upgrade", "websocket")]), id="100-before"
    ),
    pytest.param(
        b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 2 + b"HTTP/1.1 204 No Content\r\n\r\n",
        Response(204),
        id="103-before",
    ),
]


def read_back(response: Response) -> bytes:
    exchange = server()
    exchange.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    return exchange.send(response)


@pytest.mark.parametrize(("data", "value"), RESPONSES)
def test_writing_and_reading_a_response_are_inverses(data: bytes, value: Response) -> None:
    assert read_back(value) == data
    read = client().receive_data(data)
    assert read == value
    assert read is not None
    assert read.reason == value.reason


@chunked
@pytest.mark.parametrize("trailing", [b"", b"\x81\n\0"])
@pytest.mark.parametrize(("data", "value"), [*RESPONSES, *MORE_RESPONSES])
def test_a_response_can_be_split_anywhere_and_keeps_its_trailing_data(
    data: bytes, value: Response, trailing: bytes, chunked: Chunked
) -> None:
    exchange = client()
    *before, last = chunked(data)
    assert feed(exchange.receive_data, before) is None
    assert exchange.receive_data(last + trailing) == value
    assert exchange.trailing_data == (trailing if value.status == 101 else b"")


def test_content_length_and_connection_are_added_if_missing() -> None:
    assert read_back(Response(200, body="hi")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\nhi"
    )
    assert read_back(Response(304, body=b"dropped")) == b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"


def test_a_head_request_gets_no_body() -> None:
    exchange = server()
    exchange.receive_data(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert exchange.send(Response(200, body=b"hi")).endswith(b"Content-Length: 2\r\nConnection: close\r\n\r\n")


def test_a_server_can_respond_to_an_invalid_request() -> None:
    exchange = server()
    with pytest.raises(InvalidHead):
        exchange.receive_data(b"GET / HTTP/1.1\r\nX\r\n\r\n")
    assert exchange.send(Response(400)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("chunks", "max_body", "body"),
    [
        pytest.param([BODY, b"12345", b"67890"], 99, b"1234567890", id="in-pieces"),
        pytest.param([BODY + b"12345"], 5, b"12345", id="at-the-bound"),
        pytest.param([BODY, b"1234567890"], 5, b"12345", id="beyond-the-bound"),
        pytest.param([BODY, b"1"], 0, b"", id="bound-0"),
        pytest.param([BODY, b"123", b""], 99, b"123", id="cut-by-the-end"),
        pytest.param([BODY, b""], 99, b"", id="end-before-the-body"),
        pytest.param([b"HTTP/1.1 200 OK\r\n\r\n", b"123", b"45", b""], 99, b"12345", id="until-the-end"),
        pytest.param([CHUNKED[:55], b"zz\r\n"], 99, b"abc", id="broken-chunk"),
        pytest.param([CHUNKED[:-5], b""], 99, b"abcde", id="chunks-without-end"),
    ],
)
def test_the_body_is_kept_up_to_the_limit(chunks: list[bytes], max_body: int, body: bytes) -> None:
    exchange = client(max_body=max_body)
    *before, last = chunks
    assert feed(exchange.receive_data, before) is None
    response = exchange.receive_data(last)
    assert response is not None
    assert (response.status, response.body) == (200, body)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        pytest.param([b""], "closed the connection without a response", id="nothing"),
        pytest.param([b"HTTP/1.1 101", b""], "closed the connection without a response", id="cut-head"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", b""], "closed the connection without", id="only-100"),
        pytest.param([b"\x15\x03"], "not HTTP", id="tls-alert"),
        pytest.param([b"SSH-2.0-x\r\n\r\n"], "illegal status line", id="ssh"),
        pytest.param([b"HTTP/1.1 99 Low\r\n\r\n"], "illegal status line", id="two-digits"),
        pytest.param([b"\r\nHTTP/1.1 200 OK\r\n\r\n"], "not HTTP", id="an-empty-line-before"),
        pytest.param([b"HTTP/2.1 101 OK\r\n\r\n"], "HTTP version 2.1, expected 1.1", id="http-2-101"),
        pytest.param([b"HTTP/2.0 200 OK\r\n\r\n"], "HTTP version 2.0, expected 1.1", id="http-2"),
        pytest.param([b"HTTP/0.9 403 OK\r\n\r\n"], "HTTP version 0.9, expected 1.1", id="http-0.9"),
        pytest.param([b"HTTP/2.0 100 OK\r\n\r\n"], "HTTP version 2.0, expected 1.1", id="http-2-informational"),
        pytest.param([b"HTTP/1.1 200 OK\nX: y\n\n"], "line break other", id="bare-lf"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n", b""], "a forbidden character", id="control-in-value"),
        pytest.param([b"HTTP/1.1 200 O\x01K\r\n\r\n", b""], "reason", id="control-in-reason"),
        pytest.param([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9 + b"\r\n"], "more than 8 header", id="many-headers"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 999], "exceeds 512 bytes", id="long-head"),
    ],
)
def test_an_invalid_response_head_is_rejected(chunks: list[bytes], message: str) -> None:
    exchange = client(max_bytes=512, max_headers=8)
    *before, last = chunks
    assert feed(exchange.receive_data, before) is None
    with pytest.raises(InvalidHead, match=message):
        exchange.receive_data(last)


LINE = st.binary(max_size=8).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))


@given(LINE, LINE)
@settings(deadline=None)
def test_a_received_response_can_also_be_constructed(reason: bytes, value: bytes) -> None:
    try:
        read = client().receive_data(b"HTTP/1.1 101 " + reason + b"\r\nX: " + value + b"\r\n\r\n")
    except InvalidHead:
        return
    assert read is not None
    assert Response(read.status, read.headers, read.body, reason=read.reason) == read
