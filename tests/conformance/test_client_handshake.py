"""The client's side of the opening handshake (RFC 6455, section 4.1), and the URI (section 3)."""

from __future__ import annotations

import base64
import re
import ssl
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream

import anyws
from anyws.protocol import (
    ClientHandshake,
    HandshakeError,
    HandshakeRefused,
    InvalidURI,
    PerMessageDeflate,
    ServerHandshake,
    WebSocketError,
    parse_uri,
)
from tests.chunks import Chunked, chunked
from tests.peers import StreamPeer, connected, echo, opening_response

from .heads import ACCEPT, NONCE, answer, client


def test_1_3_the_example_of_the_rfc() -> None:
    """RFC 6455, section 1.3."""
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


def test_4_1_the_headers_of_a_plain_request() -> None:
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
def test_4_1_the_request(uri: str, options: dict[str, Any], target: str, name: str, values: list[str]) -> None:
    handshake = client(uri, sent=False, **options)
    assert handshake.request.target == target
    assert handshake.request.headers.get_all(name) == values
    assert handshake.request.headers.multi_items()[0][0] == "Host"
    server = ServerHandshake(origins=["*"])
    received = server.receive_data(handshake.data_to_send())
    assert received is not None
    assert (received.target, received.headers) == (target, handshake.request.headers)


def test_3_a_fragment_is_an_error() -> None:
    with pytest.raises(InvalidURI):
        client("ws://a/#fragment")


def test_4_1_each_nonce_is_16_random_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
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
    pytest.param({"Upgrade": "\r\n websocket", "X": "a\r\n\tb"}, None, id="folded"),
]


@chunked
@pytest.mark.parametrize("trailing", [b"", b"\x81\x01a", b"\r\n\r\n"])
@pytest.mark.parametrize(("changes", "subprotocol"), ACCEPTED)
def test_4_1_valid_responses(
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
    pytest.param({"Sec-WebSocket-Accept": None}, "Sec-WebSocket-Accept does not match", id="no-accept"),
    pytest.param({"Sec-WebSocket-Accept": ACCEPT.lower()}, "Sec-WebSocket-Accept does not match", id="accept-case"),
    pytest.param({"Sec-WebSocket-Accept": ACCEPT[:-1]}, "Sec-WebSocket-Accept does not match", id="accept-cut"),
    pytest.param({"Sec-WebSocket-Accept": [ACCEPT] * 2}, "Sec-WebSocket-Accept does not match", id="accept-twice"),
    pytest.param(
        {"Sec-WebSocket-Accept": "b37a4f2cc0624f1690f64606cf385945b2bec4ea"}, "Accept does not", id="accept-hex"
    ),
    pytest.param({"Sec-WebSocket-Protocol": "c"}, "'c' was accepted, but is not one of the 2", id="not-offered"),
    pytest.param({"Sec-WebSocket-Protocol": "A"}, "subprotocol 'A' was accepted", id="subprotocol-case"),
    pytest.param({"Sec-WebSocket-Protocol": ""}, "subprotocol '' was accepted", id="subprotocol-empty"),
    pytest.param({"Sec-WebSocket-Protocol": "a, b"}, "subprotocol 'a, b' was accepted", id="two-subprotocols"),
    pytest.param({"Sec-WebSocket-Protocol": ["a", "a"]}, "subprotocol 'a, a' was accepted", id="subprotocol-twice"),
    pytest.param({"Sec-WebSocket-Extensions": "x"}, "extension x was accepted, but there is no codec", id="extension"),
    pytest.param({"Sec-WebSocket-Extensions": "y"}, "extension y was accepted, but there is no", id="extension-new"),
    pytest.param({"Sec-WebSocket-Extensions": "x, x"}, "extension x was accepted", id="extension-twice"),
    pytest.param({"Sec-WebSocket-Extensions": "x;"}, "expected a parameter name", id="extension-malformed"),
    pytest.param({"Sec-WebSocket-Extensions": ""}, "expected at least one extension", id="extensions-empty"),
    pytest.param({"X": "a\nb"}, "line break other than CR LF", id="bare-lf"),
]


