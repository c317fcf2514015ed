"""A refusal is raised soon after its head has arrived, whatever happens to its body."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

import anyws
from anyws._client import handshakes
from tests.peers import Wire, connected, on_mock_clock, open_sockets

Talk = Callable[[ByteStream], Awaitable[None]]


@asynccontextmanager
async def answering(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Read each request, and let a peer answer it; yields the port. What the peer holds open ends with the block."""

    async def serve(stream: ByteStream) -> None:
        try:
            async with stream if context is None else await TLSStream.wrap(stream, ssl_context=context) as secured:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += await secured.receive()
                await talk(secured)
        except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError):  # the client does not wait for the end
            pass

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


def held_open(answer: bytes) -> Talk:
    async def talk(stream: ByteStream) -> None:
        await stream.send(answer)
        await anyio.sleep_forever()

    return talk


def endless(head: bytes, piece: bytes) -> Talk:
    async def talk(stream: ByteStream) -> None:
        await stream.send(head)
        while True:
            await stream.send(piece)

    return talk


def reset(answer: bytes) -> Talk:
    async def talk(stream: ByteStream) -> None:
        await stream.send(answer)
        linger = struct.pack("ii", 1, 0)  # for 0 seconds: closing resets
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return talk


CHUNKED = b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = [
    pytest.param(held_open(b"HTTP/1.1 403 Forbidden\r\n\r\nquota"), 403, b"quota", id="no end"),
    pytest.param(held_open(b"HTTP/1.0 403 Forbidden\r\n\r\nquota"), 403, b"quota", id="no end, HTTP/1.0"),
    pytest.param(held_open(b"HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nquota"), 503, b"quota", id="too short"),
    pytest.param(held_open(CHUNKED + b"5\r\nquota\r\n"), 401, b"quota", id="no last chunk"),
    pytest.param(held_open(CHUNKED + b"5\r\nquo"), 401, b"quo", id="half a chunk"),
    pytest.param(held_open(CHUNKED + b"x\r\n"), 401, b"", id="no chunk"),
    pytest.param(held_open(b"HTTP/1.1 429 No\r\nContent-Length: 3\r\n\r\n"), 429, b"", id="no body"),
    pytest.param(endless(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"), 401, b"x" * 65536, id="endless"),
    pytest.param(reset(b"HTTP/1.1 403 Forbidden\r\n\r\nquota"), 403, b"quota", id="reset"),
]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "_BODY_TIMEOUT", 0.1)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("talk", "status", "body"), BODIES)
async def test_a_refusal_of_a_server(
    talk: Talk,
    status: int,
    body: bytes,
    secure: bool,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    sockets_before = open_sockets()
    context = server_ssl_context if secure else None
    options: dict[str, Any] = {"ssl_context": client_ssl_context} if secure else {}
    async with answering(talk, context) as port:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            await connected(f"{'wss' if secure else 'ws'}://127.0.0.1:{port}/", **options)
    assert raised.value.status == status
    assert raised.value.response.body == body
    assert open_sockets() <= sockets_before


@pytest.mark.parametrize(("talk", "status", "body"), BODIES)
async def test_a_refusal_of_a_proxy(talk: Talk, status: int, body: bytes) -> None:
    async with answering(talk) as port:
        with pytest.raises(anyws.ProxyError) as raised:
            await connected("ws://server.example/", proxy=f"http://127.0.0.1:{port}")
    assert raised.value.status == status
    assert raised.value.response is not None
    assert raised.value.response.body == body


async def test_a_refusal_on_a_stream_of_the_user() -> None:
    def answer(_: bytes) -> None:
        wire.give(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nquota")

    wire = Wire(answer)
    with pytest.raises(anyws.HandshakeRefused) as raised:
        await connected("ws://localhost/", stream=wire)
    assert raised.value.response.body == b"quota"
    assert wire.is_closed


async def test_a_refusal_before_the_request_was_read() -> None:
    """A server that is busy may answer and end without reading; the request then cannot be written."""
    wire = Wire(lambda _: None)
    wire.give(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
    wire.is_cut = True
    with pytest.raises(anyws.HandshakeRefused) as raised:
        await connected("ws://localhost/", stream=wire)
    assert (raised.value.status, raised.value.response.body) == (503, b"busy")


async def test_a_redirect_with_an_endless_body_is_followed() -> None:
    async with (
        anyws.open_server(lambda websocket: websocket.wait_closed(), "127.0.0.1", 0) as server,
        answering(
            held_open(
                b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:%d/\r\nContent-Length: 9\r\n\r\n"
                % server.addresses[0][1]
            )
        ) as port,
    ):
        await connected(f"ws://127.0.0.1:{port}/", max_redirects=1)


@on_mock_clock
async def test_the_timeout_for_the_body_is_a_second_or_half_of_the_remaining_time() -> None:
    def answer(_: bytes) -> None:
        wire.give(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    handshakes._BODY_TIMEOUT = 1  # the fixture restores it
    for limit, time in [(None, 1), (10, 1), (2, 1), (1, 0.5)]:
        wire = Wire(answer)
        begun = anyio.current_time()
        with pytest.raises(anyws.HandshakeRefused):
            await connected("ws://localhost/", stream=wire, open_timeout=limit)
        assert anyio.current_time() - begun == pytest.approx(time)


@on_mock_clock
async def test_a_timeout_of_the_caller_applies_as_well() -> None:
    def answer(_: bytes) -> None:
        wire.give(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    wire = Wire(answer)
    with anyio.fail_after(0.1), pytest.raises(anyws.HandshakeRefused):
        await connected("ws://localhost/", stream=wire)


@on_mock_clock
async def test_cancellation_stays_cancellation() -> None:
    def answer(_: bytes) -> None:
        wire.give(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        scope.cancel()

    wire = Wire(answer)
    with anyio.CancelScope() as scope:
        await connected("ws://localhost/", stream=wire)
    assert scope.cancelled_caught
    assert wire.is_closed


@on_mock_clock
async def test_a_missing_request_head_is_a_timeout() -> None:
    wire = Wire(lambda _: wire.give(b"HTTP/1.1 403 Forbidden\r\nX: "))
    with pytest.raises(TimeoutError):
        await connected("ws://localhost/", stream=wire)
