"""Faults of the original implementation that concern input and output, each with the test that would have found it.

Those of the protocol alone are in ``tests/protocol/test_seed_faults.py``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketStream

import anyws
from tests.callbacks.peers import Calls, plain_client, plain_server, raw_client, tls_server
from tests.peers import (
    BINARY,
    CLOSE,
    REQUEST,
    TEXT,
    StreamPeer,
    close_payload,
    frame_bytes,
    on_mock_clock,
    opening_response,
)
from tests.pems import Pems


@asynccontextmanager
async def raw_server(serve: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """Listen with a handler of byte streams; give the port."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def in_pieces(stream: SocketStream, data: bytes, size: int) -> None:
    """Send in pieces that the other end reads one by one."""
    for start in range(0, len(data), size):
        await stream.send(data[start : start + size])
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()


# -- the handshake had to arrive in one read, and bytes behind the head were lost --------------------------------------


@pytest.mark.parametrize("size", [1, 2, 37, len(REQUEST) - 1, len(REQUEST) + 1, 10000])
async def test_a_request_in_several_reads_with_frames_behind_it(size: int) -> None:
    frames = frame_bytes(TEXT, b"first", masked=True) + frame_bytes(BINARY, b"second" * 100, masked=True)
    messages = Calls(1)
    async with plain_server(message_handler=messages) as server, await raw_client(server, b"") as stream:
        await in_pieces(stream, REQUEST + frames, size)
        assert await messages.wait(2) == ["first", b"second" * 100]
        await stream.send(frame_bytes(TEXT, b"third", masked=True))
        assert (await messages.wait(3))[2] == "third"


@pytest.mark.parametrize("size", [1, 50, 10000])
async def test_a_response_in_several_reads_with_frames_behind_it(size: int) -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            peer = StreamPeer(stream, "client")
            await peer.read_head()
            frames = frame_bytes(TEXT, b"first", masked=False) + frame_bytes(TEXT, b"second", masked=False)
            await in_pieces(stream, opening_response(peer.head) + frames, size)
            assert (await peer.frame()).opcode == CLOSE

    messages = Calls(1)
    async with raw_server(serve) as port:
        target = {"host": "127.0.0.1", "port": port}
        async with anyws.client_connect(secure=False, socket_options=target, message_handler=messages):
            assert await messages.wait(2) == ["first", "second"]


# -- Host was the peer's IP; the path was always / ---------------------------------------------------------------------


async def test_path_and_host_are_those_that_were_asked_for() -> None:
    opened = Calls()
    async with plain_server(callback_open=opened) as server:
        port = server.addresses[0][1]
        async with anyws.client_connect(
            secure=False, socket_options={"host": "localhost", "port": port}, resource="/chat?room=1"
        ):
            _err, socket = await opened.first()
            assert socket.request.path == "/chat"
            assert socket.request.query["room"] == "1"
            assert socket.request.headers["host"] == f"localhost:{port}"
        async with anyws.connect(f"ws://localhost:{port}/other"):
            _err, socket = (await opened.wait(2))[1]
            assert socket.request.target == "/other"
            assert socket.request.headers["host"] == f"localhost:{port}"


# -- the 5 s timer was cleared before the hook ran, so a hanging hook held the socket for ever -------------------------


@on_mock_clock
async def test_a_hanging_hook_does_not_hold_the_socket() -> None:
    async def hang() -> None:
        await anyio.sleep(math.inf)

    async with plain_server(callback_connect=hang) as server, await raw_client(server) as stream:
        begun = anyio.current_time()
        assert await StreamPeer(stream, "server").rest() == b""
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.5)


@on_mock_clock
async def test_the_deadline_counts_from_the_tcp_connection() -> None:
    """What a slow request has used up is not left for the hook."""
    async with plain_server(callback_connect=lambda: None) as server, await raw_client(server, b"") as stream:
        begun = anyio.current_time()
        for start in range(0, len(REQUEST), 40):
            await anyio.sleep(0.5)
            await stream.send(REQUEST[start : start + 40])
        assert await StreamPeer(stream, "server").rest() == b""
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.5)


