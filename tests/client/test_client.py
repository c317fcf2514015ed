"""Clients: what they send, what they accept, and every way in which connecting fails."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from tests.peers import PING, Peer, Wire, connected, frame_bytes, open_sockets, opening_response, scripted_server

# -- the request -------------------------------------------------------------------------------------------------------


async def request_of(uri: str, **options: Any) -> dict[str, list[str]]:
    """Return the headers of the request, in lower case, and its first line under the empty name."""
    peer = Peer("client")
    async with anyws.connect(uri, stream=peer.stream, **options):
        peer.send_close()
        peer.send_eof()
    first, *lines = peer.head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers: dict[str, list[str]] = {"": [first]}
    for line in lines:
        name, value = line.split(": ", 1)
        headers.setdefault(name.lower(), []).append(value)
    return headers


@pytest.mark.parametrize(
    ("uri", "target", "host"),
    [
        ("ws://example.com", "/", "example.com"),
        ("ws://EXAMPLE.com:80/a%20b?c=d&e", "/a%20b?c=d&e", "example.com"),
        ("ws://example.com:8080/", "/", "example.com:8080"),
        ("http://[::1]:9000/ü", "/%C3%BC", "[::1]:9000"),
        ("ws://bücher.example/", "/", "xn--bcher-kva.example"),
        ("ws+unix:/run/a.sock:/chat", "/chat", "localhost"),
    ],
)
async def test_the_request(uri: str, target: str, host: str) -> None:
    headers = await request_of(uri)
    assert headers[""] == [f"GET {target} HTTP/1.1"]
    assert headers["host"] == [host]
    assert headers["upgrade"] == ["websocket"]
    assert headers["connection"] == ["Upgrade"]
    assert headers["sec-websocket-version"] == ["13"]
    assert len(base64.b64decode(headers["sec-websocket-key"][0])) == 16
    assert not {"origin", "authorization", "sec-websocket-protocol", "sec-websocket-extensions"} & set(headers)


async def test_each_request_has_a_new_key() -> None:
    keys = {(await request_of("ws://localhost/"))["sec-websocket-key"][0] for _ in range(20)}
    assert len(keys) == 20


async def test_the_options_of_the_request() -> None:
    headers = await request_of(
        "ws://localhost/",
        subprotocols=["b", "a"],
        headers=[("X-Twice", "1"), ("X-Twice", "2"), ("User-Agent", "mine")],
        origin="https://example.com",
        extensions="x-mine; a=1",
    )
    assert headers["sec-websocket-protocol"] == ["b, a"]
    assert headers["x-twice"] == ["1", "2"]
    assert headers["user-agent"] == ["mine"]
    assert headers["origin"] == ["https://example.com"]
    assert headers["sec-websocket-extensions"] == ["x-mine; a=1"]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, [f"anyws/{anyws.__version__}"]),
        ({"user_agent": "thermometer/1.0"}, ["thermometer/1.0"]),
        ({"user_agent": None}, []),
        ({"user_agent": None, "headers": {"User-Agent": "mine"}}, ["mine"]),
        ({"headers": {"user-agent": "mine"}}, ["mine"]),
    ],
)
async def test_the_user_agent(options: dict[str, Any], sent: list[str]) -> None:
    assert (await request_of("ws://localhost/", **options)).get("user-agent", []) == sent


async def test_the_host_header_can_be_set() -> None:
    assert (await request_of("ws://localhost/", headers={"Host": "example.com"}))["host"] == ["example.com"]


async def test_userinfo_is_basic_authorization() -> None:
    headers = await request_of("ws://j%C3%BCrgen:p%3Ass@localhost/")
    assert base64.b64decode(headers["authorization"][0].removeprefix("Basic ")).decode() == "jürgen:p:ss"
    headers = await request_of("ws://me:secret@localhost/", headers={"Authorization": "Bearer token"})
    assert headers["authorization"] == ["Bearer token"]


@pytest.mark.parametrize(
    ("options", "exception"),
    [
        ({"headers": {"X": "a\r\nY: b"}}, ValueError),
        ({"headers": {"X Y": "a"}}, ValueError),
        ({"headers": {"Sec-WebSocket-Key": "a"}}, ValueError),
        ({"origin": "a\r\nX: b"}, ValueError),
        ({"subprotocols": ["a b"]}, ValueError),
        ({"subprotocols": ["a", "a"]}, ValueError),
        ({"subprotocols": "chat"}, TypeError),
        ({"extensions": "a; ="}, ValueError),
        ({"local_port": 5000}, ValueError),
        ({"open_timeout": 0}, ValueError),
        ({"masking": 1}, TypeError),
    ],
)
async def test_invalid_headers_are_rejected_before_connecting(
    options: dict[str, Any], exception: type[Exception]
) -> None:
    sockets_before = open_sockets()
    with pytest.raises(exception):
        await connected("ws://127.0.0.1:1/", **options)  # where nobody listens: that would be another error
    assert open_sockets() == sockets_before


@pytest.mark.parametrize("uri", ["example.com", "ftp://example.com", "ws://", "ws://a b/", "ws://a/#b", "ws://a:0/"])
async def test_an_invalid_uri(uri: str) -> None:
    with pytest.raises(anyws.InvalidURI) as raised:
        await connected(uri)
    assert isinstance(raised.value, ValueError)
    assert raised.value.uri == uri


@pytest.mark.parametrize("masking", [True, False])
async def test_masking(masking: bool) -> None:
    written = bytearray()

    def answer(data: bytes) -> None:
        written.extend(data)
        if data.startswith(b"GET"):
            wire.give(opening_response(data) + frame_bytes(PING, b"?", masked=False))

    wire = Wire(answer)
    async with anyws.connect("ws://localhost/", stream=wire, masking=masking) as websocket:
        for _ in range(2):
            await websocket.send("Hello")
        await anyio.wait_all_tasks_blocked()
        wire.incoming_ended = True
        wire.change()
    frames = bytes(written).partition(b"\r\n\r\n")[2]
    assert (b"\x81\x05Hello\x81\x05Hello" in frames) is not masking
    assert (b"\x81\x85" in frames) is masking
    if masking:
        keys, at = [], 0
        while at < len(frames):
            keys.append(frames[at + 2 : at + 6])
            at += 6 + (frames[at + 1] & 0x7F)
        assert len(keys) == len(set(keys)) >= 3  # two messages, a Pong, perhaps a Close


# -- connecting fails --------------------------------------------------------------------------------------------------


async def test_connection_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1 port {port}"):
            await connected(f"ws://127.0.0.1:{port}")


async def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(OSError, match="not known"):
        await connected("ws://nowhere.invalid")


async def test_a_missing_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        await connected(f"ws+unix:{tmp_path}/nothing:/")


async def test_refused() -> None:
    async with scripted_server(
        lambda _: b"HTTP/1.1 404 Not Found\r\nX-Why: gone\r\nContent-Length: 4\r\n\r\ngone"
    ) as uri:
        with pytest.raises(anyws.HandshakeRefused, match="404 Not Found") as raised:
            await connected(uri)
    refused = raised.value
    assert refused.status == refused.response.status == 404
    assert refused.response.headers["x-why"] == "gone"
    assert refused.response.body == b"gone"
    assert refused.request is not None
    assert refused.request.path == "/"


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        b"\r\n" + b"x" * 1_000_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"ea60\r\n" + b"x" * 60_000 + b"\r\n" + (b"1\r\nx\r\n" * 10_000),
    ],
)
async def test_the_body_of_a_refusal_is_bounded(body: bytes) -> None:
    async with scripted_server(lambda _: b"HTTP/1.1 500 Oops\r\n" + body) as uri:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri)
    assert raised.value.response.body == b"x" * 65536


async def test_a_redirect_is_not_followed() -> None:
    async with scripted_server(lambda _: b"HTTP/1.1 302 Found\r\nLocation: ws://evil.example/\r\n\r\n") as uri:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(uri)
    assert raised.value.response.headers["location"] == "ws://evil.example/"


def without(line: bytes) -> Callable[[bytes], bytes]:
    """Answer without a header."""
    return lambda request: b"\r\n".join(
        kept for kept in opening_response(request).split(b"\r\n") if not kept.lower().startswith(line)
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(lambda _: b"", "closed the connection", id="nothing"),
        pytest.param(lambda _: b"\x00\x01\x02", "not HTTP", id="garbage"),
        pytest.param(lambda _: b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "invalid response", id="SSH"),
        pytest.param(lambda _: b"HTTP/1.1 101 Swi", "closed the connection", id="half"),
        pytest.param(lambda _: b"HTTP/1.1 101 OK\r\nX: " + b"a" * 20000, "16384 bytes", id="large"),
        pytest.param(lambda _: b"HTTP/1.1 101 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", "128 header", id="many headers"),
        pytest.param(without(b"upgrade"), "Upgrade", id="no Upgrade"),
        pytest.param(without(b"connection"), "Connection", id="no Connection"),
        pytest.param(without(b"sec-websocket-accept"), "Sec-WebSocket-Accept", id="no Accept"),
        pytest.param(
            lambda request: opening_response(request.replace(b"Key: ", b"Key: x")),
            "Sec-WebSocket-Accept",
            id="another key",
        ),
        pytest.param(
            lambda request: opening_response(request, b"Sec-WebSocket-Protocol: x\r\n"), "subprotocol", id="subprotocol"
        ),
        pytest.param(
            lambda request: opening_response(request, b"Sec-WebSocket-Extensions: x\r\n"), "extension", id="extension"
        ),
    ],
)
async def test_a_response_that_is_not_an_opening_handshake(answer: Callable[[bytes], bytes], problem: str) -> None:
    sockets_before = open_sockets()
    async with scripted_server(answer) as uri:
        with pytest.raises(anyws.HandshakeError, match=problem) as raised:
            await connected(uri)
    assert not isinstance(raised.value, anyws.HandshakeRefused)
    assert raised.value.request is not None
    assert open_sockets() <= sockets_before


async def test_a_connection_lost_before_the_response() -> None:
    wire = Wire(lambda _: None)
    wire.is_cut = True
    with pytest.raises(anyws.HandshakeError, match="lost"):
        await connected("ws://localhost/", stream=wire)
    assert wire.is_closed
