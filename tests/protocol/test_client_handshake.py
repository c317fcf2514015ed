"""The client's side of the opening handshake (RFC 6455, 4.1)."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import (
    ClientHandshake,
    HandshakeError,
    HandshakeRefused,
    Headers,
    InvalidURI,
    ServerHandshake,
    WebSocketError,
    parse_uri,
)
from tests.chunks import Chunked, chunked

NONCE = b"the sample nonce"  # RFC 6455, 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ANSWER = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}


def client(uri: str = "ws://a/", *, sent: bool = True, **options: Any) -> ClientHandshake:
    """A client, with the nonce of the RFC, that has sent its request."""
    handshake = ClientHandshake(parse_uri(uri), **{"nonce": NONCE, **options})
    if sent:
        handshake.data_to_send()
    return handshake


def answer(changes: dict[str, str | list[str] | None], status: str = "101 Switching Protocols") -> bytes:
    """A response with other headers: a list repeats one, None leaves it out."""
    lines = [f"HTTP/1.1 {status}"]
    for name, values in {**ANSWER, **changes}.items():
        lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values or [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_the_example_of_the_rfc() -> None:
    """RFC 6455, 1.3."""
    handshake = client(
        "ws://server.example.com/chat", sent=False, origin="http://example.com", subprotocols=["chat", "superchat"]
    )
    assert handshake.data_to_send() == (
        b"GET /chat HTTP/1.1\r\n"
        b"Host: server.example.com\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\n"
        b"Origin: http://example.com\r\n\r\n"
    )
    response = handshake.receive_data(answer({"Sec-WebSocket-Protocol": "chat"}))
    assert response is not None
    assert response.status == 101
    assert handshake.subprotocol == "chat"


def test_a_plain_request_has_nothing_more_than_it_needs() -> None:
    names = ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]
    assert [name for name, _ in client().request.headers.multi_items()] == names


REQUESTS: list[Any] = [
    pytest.param("ws://a/", {}, "/", "host", ["a"], id="host"),
    pytest.param("wss://a/", {}, "/", "host", ["a"], id="host-secure"),
    pytest.param("ws://a:8080/", {}, "/", "host", ["a:8080"], id="host-port"),
    pytest.param("wss://a:80/", {}, "/", "host", ["a:80"], id="host-port-of-the-other-scheme"),
    pytest.param("ws://[::1]/", {}, "/", "host", ["[::1]"], id="host-ipv6"),
    pytest.param("ws://[::1]:8080/", {}, "/", "host", ["[::1]:8080"], id="host-ipv6-port"),
    pytest.param("ws+unix:/a:/b?c", {}, "/b?c", "host", ["localhost"], id="host-unix"),
    pytest.param("ws://a/", {"headers": {"host": "b:1"}}, "/", "host", ["b:1"], id="own-host"),
    pytest.param("ws://a/b%20c?d=e", {}, "/b%20c?d=e", "host", ["a"], id="target"),
    pytest.param("ws://a/", {}, "/", "origin", [], id="no-origin"),
    pytest.param("ws://a/", {"origin": "https://b"}, "/", "origin", ["https://b"], id="origin"),
    pytest.param(
        "ws://a/", {"origin": "https://b", "headers": {"ORIGIN": "null"}}, "/", "origin", ["null"], id="own-origin"
    ),
    pytest.param("ws://a/", {}, "/", "authorization", [], id="no-authorization"),
    pytest.param("ws://Ada:open%20me@a/", {}, "/", "authorization", ["Basic QWRhOm9wZW4gbWU="], id="userinfo"),
    pytest.param("ws://%C3%A9@a/", {}, "/", "authorization", ["Basic w6k6"], id="user-only"),
    pytest.param(
        "ws://u:p@a/",
        {"headers": {"Authorization": "Bearer x"}},
        "/",
        "authorization",
        ["Bearer x"],
        id="own-authorization",
    ),
    pytest.param("ws://a/", {}, "/", "sec-websocket-protocol", [], id="no-subprotocol"),
    pytest.param("ws://a/", {"subprotocols": ["b", "a"]}, "/", "sec-websocket-protocol", ["b, a"], id="subprotocols"),
    pytest.param("ws://a/", {}, "/", "sec-websocket-extensions", [], id="no-extensions"),
    pytest.param(
        "ws://a/", {"extensions": "x; y=1, z"}, "/", "sec-websocket-extensions", ["x; y=1, z"], id="extensions"
    ),
    pytest.param("ws://a/", {"headers": [("X", "1"), ("x", "2")]}, "/", "x", ["1", "2"], id="further-headers"),
]


@pytest.mark.parametrize(("uri", "options", "target", "name", "values"), REQUESTS)
def test_requests(uri: str, options: dict[str, Any], target: str, name: str, values: list[str]) -> None:
    handshake = client(uri, sent=False, **options)
    assert handshake.request.target == target
    assert handshake.request.headers.get_all(name) == values
    assert handshake.request.headers.multi_items()[0][0] == "Host"
    server = ServerHandshake(origins=["*"])
    received = server.receive_data(handshake.data_to_send())
    assert received is not None
    assert (received.target, received.headers) == (target, handshake.request.headers)


RESERVED = [
    "Connection",
    "Content-Length",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Transfer-Encoding",
    "UPGRADE",
]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        *[
            pytest.param({"headers": {name: "x"}}, ValueError, f"header {name} belongs to", id=name)
            for name in RESERVED
        ],
        pytest.param({"headers": {"a b": "c"}}, ValueError, "not a token", id="header-name"),
        pytest.param({"headers": {"a": "b\r\nc: d"}}, ValueError, "cannot carry", id="header-value"),
        pytest.param({"headers": {"Host": "b\nc"}}, ValueError, "cannot carry", id="host-value"),
        pytest.param({"headers": [("Host", "b"), ("host", "c")]}, ValueError, "Host is given twice", id="two-hosts"),
        pytest.param({"headers": {"a": b"b"}}, TypeError, "pair of str", id="header-type"),
        pytest.param({"origin": "a\r\nb: c"}, ValueError, "header Origin", id="origin"),
        pytest.param({"subprotocols": ["a b"]}, ValueError, "'a b' is not a token", id="subprotocol"),
        pytest.param({"subprotocols": ["a", "a"]}, ValueError, "stands twice", id="subprotocol-twice"),
        pytest.param({"subprotocols": "chat"}, TypeError, "not a str", id="subprotocol-str"),
        pytest.param({"extensions": "a; b="}, ValueError, "token or quoted string expected", id="extensions"),
        pytest.param({"extensions": ""}, ValueError, "at least one extension", id="extensions-empty"),
        pytest.param({"extensions": " a"}, ValueError, "header Sec-WebSocket-Extensions", id="extensions-space"),
        pytest.param({"nonce": b"15 bytes of key"}, ValueError, "nonce of 15 bytes, expected 16", id="nonce-short"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client(sent=False, **options)


def test_a_uri_is_checked_before() -> None:
    with pytest.raises(InvalidURI):
        client("ws://a/#fragment")


def test_each_nonce_is_16_new_bytes_of_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return NONCE

    monkeypatch.setattr("os.urandom", urandom)
    handshake = ClientHandshake(parse_uri("ws://a/"))
    assert asked == [16]
    assert base64.b64decode(handshake.request.headers["sec-websocket-key"]) == NONCE


ACCEPTED: list[Any] = [
    pytest.param({}, None, id="plain"),
    pytest.param({"Upgrade": "WebSocket"}, None, id="upgrade-case"),
    pytest.param({"Connection": "keep-alive, UPGRADE"}, None, id="connection-list"),
    pytest.param({"Connection": ["keep-alive", "upgrade"]}, None, id="connection-repeated"),
    pytest.param({"Sec-WebSocket-Accept": None, "SEC-WEBSOCKET-ACCEPT": ACCEPT}, None, id="header-name-case"),
    pytest.param({"Sec-WebSocket-Accept": f" {ACCEPT}\t"}, None, id="accept-in-space"),
    pytest.param({"Sec-WebSocket-Protocol": "b"}, "b", id="subprotocol"),
    pytest.param({"Server": "x", "Set-Cookie": ["a", "b"]}, None, id="further-headers"),
]


@chunked
@pytest.mark.parametrize("trailing", [b"", b"\x81\x01a", b"\r\n\r\n"])
@pytest.mark.parametrize(("changes", "subprotocol"), ACCEPTED)
def test_what_the_rfc_allows(
    changes: dict[str, Any], subprotocol: str | None, trailing: bytes, chunked: Chunked
) -> None:
    handshake = client(subprotocols=["a", "b"])
    *before, last = chunked(answer(changes))
    assert not any(handshake.receive_data(chunk) for chunk in before)
    response = handshake.receive_data(last + trailing)
    assert response is not None
    assert response.status == 101
    assert handshake.subprotocol == subprotocol
    assert handshake.trailing_data == trailing


INVALID: list[Any] = [
    pytest.param({"Upgrade": None}, "Upgrade is None", id="no-upgrade"),
    pytest.param({"Upgrade": "h2c"}, "Upgrade is 'h2c'", id="other-upgrade"),
    pytest.param({"Upgrade": "websocket, h2c"}, "Upgrade is 'websocket, h2c'", id="upgrade-list"),
    pytest.param({"Upgrade": ["websocket", "h2c"]}, "Upgrade is 'websocket, h2c'", id="upgrade-twice"),
    pytest.param({"Connection": None}, "Connection is None", id="no-connection"),
    pytest.param({"Connection": "close"}, "Connection is 'close'", id="connection-without-upgrade"),
    pytest.param({"Connection": "no-upgrade"}, "Connection is 'no-upgrade'", id="connection-other-token"),
    pytest.param({"Sec-WebSocket-Accept": None}, "Sec-WebSocket-Accept does not fit", id="no-accept"),
    pytest.param({"Sec-WebSocket-Accept": ACCEPT.lower()}, "Sec-WebSocket-Accept does not fit", id="accept-case"),
    pytest.param({"Sec-WebSocket-Accept": ACCEPT[:-1]}, "Sec-WebSocket-Accept does not fit", id="accept-cut"),
    pytest.param({"Sec-WebSocket-Accept": [ACCEPT] * 2}, "Sec-WebSocket-Accept does not fit", id="accept-twice"),
    pytest.param(
        {"Sec-WebSocket-Accept": "b37a4f2cc0624f1690f64606cf385945b2bec4ea"}, "Accept does not", id="accept-hex"
    ),
    pytest.param({"Sec-WebSocket-Protocol": "c"}, "subprotocol 'c' agreed to, but offered was a, b", id="not-offered"),
    pytest.param({"Sec-WebSocket-Protocol": "A"}, "subprotocol 'A' agreed to", id="subprotocol-case"),
    pytest.param({"Sec-WebSocket-Protocol": ""}, "subprotocol '' agreed to", id="subprotocol-empty"),
    pytest.param({"Sec-WebSocket-Protocol": "a, b"}, "subprotocol 'a, b' agreed to", id="two-subprotocols"),
    pytest.param({"Sec-WebSocket-Protocol": ["a", "a"]}, "subprotocol 'a, a' agreed to", id="subprotocol-twice"),
    pytest.param({"Sec-WebSocket-Extensions": "x"}, "extension x agreed to, but there is no codec", id="extension"),
    pytest.param({"Sec-WebSocket-Extensions": "y"}, "extension y agreed to, but there is no codec", id="extension-new"),
    pytest.param({"Sec-WebSocket-Extensions": "x, x"}, "extension x agreed to", id="extension-twice"),
    pytest.param({"Sec-WebSocket-Extensions": "x;"}, "parameter name expected", id="extension-malformed"),
    pytest.param({"Sec-WebSocket-Extensions": ""}, "at least one extension", id="extensions-empty"),
    pytest.param({"X": "a\r\n b"}, "folded header line", id="folded"),
    pytest.param({"X": "a\nb"}, "line end other than CR LF", id="bare-lf"),
]


@chunked
@pytest.mark.parametrize(("changes", "message"), INVALID)
def test_what_fails_the_handshake(changes: dict[str, Any], message: str, chunked: Chunked) -> None:
    handshake = client(subprotocols=["a", "b"], extensions="x")
    with pytest.raises(HandshakeError, match=f"invalid response: .*{re.escape(message)}") as caught:
        for chunk in chunked(answer(changes)):
            assert handshake.receive_data(chunk) is None
    assert not isinstance(caught.value, HandshakeRefused)
    assert isinstance(caught.value, WebSocketError)
    assert caught.value.request is handshake.request
    assert handshake.subprotocol is None


def test_a_subprotocol_fails_when_none_was_offered() -> None:
    with pytest.raises(HandshakeError, match="subprotocol 'a' agreed to, but offered was none") as caught:
        client().receive_data(answer({"Sec-WebSocket-Protocol": "a"}))
    assert caught.value.response is not None
    assert caught.value.response.headers["sec-websocket-protocol"] == "a"


@chunked
@pytest.mark.parametrize("status", ["200 OK", "301 Moved Permanently", "403 Forbidden", "426 Upgrade Required", "500 "])
def test_another_status_reaches_the_caller_with_headers_and_body(status: str, chunked: Chunked) -> None:
    handshake = client()
    data = answer({"Location": "/b", "Content-Length": "4"}, status) + b"why?"
    with pytest.raises(HandshakeRefused, match=f"^the server answered {status.rstrip()}$") as caught:
        for chunk in chunked(data):
            assert handshake.receive_data(chunk) is None
    error = caught.value
    assert (error.status, error.response.status) == (int(status[:3]), int(status[:3]))
    assert (error.response.headers["location"], error.response.body) == ("/b", b"why?")
    assert error.request is handshake.request


def test_the_body_of_a_refusal_is_bounded() -> None:
    handshake = client(max_body_bytes=10)
    assert handshake.receive_data(b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 9) is None
    with pytest.raises(HandshakeRefused) as caught:
        handshake.receive_data(b"y" * 1000)
    assert caught.value.response.body == b"x" * 9 + b"y"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi"])
def test_the_end_before_the_response_is_a_handshake_error(data: bytes) -> None:
    handshake = client()
    if data:
        assert handshake.receive_data(data) is None
    with pytest.raises(HandshakeError, match="the server closed the connection before it answered") as caught:
        handshake.receive_data(b"")
    assert caught.value.response is None


@pytest.mark.parametrize(("option", "limit"), [("max_head_bytes", 20), ("max_headers", 2)])
def test_limits_of_the_head(option: str, limit: int) -> None:
    options: dict[str, Any] = {option: limit}
    with pytest.raises(HandshakeError, match=f"more than {limit}"):
        client(**options).receive_data(answer({}))


# -- two ends ----------------------------------------------------------------------------------------------------------

tokens = st.text("!#$%&'*+-.^_`|~0aZ", min_size=1, max_size=5)


@given(offered=st.lists(tokens, max_size=3, unique=True), spoken=st.lists(tokens, max_size=3, unique=True))
@settings(deadline=None)
def test_both_ends_agree(offered: list[str], spoken: list[str]) -> None:
    client = ClientHandshake(parse_uri("ws://a/b"), subprotocols=offered, origin="http://a")
    server = ServerHandshake(subprotocols=spoken)
    request = server.receive_data(client.data_to_send() + b"early")
    assert request == client.request
    assert server.trailing_data == b"early"
    response = server.accept(Headers({"X": "y"}))
    assert client.receive_data(server.data_to_send(response) + b"frames") == response
    assert client.trailing_data == b"frames"
    assert client.subprotocol == server.subprotocol == next((name for name in spoken if name in offered), None)
