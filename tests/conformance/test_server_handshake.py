"""The server's side of the opening handshake (RFC 6455, section 4.2)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from anyws.protocol import HandshakeRefused, PerMessageDeflate, Response, ServerHandshake
from tests.chunks import Chunked, chunked, whole

from .heads import KEY, opening, read


def test_1_3_the_example_of_the_rfc() -> None:
    """RFC 6455, section 1.3."""
    request = {"Origin": "http://example.com", "Sec-WebSocket-Protocol": "chat, superchat"}
    handshake = read(opening(dict(request)), origins=["http://example.com"], subprotocols=["chat"])
    assert handshake.request is not None
    assert (handshake.request.path, handshake.request.headers["host"]) == ("/chat", "server.example.com")
    assert handshake.data_to_send(handshake.accept()) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n\r\n"
    )


ACCEPTED: list[Any] = [
    pytest.param({}, id="plain"),
    pytest.param({"Upgrade": "WebSocket"}, id="upgrade-case"),
    pytest.param({"Upgrade": "h2c, websocket"}, id="upgrade-list"),
    pytest.param({"Upgrade": ["h2c", "WEBSOCKET"]}, id="upgrade-repeated"),
    pytest.param({"Connection": "keep-alive, Upgrade"}, id="connection-list"),
    pytest.param({"Connection": "keep-alive,upgrade"}, id="connection-case"),
    pytest.param({"Connection": ["keep-alive", "UPGRADE"]}, id="connection-repeated"),
    pytest.param({"Sec-WebSocket-Key": f" \t{KEY}\t "}, id="key-in-space"),
    pytest.param({"sec-websocket-key": KEY, "Sec-WebSocket-Key": None}, id="header-name-case"),
    pytest.param({"Sec-WebSocket-Extensions": 'foo; bar="1"'}, id="extension-quoted"),
    pytest.param({"Sec-WebSocket-Extensions": ["foo", "bar; baz"]}, id="extensions-repeated"),
    pytest.param({"Content-Length": "0"}, id="content-length-0"),
    pytest.param({"Content-Length": ["0", "0"]}, id="content-length-0-twice"),
    pytest.param({"Host": "a:8080"}, id="host-port"),
    pytest.param({"Host": "[::1]:8080"}, id="host-ipv6"),
    pytest.param({"Host": "a_b-c.example."}, id="host-underscore-and-dot"),
]


@chunked
@pytest.mark.parametrize("trailing", [b"", b"\x81\x80\0\0\0\0"])
@pytest.mark.parametrize("changes", ACCEPTED)
def test_4_2_1_valid_requests(changes: dict[str, Any], trailing: bytes, chunked: Chunked) -> None:
    handshake = ServerHandshake()
    *before, last = chunked(opening(changes))
    assert not any(handshake.receive_data(chunk) for chunk in before)
    request = handshake.receive_data(last + trailing)
    assert request is not None
    assert request is handshake.request
    assert request.is_websocket
    assert handshake.trailing_data == trailing
    response = handshake.accept()
    assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert set(response.headers) == {"upgrade", "connection", "sec-websocket-accept"}
    assert handshake.subprotocol is None


KEY_PROBLEM = "invalid Sec-WebSocket-Key: expected the base64 encoding of 16 bytes"


REFUSED: list[Any] = [
    pytest.param({"Host": None}, 400, "Host", id="no-host"),
    pytest.param({"Host": ["a", "a"]}, 400, "Host", id="two-hosts"),
    pytest.param({"Host": ""}, 400, "Host", id="empty-host"),
    pytest.param({"Host": "user@a"}, 400, "Host", id="host-with-user"),
    pytest.param({"Host": "a/b"}, 400, "Host", id="host-with-path"),
    pytest.param({"Host": "a b"}, 400, "Host", id="host-with-space"),
    pytest.param({"Host": "a:b"}, 400, "Host", id="host-with-bad-port"),
    pytest.param({"Content-Length": "1"}, 400, "the request has a body", id="content-length"),
    pytest.param({"Content-Length": "10"}, 400, "the request has a body", id="content-length-10"),
    pytest.param({"Transfer-Encoding": "chunked"}, 400, "the request has a body", id="transfer-encoding"),
    pytest.param({"Connection": None}, 400, "invalid Connection: expected", id="no-connection"),
    pytest.param({"Connection": "keep-alive"}, 400, "invalid Connection: expected", id="connection-without-upgrade"),
    pytest.param({"Connection": "Upgraded"}, 400, "invalid Connection: expected", id="connection-other-token"),
    pytest.param({"Sec-WebSocket-Version": None}, 426, "Sec-WebSocket-Version is none, expected 13", id="no-version"),
    pytest.param({"Sec-WebSocket-Version": "8"}, 426, "Sec-WebSocket-Version is 8, expected 13", id="version-8"),
    pytest.param({"Sec-WebSocket-Version": "14"}, 426, "Sec-WebSocket-Version is 14", id="version-14"),
    pytest.param({"Sec-WebSocket-Version": "013"}, 426, "Sec-WebSocket-Version is 013", id="version-leading-zero"),
    pytest.param({"Sec-WebSocket-Version": ["13", "8"]}, 426, "Sec-WebSocket-Version is 13, 8", id="two-versions"),
    pytest.param({"Sec-WebSocket-Key": None}, 400, KEY_PROBLEM, id="no-key"),
    pytest.param({"Sec-WebSocket-Key": [KEY, KEY]}, 400, KEY_PROBLEM, id="two-keys"),
    pytest.param({"Sec-WebSocket-Key": ""}, 400, KEY_PROBLEM, id="empty-key"),
    pytest.param({"Sec-WebSocket-Key": "AAAA"}, 400, KEY_PROBLEM, id="short-key"),
    pytest.param({"Sec-WebSocket-Key": KEY[:-1]}, 400, KEY_PROBLEM, id="key-padding"),
    pytest.param({"Sec-WebSocket-Protocol": ""}, 400, "Sec-WebSocket-Protocol is empty", id="empty-protocol"),
    pytest.param({"Sec-WebSocket-Protocol": "a b"}, 400, "expected unique tokens", id="protocol-no-token"),
    pytest.param({"Sec-WebSocket-Protocol": "a, b, a"}, 400, "expected unique tokens", id="protocol-twice"),
    pytest.param({"Sec-WebSocket-Protocol": ["a", "a"]}, 400, "expected unique tokens", id="protocol-twice-repeated"),
    pytest.param(
        {"Sec-WebSocket-Extensions": ""},
        400,
        "Sec-WebSocket-Extensions: expected at least",
        id="empty-extensions",
    ),
    pytest.param(
        {"Sec-WebSocket-Extensions": "a; b="},
        400,
        "Sec-WebSocket-Extensions: expected a",
        id="bad-extensions",
    ),
    pytest.param({"Sec-WebSocket-Extensions": ["a", "b;"]}, 400, "expected a parameter", id="bad-second-extensions"),
    pytest.param({"X": "a\r\n b"}, 400, "folded header line", id="folded"),
    pytest.param({"X": "a\nb"}, 400, "line break other than CR LF", id="bare-lf"),
    pytest.param({"X": "a\0b"}, 400, "the head contains NUL", id="nul"),
    pytest.param({"X y": "a"}, 400, "illegal header line", id="header-name"),
    pytest.param({"X": "a" * 16384}, 431, "the head exceeds 16384 bytes", id="long-head"),
    pytest.param({"X": ["a"] * 128}, 431, "more than 128 header lines", id="many-headers"),
    pytest.param({"Origin": "https://evil.example"}, 403, "is not allowed", id="foreign-origin"),
]


REQUIRED_HEADERS = {
    400: {},
    403: {},
    405: {"allow": "GET"},
    426: {"upgrade": "websocket"},
    431: {},
    501: {},
    505: {},
}


def check_refused(data: bytes, status: int, message: str, chunked: Chunked = whole, **options: Any) -> Response:
    handshake = ServerHandshake(**options)
    with pytest.raises(HandshakeRefused, match=re.escape(message)) as caught:
        for chunk in chunked(data):
            assert handshake.receive_data(chunk) is None
    response = caught.value.response
    assert caught.value.status == response.status == status
    assert caught.value.request is handshake.request
    assert message in response.body.decode()
    assert REQUIRED_HEADERS[status].items() <= dict(response.headers).items()
    written = handshake.data_to_send(response)
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert re.search(rb"\r\nConnection: (Upgrade, )?close\r\n", written)
    return response


@chunked
@pytest.mark.parametrize(("changes", "status", "message"), REFUSED)
def test_4_2_1_invalid_requests(changes: dict[str, Any], status: int, message: str, chunked: Chunked) -> None:
    check_refused(opening(changes), status, message, chunked)


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        pytest.param("POST / HTTP/1.1", 405, "method POST, expected GET", id="post"),
        pytest.param("HEAD / HTTP/1.1", 405, "method HEAD, expected GET", id="head"),
        pytest.param("get / HTTP/1.1", 405, "method get, expected GET", id="methods-are-case-sensitive"),
        pytest.param("GET / HTTP/1.0", 505, "HTTP version 1.0, expected 1.1", id="http-1.0"),
        pytest.param("GET / HTTP/0.9", 505, "HTTP version 0.9, expected 1.1", id="http-0.9"),
        pytest.param("GET / HTTP/2.0", 505, "HTTP version 2.0, expected 1.1", id="http-2.0"),
        pytest.param("GET / HTTP/9.9", 505, "HTTP version 9.9, expected 1.1", id="http-9.9"),
    ],
)
def test_4_2_1_get_and_http_1_1(line: str, status: int, message: str) -> None:
    handshake = ServerHandshake()
    with pytest.raises(HandshakeRefused, match=message) as caught:
        handshake.receive_data(opening(line=line))
    assert caught.value.status == status
    assert REQUIRED_HEADERS[status].items() <= dict(caught.value.response.headers).items()


def test_4_2_1_http_1_0_without_a_host_is_505() -> None:
    check_refused(opening({"Host": None}, line="GET / HTTP/1.0"), 505, "HTTP version 1.0")


def test_a_later_minor_version_is_http_1_1() -> None:
    """RFC 9110, section 2.5: the server processes it like the highest minor version that it supports."""
    handshake = read(opening(line="GET / HTTP/1.9"))
    assert handshake.accept().status == 101


@pytest.mark.parametrize("version", ["2.0", "0.9"])
def test_another_major_version_is_505_without_an_upgrade_too(version: str) -> None:
    """RFC 9110, section 15.6.6."""
    check_refused(opening({"Upgrade": None}, line=f"GET / HTTP/{version}"), 505, f"HTTP version {version}")


@pytest.mark.parametrize("host", [None, "a.example"])
def test_plain_http_1_0_does_not_require_host(host: str | None) -> None:
    """RFC 9112, section 3.2, requires Host only since HTTP/1.1."""
    handshake = read(opening({"Host": host, "Upgrade": None, "Connection": None}, line="GET / HTTP/1.0"))
    assert handshake.request is not None
    assert handshake.request.http_version == "1.0"
    assert handshake.data_to_send(Response(200, body="ok")).endswith(b"\r\nConnection: close\r\n\r\nok")


def test_a_host_header_in_http_1_0_is_checked() -> None:
    check_refused(opening({"Host": "a b", "Upgrade": None}, line="GET / HTTP/1.0"), 400, "Host: expected a host")


def test_4_2_2_wrong_version_gets_426() -> None:
    """RFC 6455, section 4.4; RFC 9110, section 7.8: Upgrade requires the connection option."""
    response = check_refused(opening({"Sec-WebSocket-Version": "25"}), 426, "Sec-WebSocket-Version is 25")
    assert response.headers["sec-websocket-version"] == "13"
    assert response.headers["connection"] == "Upgrade, close"


@chunked
@pytest.mark.parametrize("changes", [{"Upgrade": None}, {"Upgrade": "h2c"}, {"Upgrade": None, "Connection": None}])
def test_4_2_1_a_get_that_asks_for_no_upgrade_gets_426(changes: dict[str, Any], chunked: Chunked) -> None:
    handshake = read(opening({**changes, "Origin": "https://anywhere.example"}), chunked)
    assert handshake.request is not None
    assert not handshake.request.is_websocket
    with pytest.raises(HandshakeRefused, match="expected a WebSocket opening handshake") as caught:
        handshake.accept()
    response = caught.value.response
    assert (response.status, response.headers["upgrade"]) == (426, "websocket")
    assert response.headers["connection"] == "Upgrade, close"
    assert handshake.data_to_send(Response(200, body="plain HTTP")).startswith(b"HTTP/1.1 200 OK\r\n")


# (Origin, Host, origins, allowed_hosts, what is wrong)
ORIGINS = [
    pytest.param(None, "a", None, [], None, id="no-origin-no-check"),
    pytest.param("http://a", "a", None, None, None, id="same"),
    pytest.param("https://a", "a", None, None, None, id="same-tls"),
    pytest.param("http://A.example", "a.Example", None, None, None, id="case"),
    pytest.param("http://a:80", "a", None, None, None, id="default-port-in-origin"),
    pytest.param("https://a", "a:443", None, None, None, id="default-port-in-host"),
    pytest.param("http://a:8080", "a:8080", None, None, None, id="port"),
    pytest.param("http://[::1]:8080", "[::1]:8080", None, None, None, id="ipv6"),
    pytest.param("http://a:8080", "a", None, None, "is not allowed", id="other-port"),
    pytest.param("http://a", "a:443", None, None, "is not allowed", id="port-of-the-other-scheme"),
    pytest.param("http://a.evil", "a", None, None, "is not allowed", id="longer-host"),
    pytest.param("http://evil@a.evil", "evil", None, None, "is not allowed", id="user"),
    pytest.param("null", "a", None, None, "is not allowed", id="null"),
    pytest.param("", "a", None, None, "is not allowed", id="empty"),
    pytest.param("file://", "a", None, None, "is not allowed", id="file"),
    pytest.param("http://a:x", "a", None, None, "is not allowed", id="bad-port"),
    pytest.param("http://[", "a", None, None, "is not allowed", id="bad-ipv6"),
    pytest.param(["http://a", "http://a"], "a", None, None, "is not allowed", id="two-origins"),
    pytest.param("https://app.example", "a", ["https://app.example"], None, None, id="listed"),
    pytest.param("https://APP.example", "a", ["https://app.Example"], None, None, id="listed-case"),
    pytest.param("http://app.example", "a", ["https://app.example"], None, "is not allowed", id="listed-other-scheme"),
    pytest.param("https://a", "a", ["https://app.example"], None, "is not allowed", id="same-but-not-listed"),
    pytest.param("null", "a", ["null"], None, None, id="null-listed"),
    pytest.param("https://evil", "a", [], None, "is not allowed", id="none-allowed"),
    pytest.param("https://evil", "a", ["*"], None, None, id="any"),
    pytest.param("http://a", "a", None, ["A"], None, id="host-allowed"),
    pytest.param("http://localhost:1", "localhost:1", None, ["localhost"], None, id="host-allowed-with-port"),
    pytest.param("http://127.0.0.1:1", "127.0.0.1:1", None, ["localhost"], None, id="address"),
    pytest.param("http://[::1]:1", "[::1]:1", None, ["localhost"], None, id="address-ipv6"),
    pytest.param("http://evil", "evil", None, ["localhost"], "Host 'evil' is not allowed", id="rebinding"),
    pytest.param("http://evil", "evil", ["*"], ["localhost"], "Host 'evil' is not allowed", id="rebinding-any-origin"),
]


@pytest.mark.parametrize(("origin", "host", "origins", "allowed_hosts", "problem"), ORIGINS)
def test_4_2_2_a_foreign_origin_gets_403_before_the_101(
    origin: str | None, host: str, origins: list[str] | None, allowed_hosts: list[str] | None, problem: str | None
) -> None:
    data = opening({"Host": host, "Origin": origin})
    options: dict[str, Any] = {"origins": origins, "allowed_hosts": allowed_hosts}
    if problem is None:
        assert read(data, **options).accept().status == 101
    else:
        check_refused(data, 403, problem, **options)


@pytest.mark.parametrize(
    ("subprotocols", "offered", "agreed"),
    [
        pytest.param(["a", "b"], "b, a", "a", id="our-preference"),
        pytest.param(["a", "b"], ["c", "b"], "b", id="repeated-header"),
        pytest.param(["a"], ",a,,", "a", id="empty-elements"),
        pytest.param(["a"], "b", None, id="none-in-common"),
        pytest.param(["a"], None, None, id="nothing-offered"),
        pytest.param([], "a", None, id="nothing-spoken"),
        pytest.param(lambda offered: offered[-1], "a, b", "b", id="callable"),
        pytest.param(lambda offered: None, "a", None, id="callable-takes-none"),
        pytest.param(lambda offered: pytest.fail("asked"), None, None, id="callable-is-not-asked-for-nothing"),
    ],
)
def test_4_2_2_the_response_has_one_subprotocol_or_none(subprotocols: Any, offered: Any, agreed: str | None) -> None:
    handshake = read(opening({"Sec-WebSocket-Protocol": offered}), subprotocols=subprotocols)
    response = handshake.accept()
    assert response.headers.get_all("sec-websocket-protocol") == ([] if agreed is None else [agreed])
    assert handshake.subprotocol == agreed


def test_4_2_2_only_a_subprotocol_that_was_offered() -> None:
    handshake = read(opening({"Sec-WebSocket-Protocol": "a, b"}), subprotocols=lambda offered: "c")
    with pytest.raises(ValueError, match="subprotocol 'c' was selected, but is not one of the 2 offered"):
        handshake.accept()


# (offers, what the answer says; None for no header)
EXTENSIONS = [
    pytest.param(None, None, id="nothing-offered"),
    pytest.param("foo, bar; baz", None, id="nothing-known"),
    pytest.param("foo, permessage-deflate", "permessage-deflate", id="only-what-was-offered"),
    pytest.param(
        "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9, permessage-deflate",
        "permessage-deflate; server_max_window_bits=9",
        id="the-first-acceptable-wins",
    ),
    pytest.param(
        ["permessage-deflate; unknown", "permessage-deflate"], "permessage-deflate", id="over-several-headers"
    ),
    pytest.param(
        'permessage-deflate; server_max_window_bits="10"',
        "permessage-deflate; server_max_window_bits=10",
        id="quoted-value",
    ),
]


@chunked
@pytest.mark.parametrize(("offers", "answer"), EXTENSIONS)
def test_9_1_later_offers_are_fallbacks_and_unknown_extensions_are_declined(
    offers: Any, answer: str | None, chunked: Chunked
) -> None:
    handshake = read(opening({"Sec-WebSocket-Extensions": offers}), chunked, extensions=[PerMessageDeflate()])
    assert handshake.accept().headers.get("sec-websocket-extensions") == answer
