"""What is different on Windows: its default event loop, its errors and the sockets that it lacks, all simulated."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from anyws._connection.pumps.streams import StreamPump
from anyws._transport.connecting import connect_tcp
from tests.harness import free_port
from tests.peers import uri_of

WSAEWOULDBLOCK = 10035
WSAECONNREFUSED = 10061


class WindowsLoop(asyncio.SelectorEventLoop):
    """An event loop that cannot watch sockets for the program, like the default one on Windows."""

    def add_reader(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def add_writer(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture
def anyio_backend(monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """Run the test on this loop."""
    monkeypatch.setattr(asyncio, "ProactorEventLoop", WindowsLoop, raising=False)
    return "asyncio", {"loop_factory": WindowsLoop}


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_connection_on_the_default_event_loop(
    secure: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    server_options: Any = {"ssl_context": server_ssl_context} if secure else {}
    client_options: Any = {"ssl_context": client_ssl_context} if secure else {}
    async with anyws.open_server(echo, "127.0.0.1", 0, **server_options) as server:
        uri = uri_of(server, scheme="wss" if secure else "ws")
        async with anyws.connect(uri, **client_options) as websocket:
            assert isinstance(websocket._link._pump, StreamPump)
            for message in ("text", b"\x00\xff", "x" * 1_000_000):
                await websocket.send(message)
                assert await websocket.receive() == message
            assert await websocket.ping() > 0
            with anyio.move_on_after(0.01):
                await websocket.receive()
            await websocket.send("still open")
            assert await websocket.receive() == "still open"
        assert websocket.close_code == 1000


async def test_a_server_that_stops_closes_its_connections() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        await server.aclose()
        with pytest.raises(anyws.ConnectionClosedOK):
            await websocket.receive()
        assert websocket.close_code == 1001


class WindowsSocket(socket.socket):
    """A socket that reports errors by the numbers of Windows."""

    def connect_ex(self, address: Any, /) -> int:
        error = super().connect_ex(address)
        return {errno.EINPROGRESS: WSAEWOULDBLOCK, errno.ECONNREFUSED: WSAECONNREFUSED}.get(error, error)

    def getpeername(self) -> Any:
        raise OSError  # so that the connection has to be awaited

    def getsockopt(self, *arguments: Any) -> Any:
        found = super().getsockopt(*arguments)
        return WSAECONNREFUSED if found == errno.ECONNREFUSED else found


@pytest.fixture
def windows_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errno, "WSAEWOULDBLOCK", WSAEWOULDBLOCK, raising=False)
    monkeypatch.setattr(socket, "errorTab", {WSAECONNREFUSED: "Connection refused."}, raising=False)
    monkeypatch.setattr(socket, "socket", WindowsSocket)


@pytest.mark.usefixtures("windows_sockets")
async def test_connecting_continues_in_the_background() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with await connect_tcp("127.0.0.1", listening.getsockname()[1]):
            accepted, _ = listening.accept()
            accepted.close()


@pytest.mark.usefixtures("windows_sockets")
async def test_an_error_is_told_in_words() -> None:
    port = free_port()
    with pytest.raises(OSError, match=rf"Connection refused\.: 127\.0\.0\.1 port {port}$"):
        await connect_tcp("127.0.0.1", port)


async def test_without_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    problem = "Python does not support unix sockets on this system: use TCP"
    with pytest.raises(OSError, match=problem):
        async with anyws.open_server(echo, path=str(tmp_path / "socket")):
            pass
    with pytest.raises(OSError, match=problem):
        async with anyws.connect(f"ws+unix:{tmp_path}/socket"):
            pass


async def test_without_a_shared_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(ValueError, match="option reuse_port: this system does not let processes share a port"):
        async with anyws.open_server(echo, "127.0.0.1", 0, reuse_port=True):
            pass


async def test_the_port_is_exclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)  # any that can be read
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        (listener,) = server._listeners
        assert listener.extra(anyio.abc.SocketAttribute.raw_socket).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
