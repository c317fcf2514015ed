"""Both ways at once: nobody is stuck, memory stays within bounds, and who is slow is not taken for dead."""

from __future__ import annotations

import gc
import tracemalloc

import anyio
import pytest

import anyws
from anyws.testing import websocket_pair
from tests.frames import take_frame
from tests.harness import on_mock_clock
from tests.peers import BINARY, Side, StreamPeer

from .pairs import Below, TLSContexts, pair, streams
from .test_closing_orders import raw_peer

BELOW = pytest.mark.parametrize("below", ["memory", "tls", "tcp", "tls over tcp"])


async def send_many(websocket: anyws.WebSocket, count: int, size: int) -> None:
    """Send numbered messages."""
    for number in range(count):
        await websocket.send(bytes([number]) * size)


async def receive_many_slowly(websocket: anyws.WebSocket, count: int, size: int) -> None:
    """Receive them, and let everybody else go on until all wait before each of them."""
    for number in range(count):
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert await websocket.receive() == bytes([number]) * size


@BELOW
async def test_two_that_flood_each_other_while_they_receive_slowly(below: Below, tls_contexts: TLSContexts) -> None:
    count, size = 12, 300_000
    async with pair(below, tls_contexts) as sides, anyio.create_task_group() as tasks:
        for websocket in sides:
            tasks.start_soon(send_many, websocket, count, size)
            tasks.start_soon(receive_many_slowly, websocket, count, size)


@BELOW
async def test_two_that_send_all_before_they_receive(below: Below, tls_contexts: TLSContexts) -> None:
    """As long as a message fits into the buffers, nobody has to receive so that the other can send."""
    async with pair(below, tls_contexts) as sides:
        for websocket in sides:
            await send_many(websocket, 10, 6000)
        for websocket in sides:
            await receive_many_slowly(websocket, 10, 6000)


@BELOW
async def test_a_peer_that_floods_and_reads_late(ours: Side, below: Below, tls_contexts: TLSContexts) -> None:
    """It sends all before it reads anything: what we write waits, what we read does not."""
    count, size = 20, 200_000
    async with raw_peer(ours, below, tls_contexts) as (websocket, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(send_many, websocket, count, size)
        tasks.start_soon(receive_many_slowly, websocket, count, size)
        for number in range(count):
            await peer.send(BINARY, bytes([number]) * size)
        for number in range(count):
            frame = await peer.frame()
            assert (frame.opcode, frame.payload) == (BINARY, bytes([number]) * size)


async def test_a_close_is_answered_while_a_write_is_blocked(ours: Side, tls_contexts: TLSContexts) -> None:
    async with raw_peer(ours, "memory", tls_contexts) as (websocket, peer):
        await websocket.send(b"x" * 500_000)
        await anyio.wait_all_tasks_blocked()
        await peer.send(8, b"\x03\xe8")
        await anyio.wait_all_tasks_blocked()
        assert websocket.close_code == 1000
        assert len((await peer.frame()).payload) == 500_000
        assert (await peer.frame()).close_code == 1000


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["send", "iterable", "pings"])
async def test_a_flood_is_held_in_bounded_memory(ours: Side, way: str, tls_contexts: TLSContexts) -> None:
    """10 MB pass through buffers of 64 KiB to one who receives slowly."""
    size, count = 50_000, 200

    async def fragments():
        for _ in range(count):
            yield bytes(size)

    async def flood(websocket: anyws.WebSocket) -> None:
        if way == "iterable":
            await websocket.send(fragments())
            return
        for number in range(count):
            await websocket.send(bytes(size))
            if way == "pings" and number % 3 == 0:
                try:
                    websocket.pong(b"x" * 125)
                except anyio.WouldBlock:
                    pass

    options = {"max_message_size": None}
    async with pair("memory", tls_contexts, ours, options=options, their_options=options) as (websocket, other):
        received = 0
        gc.collect()
        tracemalloc.start()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(flood, websocket)
                while received < size * count:
                    await anyio.lowlevel.checkpoint()
                    async for piece in other.receive_stream():
                        received += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received == size * count
    assert peak < 1_500_000


# -- slow, but alive ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 100_000], ids=["within the buffers", "beyond the buffers"])
@on_mock_clock
async def test_a_handler_that_does_not_receive_for_minutes_keeps_its_connection(ours: Side, size: int) -> None:
    """Between two of ours, with the default options: neither takes the other for dead."""
    async with websocket_pair() as (client, server), anyio.create_task_group() as tasks:
        slow, other = (client, server) if ours == "client" else (server, client)
        tasks.start_soon(send_many, other, 20, size)
        await anyio.sleep(300)
        assert (slow.close_code, other.close_code) == (None, None)
        await receive_many_slowly(slow, 20, size)


@on_mock_clock
async def test_two_that_send_and_do_not_receive_for_more_than_a_minute(ours: Side) -> None:
    """Each looks dead to the other, so this cannot go on for ever; but a busy handler has three times as long."""
    async with websocket_pair() as (client, server), anyio.create_task_group() as tasks:
        for websocket in (client, server):
            tasks.start_soon(send_many, websocket, 20, 100_000)
        await anyio.sleep(100)
        assert (client.close_code, server.close_code) == (None, None)
        for websocket in (client, server):
            tasks.start_soon(receive_many_slowly, websocket, 20, 100_000)


@on_mock_clock
async def test_a_dead_peer_is_noticed_while_much_is_sent(ours: Side) -> None:
    """It takes all that is sent, and says nothing."""
    near, far = await streams("memory")
    end, mine = (near, far) if ours == "server" else (far, near)
    opened = (
        anyws.connect("ws://localhost/", stream=mine, close_timeout=1)
        if ours == "client"
        else anyws.accept(mine, close_timeout=1)
    )
    buffer = bytearray()

    async def take_all() -> None:
        async for data in end:
            buffer.extend(data)
            while take_frame(buffer):
                pass

    async def open_peer() -> None:
        await StreamPeer(end, ours).open()
        tasks.start_soon(take_all)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_peer)
        async with opened as websocket:
            begun = anyio.current_time()
            with pytest.raises(anyws.ConnectionClosedError, match="silent"):
                while True:
                    await websocket.send(b"x" * 1000)
                    await anyio.sleep(1)
            assert anyio.current_time() - begun == pytest.approx(40, abs=1)
        await end.aclose()
    assert websocket.close_code == 1006
