"""What a server counts: connections, refusals, messages and bytes, without work for each message."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import anyws
from tests.peers import echo

NOTHING = anyws.ServerStatistics(
    open=0,
    opened=0,
    refused={},
    failed=0,
    closed={},
    messages_received=0,
    messages_sent=0,
    bytes_received=0,
    bytes_sent=0,
)


async def until_none_is_open(server: anyws.Server) -> anyws.ServerStatistics:
    while server.connections:
        await anyio.wait_all_tasks_blocked()
    return server.statistics


async def test_connections_and_messages_are_counted_while_open_and_afterwards() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        assert server.statistics == NOTHING
        async with anyws.connect(server.uri) as websocket:
            for message in ("text", b"binary", "caf\xe9", ""):
                await websocket.send(message)
                assert await websocket.receive() == message
            while_open = server.statistics
            assert while_open == dataclasses.replace(
                NOTHING,
                open=1,
                opened=1,
                messages_received=4,
                messages_sent=4,
                bytes_received=4 * 6 + 4 + 6 + 5,  # a header with a masking key has 6 bytes, one without has 2
                bytes_sent=4 * 2 + 4 + 6 + 5,
            )
        at_end = await until_none_is_open(server)
    close = len((1000).to_bytes(2, "big"))
    assert at_end == dataclasses.replace(
        while_open,
        open=0,
        closed={1000: 1},
        bytes_received=while_open.bytes_received + 6 + close,
        bytes_sent=while_open.bytes_sent + 2 + close,
    )
    assert server.statistics == at_end


async def fragments() -> AsyncIterator[bytes]:
    yield b"a" * 100_000
    yield b"b" * 100_000


@pytest.mark.parametrize("compression", [None, True])
@pytest.mark.parametrize("secure", [False, True])
async def test_every_way_to_send_and_receive_is_counted_once(
    compression: bool | None, secure: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    options: dict[str, Any] = {"compression": compression}
    tls = server_ssl_context if secure else None
    count = 0

    async def handler(websocket: anyws.WebSocket) -> None:
        nonlocal count
        size = sum([len(piece) async for piece in websocket.receive_stream()])
        await websocket.send(str(size))
        for _ in range(3):
            await websocket.send(await websocket.receive())
        websocket.send_nowait("at once")
        await anyws.broadcast([websocket], "to all")
        await websocket.send(b"in three frames", fragment_size=5)
        await websocket.ping()
        count = 7
        await websocket.receive()

    async with anyws.open_server(handler, "127.0.0.1", 0, ssl_context=tls, **options) as server:
        uri = server.uri
        if secure:
            options["ssl_context"] = client_ssl_context
        async with anyws.connect(uri, **options) as websocket:
            await websocket.send(fragments())
            assert await websocket.receive() == "200000"
            for message in ("small", b"x" * 100_000, "y" * 20_000):
                await websocket.send(message)
                assert await websocket.receive() == message
            assert [await websocket.receive() for _ in range(3)] == ["at once", "to all", b"in three frames"]
            await websocket.ping()
            while not count:
                await anyio.wait_all_tasks_blocked()
            statistics = server.statistics
            assert (statistics.messages_received, statistics.messages_sent) == (4, count)
            if not compression:
                # Frames, headers and masking keys included: two for the stream, an empty one at its end, three
                # messages, a Ping and a Pong with 4 bytes of payload each.
                received = 2 * (100_000 + 14) + 6 + (5 + 6) + (100_000 + 14) + (20_000 + 8) + 2 * (4 + 6)
                sent = (6 + 2) + (5 + 2) + (100_000 + 10) + (20_000 + 4) + (7 + 2) + (6 + 2) + 3 * (5 + 2) + 2 * (4 + 2)
                assert (statistics.bytes_received, statistics.bytes_sent) == (received, sent)
            else:
                assert 0 < statistics.bytes_received < 10_000
                assert 0 < statistics.bytes_sent < 10_000


async def test_refusals_are_counted_by_status() -> None:
    def only_a(request: anyws.Request) -> anyws.Response | None:
        return None if request.path == "/a" else anyws.Response(404)

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=only_a) as server:
        for options in ({}, {}, {"origin": "https://elsewhere.example"}):
            with pytest.raises(anyws.HandshakeRefused):
                async with anyws.connect(f"{server.uri}b", **options):  # type: ignore[arg-type]
                    pass
        async with anyws.connect(f"{server.uri}a"):
            pass
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(b"GET")
        while not server.statistics.failed:
            await anyio.wait_all_tasks_blocked()
        statistics = await until_none_is_open(server)
    assert statistics.refused == {404: 2, 403: 1}
    assert statistics.failed == 1
    assert (statistics.opened, statistics.closed) == (1, {1000: 1})


async def test_ends_are_counted_by_close_code() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        for code in (1000, 4001, 4001):
            async with anyws.connect(server.uri) as websocket:
                await websocket.aclose(code)
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            with pytest.raises(anyws.ConnectionClosedError):
                async with anyws.connect(server.uri, stream=stream) as websocket:
                    await websocket.ping()
                    await anyio.aclose_forcefully(stream)
                    await websocket.receive()
        statistics = await until_none_is_open(server)
    assert statistics.closed == {1000: 1, 4001: 2, 1006: 1}


async def test_the_callback_api_counts_as_well() -> None:
    def refuse(headers: Any, socket: Any, ready: Any) -> None:
        if headers.get("x-member"):
            ready()
        else:
            ready.refuse(401)

    async with anyws.server(
        secure=False,
        callback_connect=refuse,
        message_handler=lambda message, socket: socket.message_send(message),
        listener_options={"host": "127.0.0.1", "port": 0},
    ) as server:
        with pytest.raises(anyws.HandshakeRefused):
            async with anyws.connect(server.uri):
                pass
        async with anyws.connect(server.uri, headers={"X-Member": "1"}) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
        statistics = await until_none_is_open(server)
    assert (statistics.opened, statistics.refused, statistics.closed) == (1, {401: 1}, {1000: 1})
    assert (statistics.messages_received, statistics.messages_sent) == (1, 1)
