"""``idle_timeout`` and ``max_lifetime``: who is closed, when, with which code. On a clock that jumps."""

from __future__ import annotations

import random

import anyio
import pytest

import anyws
from anyws._connection.expiry import Expiry, expiry_of
from anyws.protocol.connection import Role
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Meeting, Peer, Side, ended, on_mock_clock


async def next_close(peer: Peer) -> tuple[int, bytes]:
    """Skip to the Close that anyws sends; return its code and reason."""
    while (frame := await peer.frame()).opcode != CLOSE:
        if frame.opcode == PING:
            peer.send(PONG, frame.payload)
    return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:]


# -- idle_timeout ------------------------------------------------------------------------------------------------------


@on_mock_clock
async def test_an_idle_connection_is_closed_although_pings_are_answered(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, idle_timeout=100, ping_interval=20) as (websocket, peer):
        begun = anyio.current_time()
        assert await next_close(peer) == (1001, b"the connection was idle")
        assert anyio.current_time() - begun == pytest.approx(100)
        peer.send_close(1001)
        closed = await ended(websocket)
        assert isinstance(closed, anyws.ConnectionClosedOK)
        assert closed.sent == anyws.Close(1001, "the connection was idle")


@pytest.mark.parametrize("direction", ["received", "sent"])
@on_mock_clock
async def test_messages_in_either_direction_keep_it_open(ours: Side, direction: str, meeting: Meeting) -> None:
    async with meeting(ours, idle_timeout=10, ping_interval=None) as (websocket, peer):
        for _ in range(10):
            await anyio.sleep(9)
            if direction == "sent":
                await websocket.send("busy")
                assert (await peer.frame()).opcode == TEXT
            else:
                peer.send(TEXT, b"busy")
                assert await websocket.receive() == "busy"
        begun = anyio.current_time()
        assert (await next_close(peer))[0] == 1001
        assert 10 <= anyio.current_time() - begun <= 12.5
        peer.send_close(1001)
        await ended(websocket)


@on_mock_clock
async def test_a_message_that_arrives_in_parts_keeps_it_open(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, idle_timeout=10, ping_interval=None) as (websocket, peer):
        peer.send(BINARY, b"a", fin=False)
        for _ in range(10):
            await anyio.sleep(9)
            peer.send(CONTINUATION, b"b", fin=False)
        peer.send(CONTINUATION, b"c")
        assert await websocket.receive() == b"a" + b"b" * 10 + b"c"


@on_mock_clock
async def test_messages_of_the_peer_count_while_nobody_receives(meeting: Meeting) -> None:
    async with meeting("server", idle_timeout=10, ping_interval=None) as (websocket, peer):
        for _ in range(5):
            await anyio.sleep(9)
            peer.send(TEXT)
        assert websocket.close_code is None


@on_mock_clock
async def test_messages_that_have_arrived_are_received_before_the_end(meeting: Meeting) -> None:
    async with meeting("server", idle_timeout=10, ping_interval=None) as (websocket, peer):
        peer.send(TEXT, b"waiting")
        await next_close(peer)
        peer.send_close(1001)
        assert await websocket.receive() == "waiting"
        assert isinstance(await ended(websocket), anyws.ConnectionClosedOK)


# -- max_lifetime ------------------------------------------------------------------------------------------------------


@on_mock_clock
async def test_the_lifetime_ends_a_busy_connection(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, max_lifetime=1000) as (websocket, peer):
        begun = anyio.current_time()
        code, reason = await next_close(peer)
        assert (code, reason) == (
            1012 if ours == "server" else 1001,
            b"the connection has reached its maximum lifetime",
        )
        assert 900 <= anyio.current_time() - begun <= 1000
        peer.send_close(code)
        assert (await ended(websocket)).code == code


@on_mock_clock
async def test_a_peer_that_does_not_answer_is_aborted(meeting: Meeting) -> None:
    async with meeting("server", max_lifetime=10, close_timeout=3) as (websocket, peer):
        await next_close(peer)
        begun = anyio.current_time()
        await websocket.wait_closed()
        assert anyio.current_time() - begun == pytest.approx(3)
        assert websocket.close_code == 1006
        await peer.end()


@on_mock_clock
async def test_a_close_that_has_begun_is_not_begun_again(meeting: Meeting) -> None:
    async with meeting("server", max_lifetime=10, idle_timeout=10, close_timeout=60) as (websocket, peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.aclose, 4000)
            assert await next_close(peer) == (4000, b"")
            await anyio.sleep(30)
            peer.send_close(4000)
        assert websocket.close_code == 4000


def test_lifetimes_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    options = anyws.ConnectionOptions(max_lifetime=1000)
    monkeypatch.setattr(random, "random", lambda: 0.0)
    assert Expiry(options, Role.SERVER, 5).deadline == 1005
    monkeypatch.setattr(random, "random", lambda: 0.5)
    assert Expiry(options, Role.SERVER, 5).deadline == 955


def test_without_limits_nothing_is_ever_checked() -> None:
    assert expiry_of(anyws.ConnectionOptions(), Role.SERVER, 0) is None


async def test_reconnecting_clients_come_back_after_the_lifetime() -> None:
    async def hello(websocket: anyws.WebSocket) -> None:
        await websocket.send("hello")
        await websocket.wait_closed()

    codes = []
    async with anyws.open_server(hello, "127.0.0.1", 0, max_lifetime=0.01) as server:
        async for connection in anyws.reconnecting(server.uri, initial_delay=0.001):
            async with connection as websocket:
                assert await websocket.receive() == "hello"
                with pytest.raises(anyws.ConnectionClosedError) as raised:
                    await websocket.receive()
                codes.append(raised.value.code)
            if len(codes) == 2:
                break
    assert codes == [1012, 1012]
