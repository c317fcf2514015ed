"""Who sends more than the other end takes waits, both ways, and memory stays bounded."""

from __future__ import annotations

import anyio
import pytest

import anyws
from tests.peers import BINARY, TEXT, Frame, Meeting, Side, memory_only, uri_of

# -- waiting for room --------------------------------------------------------------------------------------------------


@memory_only
async def test_send_waits_while_the_peer_does_not_read_and_goes_on_after(ours: Side, meeting: Meeting) -> None:
    sent: list[int] = []

    async def send_all() -> None:
        for number in range(20):
            await websocket.send(bytes([number]) * 1000)
            sent.append(number)

    async with meeting(ours, send_buffer=2000) as (websocket, peer), anyio.create_task_group() as tasks:
        peer.stop_reading()
        tasks.start_soon(send_all)
        await anyio.wait_all_tasks_blocked()
        # One batch is being written, 2000 bytes may wait, and one message may stand beyond them.
        assert 2 <= len(sent) <= 5
        peer.go_on_reading()
        assert [(await peer.frame()).payload[0] for _ in range(20)] == list(range(20))
    assert len(sent) == 20


async def test_senders_that_wait_take_turns(meeting: Meeting) -> None:
    async with meeting("server", send_buffer=10) as (websocket, peer), anyio.create_task_group() as tasks:
        peer.stop_reading()
        for number in range(4):
            tasks.start_soon(websocket.send, f"message {number}")
            await anyio.wait_all_tasks_blocked()
        peer.go_on_reading()
        assert [(await peer.frame()).payload.decode() for _ in range(4)] == [f"message {n}" for n in range(4)]


@memory_only
async def test_send_nowait_raises_when_full_and_sends_nothing(meeting: Meeting) -> None:
    async with meeting("server", send_buffer=100) as (websocket, peer):
        peer.stop_reading()
        accepted = 0
        with pytest.raises(anyio.WouldBlock, match="send_buffer"):
            while True:
                websocket.send_nowait(bytes([accepted]) * 60)
                accepted += 1
                await anyio.wait_all_tasks_blocked()
        assert 2 <= accepted <= 4
        peer.go_on_reading()
        assert [(await peer.frame()).payload[0] for _ in range(accepted)] == list(range(accepted))
        websocket.send_nowait("there is room again")
        assert await peer.frame() == Frame(TEXT, b"there is room again")


@memory_only
async def test_wait_for_room(meeting: Meeting) -> None:
    async with meeting("server", send_buffer=10) as (websocket, peer), anyio.create_task_group() as tasks:
        await websocket.drain()
        peer.stop_reading()
        for _ in range(2):
            await websocket.send("12345678901")
            await anyio.wait_all_tasks_blocked()
        done = anyio.Event()

        async def wait() -> None:
            await websocket.drain()
            websocket.send_nowait("after")
            done.set()

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set()
        peer.go_on_reading()
        await done.wait()
        peer.send_close()
        peer.send_eof()
        await websocket.wait_closed()
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.drain()


@memory_only
async def test_a_peer_that_nobody_receives_from_is_held_back(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, receive_buffer=10000) as (websocket, peer):
        for number in range(200):
            peer.send(BINARY, bytes([number]) * 1000)
        await anyio.wait_all_tasks_blocked()
        # In the buffer, each message takes some more memory than its payload.
        assert 5000 <= peer.stream.consumed <= 12000
        assert [(await websocket.receive())[0] for _ in range(200)] == list(range(200))
        assert peer.stream.consumed == peer.stream.given


@memory_only
async def test_many_empty_messages_are_bounded_too(meeting: Meeting) -> None:
    async with meeting("server", receive_buffer=1000) as (websocket, peer):
        for _ in range(200):
            peer.send(TEXT)
        await anyio.wait_all_tasks_blocked()
        assert peer.stream.consumed < 400
        for _ in range(200):
            assert await websocket.receive() == ""


async def test_a_message_larger_than_the_buffer_is_received(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, receive_buffer=100) as (websocket, peer):
        for _ in range(3):
            peer.send(BINARY, b"x" * 300_000)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            assert len(await websocket.receive()) == 300_000


async def test_both_flood_without_receiving_and_nobody_is_stuck() -> None:
    """What is written never waits for what is read, nor the other way round."""
    count, size = 12, 300_000

    async def flood(websocket: anyws.WebSocket) -> None:
        for _ in range(count):
            await websocket.send(b"x" * size)

    async def both(websocket: anyws.WebSocket) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood, websocket)
            for _ in range(count):
                assert len(await websocket.receive()) == size

    async with (
        anyws.open_server(both, "127.0.0.1", 0) as server,
        anyws.connect(uri_of(server)) as websocket,
    ):
        await both(websocket)
