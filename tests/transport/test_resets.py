"""A reset is noticed immediately, even right after data, on every event loop."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import struct
import threading
from typing import Any

import anyio
import pytest

import anyws
from anyws._server.serve import Handler
from anyws._transport import resets
from tests.frames import frame_bytes, opening_response
from tests.peers import BINARY, REQUEST, TEXT, ended


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def connect_to_handler_a_server(handler: Handler, data: bytes, noticed: anyio.Event | None = None) -> None:
    """Send data and a reset to a server while its event loop is not running."""
    async with anyws.open_server(handler, "127.0.0.1", 0, ping_interval=None, receive_buffer=1000) as server:
        raw = socket.create_connection(server.addresses[0])
        raw.sendall(REQUEST)
        while not server.connections:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        raw.sendall(data)
        reset(raw)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        if noticed is not None:
            noticed.set()
        while server.connections:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("count", [1, 5])
async def test_a_server_that_receives(count: int) -> None:
    got: list[str | bytes] = []
    closed: list[anyws.ConnectionClosed] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            while True:
                got.append(await websocket.receive())
        except anyws.ConnectionClosed as exc:
            closed.append(exc)

    await connect_to_handler_a_server(handler, frame_bytes(TEXT, b"hello", masked=True) * count)
    assert got == ["hello"] * count
    assert closed[0].code == 1006


async def test_a_server_that_does_not_receive() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.wait_closed()

    await connect_to_handler_a_server(handler, frame_bytes(TEXT, b"hello", masked=True))


async def test_a_reset_is_noticed_after_a_delayed_read() -> None:
    """The receive buffer is full when the reset arrives."""
    codes: list[int] = []
    noticed = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        await noticed.wait()
        await websocket.receive()
        codes.append((await ended(websocket)).code)

    await connect_to_handler_a_server(handler, frame_bytes(BINARY, bytes(800), masked=True) * 10, noticed)
    assert codes == [1006]


async def test_a_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        uri = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        accepted: list[socket.socket] = []

        def accept() -> None:
            connection, _ = listening.accept()
            connection.sendall(opening_response(connection.recv(4096)))
            accepted.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        async with anyws.connect(uri, ping_interval=None) as websocket:
            thread.join()
            accepted[0].sendall(frame_bytes(TEXT, b"hello", masked=False))
            reset(accepted[0])
            assert await websocket.receive() == "hello"
            assert (await ended(websocket)).code == 1006


async def test_over_tls(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    codes: list[int] = []
    closed = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.receive()
        codes.append((await ended(websocket)).code)
        closed.set()

    def talk(port: int) -> None:
        raw = socket.create_connection(("127.0.0.1", port))
        secured = client_ssl_context.wrap_socket(raw, server_hostname="localhost")
        secured.sendall(REQUEST)
        secured.recv(4096)
        secured.sendall(frame_bytes(TEXT, b"hello", masked=True))
        reset(secured)

    options: Any = {"ping_interval": None, "ssl_context": server_ssl_context}
    async with anyws.open_server(handler, "127.0.0.1", 0, **options) as server:
        await anyio.to_thread.run_sync(talk, server.addresses[0][1])
        await closed.wait()
    assert codes == [1006]


async def test_nothing_is_watched_once_all_connections_are_closed() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async for _ in websocket:
            pass

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        for _ in range(3):
            async with anyws.connect("ws://{}:{}/".format(*server.addresses[0])):
                pass
    assert not resets._watches


async def test_connections_are_served_when_file_descriptors_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has reached its limit (EMFILE) runs without watching for resets."""
    failures = 0

    def fail() -> None:
        nonlocal failures
        failures += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def handler(websocket: anyws.WebSocket) -> None:
        while resets._watches and not failures:
            await anyio.lowlevel.checkpoint()
        await websocket.send(await websocket.receive())

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        monkeypatch.setattr(select, "epoll", fail)
        async with anyws.connect("ws://{}:{}/".format(*server.addresses[0])) as websocket:
            await websocket.send("served")
            assert await websocket.receive() == "served"
        monkeypatch.undo()
    assert not resets._watches


async def test_a_connection_that_ends_soon_is_never_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async for _ in websocket:
            pass

    monkeypatch.setattr(resets, "_DELAY", 1000)
    monkeypatch.setattr(select, "epoll", lambda: pytest.fail("registered"))
    async with (
        anyws.open_server(handler, "127.0.0.1", 0) as server,
        anyws.connect("ws://{}:{}/".format(*server.addresses[0])),
    ):
        pass
    assert not resets._watches