@on_mock_clock
async def test_the_deadline_covers_tls() -> None:
    pems = Pems.issued_by(trustme.CA(), "localhost")
    async with tls_server(pems) as server, await raw_client(server, b"") as stream:
        begun = anyio.current_time()
        assert await StreamPeer(stream, "server").rest() == b""
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.5)


# -- the close echo went out as a message and the socket never ended ---------------------------------------------------


async def test_the_close_echo_is_a_close_and_ends_the_socket() -> None:
    messages = Calls(1)
    async with plain_server(message_handler=messages) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await peer.send(CLOSE, close_payload(1000, "bye"))
        echo = await peer.frame()
        assert (echo.opcode, echo.close_code) == (CLOSE, 1000)
        assert await peer.rest() == b""  # and the end of TCP
    assert messages.seen == []


async def test_the_client_s_close_echo_ends_the_socket() -> None:
    async def serve(stream: SocketStream) -> None:
        async with stream:
            peer = StreamPeer(stream, "client")
            await peer.open()
            await peer.send(CLOSE, close_payload(1000))
            echoes(await peer.frame())
            await stream.send_eof()
            echoes(await peer.rest())

    echoes = Calls()
    async with raw_server(serve) as port:
        target = {"host": "127.0.0.1", "port": port}
        async with anyws.client_connect(secure=False, socket_options=target) as socket:
            await socket.wait_closed()
        echo, rest = await echoes.wait(2)
        assert (echo.opcode, echo.close_code) == (CLOSE, 1000)
        assert rest == b""


# -- no size limit anywhere --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [1024 * 1024 + 1, 2**40, 2**63 - 1])
async def test_a_message_beyond_the_limit_is_refused_at_its_header(announced: int) -> None:
    messages = Calls(1)
    async with plain_server(message_handler=messages) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await stream.send(b"\x82\xff" + announced.to_bytes(8, "big") + b"mask")
        assert (await peer.frame()).close_code == 1009
        assert await peer.rest() == b""
    assert messages.seen == []


async def test_fragments_count_together() -> None:
    async with plain_server(max_message_size=1000) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await peer.send(TEXT, b"x" * 600, fin=False)
        await peer.send(0, b"x" * 600)
        assert (await peer.frame()).close_code == 1009


async def test_a_head_has_a_limit_too() -> None:
    async with plain_server() as server:
        request = REQUEST[:-2] + b"X-Large: " + b"x" * 20000
        async with await raw_client(server, request) as stream:
            assert (await StreamPeer(stream, "server").rest()).startswith(b"HTTP/1.1 431 ")


# -- the bytes 81 fe 00 in one read crashed the server -----------------------------------------------------------------


async def test_half_a_frame_header_does_not_hurt_the_server(caplog: pytest.LogCaptureFixture) -> None:
    messages = Calls(1)
    async with plain_server(message_handler=messages) as server:
        async with await raw_client(server) as stream:
            await StreamPeer(stream, "server").read_head()
            await stream.send(b"\x81\xfe\x00")
            await anyio.wait_all_tasks_blocked()
            await stream.send(b"\x01maskx"[:-1])  # goes on: a length of 1 where 126 would be the least (5.2)
            assert (await StreamPeer(stream, "server").frame()).close_code == 1002
        async with await raw_client(server) as stream:
            await StreamPeer(stream, "server").read_head()
            await stream.send(b"\x81\xfe\x00")
        async with plain_client(server) as socket:
            socket.message_send("the server lives")
            assert await messages.first() == "the server lives"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# -- a message handler that knows its socket ---------------------------------------------------------------------------


async def test_the_message_handler_knows_its_socket() -> None:
    answers = Calls(1)
    async with (
        plain_server(message_handler=lambda message, socket: socket.message_send(f"{message}!")) as server,
        plain_client(server, message_handler=answers) as socket,
    ):
        socket.message_send("hello")
        assert await answers.first() == "hello!"
