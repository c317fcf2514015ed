"""Proxy URIs, and CONNECT (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, strategies as st

from anyws.protocol import InvalidURI, Proxy, ProxyError, ProxyHandshake, parse_proxy, parse_uri
from tests.chunks import Chunked, chunked


def proxy(scheme: str = "http", host: str = "p", port: int = 80, **others: Any) -> Proxy:
    return Proxy(scheme=scheme, host=host, port=port, **others)


@pytest.mark.parametrize(
    ("uri", "value"),
    [
        ("http://p", proxy()),
        ("http://P:8080/", proxy(port=8080)),
        ("https://p", proxy("https", port=443)),
        ("p:3128", proxy(port=3128)),
        ("me:it@p", proxy(username="me", password="it")),
        ("http://[::1]:8080", proxy(host="::1", port=8080)),
        ("http://bücher.example", proxy(host="xn--bcher-kva.example")),
        ("socks://p", proxy("socks5h", port=1080)),
        ("socks5://p:1", proxy("socks5", port=1)),
        ("SOCKS4A://p", proxy("socks4a", port=1080)),
        ("socks4://me@p", proxy("socks4", port=1080, username="me")),
        ("http://j%C3%BCrgen:p%3A%40ss@p", proxy(username="jürgen", password="p:@ss")),
    ],
)
def test_a_uri(uri: str, value: Proxy) -> None:
    assert parse_proxy(uri) == value


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("ftp://p", "scheme 'ftp' is not supported"),
        ("http://", "has no host: expected http://host"),
        ("http://p:0", "port 0: expected 1 to 65535"),
        ("http://p:s3cret", "invalid port: expected"),
        ("http://p:70000", "invalid port 70000: expected"),
        ("http://[p", "invalid proxy URI; percent-encode"),
        ("http://p/s3cret", "must end after the port"),
        ("http://p?s3cret", "must end after the port"),
        ("http://me:s3c/ret@p", "invalid port: expected|must end after the port"),
        ("http://me:s3c#ret@p", "invalid port: expected|must end after the port"),
        ("http://me:s3c ret@p", "contains a space at position"),
        ("http://me:s3c\u2100ret@p", "invalid proxy URI; percent-encode"),
        ("http://me:[s3cret]@p", "invalid proxy URI; percent-encode|invalid host"),
        ("http://me:x@s3cret..@p..", "invalid host; percent-encode"),
        ("http://me%3A:s3cret@p", "must not contain a colon"),
        ("http://me:s3cret%0A@p", "must not contain control characters"),
        ("socks5://me:s3cr%C3%A9t@p", "ASCII"),
        (f"socks5://me:s3cret{'x' * 255}@p", "at most 255"),
        ("socks4://m%00e@p", "ASCII"),
    ],
)
def test_the_error_for_an_invalid_uri_shows_no_secret(uri: str, problem: str) -> None:
    with pytest.raises(InvalidURI, match=problem) as raised:
        parse_proxy(uri)
    assert "s3c" not in str(raised.value)
    assert raised.value.uri == uri


@given(st.text(min_size=6))
def test_no_password_is_ever_shown(password: str) -> None:
    try:
        shown = repr(parse_proxy(f"http://me:{password}@p:1"))
    except InvalidURI as exc:
        shown = str(exc)
    assert password not in shown


def test_neither_str_nor_repr_has_credentials() -> None:
    parsed = parse_proxy("socks5://meself:s3cret@[::1]:9")
    assert str(parsed) == "socks5://[::1]:9"
    assert "s3cret" not in repr(parsed)
    assert "meself" not in repr(parsed)


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("ws://a/b?c", "a:80"),
        ("wss://a/", "a:443"),
        ("ws://u:p@a:8/", "a:8"),
        ("wss://[::1]/", "[::1]:443"),
        ("ws://[fe80::1%25eth0]/", "[fe80::1]:80"),
        ("ws://a.example./", "a.example.:80"),
    ],
)
def test_the_request(uri: str, target: str) -> None:
    request = ProxyHandshake(parse_proxy("http://p"), parse_uri(uri)).data_to_send()
    assert request == f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def test_the_user_agent() -> None:
    request = ProxyHandshake(parse_proxy("http://p"), parse_uri("ws://a/"), user_agent="mine").data_to_send()
    assert request == b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nUser-Agent: mine\r\n\r\n"


def test_credentials_are_basic() -> None:
    request = ProxyHandshake(parse_proxy("https://j%C3%BC:p%3A@p"), parse_uri("ws://a/")).data_to_send().decode()
    name, value = request.split("\r\n")[2].split(": ")
    assert name == "Proxy-Authorization"
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == "jü:p:"


def asking() -> ProxyHandshake:
    handshake = ProxyHandshake(parse_proxy("http://me:s3cret@p:1"), parse_uri("ws://a/"))
    handshake.data_to_send()
    return handshake


@chunked
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 Connection established\r\n\r\n", id="usual"),
        pytest.param(b"HTTP/1.0 200 \r\nProxy-agent: x\r\n\r\n", id="1.0"),
        pytest.param(b"HTTP/1.1 204 Fine\r\n\r\n", id="any-2xx"),
        pytest.param(b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", id="100-before"),
        # RFC 9110, section 9.3.6: "A client MUST ignore any Content-Length or Transfer-Encoding header fields"
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"),
    ],
)
def test_a_tunnel(answer: bytes, chunked: Chunked) -> None:
    handshake = asking()
    results = [handshake.receive_data(chunk) for chunk in chunked(answer)]
    assert results == [False] * (len(results) - 1) + [True]


@pytest.mark.parametrize(
    ("answer", "problem", "status"),
    [
        pytest.param(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", "responded with 407 No", 407, id="407"),
        pytest.param(b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 2\r\n\r\nno", "with 302", 302, id="302"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "sent data after",
            200,
            id="200-with-body",
        ),
        pytest.param(b"HTTP/1.1 101 Sure\r\nUpgrade: a\r\n\r\n", "sent an invalid response", None, id="101"),
        pytest.param(b"HTTP/1.1 200 OK\nX: y\n\n", "sent an invalid response", None, id="bare-line-ends"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", "sent an invalid response", None, id="ssh"),
        pytest.param(b"\x05\x00", "sent an invalid response", None, id="socks"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 16384, "sent an invalid response", None, id="endless"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "an invalid response", None, id="many-headers"
        ),
    ],
)
def test_responses_that_do_not_open_a_tunnel(answer: bytes, problem: str, status: int | None) -> None:
    with pytest.raises(ProxyError, match=problem) as raised:
        asking().receive_data(answer)
    assert raised.value.status == status
    assert raised.value.proxy == "http://p:1"
    assert str(raised.value).startswith("the proxy http://p:1 ")
    if status == 407:
        assert raised.value.response is not None
        assert raised.value.response.body == b"no"


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 Conn", b"HTTP/1.1 200 OK\r\nX: y\r\n"])
def test_the_stream_ends_before_the_response(before: bytes) -> None:
    handshake = asking()
    if before:
        assert handshake.receive_data(before) is False
    with pytest.raises(ProxyError, match="closed the connection without a response"):
        handshake.receive_data(b"")


def test_the_body_of_a_rejection_is_limited() -> None:
    handshake = asking()
    with pytest.raises(ProxyError) as raised:
        handshake.receive_data(b"HTTP/1.1 502 Bad\r\n\r\n" + b"x" * 1_000_000)
    assert raised.value.response is not None
    assert len(raised.value.response.body) == 65536
