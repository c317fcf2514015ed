"""The state machine of an open connection, in both roles: what comes of received bytes (RFC 6455, 5.5 and 7)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import Close, Connection, Event, FrameDecoder, LimitExceeded, Opcode, Ping, Pong, Role, State
from anyws.protocol.closing import parse_close
from tests.chunks import Chunked, chunked

both_roles = pytest.mark.parametrize("role", Role)


def frame(
    role: Role, first: int, payload: bytes = b"", length: bytes | None = None, masked: bool | None = None
) -> bytes:
    """A frame that the peer of the role sends; its masking key is zero. The length can be encoded in another way."""
    if length is None:
        length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    if masked is None:
        masked = role is Role.SERVER
    return bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:] + (bytes(4) if masked else b"") + payload


def sent(connection: Connection) -> list[tuple[Opcode, bytes]]:
    """Take what is to be sent, as the peer sees it."""
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


# (frames as arguments of frame(), events, what is sent)
ACCEPTED = [
    pytest.param([(0x81, b"Hello")], ["Hello"], [], id="text"),
    pytest.param([(0x82, b"\xff")], [b"\xff"], [], id="binary"),
    pytest.param([(0x82, b"x" * 126)], [b"x" * 126], [], id="binary-126"),
    pytest.param([(0x01, b"Hel"), (0x80, b"lo")], ["Hello"], [], id="fragmented"),
    pytest.param([(0x01, b""), (0x00, b""), (0x80, b"")], [""], [], id="empty-fragments"),
    pytest.param([(0x01, b"\xe2\x82"), (0x80, b"\xac")], ["€"], [], id="code-point-across-fragments"),
    pytest.param([(0x89, b"")], [Ping(b"")], [(Opcode.PONG, b"")], id="empty-ping"),
    pytest.param([(0x89, b"p" * 125)], [Ping(b"p" * 125)], [(Opcode.PONG, b"p" * 125)], id="longest-ping"),
    pytest.param([(0x8A, b"p")], [Pong(b"p")], [], id="unsolicited-pong"),
    pytest.param(
        [(0x01, b"a"), (0x89, b"p"), (0x00, b"b"), (0x8A, b"q"), (0x80, b"c")],
        [Ping(b"p"), Pong(b"q"), "abc"],
        [(Opcode.PONG, b"p")],
        id="control-frames-between-fragments",
    ),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events", "answer"), ACCEPTED)
def test_what_the_rfc_allows(
    frames: list[tuple[int, bytes]], events: list[Event], answer: list[Any], role: Role, chunked: Chunked
) -> None:
    connection = Connection(role)
    wire = b"".join(frame(role, *arguments) for arguments in frames)
    assert receive(connection, chunked(wire + frame(role, 0x82, b"more"))) == [*events, b"more"]
    assert sent(connection) == answer
    assert (connection.state, connection.failure, connection.close_code) == (State.OPEN, None, None)


# (frames as arguments of frame(), events before the violation, close code)
VIOLATIONS = [
    *[pytest.param([(0xC0 | op, b"")], [], 1002, id=f"rsv1-{op:x}") for op in (0, 1, 2, 8, 9, 10)],
    pytest.param([(0xA1, b"")], [], 1002, id="rsv2"),
    pytest.param([(0x91, b"")], [], 1002, id="rsv3"),
    *[pytest.param([(0x80 | op, b"")], [], 1002, id=f"opcode-{op:x}") for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    pytest.param([(0x82, b"", b"\x7e\x00\x7d")], [], 1002, id="not-minimal-16"),
    pytest.param([(0x82, b"", b"\x7f" + b"\xff\xff".rjust(8, b"\0"))], [], 1002, id="not-minimal-64"),
    pytest.param([(0x82, b"", b"\x7f\x80" + bytes(7))], [], 1002, id="top-bit-of-64"),
    pytest.param([(0x89, b"p" * 126)], [], 1002, id="ping-126"),
    pytest.param([(0x88, b"\x03\xe8" + b"r" * 124)], [], 1002, id="close-126"),
    pytest.param([(0x09, b"")], [], 1002, id="ping-fragment"),
    pytest.param([(0x08, b"")], [], 1002, id="close-fragment"),
    pytest.param([(0x81, b"ok"), (0x80, b"")], ["ok"], 1002, id="continuation-of-nothing"),
    pytest.param([(0x01, b"a"), (0x81, b"b")], [], 1002, id="text-inside-message"),
    pytest.param([(0x01, b"a"), (0x89, b"p"), (0x82, b"b")], [Ping(b"p")], 1002, id="binary-inside-message"),
    pytest.param([(0x81, b"\xff")], [], 1007, id="bad-text"),
    pytest.param([(0x81, b"\xed\xa0\x80")], [], 1007, id="surrogate"),
    pytest.param([(0x81, b"\xe2\x82")], [], 1007, id="unfinished-text"),
    pytest.param([(0x01, b"\xe2"), (0x80, b"\x28")], [], 1007, id="bad-text-across-fragments"),
    pytest.param([(0x88, b"\x03")], [], 1002, id="close-1-byte"),
    *[
        pytest.param([(0x88, code.to_bytes(2, "big"))], [], 1002, id=f"close-{code}")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ],
    pytest.param([(0x88, b"\x03\xe8\xff")], [], 1007, id="close-reason-not-utf-8"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events", "code"), VIOLATIONS)
def test_a_violation_fails_the_connection(
    frames: list[Any], events: list[Event], code: int, role: Role, chunked: Chunked
) -> None:
    """RFC 6455, 7.1.7: a Close with the code; what was queued is dropped; nothing more is processed."""
    connection = Connection(role)
    connection.send_message("never sent")
    connection.send_ping(b"never sent")
    wire = b"".join(frame(role, *arguments) for arguments in frames)
    assert receive(connection, chunked(wire + frame(role, 0x81, b"more") + frame(role, 0x89))) == events
    assert connection.failure is not None
    assert connection.failure.close_code == code
    assert connection.state is State.CLOSED
    assert connection.close_code == 1006  # no Close was received
    [(opcode, payload)] = sent(connection)
    assert opcode is Opcode.CLOSE
    assert parse_close(payload) == connection.close_sent == Close(code, connection.failure.reason)


@both_roles
def test_a_failure_can_be_held_until_what_came_before_is_answered(role: Role) -> None:
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


@both_roles
def test_masking_is_checked_in_both_roles(role: Role) -> None:
    connection = Connection(role)
    assert connection.receive_data(frame(role, 0x81, b"Hello", masked=role is Role.CLIENT)) == []
    assert connection.failure is not None
    assert connection.failure.close_code == 1002


def test_a_server_can_accept_unmasked_frames() -> None:
    connection = Connection(Role.SERVER, accept_unmasked=True)
    data = frame(Role.SERVER, 0x81, b"a", masked=False) + frame(Role.SERVER, 0x81, b"b", masked=True)
    assert connection.receive_data(data) == ["a", "b"]


def test_a_client_never_accepts_masked_frames() -> None:
    connection = Connection(Role.CLIENT, accept_unmasked=True)
    assert connection.receive_data(frame(Role.CLIENT, 0x81, b"a", masked=True)) == []
    assert connection.state is State.CLOSED


@both_roles
@pytest.mark.parametrize(
    ("limits", "frames", "option", "actual"),
    [
        pytest.param({"max_message_size": 9}, [(0x82, b"", b"\x0a")], "max_message_size", 10, id="message"),
        pytest.param({"max_frame_size": 9}, [(0x82, b"", b"\x0a")], "max_frame_size", 10, id="frame"),
        pytest.param({"max_fragments": 1}, [(2, b"a"), (0, b"", b"\x01")], "max_fragments", 2, id="fragments"),
        pytest.param(
            {}, [(0x82, b"", b"\x7f" + (2**20 + 1).to_bytes(8, "big"))], "max_message_size", 2**20 + 1, id="1-MiB"
        ),
        pytest.param({}, [(0x02, b"")] + [(0x00, b"")] * 16384, "max_fragments", 16385, id="16384-fragments"),
    ],
)
def test_limits_act_before_the_payload_comes(
    limits: dict[str, Any], frames: list[Any], option: str, actual: int, role: Role
) -> None:
    connection = Connection(role, **limits)
    assert connection.receive_data(b"".join(frame(role, *arguments) for arguments in frames)) == []
    assert isinstance(connection.failure, LimitExceeded)
    assert (connection.failure.option, connection.failure.actual) == (option, actual)
    assert connection.close_sent == Close(1009, f"{option} is {connection.failure.limit}, received {actual}")


@both_roles
def test_bad_text_in_an_unfinished_frame_fails_at_once(role: Role) -> None:
    connection = Connection(role)
    connection.receive_data(frame(role, 0x81, b"ok \xed", length=b"\x7d"))
    assert connection.state is State.OPEN
    connection.receive_data(b"\xa0")
    assert connection.close_sent is not None
    assert connection.close_sent.code == 1007


@both_roles
def test_each_ping_is_answered_but_only_the_newest_of_a_flood(role: Role) -> None:
    connection = Connection(role)
    payloads = [bytes([number]) for number in range(20)]
    for payload in payloads[:10]:
        assert connection.receive_data(frame(role, 0x89, payload)) == [Ping(payload)]
    assert sent(connection) == [(Opcode.PONG, payload) for payload in payloads[:10]]
    connection.receive_data(b"".join(frame(role, 0x89, payload) for payload in payloads))
    assert sent(connection) == [(Opcode.PONG, payload) for payload in payloads[4:]]


# -- closing -----------------------------------------------------------------------------------------------------------

CLOSES = [
    pytest.param(b"", Close(1005), id="no-code"),
    *[
        pytest.param(code.to_bytes(2, "big"), Close(code), id=str(code))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    ],
    pytest.param(b"\x03\xe8bye \xe2\x82\xac", Close(1000, "bye €"), id="reason"),
    pytest.param(b"\x03\xe8" + b"r" * 123, Close(1000, "r" * 123), id="longest"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("payload", "close"), CLOSES)
def test_a_close_is_echoed_and_nothing_behind_it_matters(
    payload: bytes, close: Close, role: Role, chunked: Chunked
) -> None:
    connection = Connection(role)
    data = frame(role, 0x88, payload) + frame(role, 0x81, b"late") + frame(role, 0x89, b"late") + b"\xff\xff"
    assert receive(connection, chunked(data)) == [close]
    assert sent(connection) == [(Opcode.CLOSE, payload)]
    assert (connection.state, connection.failure) == (State.CLOSED, None)
    assert (connection.close_received, connection.close_code) == (close, close.code)
    assert connection.close_sent == close
    assert connection.is_server_done is (role is Role.SERVER)


@both_roles
def test_a_close_inside_a_fragmented_message(role: Role) -> None:
    connection = Connection(role)
    assert connection.receive_data(frame(role, 0x01, b"a") + frame(role, 0x88)) == [Close(1005)]
    assert connection.failure is None


@both_roles
def test_what_was_accepted_goes_before_the_echo_and_the_pong_before_both(role: Role) -> None:
    connection = Connection(role)
    connection.send_message(b"queued")
    connection.receive_data(frame(role, 0x89, b"p") + frame(role, 0x88, b"\x03\xe8"))
    assert sent(connection) == [(Opcode.PONG, b"p"), (Opcode.BINARY, b"queued"), (Opcode.CLOSE, b"\x03\xe8")]


@both_roles
def test_our_close_is_not_echoed_again_and_the_peer_is_read_until_its_close(role: Role) -> None:
    connection = Connection(role)
    connection.send_close(1001, "bye")
    assert (connection.state, connection.close_code, connection.is_server_done) == (State.CLOSING, None, False)
    assert sent(connection) == [(Opcode.CLOSE, b"\x03\xe9bye")]
    data = frame(role, 0x81, b"on its way") + frame(role, 0x8A) + frame(role, 0x88, b"\x03\xe9")
    assert connection.receive_data(data) == ["on its way", Pong(b""), Close(1001)]
    assert connection.state is State.CLOSED
    assert sent(connection) == []
    assert (connection.close_sent, connection.close_received) == (Close(1001, "bye"), Close(1001))


@both_roles
def test_no_pong_after_our_close(role: Role) -> None:
    connection = Connection(role)
    connection.send_close()
    assert connection.receive_data(frame(role, 0x89, b"p")) == [Ping(b"p")]
    assert sent(connection) == [(Opcode.CLOSE, b"\x03\xe8")]


@both_roles
def test_a_violation_after_our_close_sends_no_second_close_and_drops_the_data_before_it(role: Role) -> None:
    connection = Connection(role)
    connection.send_message("dropped")
    connection.send_message("dropped")
    connection.send_close(1000)
    assert connection.receive_data(frame(role, 0x83)) == []
    assert (connection.state, connection.close_sent) == (State.CLOSED, Close(1000))
    assert connection.failure is not None
    assert connection.queued == len(frame(role, 0x88, b"\x03\xe8", masked=role is Role.CLIENT))
    assert sent(connection) == [(Opcode.CLOSE, b"\x03\xe8")]


@both_roles
def test_a_violation_after_our_close_went_out_sends_nothing(role: Role) -> None:
    connection = Connection(role)
    connection.send_close(1000)
    assert sent(connection) == [(Opcode.CLOSE, b"\x03\xe8")]
    assert connection.receive_data(frame(role, 0x83)) == []
    assert connection.failure is not None
    assert (connection.state, connection.close_code, sent(connection)) == (State.CLOSED, 1006, [])


@both_roles
def test_the_end_of_the_stream_without_a_close_is_1006(role: Role) -> None:
    connection = Connection(role)
    connection.send_message("cannot be sent any more")
    connection.send_ping()
    connection.receive_data(frame(role, 0x89) + frame(role, 0x02, b"unfinished"))
    connection.receive_eof()
    assert (connection.state, connection.close_code, connection.close_received) == (State.CLOSED, 1006, None)
    assert (connection.failure, connection.queued, connection.data_to_send()) == (None, 0, b"")
    assert connection.is_server_done is (role is Role.SERVER)


@both_roles
def test_the_end_of_the_stream_after_a_close_changes_no_code(role: Role) -> None:
    connection = Connection(role)
    connection.receive_data(frame(role, 0x88, b"\x03\xe8"))
    connection.receive_eof()
    assert connection.close_code == 1000


@both_roles
@pytest.mark.parametrize("end", ["close", "violation", "eof"])
def test_what_comes_after_the_end_is_not_kept(end: str, role: Role) -> None:
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
