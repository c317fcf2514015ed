"""Pings and Pongs (RFC 6455, sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

import pytest

from anyws.protocol import Connection, Ping, Pong, Role, State
from tests.chunks import Chunked, chunked
from tests.peers import BINARY, PING, PONG, Frame, Meeting, Side

from .wire import both_roles, frame, receive, sent, wire_of


@both_roles
@chunked
@pytest.mark.parametrize("payload", [b"", b"p", b"\x00\xff", b"p" * 125], ids=["empty", "short", "binary", "longest"])
def test_5_5_2_a_ping_is_answered_with_the_same_payload(payload: bytes, role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    assert receive(connection, chunked(frame(role, 0x89, payload))) == [Ping(payload)]
    assert sent(connection) == [(0x8A, payload)]


@both_roles
def test_5_5_3_each_ping_is_answered_but_of_a_flood_only_the_newest(role: Role) -> None:
    """The RFC requires a Pong only for the newest Ping; the last 16 are answered."""
    connection = Connection(role)
    payloads = [bytes([number]) for number in range(20)]
    for payload in payloads[:10]:
        assert connection.receive_data(frame(role, 0x89, payload)) == [Ping(payload)]
    assert sent(connection) == [(0x8A, payload) for payload in payloads[:10]]
    connection.receive_data(wire_of(role, [(0x89, payload) for payload in payloads]))
    assert sent(connection) == [(0x8A, payload) for payload in payloads[4:]]


@both_roles
@chunked
def test_5_5_3_an_unsolicited_pong_is_accepted_and_not_answered(role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    assert receive(connection, chunked(wire_of(role, [(0x8A, b"p"), (0x8A, b""), (0x81, b"more")]))) == [
        Pong(b"p"),
        Pong(b""),
        "more",
    ]
    assert (connection.state, sent(connection)) == (State.OPEN, [])


@both_roles
def test_5_5_3_an_unsolicited_pong_can_be_sent(role: Role) -> None:
    connection = Connection(role)
    connection.send_pong(b"p")
    assert sent(connection) == [(0x8A, b"p")]


@both_roles
@pytest.mark.parametrize("opcode", ["ping", "pong"])
def test_5_5_control_frames_are_sent_with_at_most_125_bytes(opcode: str, role: Role) -> None:
    connection = Connection(role)
    with pytest.raises(ValueError, match="payload of 126 bytes, expected at most 125"):
        getattr(connection, f"send_{opcode}")(b"p" * 126)
    assert not connection.has_data_to_send


@both_roles
def test_5_5_2_a_pong_overtakes_queued_data_frames_but_does_not_split_one(role: Role) -> None:
    connection = Connection(role)
    for size in (200_000, 30_000, 30_000, 30_000):
        connection.send_message(bytes(size))
    first = connection.data_to_send()
    assert len(first) == 200_000 + (14 if role is Role.CLIENT else 10)  # the whole frame, and nothing else
    connection.receive_data(frame(role, 0x89, b"!"))
    assert [(opcode, len(payload)) for opcode, payload in sent(connection)] == [(0x8A, 1), *[(0x82, 30_000)] * 3]


async def test_5_5_2_a_pong_overtakes_data_queued_for_a_slow_reader(ours: Side, meeting: Meeting) -> None:
    size, count = 200_000, 100
    async with meeting(ours, send_buffer=size * count * 2) as (websocket, peer):
        peer.stop_reading()
        for _ in range(count):
            await websocket.send(bytes(size))
        peer.send(PING, b"now")
        peer.send(BINARY, b"behind the ping")
        assert await websocket.receive() == b"behind the ping"
        peer.go_on_reading()
        frames = [await peer.frame() for _ in range(count + 1)]
    assert frames.index(Frame(PONG, b"now")) < count // 2
    frames.remove(Frame(PONG, b"now"))
    assert frames == [Frame(BINARY, bytes(size))] * count
