"""The state of a connection, and the addresses of both sides."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import anyio
import pytest

import anyws
from anyws.testing import websocket_pair
from tests.peers import Meeting, Side, echo


async def test_the_state(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        states = [websocket.state]
        await websocket.send_eof()
        states.append(websocket.state)
        await peer.frame()
        peer.send_close()
        peer.send_eof()
        await websocket.wait_closed()
        states.append(websocket.state)
        assert states == [anyws.State.OPEN, anyws.State.CLOSING, anyws.State.CLOSED]


async def test_the_state_after_the_close_of_the_peer() -> None:
    async with websocket_pair() as (client, server):
        await client.aclose()
        await server.wait_closed()
        assert (client.state, server.state) == (anyws.State.CLOSED, anyws.State.CLOSED)


async def test_the_addresses_remain() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        async with anyws.connect(server.uri) as websocket:
            (accepted,) = server.connections
            assert websocket.remote_address == accepted.local_address == ("127.0.0.1", server.port)
            assert websocket.local_address == accepted.remote_address
            ours = websocket.local_address
        assert (websocket.local_address, websocket.remote_address) == (ours, ("127.0.0.1", server.port))


async def test_the_addresses_of_ipv6_have_two_parts() -> None:
    async with anyws.open_server(echo, "::1", 0) as server, anyws.connect(server.uri) as websocket:
        assert websocket.remote_address == ("::1", server.port)


async def test_the_addresses_over_tls(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        anyws.connect(server.uri, ssl_context=client_ssl_context) as websocket,
    ):
        assert websocket.remote_address == ("127.0.0.1", server.port)


async def test_the_addresses_of_a_unix_socket(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "a.sock")
    async with anyws.open_server(echo, path=path) as server, anyws.connect(server.uri) as websocket:
        (accepted,) = server.connections
        assert websocket.remote_address == accepted.local_address == path
        assert websocket.local_address == accepted.remote_address == ""


async def test_a_stream_without_addresses() -> None:
    async with websocket_pair() as (client, _):
        assert (client.local_address, client.remote_address) == (None, None)


async def test_a_stream_of_anyio(anyio_backend_name: str) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        stream = await anyio.connect_tcp("127.0.0.1", server.port)
        async with anyws.connect("ws://localhost/", stream=stream) as websocket:
            assert websocket.remote_address == ("127.0.0.1", server.port)
        assert websocket.remote_address == ("127.0.0.1", server.port)


def test_names_of_anyio() -> None:
    assert (anyws.WouldBlock, anyws.BusyResourceError) == (anyio.WouldBlock, anyio.BusyResourceError)


async def test_a_program_for_trio_catches_what_anyws_raises() -> None:
    async with websocket_pair() as (client, _):
        with pytest.raises(anyws.WouldBlock):
            while True:
                client.send_nowait(b"x" * 65536)