@chunked
@pytest.mark.parametrize(("changes", "message"), INVALID)
def test_4_1_invalid_responses(changes: dict[str, Any], message: str, chunked: Chunked) -> None:
    handshake = client(subprotocols=["a", "b"], extensions="x")
    with pytest.raises(HandshakeError, match=f"invalid response: .*{re.escape(message)}") as caught:
        for chunk in chunked(answer(changes)):
            assert handshake.receive_data(chunk) is None
    assert not isinstance(caught.value, HandshakeRefused)
    assert isinstance(caught.value, WebSocketError)
    assert caught.value.request is handshake.request
    assert handshake.subprotocol is None


def test_4_1_a_subprotocol_when_none_was_offered() -> None:
    with pytest.raises(HandshakeError, match="subprotocol 'a' was accepted, but is not one of the 0 offered") as caught:
        client().receive_data(answer({"Sec-WebSocket-Protocol": "a"}))
    assert caught.value.response is not None
    assert caught.value.response.headers["sec-websocket-protocol"] == "a"


@chunked
@pytest.mark.parametrize("status", ["200 OK", "301 Moved Permanently", "403 Forbidden", "426 Upgrade Required", "500 "])
def test_4_1_another_status_reaches_the_caller_with_headers_and_body(status: str, chunked: Chunked) -> None:
    handshake = client()
    data = answer({"Location": "/b", "Content-Length": "4"}, status) + b"why?"
    with pytest.raises(HandshakeRefused, match=f"^the server responded with {status.rstrip()}$") as caught:
        for chunk in chunked(data):
            assert handshake.receive_data(chunk) is None
    error = caught.value
    assert (error.status, error.response.status) == (int(status[:3]), int(status[:3]))
    assert (error.response.headers["location"], error.response.body) == ("/b", b"why?")
    assert error.request is handshake.request


def test_4_1_the_body_of_a_rejection_is_limited() -> None:
    handshake = client(max_body_bytes=10)
    assert handshake.receive_data(b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 9) is None
    with pytest.raises(HandshakeRefused) as caught:
        handshake.receive_data(b"y" * 1000)
    assert caught.value.response.body == b"x" * 9 + b"y"


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi"])
def test_4_1_the_stream_ends_before_the_response(data: bytes) -> None:
    handshake = client()
    if data:
        assert handshake.receive_data(data) is None
    with pytest.raises(HandshakeError, match="the server closed the connection without a response") as caught:
        handshake.receive_data(b"")
    assert caught.value.response is None


async def test_4_1_sni(certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext) -> None:
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("localhost", "example.com").configure_cert(context)
    context.sni_callback = lambda _, name, __: names.append(name)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context) as server:
        uri = f"wss://localhost:{server.addresses[0][1]}/"
        await connected(uri, ssl_context=client_ssl_context)
        await connected(uri, ssl_context=client_ssl_context, server_hostname="example.com")
    assert names == ["localhost", "example.com"]


@chunked
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("foo", id="not-offered"),
        pytest.param("permessage-deflate, foo", id="one-not-offered"),
        pytest.param("permessage-deflate, permessage-deflate", id="twice"),
        pytest.param("permessage-deflate;", id="malformed"),
    ],
)
def test_9_1_an_extension_that_was_not_offered_or_is_repeated(value: str, chunked: Chunked) -> None:
    handshake = client(extensions=[PerMessageDeflate()])
    with pytest.raises(HandshakeError, match="invalid response"):
        for chunk in chunked(answer({"Sec-WebSocket-Extensions": value})):
            assert handshake.receive_data(chunk) is None


async def test_4_1_no_frame_before_the_response() -> None:
    behind_the_head: list[bytes] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            peer = StreamPeer(stream, "client")
            await peer.read_head()
            with anyio.move_on_after(0.05):
                behind_the_head.append(await stream.receive())
            await stream.send(opening_response(peer.head))
            assert (await peer.frame()).payload == b"hello"

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        uri = f"ws://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
        async with anyws.connect(uri, close_timeout=1) as websocket:
            await websocket.send("hello")
        tasks.cancel_scope.cancel()
    assert behind_the_head == []
