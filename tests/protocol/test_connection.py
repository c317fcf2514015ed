"""Receiving on an open connection, in both roles (RFC 6455, sections 5.5 and 7)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import Connection, Event, FrameDecoder, Opcode, Role, State

both_roles = pytest.mark.parametrize("role", Role)


def frame(
    role: Role, first: int, payload: bytes = b"", length: bytes | None = None, masked: bool | None = None
) -> bytes:
    """Return a frame from the peer, with a masking key of zeros. The encoding of the length can be chosen."""
    if length is None:
        length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    if masked is None:
        masked = role is Role.SERVER
    return bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:] + (bytes(4) if masked else b"") + payload


def sent(connection: Connection) -> list[tuple[Opcode, bytes]]:
    """Return the frames to send, as the peer decodes them."""
    decoder = FrameDecoder(masked=connection.role is Role.CLIENT)
    frames = []
    while connection.has_data_to_send:
        decoder.feed(connection.data_to_send())
        for part in iter(decoder.next_part, None):
            assert part.first
            assert part.last
            frames.append((part.header.opcode, part.payload))
    assert connection.data_to_send() == b""
    assert connection.queued == 0
    return frames


def receive(connection: Connection, chunks: Iterable[bytes]) -> list[Event]:
    return [event for chunk in chunks for event in connection.receive_data(chunk)]


@both_roles
def test_a_failure_can_be_held_until_earlier_messages_are_answered(role: Role) -> None:
    connection = Connection(role, hold_failure=True)
    assert connection.receive_data(frame(role, 0x81, b"question") + frame(role, 0x83) + frame(role, 0x89)) == [
        "question"
    ]
    assert (connection.state, connection.is_failing, sent(connection)) == (State.OPEN, True, [])
    assert connection.receive_data(frame(role, 0x81, b"more")) == []
    connection.send_message("answer")
    assert sent(connection) == [(Opcode.TEXT, b"answer")]
    connection.send_message("too late")
    connection.fail()
    connection.fail()
    assert (connection.state, connection.is_failing, connection.close_code) == (State.CLOSED, False, 1006)
    assert [opcode for opcode, _ in sent(connection)] == [Opcode.CLOSE]
    assert connection.close_sent is not None
    assert connection.close_sent.code == 1002


@both_roles
def test_there_is_nothing_to_fail_without_a_violation(role: Role) -> None:
    connection = Connection(role)
    connection.fail()
    assert (connection.state, connection.is_failing, sent(connection)) == (State.OPEN, False, [])


def test_a_server_can_accept_unmasked_frames() -> None:
    connection = Connection(Role.SERVER, accept_unmasked=True)
    data = frame(Role.SERVER, 0x81, b"a", masked=False) + frame(Role.SERVER, 0x81, b"b", masked=True)
    assert connection.receive_data(data) == ["a", "b"]


def test_a_client_never_accepts_masked_frames() -> None:
    connection = Connection(Role.CLIENT, accept_unmasked=True)
    assert connection.receive_data(frame(Role.CLIENT, 0x81, b"a", masked=True)) == []
    assert connection.state is State.CLOSED


# -- closing -----------------------------------------------------------------------------------------------------------


@both_roles
def test_queued_data_precedes_the_close_echo_and_a_pong_precedes_both(role: Role) -> None:
    connection = Connection(role)
    connection.send_message(b"queued")
    connection.receive_data(frame(role, 0x89, b"p") + frame(role, 0x88, b"\x03\xe8"))
    assert sent(connection) == [(Opcode.PONG, b"p"), (Opcode.BINARY, b"queued"), (Opcode.CLOSE, b"\x03\xe8")]


@both_roles
def test_a_violation_after_our_close_went_out_sends_nothing(role: Role) -> None:
    connection = Connection(role)
    connection.send_close(1000)
    assert sent(connection) == [(Opcode.CLOSE, b"\x03\xe8")]
    assert connection.receive_data(frame(role, 0x83)) == []
    assert connection.failure is not None
    assert (connection.state, connection.close_code, sent(connection)) == (State.CLOSED, 1006, [])


@both_roles
@pytest.mark.parametrize("end", ["close", "violation", "eof"])
def test_data_received_after_the_end_is_not_kept(end: str, role: Role) -> None:
    connection = Connection(role)
    if end == "eof":
        connection.receive_eof()
    else:
        connection.receive_data(frame(role, 0x88 if end == "close" else 0x83))
    data = bytes(65536)
    tracemalloc.start()
    try:
        for _ in range(32):
            assert connection.receive_data(data) == []
        assert tracemalloc.get_traced_memory()[0] < 2 * len(data)
    finally:
        tracemalloc.stop()


# -- random streams ----------------------------------------------------------------------------------------------------

controls = st.builds(lambda first, payload: (first, payload), st.sampled_from([0x89, 0x8A]), st.binary(max_size=125))
data_frames = st.tuples(
    st.sampled_from([0x00, 0x80, 0x01, 0x81, 0x02, 0x82, 0x83]), st.text(max_size=50).map(str.encode)
)
closes = st.tuples(st.just(0x88), st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xed", b"\x03"]))


@given(st.sampled_from(Role), st.lists(controls | data_frames | closes, max_size=10), st.data())
@settings(deadline=None)
def test_any_chunking_gives_the_same_end(role: Role, frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    wire = b"".join(frame(role, first, payload) for first, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    at_once, in_chunks = Connection(role), Connection(role)
    chunks = [wire[start:stop] for start, stop in pairwise([0, *cuts, len(wire)])]
    assert at_once.receive_data(wire) == receive(in_chunks, chunks)
    assert at_once.state is in_chunks.state
    assert repr(at_once.failure) == repr(in_chunks.failure)
    assert at_once.close_received == in_chunks.close_received
    assert [opcode for opcode, _ in sent(at_once)] == [opcode for opcode, _ in sent(in_chunks)]
