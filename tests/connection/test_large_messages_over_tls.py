"""A large message over TLS is decrypted directly into its buffer; nothing around it is lost, delayed or mistaken."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

import anyws
from anyws._transport.tls import TLSRecords, TLSStream
from anyws.protocol import speedups_in_use
from tests.frames import BINARY, PING, REQUEST, TEXT, frame_bytes
from tests.peers import ended

DATA = random.Random(1).randbytes(3_000_000)


@asynccontextmanager
async def open_raw(
    server: anyws.Server, context: ssl.SSLContext
) -> AsyncGenerator[tuple[ByteStream, TLSRecords], None]:
    """Open a connection; return its socket and its TLS layer, which the test may use separately."""
    async with await anyio.connect_tcp(*server.addresses[0][:2]) as socket:
        stream = await TLSStream.wrap(socket, context, server_side=False, hostname="localhost")
        await stream.send(REQUEST)
        assert (await stream.receive()).startswith(b"HTTP/1.1 101 ")
        yield socket, stream.records


async def test_large_and_small_messages_in_turn(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = TLSRecords.decrypt_into

    def counted(records: TLSRecords, data: bytes, buffer: memoryview, count: int) -> int:
        done = original(records, data, buffer, count)
        sizes.append(done - count)
        return done

    monkeypatch.setattr(TLSRecords, "decrypt_into", counted)

    async def echo(websocket: anyws.WebSocket) -> None:
        async for message in websocket:
            await websocket.send(message)

    messages: list[str | bytes] = ["small", DATA, DATA[:999_999], "between", b"", DATA[:100_000], "x" * 500_000, "end"]
    options: dict[str, Any] = {"max_message_size": 4_000_000}
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context, **options) as server,
        anyws.connect(
            f"wss://localhost:{server.addresses[0][1]}/", ssl_context=client_ssl_context, **options
        ) as websocket,
        anyio.create_task_group() as tasks,
    ):

        async def send() -> None:
            for message in messages:
                await websocket.send(message)

        tasks.start_soon(send)
        for message in messages:
            assert await websocket.receive() == message
    assert (sum(sizes) > 1_000_000) is speedups_in_use


async def test_bytes_of_an_incomplete_record_are_a_sign_of_life(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    connections: list[anyws.WebSocket] = []
    received: list[str | bytes] = []
    done = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        connections.append(websocket)
        received.append(await websocket.receive())
        done.set()

    async with (
        anyws.open_server(handler, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        open_raw(server, client_ssl_context) as (socket, records),
    ):
        message = frame_bytes(BINARY, DATA[:500_000], masked=True)
        await socket.send(b"".join(records.encrypt([message[:200_000]])))
        with anyio.fail_after(10):
            while not connections or connections[0]._link.core.partial_size < 190_000:
                await anyio.lowlevel.checkpoint()
            link = connections[0]._link
            rest = b"".join(records.encrypt([message[200_000:]]))
            for at in (0, 1):
                link.keepalive.last_heard = -1.0
                await socket.send(rest[at : at + 1])
                while link.keepalive.last_heard < 0:
                    await anyio.lowlevel.checkpoint()
            await socket.send(rest[2:])
            await done.wait()
    assert received == [DATA[:500_000]]


@pytest.mark.parametrize("ends", ["close_notify", "violation", "ping"])
async def test_what_follows_within_a_read_is_processed(
    ends: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    received: list[str | bytes] = []
    outcome: list[anyws.ConnectionClosed] = []
    done = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        for _ in range(2):
            received.append(await websocket.receive())
        if ends != "ping":
            outcome.append(await ended(websocket))
        done.set()

    async with (
        anyws.open_server(handler, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        open_raw(server, client_ssl_context) as (socket, records),
    ):
        data = frame_bytes(BINARY, DATA[:500_000], masked=True) + frame_bytes(PING, b"?", masked=True)
        encrypted = b"".join(records.encrypt([data + frame_bytes(TEXT, b"after", masked=True)]))
        last = {"close_notify": records.close, "violation": lambda: b"\x17\x03\x03\x00\x20" + bytes(32), "ping": bytes}
        await socket.send(encrypted + last[ends]())
        with anyio.fail_after(10):
            await done.wait()
            if ends == "ping":
                answer = b""
                while b"\x8a\x01?" not in answer:
                    answer += records.decrypt(await socket.receive())
    assert received == [DATA[:500_000], "after"]
    assert [each.code for each in outcome] == [1006] * len(outcome)


@pytest.mark.skipif(not speedups_in_use, reason="the pure twin does not read into a buffer")
async def test_memory_that_runs_out_ends_the_connection(
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome: list[anyws.ConnectionClosed] = []
    done = anyio.Event()
    original = TLSRecords.decrypt_into

    class Fails:
        def __getattr__(self, name: str) -> Any:
            raise MemoryError

    def fail(records: TLSRecords, data: bytes, buffer: memoryview, count: int) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(records, "_incoming", Fails())
            return original(records, data, buffer, count)

    async def handler(websocket: anyws.WebSocket) -> None:
        outcome.append(await ended(websocket))
        done.set()

    monkeypatch.setattr(TLSRecords, "decrypt_into", fail)
    async with (
        anyws.open_server(handler, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        open_raw(server, client_ssl_context) as (socket, records),
    ):
        for piece in records.encrypt([frame_bytes(BINARY, DATA[:900_000], masked=True)]):
            try:
                await socket.send(piece)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                break
        with anyio.fail_after(10):
            await done.wait()
    assert isinstance(outcome[0].__cause__, MemoryError)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]
