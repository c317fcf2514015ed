"""A peer that is silent is pinged, and given up if it stays silent. On a clock that jumps, so no test waits."""

from __future__ import annotations

import logging
import time

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from tests.peers import BINARY, PING, PONG, TEXT, Meeting, Peer, Side, ended, memory_only, on_mock_clock


@on_mock_clock
async def test_a_silent_peer_is_pinged_and_cut(ours: Side, caplog: pytest.LogCaptureFixture, meeting: Meeting) -> None:
    caplog.set_level(logging.INFO, "anyws")
    async with meeting(ours) as (websocket, peer):
        begun = anyio.current_time()
        assert (await peer.frame()).opcode == PING
        assert anyio.current_time() - begun == pytest.approx(20)
        closed = await ended(websocket)
        assert anyio.current_time() - begun == pytest.approx(40)
        assert isinstance(closed, anyws.ConnectionClosedError)
        assert closed.code == websocket.close_code == 1006
        assert "the peer was silent for 40 s" in str(closed)
        await peer.end()
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.send("too late")
    assert [record.exc_info for record in caplog.records] == [None]


@on_mock_clock
async def test_the_options(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, ping_interval=3, ping_timeout=0.5) as (websocket, peer):
        begun = anyio.current_time()
        await peer.frame()
        assert anyio.current_time() - begun == pytest.approx(3)
        await websocket.wait_closed()
        assert anyio.current_time() - begun == pytest.approx(3.5)


@pytest.mark.parametrize("opcode", [PONG, PING, TEXT, BINARY])
@on_mock_clock
async def test_any_frame_is_a_sign_of_life_also_while_nobody_receives(
    ours: Side, opcode: int, meeting: Meeting
) -> None:
    async with meeting(ours) as (websocket, peer):
        for _ in range(6):
            await anyio.sleep(15)
            peer.send(opcode)
        assert websocket.close_code is None
        assert PING not in [frame.opcode for frame in peer.frames]


@on_mock_clock
async def test_any_byte_is_a_sign_of_life(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        for byte in peer.frame_bytes(TEXT, b"very slowly"):
            await anyio.sleep(19)
            peer.send_bytes(bytes([byte]))
        assert await websocket.receive() == "very slowly"
        assert not peer.frames


@on_mock_clock
async def test_another_byte_than_the_pong_will_do(meeting: Meeting) -> None:
    async with meeting("client") as (websocket, peer):
        for _ in range(5):
            assert (await peer.frame()).opcode == PING
            await anyio.sleep(19)
            peer.send(TEXT)
        await websocket.send("alive")
        assert (await peer.frame()).opcode == TEXT


@on_mock_clock
async def test_a_peer_that_answers_is_pinged_again_and_again(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours) as (websocket, peer):
        payloads = set()
        for _ in range(10):
            frame = await peer.frame()
            assert frame.opcode == PING
            payloads.add(frame.payload)
            await anyio.sleep(1)
            peer.send(PONG, frame.payload)
        assert anyio.current_time() == pytest.approx(10 * 21, abs=30)
        assert len(payloads) > 5
        assert websocket.close_code is None


@memory_only
@on_mock_clock
async def test_a_peer_that_is_held_back_is_not_given_up(ours: Side, meeting: Meeting) -> None:
    """Its Pong may well be among what we do not read."""
    async with meeting(ours, receive_buffer=1000) as (websocket, peer):
        for number in range(20):
            peer.send(BINARY, bytes([number]) * 500)
        await anyio.sleep(400)
        assert websocket.close_code is None
        assert peer.stream.consumed < 5000
        assert [(await websocket.receive())[0] for _ in range(20)] == list(range(20))
        # Once all has been read, silence counts again, from now on.
        begun = anyio.current_time()
        await websocket.wait_closed()
        assert 20 <= anyio.current_time() - begun <= 60
        assert websocket.close_code == 1006


@on_mock_clock
async def test_without_an_interval_nobody_is_pinged(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, ping_interval=None) as (websocket, peer):
        await anyio.sleep(7200)
        assert not peer.frames
        await websocket.send("alive")
        assert (await peer.frame()).payload == b"alive"


@on_mock_clock
async def test_without_a_timeout_a_peer_is_pinged_but_not_given_up(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, ping_timeout=None) as (websocket, peer):
        await anyio.sleep(205)
        assert [frame.opcode for frame in peer.frames] == [PING] * 10
        assert websocket.close_code is None


@on_mock_clock
async def test_no_ping_once_a_close_has_begun(meeting: Meeting) -> None:
    async with meeting("client", close_timeout=100) as (websocket, peer):
        await websocket.send_eof()
        await anyio.sleep(90)
        assert [frame.opcode for frame in peer.frames] == [8]
        await websocket.wait_closed()


@on_mock_clock
async def test_a_peer_that_does_not_read_either_is_cut(ours: Side) -> None:
    peer = Peer(ours)
    opened = anyws.connect("ws://localhost/", stream=peer.stream) if ours == "client" else anyws.accept(peer.stream)
    async with opened as websocket:
        peer.stop_reading()
        begun = anyio.current_time()
        with pytest.raises(anyws.ConnectionClosedError):
            while True:
                await websocket.send(b"x" * 10_000)
        assert anyio.current_time() - begun == pytest.approx(40)
    assert peer.stream.is_closed


async def test_small_numbers_on_every_event_loop(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, ping_interval=0.02, ping_timeout=0.02) as (websocket, peer):
        assert (await peer.frame()).opcode == PING
        await websocket.wait_closed()
        assert websocket.close_code == 1006


@memory_only
@on_mock_clock
async def test_a_peer_that_neither_sends_nor_takes_is_dropped_though_nobody_receives(
    ours: Side, meeting: Meeting
) -> None:
    """Both directions are full, so there is neither a Pong to come nor a Ping to write."""
    async with meeting(ours, receive_buffer=1000, ping_interval=2, ping_timeout=1) as (websocket, peer):
        peer.stop_reading()
        for _ in range(20):
            peer.send(BINARY, bytes(500))
        begun = anyio.current_time()
        with pytest.raises(anyws.ConnectionClosedError, match="silent for 3 s"):
            while True:
                await websocket.send(bytes(10_000))
        assert anyio.current_time() - begun == pytest.approx(9, abs=1)


async def test_what_came_while_the_event_loop_was_busy_counts(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, ping_interval=0.02, ping_timeout=0.02) as (websocket, peer):
        for _ in range(5):
            frame = await peer.frame()
            assert frame.opcode == PING
            peer.send(PONG, frame.payload)
            time.sleep(0.1)  # noqa: ASYNC251 - nothing runs meanwhile, the clock does
            await checkpoint()
        assert websocket.close_code is None
