"""The server's side of the opening handshake (RFC 6455, 4.2)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from anyws.protocol import HandshakeRefused, Headers, Response, ServerHandshake
from anyws.protocol.server_handshake import check_answer
from tests.chunks import Chunked, chunked, whole

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
OPENING = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def opening(changes: dict[str, str | list[str] | None] | None = None, line: str = "GET /chat HTTP/1.1") -> bytes:
    """An opening handshake with other headers: a list repeats one, None leaves it out."""
    lines = [line]
    for name, values in {**OPENING, **(changes or {})}.items():
        lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values or [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read(data: bytes, chunked: Chunked = whole, **options: Any) -> ServerHandshake:
    """Let a handshake read the whole of a valid request."""
    handshake = ServerHandshake(**options)
    *before, last = chunked(data)
    assert not any(handshake.receive_data(chunk) for chunk in before)
    assert handshake.request is None
    request = handshake.receive_data(last)
    assert request is not None
    assert request is handshake.request
    return handshake


def test_the_example_of_the_rfc() -> None:
    """RFC 6455, 1.3."""
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
def test_what_the_rfc_allows(changes: dict[str, Any], trailing: bytes, chunked: Chunked) -> None:
    handshake = ServerHandshake()
    *before, last = chunked(opening(changes))
    assert not any(handshake.receive_data(chunk) for chunk in before)
    request = handshake.receive_data(last + trailing)
    assert request is not None
    assert request is handshake.request
    assert request.asks_for_websocket
    assert handshake.trailing_data == trailing
    response = handshake.accept()
    assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert set(response.headers) == {"upgrade", "connection", "sec-websocket-accept"}
    assert handshake.subprotocol is None


KEY_PROBLEM = "Sec-WebSocket-Key: expected one, the base64 of 16 bytes"

REFUSED: list[Any] = [
    pytest.param({"Host": None}, 400, "Host", id="no-host"),
    pytest.param({"Host": ["a", "a"]}, 400, "Host", id="two-hosts"),
    pytest.param({"Host": ""}, 400, "Host", id="empty-host"),
    pytest.param({"Host": "user@a"}, 400, "Host", id="host-with-user"),
    pytest.param({"Host": "a/b"}, 400, "Host", id="host-with-path"),
    pytest.param({"Host": "a b"}, 400, "Host", id="host-with-space"),
    pytest.param({"Host": "a:b"}, 400, "Host", id="host-with-bad-port"),
    pytest.param({"Content-Length": "1"}, 400, "a body on the request", id="content-length"),
    pytest.param({"Content-Length": "10"}, 400, "a body on the request", id="content-length-10"),
    pytest.param({"Transfer-Encoding": "chunked"}, 400, "a body on the request", id="transfer-encoding"),
    pytest.param({"Connection": None}, 400, "Connection without Upgrade", id="no-connection"),
    pytest.param({"Connection": "keep-alive"}, 400, "Connection without Upgrade", id="connection-without-upgrade"),
    pytest.param({"Connection": "Upgraded"}, 400, "Connection without Upgrade", id="connection-other-token"),
    pytest.param({"Sec-WebSocket-Version": None}, 426, "Sec-WebSocket-Version none: expected 13", id="no-version"),
    pytest.param({"Sec-WebSocket-Version": "8"}, 426, "Sec-WebSocket-Version 8: expected 13", id="version-8"),
    pytest.param({"Sec-WebSocket-Version": "14"}, 426, "Sec-WebSocket-Version 14", id="version-14"),
    pytest.param({"Sec-WebSocket-Version": "013"}, 426, "Sec-WebSocket-Version 013", id="version-leading-zero"),
    pytest.param({"Sec-WebSocket-Version": ["13", "8"]}, 426, "Sec-WebSocket-Version 13, 8", id="two-versions"),
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
        {"Sec-WebSocket-Extensions": ""}, 400, "Sec-WebSocket-Extensions: at least one", id="empty-extensions"
    ),
    pytest.param({"Sec-WebSocket-Extensions": "a; b="}, 400, "Sec-WebSocket-Extensions: token or", id="bad-extensions"),
    pytest.param({"Sec-WebSocket-Extensions": ["a", "b;"]}, 400, "parameter name expected", id="bad-second-extensions"),
    pytest.param({"X": "a\r\n b"}, 400, "folded header line", id="folded"),
    pytest.param({"X": "a\nb"}, 400, "line end other than CR LF", id="bare-lf"),
    pytest.param({"X": "a\0b"}, 400, "NUL in the head", id="nul"),
    pytest.param({"X y": "a"}, 400, "illegal header line", id="header-name"),
    pytest.param({"X": "a" * 16384}, 431, "more than 16384 bytes of head", id="long-head"),
    pytest.param({"X": ["a"] * 128}, 431, "more than 128 header lines", id="many-headers"),
    pytest.param({"Origin": "https://evil.example"}, 403, "a foreign Origin", id="foreign-origin"),
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
def test_what_is_refused(changes: dict[str, Any], status: int, message: str, chunked: Chunked) -> None:
    check_refused(opening(changes), status, message, chunked)


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        pytest.param("POST / HTTP/1.1", 405, "method POST: expected GET", id="post"),
        pytest.param("HEAD / HTTP/1.1", 405, "method HEAD: expected GET", id="head"),
        pytest.param("get / HTTP/1.1", 405, "method get: expected GET", id="methods-are-case-sensitive"),
        pytest.param("GET / HTTP/1.0", 505, "HTTP/1.0: expected HTTP/1.1", id="http-1.0"),
        pytest.param("GET / HTTP/0.9", 505, "HTTP/0.9: expected HTTP/1.1", id="http-0.9"),
    ],
)
def test_what_request_lines_are_refused(line: str, status: int, message: str) -> None:
    handshake = ServerHandshake()
    with pytest.raises(HandshakeRefused, match=message) as caught:
        handshake.receive_data(opening(line=line))
    assert caught.value.status == status
    assert REQUIRED_HEADERS[status].items() <= dict(caught.value.response.headers).items()


def test_http_1_0_without_a_host_is_505() -> None:
    check_refused(opening({"Host": None}, line="GET / HTTP/1.0"), 505, "HTTP/1.0")


def test_a_wrong_version_is_told_the_right_one_and_that_an_upgrade_is_wanted() -> None:
    """RFC 6455, 4.4; RFC 9110, 7.8: who sends Upgrade also sends the connection option."""
    response = check_refused(opening({"Sec-WebSocket-Version": "25"}), 426, "Sec-WebSocket-Version 25")
    assert response.headers["sec-websocket-version"] == "13"
    assert response.headers["connection"] == "Upgrade, close"


@chunked
@pytest.mark.parametrize("changes", [{"Upgrade": None}, {"Upgrade": "h2c"}, {"Upgrade": None, "Connection": None}])
def test_a_get_that_asks_for_no_websocket_is_left_to_the_caller(changes: dict[str, Any], chunked: Chunked) -> None:
    handshake = read(opening({**changes, "Origin": "https://anywhere.example"}), chunked)
    assert handshake.request is not None
    assert not handshake.request.asks_for_websocket
    with pytest.raises(HandshakeRefused, match="a WebSocket opening handshake was expected") as caught:
        handshake.accept()
    response = caught.value.response
    assert (response.status, response.headers["upgrade"]) == (426, "websocket")
    assert response.headers["connection"] == "Upgrade, close"
    assert handshake.data_to_send(Response(200, body="plain HTTP")).startswith(b"HTTP/1.1 200 OK\r\n")


# -- origin ------------------------------------------------------------------------------------------------------------

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
    pytest.param("http://a:8080", "a", None, None, "a foreign Origin", id="other-port"),
    pytest.param("http://a", "a:443", None, None, "a foreign Origin", id="port-of-the-other-scheme"),
    pytest.param("http://a.evil", "a", None, None, "a foreign Origin", id="longer-host"),
    pytest.param("http://evil@a.evil", "evil", None, None, "a foreign Origin", id="user"),
    pytest.param("null", "a", None, None, "a foreign Origin", id="null"),
    pytest.param("", "a", None, None, "a foreign Origin", id="empty"),
    pytest.param("file://", "a", None, None, "a foreign Origin", id="file"),
    pytest.param("http://a:x", "a", None, None, "a foreign Origin", id="bad-port"),
    pytest.param("http://[", "a", None, None, "a foreign Origin", id="bad-ipv6"),
    pytest.param(["http://a", "http://a"], "a", None, None, "a foreign Origin", id="two-origins"),
    pytest.param("https://app.example", "a", ["https://app.example"], None, None, id="listed"),
    pytest.param("https://APP.example", "a", ["https://app.Example"], None, None, id="listed-case"),
    pytest.param("http://app.example", "a", ["https://app.example"], None, "not allowed", id="listed-other-scheme"),
    pytest.param("https://a", "a", ["https://app.example"], None, "not allowed", id="same-but-not-listed"),
    pytest.param("null", "a", ["null"], None, None, id="null-listed"),
    pytest.param("https://evil", "a", [], None, "an Origin that is not allowed", id="none-allowed"),
    pytest.param("https://evil", "a", ["*"], None, None, id="any"),
    pytest.param("http://a", "a", None, ["A"], None, id="host-allowed"),
    pytest.param("http://localhost:1", "localhost:1", None, ["localhost"], None, id="host-allowed-with-port"),
    pytest.param("http://127.0.0.1:1", "127.0.0.1:1", None, ["localhost"], None, id="address"),
    pytest.param("http://[::1]:1", "[::1]:1", None, ["localhost"], None, id="address-ipv6"),
    pytest.param("http://evil", "evil", None, ["localhost"], "a Host that is not allowed", id="rebinding"),
    pytest.param("http://evil", "evil", ["*"], ["localhost"], "a Host that is not allowed", id="rebinding-any-origin"),
]


@pytest.mark.parametrize(("origin", "host", "origins", "allowed_hosts", "problem"), ORIGINS)
def test_where_a_browser_may_come_from(
    origin: str | None, host: str, origins: list[str] | None, allowed_hosts: list[str] | None, problem: str | None
) -> None:
    data = opening({"Host": host, "Origin": origin})
    options: dict[str, Any] = {"origins": origins, "allowed_hosts": allowed_hosts}
    if problem is None:
        assert read(data, **options).accept().status == 101
    else:
        check_refused(data, 403, problem, **options)


@pytest.mark.parametrize("option", ["origins", "allowed_hosts"])
def test_one_str_for_several_is_a_type_error(option: str) -> None:
    """Taken for a sequence of characters, "https://*.example.com" would allow any origin."""
    with pytest.raises(TypeError, match=f"{option} is a sequence"):
        ServerHandshake(**{option: "https://*.example.com"})  # type: ignore[arg-type]  # that is the point


# -- subprotocols ------------------------------------------------------------------------------------------------------


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
def test_one_subprotocol_or_no_header(subprotocols: Any, offered: Any, agreed: str | None) -> None:
    handshake = read(opening({"Sec-WebSocket-Protocol": offered}), subprotocols=subprotocols)
    response = handshake.accept()
    assert response.headers.get_all("sec-websocket-protocol") == ([] if agreed is None else [agreed])
    assert handshake.subprotocol == agreed


def test_a_callable_cannot_agree_to_what_was_not_offered() -> None:
    handshake = read(opening({"Sec-WebSocket-Protocol": "a, b"}), subprotocols=lambda offered: "c")
    with pytest.raises(ValueError, match="subprotocol 'c' was chosen, but the client offered a, b"):
        handshake.accept()


def test_subprotocols_are_checked() -> None:
    with pytest.raises(ValueError, match="is not a token"):
        ServerHandshake(subprotocols=["a b"])


# -- further headers of the 101 ----------------------------------------------------------------------------------------


def test_further_headers_of_the_response() -> None:
    handshake = read(opening())
    response = handshake.accept([("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")])
    assert handshake.data_to_send(response).endswith(b"\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n")
    assert isinstance(response.headers, Headers)


@pytest.mark.parametrize(
    ("headers", "error", "message"),
    [
        *[
            pytest.param({name: "x"}, ValueError, f"header {name} belongs to the opening handshake", id=name)
            for name in ("Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Accept")
        ],
        pytest.param({"sec-websocket-PROTOCOL": "x"}, ValueError, "belongs to the opening", id="protocol"),
        pytest.param({"Sec-WebSocket-Extensions": "x"}, ValueError, "belongs to the opening", id="extensions"),
        pytest.param({"X": "a\r\nY: b"}, ValueError, "cannot carry", id="line-break"),
        pytest.param({"X": 1}, TypeError, "pair of str", id="value-type"),
    ],
)
def test_headers_that_cannot_be_added(headers: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(opening()).accept(headers)


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        pytest.param(Response(101), "status 101 cannot answer", id="switching-protocols"),
        pytest.param(Response(100), "status 100 cannot answer", id="continue"),
        pytest.param(Response(600), "status 600 cannot answer", id="no-status"),
        pytest.param(Response(200, [("Transfer-Encoding", "chunked")]), "Transfer-Encoding cannot", id="chunked"),
        pytest.param(Response(200, [("Content-Length", "3")], b"ab"), "Content-Length is 3, but", id="wrong-length"),
    ],
)
def test_an_answer_that_would_confuse_the_client_is_refused(response: Response, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_answer(response)


@pytest.mark.parametrize("response", [Response(200, [("Content-Length", "2")], b"ab"), Response(599, body="no")])
def test_any_other_answer_is_fine(response: Response) -> None:
    check_answer(response)
