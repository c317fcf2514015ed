"""Limits on what a peer can make us keep or queue."""

from __future__ import annotations

import sys

import anyio
import pytest

import anyws
from anyws.protocol import Connection, FrameDecoder, Ping, Role
from tests.conformance.wire import both_roles, frame
from tests.peers import BINARY, PING, PONG, TEXT, Frame, Meeting, Side, echo, frame_bytes, memory_only

FLOOD = 2000


@both_roles
@pytest.mark.parametrize(
    "rest",
    [b"", b"\x82", b"\x82\xfe\x01", b"\x89\x85\0\0\0\0x"],
    ids=["nothing", "a-byte", "half-a-length", "half-a-ping"],
)
def test_a_few_leftover_bytes_do_not_keep_the_read_buffer_alive(role: Role, rest: bytes) -> None:
    """Ws 8.22: an idle connection kept 64 KiB because of a few bytes."""
    if role is Role.CLIENT:
        rest = rest[:1]
    data = frame(role, 0x89, b"ping") + frame(role, 0x82, bytes(60_000)) + frame(role, 0x8A, b"pong") + rest
    connection = Connection(role)
    before = sys.getrefcount(data)
    events = connection.receive_data(data)
    assert len(events) == 3
    assert sys.getrefcount(data) == before
    assert len(connection._frames._buffer) == len(rest)


@both_roles
def test_half_a_message_does_not_keep_the_read_buffer_alive(role: Role) -> None:
    """The received part of a message is stored once, separate from the data it arrived with."""
    data = (frame(role, 0x89, b"ping") + frame(role, 0x82, bytes(60_000)))[:50_000]
    connection = Connection(role)
    before = sys.getrefcount(data)
    connection.receive_data(data)
    assert connection.partial_size > 49_000
    assert sys.getrefcount(data) == before
    assert connection._frames._buffer == b""


def test_a_control_payload_is_a_copy() -> None:
    """Ws 8.22: a view keeps the whole read buffer alive."""
    data = frame(Role.CLIENT, 0x89, b"p" * 125) * 100
    before = sys.getrefcount(data)
    events = Connection(Role.CLIENT).receive_data(data)
    assert {type(event.payload) for event in events if isinstance(event, Ping)} == {bytes}
    assert sys.getrefcount(data) == before


def test_kept_bytes_continue_with_the_next_read() -> None:
    """Wherever the data is split, the kept bytes are complete."""
    data = (
        frame(Role.CLIENT, 0x81, b"a" * 200) + frame(Role.CLIENT, 0x89, b"b") + frame(Role.CLIENT, 0x82, b"c" * 70_000)
    )
    for cut in range(0, 220):
        decoder = FrameDecoder(masked=False)
        taken = bytearray()
        for piece in (data[:cut], data[cut:]):
            decoder.feed(piece)
            while (part := decoder.next_part()) is not None:
                taken += part.payload
        assert taken == b"a" * 200 + b"b" + b"c" * 70_000


@memory_only
async def test_a_ping_flood_by_a_peer_that_does_not_read(ours: Side, meeting: Meeting) -> None:
    """Ws 8.23: each Ping queued a Pong. We queue Pongs for the 16 newest Pings only, at most 16 x 127 bytes."""
    async with meeting(ours) as (websocket, peer):
        peer.stop_reading()
        for number in range(FLOOD):
            peer.send(PING, number.to_bytes(2, "big") * 62)
        peer.send(TEXT, b"and a message")
        assert await websocket.receive() == "and a message"
        peer.go_on_reading()
        await websocket.send("end")
        pongs = []
        while (each := await peer.frame()).opcode == PONG:
            pongs.append(int.from_bytes(each.payload[:2], "big"))
        assert each == Frame(TEXT, b"end")
        # What was being written when the peer stopped, and what waited.
        assert len(pongs) <= 2 * 16 + 1
        assert pongs[-16:] == list(range(FLOOD - 16, FLOOD))


async def test_a_duplicate_pong(meeting: Meeting) -> None:
    """Nhooyr PRISMA-2021-0118: the second Pong crashed the program. Each waiting task is woken only once."""
    async with meeting("server") as (websocket, peer):
        for payload in (b"one", b"two"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(websocket.ping, payload)
                assert await peer.frame() == Frame(PING, payload)
                for _ in range(3):
                    peer.send(PONG, payload)
        # One that was answered before it was asked answers nothing.
        peer.send(PONG, b"three")
        peer.send(TEXT, b"before")
        assert await websocket.receive() == "before"
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(websocket.ping, b"three")
                assert await peer.frame() == Frame(PING, b"three")
                peer.send(PONG, b"two")
                peer.send(TEXT, b"after")
                assert await websocket.receive() == "after"
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught


@memory_only
async def test_an_echo_whose_client_does_not_read(meeting: Meeting) -> None:
    """ws-rs CVE-2020-35896, Jetty 4824: the queue grew. We stop reading once both buffers are full."""
    size, count = 1000, 2000
    data = frame_bytes(BINARY, bytes(size), masked=True)
    async with meeting("server") as (websocket, peer), anyio.create_task_group() as tasks:
        peer.stop_reading()
        tasks.start_soon(echo, websocket)
        for _ in range(count):
            peer.send_bytes(data)
        await anyio.wait_all_tasks_blocked()
        options = anyws.AcceptOptions()
        # Both buffers, and the one batch that is being written.
        assert peer.stream.consumed < options.receive_buffer + options.send_buffer + 65536 + 10 * size
        peer.go_on_reading()
        for _ in range(count):
            assert len((await peer.frame()).payload) == size
        peer.send_close()
        peer.send_eof()
