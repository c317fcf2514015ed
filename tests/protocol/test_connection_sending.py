"""Sending on an open connection, in both roles (RFC 6455, sections 5.4 and 5.5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import Close, Connection, Event, FrameDecoder, LocalProtocolError, Opcode, Role, State
from anyws.protocol.frames import FrameHeader

both_roles = pytest.mark.parametrize("role", Role)
PEER = {Role.CLIENT: Role.SERVER, Role.SERVER: Role.CLIENT}
CLOSE_1000 = (Opcode.CLOSE, True, b"\x03\xe8")


def headers_and_payloads(data: bytes, masked: bool | None = None) -> list[tuple[FrameHeader, bytes]]:
    decoder = FrameDecoder(masked=masked)
    decoder.feed(data)
    parts = list(iter(decoder.next_part, None))
    assert all(part.first and part.last for part in parts)
    return [(part.header, part.payload) for part in parts]


def frames(data: bytes) -> list[tuple[Opcode, bool, bytes]]:
    """Return opcode, FIN and payload of complete frames."""
    return [(header.opcode, header.fin, payload) for header, payload in headers_and_payloads(data)]


def writes(connection: Connection) -> list[bytes]:
    return list(iter(connection.data_to_send, b""))


MESSAGES = [
    pytest.param("Hello", {}, [(Opcode.TEXT, True, b"Hello")], id="text"),
    pytest.param("", {}, [(Opcode.TEXT, True, b"")], id="empty-text"),
    pytest.param("\u20ac", {}, [(Opcode.TEXT, True, b"\xe2\x82\xac")], id="utf-8"),
    pytest.param(b"\xff", {}, [(Opcode.BINARY, True, b"\xff")], id="binary"),
    pytest.param(b"", {"fragment_size": 1}, [(Opcode.BINARY, True, b"")], id="empty-in-fragments"),
    pytest.param(b"1234", {"fragment_size": 4}, [(Opcode.BINARY, True, b"1234")], id="exactly-one-fragment"),
    pytest.param(
        b"12345", {"fragment_size": 4}, [(Opcode.BINARY, False, b"1234"), (Opcode.CONTINUATION, True, b"5")], id="tail"
    ),
    pytest.param(
        b"12345678",
        {"fragment_size": 4},
        [(Opcode.BINARY, False, b"1234"), (Opcode.CONTINUATION, True, b"5678")],
        id="even",
    ),
    pytest.param(
        "a\u20ac",
        {"fragment_size": 2},
        [(Opcode.TEXT, False, b"a\xe2"), (Opcode.CONTINUATION, True, b"\x82\xac")],
        id="text-is-cut-anywhere",
    ),
    pytest.param("text", {"opcode": Opcode.BINARY}, [(Opcode.BINARY, True, b"text")], id="str-as-binary"),
    pytest.param(b"text", {"opcode": Opcode.TEXT}, [(Opcode.TEXT, True, b"text")], id="bytes-as-text"),
    pytest.param(b"text", {"opcode": Opcode.BINARY}, [(Opcode.BINARY, True, b"text")], id="bytes-as-binary"),
]


@both_roles
@pytest.mark.parametrize(("message", "options", "expected"), MESSAGES)
def test_messages_become_frames(message: str | bytes, options: dict[str, Any], expected: list[Any], role: Role) -> None:
    connection = Connection(role)
    assert not connection.has_data_to_send
    connection.send_message(message, **options)
    assert connection.has_data_to_send
    queued = connection.queued
    data = connection.data_to_send()
    assert queued == len(data)
    assert connection.queued == 0
    assert frames(data) == expected
    assert connection.data_to_send() == b""


@both_roles
@pytest.mark.parametrize(
    ("message", "options", "error", "text"),
    [
        pytest.param("\ud800", {}, ValueError, "surrogates not allowed", id="lone-surrogate"),
        pytest.param(b"\xff", {"opcode": Opcode.TEXT}, ValueError, "invalid start byte", id="text-is-not-utf-8"),
        pytest.param(b"\xff", {"opcode": 1}, ValueError, "invalid start byte", id="opcode-as-int"),
        pytest.param(b"p", {"opcode": Opcode.PING}, ValueError, "expected TEXT or BINARY", id="ping-is-no-message"),
        pytest.param(b"", {"opcode": Opcode.CONTINUATION}, ValueError, "expected TEXT or BINARY", id="continuation"),
        pytest.param(b"", {"opcode": 3}, ValueError, "expected TEXT or BINARY", id="reserved-opcode"),
        pytest.param(b"ab", {"fragment_size": 0}, ValueError, "fragment_size is 0", id="fragment-size-0"),
        pytest.param(b"ab", {"fragment_size": -1}, ValueError, "fragment_size is -1", id="fragment-size-negative"),
    ],
)
def test_an_invalid_message_is_rejected_and_nothing_is_queued(
    message: Any, options: dict[str, Any], error: type[Exception], text: str, role: Role
) -> None:
    connection = Connection(role)
    with pytest.raises(error, match=text):
        connection.send_message(message, **options)
    assert not connection.has_data_to_send
    assert connection.queued == 0
    connection.send_message("the connection goes on")


@both_roles
def test_a_message_can_be_sent_piece_by_piece(role: Role) -> None:
    connection = Connection(role)
    assert not connection.sending_fragments
    for data, fin in (("a", False), ("", False), ("b", True)):
        connection.send_fragment(data, fin=fin)
        assert connection.sending_fragments is not fin
    connection.send_fragment(b"c", fin=True)
    assert frames(connection.data_to_send()) == [
        (Opcode.TEXT, False, b"a"),
        (Opcode.CONTINUATION, False, b""),
        (Opcode.CONTINUATION, True, b"b"),
        (Opcode.BINARY, True, b"c"),
    ]


def test_all_fragments_have_the_same_type() -> None:
    connection = Connection(Role.SERVER)
    connection.send_fragment("a", fin=False)
    with pytest.raises(TypeError, match="a fragment of a TEXT message cannot be bytes"):
        connection.send_fragment(b"b", fin=True)
    with pytest.raises(ValueError, match="surrogates"):
        connection.send_fragment("\ud800", fin=True)
    assert connection.sending_fragments
    connection.send_fragment("c", fin=True)
    connection.send_fragment(b"d", fin=False)
    with pytest.raises(TypeError, match="a fragment of a BINARY message cannot be str"):
        connection.send_fragment("e", fin=True)
    assert [payload for _, _, payload in frames(connection.data_to_send())] == [b"a", b"c", b"d"]


@both_roles
def test_only_control_frames_can_be_sent_between_fragments(role: Role) -> None:
    connection = Connection(role)
    connection.send_fragment(b"a", fin=False)
    with pytest.raises(LocalProtocolError, match="a fragmented message is being sent"):
        connection.send_message(b"b")
    assert frames(connection.data_to_send()) == [(Opcode.BINARY, False, b"a")]
    connection.send_ping(b"p")
    connection.send_close()
    assert frames(connection.data_to_send()) == [(Opcode.PING, True, b"p"), CLOSE_1000]


@both_roles
def test_pings_and_pongs_overtake_queued_data(role: Role) -> None:
    connection, peer = Connection(role), Connection(PEER[role])
    connection.send_message(b"data")
    connection.send_ping(b"1")
    connection.send_pong(b"2")
    peer.send_ping(b"3")
    connection.receive_data(peer.data_to_send())
    connection.send_close()
    assert frames(connection.data_to_send()) == [
        (Opcode.PING, True, b"1"),
        (Opcode.PONG, True, b"2"),
        (Opcode.PONG, True, b"3"),
        (Opcode.BINARY, True, b"data"),
        CLOSE_1000,
    ]
    assert (connection.has_data_to_send, connection.data_to_send()) == (False, b"")  # each goes once


@both_roles
def test_a_pong_overtakes_the_rest_of_a_long_queue_but_does_not_split_a_frame(role: Role) -> None:
    connection, peer = Connection(role), Connection(PEER[role])
    for size in (200_000, 30_000, 30_000, 30_000):
        connection.send_message(bytes(size))
    connection.send_fragment(b"a", fin=False)
    seen = []
    for number in count():
        if not (data := connection.data_to_send()):
            break
        seen.append([(opcode.name, len(payload)) for opcode, _, payload in frames(data)])
        if number == 1:
            peer.send_ping(b"!")
            connection.receive_data(peer.data_to_send())
    assert seen == [
        [("BINARY", 200_000)],
        [("BINARY", 30_000), ("BINARY", 30_000)],
        [("PONG", 1), ("BINARY", 30_000), ("BINARY", 1)],
    ]


@both_roles
def test_a_write_has_at_most_64_KiB(role: Role) -> None:
    overhead = 8 if role is Role.CLIENT else 4
    for second, lengths in ((8192, [65_536]), (8193, [65_536 - 8192 - overhead, 8193 + overhead])):
        connection = Connection(role)
        for size in (65_536 - 8192 - 2 * overhead, second):
            connection.send_message(bytes(size))
        assert [len(data) for data in writes(connection)] == lengths
        assert connection.queued == 0


@both_roles
@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        pytest.param(1000, "", b"\x03\xe8", id="normal"),
        pytest.param(4999, "\u20ac", b"\x13\x87\xe2\x82\xac", id="reason"),
        pytest.param(1000, "r" * 122 + "\xe9", b"\x03\xe8" + b"r" * 122, id="reason-is-cut"),
        pytest.param(None, "", b"", id="no-code"),
    ],
)
def test_a_close_is_sent_after_the_data_and_is_the_last_frame(
    code: int | None, reason: str, payload: bytes, role: Role
) -> None:
    connection = Connection(role)
    connection.send_message(b"before")
    connection.send_close(code, reason)
    assert connection.state is State.CLOSING
    late: list[Callable[[], None]] = [
        lambda: connection.send_message("late"),
        lambda: connection.send_fragment("late", fin=True),
        connection.send_ping,
        connection.send_pong,
        connection.send_close,
    ]
    for send in late:
        with pytest.raises(LocalProtocolError, match="cannot send after a Close"):
            send()
    assert frames(connection.data_to_send()) == [(Opcode.BINARY, True, b"before"), (Opcode.CLOSE, True, payload)]
    assert connection.close_sent == Close(1005 if code is None else code, payload[2:].decode())


@both_roles
def test_nothing_can_be_sent_after_the_peers_close_or_the_end(role: Role) -> None:
    closed, ended = Connection(role), Connection(role)
    peer = Connection(PEER[role])
    peer.send_close()
    closed.receive_data(peer.data_to_send())
    ended.receive_eof()
    for connection in (closed, ended):
        with pytest.raises(LocalProtocolError, match="the connection is closed"):
            connection.send_message("late")
        with pytest.raises(LocalProtocolError, match="the connection is closed"):
            connection.send_close()
    assert frames(closed.data_to_send()) == [CLOSE_1000]


# -- gathered writes ---------------------------------------------------------------------------------------------------


def gathered(connection: Connection) -> list[list[bytes]]:
    return list(iter(connection.buffers_to_send, []))


@both_roles
@pytest.mark.parametrize("sizes", [[], [1, 2, 3], [16_383], [16_384], [5, 20_000, 6], [200_000, 1], [30_000] * 5])
def test_the_buffers_of_a_write_are_its_bytes(sizes: list[int], role: Role) -> None:
    joined, buffered = (Connection(role, new_masking_key=lambda: b"1234") for _ in range(2))
    for connection in (joined, buffered):
        for size in sizes:
            connection.send_message(bytes(size))
        connection.send_ping(b"ping")
        connection.send_close()
    assert joined.queued == buffered.queued
    assert [b"".join(buffers) for buffers in gathered(buffered)] == writes(joined)
    assert joined.queued == buffered.queued == 0
    assert not buffered.has_data_to_send


def test_a_large_payload_is_not_copied() -> None:
    connection = Connection(Role.SERVER)
    payload = bytes(16_384)
    connection.send_message(b"small")
    connection.send_message(payload)
    connection.send_message("text")
    before, large, behind = connection.buffers_to_send()
    assert large is payload
    assert before == b"\x82\x05small\x82\x7e\x40\x00"
    assert behind == b"\x81\x04text"


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_mutable_payload_is_copied_when_it_is_sent(kind: Any) -> None:
    connection = Connection(Role.SERVER)
    data = bytearray(20_000)
    connection.send_message(kind(data))
    data[:] = b"x" * 20_000
    assert connection.buffers_to_send() == [b"\x82\x7e\x4e\x20", bytes(20_000)]


@pytest.mark.parametrize("message", [bytes(16_383), "x" * 20_000], ids=["small", "text"])
def test_a_payload_that_must_be_copied_becomes_one_buffer(message: str | bytes) -> None:
    server, client = Connection(Role.SERVER), Connection(Role.CLIENT)
    server.send_message(message)
    client.send_message(bytes(20_000))
    assert [len(connection.buffers_to_send()) for connection in (server, client)] == [1, 1]


def test_many_small_frames_are_one_buffer() -> None:
    connection = Connection(Role.SERVER)
    for _ in range(10_000):
        connection.send_message(b"")
    assert [len(buffer) for [buffer] in gathered(connection)] == [20_000]


def test_a_failure_drops_large_frames_too() -> None:
    connection = Connection(Role.SERVER)
    connection.send_message(bytes(20_000))
    connection.receive_data(b"\x83\x80")
    [data] = connection.buffers_to_send()
    assert [opcode for opcode, _, _ in frames(data)] == [Opcode.CLOSE]
    assert not connection.has_data_to_send


# -- masking -----------------------------------------------------------------------------------------------------------


def test_a_client_can_be_told_not_to_mask() -> None:
    client = Connection(Role.CLIENT, masking=False)
    server = Connection(Role.SERVER, accept_unmasked=True)
    client.send_message(b"abc")
    data = client.data_to_send()
    assert data == b"\x82\x03abc"
    assert server.receive_data(data) == [b"abc"]


# -- two ends ----------------------------------------------------------------------------------------------------------


@both_roles
@pytest.mark.parametrize("fragment_size", [None, 1, 7, 65536])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000, 65535, 65536, 65537])
def test_a_message_of_any_size_arrives(size: int, fragment_size: int | None, role: Role) -> None:
    if fragment_size == 1:
        size = min(size, 1000)
    sender, receiver = Connection(role), Connection(PEER[role])
    message = bytes(i % 251 for i in range(size))
    sender.send_message(message, fragment_size=fragment_size)
    assert [event for data in writes(sender) for event in receiver.receive_data(data)] == [message]


def test_pieces_can_be_received_before_the_message_is_complete() -> None:
    sender, receiver = Connection(Role.SERVER), Connection(Role.CLIENT)
    sender.send_fragment("ab", fin=False)
    assert receiver.receive_data(sender.data_to_send()) == []
    assert (receiver.in_message, receiver.partial_size) == (True, 2)
    assert receiver.take_partial() == "ab"
    sender.send_fragment("c", fin=True)
    assert receiver.receive_data(sender.data_to_send()) == ["c"]
    assert (receiver.in_message, receiver.partial_size) == (False, 0)


@both_roles
@given(messages=st.lists(st.tuples(st.text() | st.binary(), st.none() | st.integers(1, 9)), max_size=5))
@settings(deadline=None)
def test_one_side_receives_what_the_other_sends(messages: list[tuple[str | bytes, int | None]], role: Role) -> None:
    sender, receiver = Connection(role), Connection(PEER[role])
    for message, fragment_size in messages:
        sender.send_message(message, fragment_size=fragment_size)
    sender.send_close(1001)
    received: list[Event] = [event for data in writes(sender) for event in receiver.receive_data(data)]
    assert received == [*(message for message, _ in messages), Close(1001)]
    assert sender.receive_data(receiver.data_to_send()) == [Close(1001)]
    assert sender.state is receiver.state is State.CLOSED
