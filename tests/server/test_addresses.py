"""Where a server listens: its URI, its port, and what its repr shows."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import anyio
import pytest
from anyio.abc import Listener
from anyio.streams.tls import TLSListener

import anyws
from anyws._server.addresses import uri_of
from tests.peers import echo


async def hello(uri: str) -> None:
    async with anyws.connect(uri) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("localhost", "localhost"),
        ("LOCALHOST", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        (None, "localhost"),
        ("", "localhost"),
    ],
)
async def test_a_client_connects_to_the_uri(host: str | None, shown: str) -> None:
    async with anyws.open_server(echo, host, 0) as server:
        assert server.uri == f"ws://{shown}:{server.port}/"
        assert server.port == server.addresses[0][1]
        await hello(server.uri)
        assert repr(server) == f"<anyws.Server {server.uri} open, {len(server.connections)} connections>"
    assert server.addresses == []
    assert repr(server) == f"<anyws.Server ws://{shown}:{server.port}/ closed, 0 connections>"


async def test_the_uri_of_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "a b.sock"
    async with anyws.open_server(echo, path=os.fspath(path)) as server:
        assert server.uri == f"ws+unix:{tmp_path}/a%20b.sock:/"
        await hello(server.uri)
        with pytest.raises(RuntimeError, match=f"this server has no port: it listens on '{path}'"):
            _ = server.port


async def test_the_uri_says_whether_tls_is_used(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    async with anyws.open_server(echo, "localhost", 0, ssl_context=server_ssl_context) as server:
        assert server.uri == f"wss://localhost:{server.port}/"
        async with anyws.connect(server.uri, ssl_context=client_ssl_context):
            pass
    (listener,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
    async with anyws.open_server(echo, listeners=[TLSListener(listener, server_ssl_context)]) as server:
        assert server.uri == f"wss://127.0.0.1:{server.port}/"


def test_an_address_with_a_scope_or_the_default_port() -> None:
    assert uri_of([("fe80::1", 8765, 0, 2)], None, secure=False) == "ws://[fe80::1%252]:8765/"
    assert uri_of([("192.0.2.1", 443)], None, secure=True) == "wss://192.0.2.1/"
    assert uri_of([("192.0.2.1", 443)], "example.com", secure=True) == "wss://example.com/"


class Silent(Listener[anyio.abc.ByteStream]):
    """Never accepts anything, and has no address."""

    async def serve(self, handler: object, task_group: object = None) -> None:
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        pass


async def test_listeners_without_an_address() -> None:
    async with anyws.open_server(echo, listeners=[Silent()]) as server:
        assert repr(server) == "<anyws.Server without an address open, 0 connections>"
        with pytest.raises(RuntimeError, match="this server has no URI: its listeners have no address"):
            _ = server.uri


async def test_waiting_for_a_server_to_close() -> None:
    async with anyio.create_task_group() as tasks:
        server: anyws.Server = await tasks.start(anyws.serve, echo, "127.0.0.1", 0)
        tasks.start_soon(server.aclose)
        await server.wait_closed()
        assert server.addresses == []
        await server.wait_closed()
