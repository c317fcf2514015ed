"""A peer that repeats its Close, and a Close that races with sent messages."""

from __future__ import annotations

import anyio
import pytest

import anyws
from anyws.protocol import Close, Connection, Role
from tests.conformance.wire import both_roles, frame, sent
from tests.peers import CLOSE, TEXT, Frame, Meeting, Side, echo

from .attacker import attacker, check_serves, push


@both_roles
def test_a_close_flood(role: Role) -> None:
    """Only the first Close is answered; everything after it is ignored and not kept."""
    connection = Connection(role)
    close = frame(role, 0x88, b"\x03\xe8bye")
    assert connection.receive_data(close * 1000) == [Close(1000, "bye")]
    kept = len(connection._frames._buffer)
    for _ in range(100):
        assert connection.receive_data(close * 1000) == []
    assert len(connection._frames._buffer) == kept
    assert sent(connection) == [(0x88, b"\x03\xe8bye")]


async def test_a_close_flood_at_a_server() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, attacker(server) as peer:
        await peer.open()
        await push(peer.stream, [b"\x88\x82\0\0\0\0\x03\xe8" * 1000] * 20)
        assert await peer.frame() == Frame(CLOSE, b"\x03\xe8")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await peer.frame()
        await check_serves(server)


@pytest.mark.parametrize("closer", ["we", "they"])
async def test_many_senders_race_a_close(ours: Side, closer: str, meeting: Meeting) -> None:
    """Tomcat CVE-2022-25762: messages race with a Close. Only complete messages precede it, and nothing follows it."""
    senders, most = 20, 50

    async def send(number: int) -> None:
        try:
            for count in range(most):
                await websocket.send(f"{number} {count}")
                if closer == "we" and (number, count) == (7, 10):
                    tasks.start_soon(websocket.aclose, 3000)
        except anyws.ConnectionClosed:
            pass

    async with meeting(ours) as (websocket, peer), anyio.create_task_group() as tasks:
        for number in range(senders):
            tasks.start_soon(send, number)
        if closer == "they":
            peer.send_close(3000)
        frames = []
        while (each := await peer.frame()).opcode == TEXT:
            frames.append(each)
        assert (each.opcode, each.close_code) == (CLOSE, 3000)
        if closer == "we":
            peer.send_close(3000)
        peer.send_eof()
        await peer.end()
        assert not peer.frames
        counts = [frame.payload.decode().split() for frame in frames]
        for number in range(senders):
            assert [int(count) for of, count in counts if int(of) == number] == list(
                range(sum(int(of) == number for of, _ in counts))
            )
