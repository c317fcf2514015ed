"""Frames (RFC 6455, section 5)."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from anyws.protocol import Connection, Event, FrameDecoder, LimitExceeded, Ping, Pong, Role, State
from tests.chunks import Chunked, chunked

from .wire import Frames, both_roles, check_failed, frame, receive, sent, wire_of

DATA_AND_CONTROL = [0x0, 0x1, 0x2, 0x8, 0x9, 0xA]


def check_fails(role: Role, wire: bytes, chunked: Chunked, *before: Event, code: int = 1002) -> None:
    """Check that these bytes fail the connection, and that queued and later data has no effect."""
    connection = Connection(role)
    connection.send_message("never sent")
    connection.send_ping(b"never sent")
    more = frame(role, 0x81, b"more") + frame(role, 0x89) + frame(role, 0x88)
    assert receive(connection, chunked(wire + more)) == [*before]
    check_failed(connection, code)


# -- 5.1 ---------------------------------------------------------------------------------------------------------------


@both_roles
@chunked
@pytest.mark.parametrize("opcode", [0x1, 0x2, 0x8, 0x9, 0xA])
def test_5_1_a_server_fails_on_an_unmasked_frame_and_a_client_on_a_masked_one(
    opcode: int, role: Role, chunked: Chunked
) -> None:
    check_fails(role, frame(role, 0x80 | opcode, masked=role is Role.CLIENT), chunked)


@both_roles
@chunked
def test_5_1_the_second_frame_is_checked_too(role: Role, chunked: Chunked) -> None:
    wire = frame(role, 0x81, b"good") + frame(role, 0x81, b"bad", masked=role is Role.CLIENT)
    check_fails(role, wire, chunked, "good")


# -- 5.2 ---------------------------------------------------------------------------------------------------------------


@both_roles
@chunked
@pytest.mark.parametrize("opcode", DATA_AND_CONTROL)
@pytest.mark.parametrize("rsv", [0x40, 0x20, 0x10, 0x70], ids=["RSV1", "RSV2", "RSV3", "all"])
def test_5_2_reserved_bits_that_no_extension_uses(rsv: int, opcode: int, role: Role, chunked: Chunked) -> None:
    check_fails(role, frame(role, 0x80 | rsv | opcode), chunked)


@both_roles
@chunked
@pytest.mark.parametrize("fin", [0x80, 0x00], ids=["FIN", "no-FIN"])
@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_5_2_reserved_opcodes(opcode: int, fin: int, role: Role, chunked: Chunked) -> None:
    check_fails(role, frame(role, fin | opcode, b"x"), chunked)


@both_roles
@chunked
@pytest.mark.parametrize(
    "length",
    [
        pytest.param("7e 00 00", id="0-in-16-bits"),
        pytest.param("7e 00 7d", id="125-in-16-bits"),
        pytest.param("7f 00 00 00 00 00 00 00 00", id="0-in-64-bits"),
        pytest.param("7f 00 00 00 00 00 00 00 7d", id="125-in-64-bits"),
        pytest.param("7f 00 00 00 00 00 00 00 7e", id="126-in-64-bits"),
        pytest.param("7f 00 00 00 00 00 00 ff ff", id="65535-in-64-bits"),
    ],
)
def test_5_2_minimal_length_encoding(length: str, role: Role, chunked: Chunked) -> None:
    check_fails(role, frame(role, 0x82, length=bytes.fromhex(length)), chunked)


@both_roles
@chunked
@pytest.mark.parametrize("length", ["7f 80 00 00 00 00 00 00 00", "7f ff ff ff ff ff ff ff ff"])
def test_5_2_the_top_bit_of_a_64_bit_length(length: str, role: Role, chunked: Chunked) -> None:
    check_fails(role, frame(role, 0x82, length=bytes.fromhex(length)), chunked)


@both_roles
@chunked
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_5_2_every_length_in_its_minimal_encoding(size: int, role: Role, chunked: Chunked) -> None:
    message = bytes(size)
    connection = Connection(role)
    assert receive(connection, chunked(frame(role, 0x82, message) + frame(role, 0x81, b"next"))) == [message, "next"]
    connection.send_message(message)
    data = connection.data_to_send()
    minimal = {125: 0, 65535: 2}
    extended = next((extra for largest, extra in minimal.items() if size <= largest), 8)
    assert len(data) == 2 + extended + (4 if role is Role.CLIENT else 0) + size


# -- 5.3 ---------------------------------------------------------------------------------------------------------------


def test_5_3_a_client_masks_each_frame_with_a_fresh_key() -> None:
    numbers = count(1)
    client = Connection(Role.CLIENT, new_masking_key=lambda: next(numbers).to_bytes(4, "big"))
    client.send_message(b"abcdef", fragment_size=3)
    client.send_close()
    decoder = FrameDecoder(masked=True)
    decoder.feed(client.data_to_send())
    seen = {part.payload: int.from_bytes(part.header.masking_key, "big") for part in iter(decoder.next_part, None)}
    assert seen == {b"abc": 1, b"def": 2, b"\x03\xe8": 3}


def test_5_3_a_server_does_not_mask_and_generates_no_keys() -> None:
    server = Connection(Role.SERVER, new_masking_key=lambda: pytest.fail("a server needs no key"))
    server.send_message(b"abc")
    assert server.data_to_send() == b"\x82\x03abc"


# -- 5.4 ---------------------------------------------------------------------------------------------------------------

# (frames, events, what is sent)
FRAGMENTED = [
    pytest.param([(0x81, b"Hello")], ["Hello"], [], id="one-frame"),
    pytest.param([(0x01, b"Hel"), (0x80, b"lo")], ["Hello"], [], id="two-fragments"),
    pytest.param([(0x02, b"\xff"), (0x00, b"\xfe"), (0x80, b"\xfd")], [b"\xff\xfe\xfd"], [], id="three-fragments"),
    pytest.param([(0x01, b""), (0x80, b"")], [""], [], id="only-zero-length-fragments"),
    pytest.param([(0x02, b""), (0x00, b"a"), (0x00, b""), (0x80, b"")], [b"a"], [], id="zero-length-fragments"),
    pytest.param(
        [(0x01, b"a"), (0x89, b"p"), (0x00, b"b"), (0x8A, b"q"), (0x80, b"c")],
        [Ping(b"p"), Pong(b"q"), "abc"],
        [(0x8A, b"p")],
        id="control-frames-between-fragments",
    ),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events", "answer"), FRAGMENTED)
def test_5_4_fragmentation(frames: Frames, events: list[Event], answer: Frames, role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    assert receive(connection, chunked(wire_of(role, [*frames, (0x82, b"more")]))) == [*events, b"more"]
    assert sent(connection) == answer
    assert (connection.state, connection.failure, connection.close_code) == (State.OPEN, None, None)


# (frames, events before the violation)
OUT_OF_ORDER: list[Any] = [
    pytest.param([(0x80, b"")], [], id="continuation-without-a-start"),
    pytest.param([(0x00, b"a")], [], id="unfinished-continuation-without-a-start"),
    pytest.param([(0x81, b"ok"), (0x80, b"")], ["ok"], id="continuation-behind-a-message"),
    pytest.param([(0x01, b"a"), (0x80, b"b"), (0x80, b"")], ["ab"], id="continuation-behind-fragments"),
    pytest.param([(0x01, b"a"), (0x81, b"b")], [], id="text-inside-text"),
    pytest.param([(0x01, b"a"), (0x82, b"b")], [], id="binary-inside-text"),
    pytest.param([(0x02, b"a"), (0x01, b"b")], [], id="fragment-inside-binary"),
    pytest.param([(0x02, b"a"), (0x89, b"p"), (0x82, b"b")], [Ping(b"p")], id="binary-inside-binary"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "before"), OUT_OF_ORDER)
def test_5_4_fragments_out_of_order(frames: Frames, before: list[Event], role: Role, chunked: Chunked) -> None:
    check_fails(role, wire_of(role, frames), chunked, *before)


# -- 5.5 ---------------------------------------------------------------------------------------------------------------


@both_roles
@chunked
@pytest.mark.parametrize("opcode", [0x8, 0x9, 0xA])
@pytest.mark.parametrize("size", [126, 127, 65536])
def test_5_5_control_frames_have_at_most_125_bytes(size: int, opcode: int, role: Role, chunked: Chunked) -> None:
    check_fails(role, frame(role, 0x80 | opcode, b"\x03\xe8" + b"x" * (size - 2)), chunked)


@both_roles
@chunked
@pytest.mark.parametrize("opcode", [0x8, 0x9, 0xA])
def test_5_5_control_frames_are_not_fragmented(opcode: int, role: Role, chunked: Chunked) -> None:
    check_fails(role, frame(role, opcode), chunked)


# -- 10.4 --------------------------------------------------------------------------------------------------------------


@both_roles
@chunked
@pytest.mark.parametrize(
    ("limits", "frames", "option", "actual"),
    [
        pytest.param({"max_message_size": 9}, [(0x82, b"", b"\x0a")], "max_message_size", 10, id="message"),
        pytest.param({"max_frame_size": 9}, [(0x82, b"", b"\x0a")], "max_frame_size", 10, id="frame"),
        pytest.param({"max_fragments": 1}, [(2, b"a", None), (0, b"", b"\x01")], "max_fragments", 2, id="fragments"),
        pytest.param(
            {}, [(0x82, b"", b"\x7f" + (2**20 + 1).to_bytes(8, "big"))], "max_message_size", 2**20 + 1, id="1-MiB"
        ),
        pytest.param(
            {}, [(0x02, b"", None)] + [(0x00, b"", None)] * 16384, "max_fragments", 16385, id="16384-fragments"
        ),
    ],
)
def test_10_4_limits_are_applied_to_the_header(
    limits: dict[str, Any], frames: list[Any], option: str, actual: int, role: Role, chunked: Chunked
) -> None:
    connection = Connection(role, **limits)
    wire = b"".join(frame(role, first, payload, length=length) for first, payload, length in frames)
    assert receive(connection, chunked(wire)) == []
    assert isinstance(connection.failure, LimitExceeded)
    assert (connection.failure.option, connection.failure.actual) == (option, actual)
    check_failed(connection, 1009)
