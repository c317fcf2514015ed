"""Receiving only text, or only bytes: a message of the other kind closes the connection with 1003."""

from __future__ import annotations

import logging

import anyio
import pytest

import anyws
from anyws.testing import websocket_pair
from tests.peers import BINARY, CLOSE, TEXT, Meeting, Side, uri_of


async def test_receiving_the_expected_kind(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, "Grüße".encode())
        peer.send(BINARY, b"\x00")
        text: str = await websocket.receive_text()
        data: bytes = await websocket.receive_bytes()
        assert (text, data) == ("Grüße", b"\x00")


async def test_the_other_kind_closes_with_1003(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(BINARY, b"secret")
        peer.send(TEXT, b"never received")
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive_text()
        closing = await peer.frame()
        assert closing.opcode == CLOSE
        assert closing.payload == b"\x03\xebreceived a binary message, expected a text one"
        assert str(raised.value) == (
            "closed by this side: 1003 (received a binary message, expected a text one); no Close received"
        )
        cause = raised.value.__cause__
        assert isinstance(cause, anyws.UnsupportedData)
        assert (cause.close_code, cause.reason) == (1003, "received a binary message, expected a text one")
        peer.send_close(1003)
        peer.send_eof()
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.receive()


async def test_text_where_bytes_are_expected(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        peer.send(TEXT, b"text")
        with pytest.raises(anyws.ConnectionClosedError, match="received a text message, expected a binary one"):
            await websocket.receive_bytes()
        assert (await peer.frame()).payload[:2] == b"\x03\xeb"


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with websocket_pair() as (client, server):
        with anyio.move_on_after(0):
            await server.receive_text()
        with anyio.move_on_after(0):
            await server.receive_bytes()
        await client.send("hello")
        await client.send(b"hello")
        assert await server.receive_text() == "hello"
        assert await server.receive_bytes() == b"hello"


async def test_the_end_is_raised() -> None:
    async with websocket_pair() as (client, server):
        await client.aclose()
        with pytest.raises(anyws.ConnectionClosedOK):
            await server.receive_text()


async def test_a_handler_need_not_catch_it(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.receive_text()

    with caplog.at_level(logging.INFO, "anyws.server"):
        async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
            await websocket.send(b"data")
            with pytest.raises(anyws.ConnectionClosedError) as raised:
                await websocket.receive()
            assert raised.value.code == 1003
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "the handler ended with the connection: " in caplog.text


async def test_a_client_does_not_reconnect_to_the_other_kind() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send(b"data")
        await websocket.wait_closed()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        with pytest.raises(anyws.ConnectionClosedError):
            async for connection in anyws.reconnecting(uri_of(server)):
                async with connection as websocket:
                    await websocket.receive_text()
