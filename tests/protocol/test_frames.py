"""Encoding and decoding of single frames (RFC 6455, sections 5.2, 5.3, 5.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import (
    Connection,
    FrameDecoder,
    FrameHeader,
    FramePart,
    LimitExceeded,
    Opcode,
    ProtocolError,
    Role,
    serialize_frame,
)
from anyws.protocol.errors import RemoteProtocolError


class Frame(NamedTuple):
    opcode: Opcode
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    key: bytes = b""


def serialize(frame: Frame) -> bytes:
    return serialize_frame(frame.opcode, frame.payload, fin=frame.fin, rsv=frame.rsv, masking_key=frame.key)


def read_parts(decoder: FrameDecoder) -> list[FramePart]:
    return list(iter(decoder.next_part, None))


def decode(chunks: Iterable[bytes], masked: bool | None = None) -> list[Frame]:
    """Decode the chunks, join the parts of each frame, and check that they are consistent."""
    decoder = FrameDecoder(masked=masked, rsv=0x70)
    frames: list[Frame] = []
    header: FrameHeader | None = None
    payload = b""
    for chunk in chunks:
        decoder.feed(chunk)
        for part in read_parts(decoder):
            assert part.first is (header is None)
            assert header is None or part.header is header
            header = part.header
            payload += part.payload
            assert len(payload) <= header.length
            if part.last:
                assert len(payload) == header.length
                frames.append(Frame(header.opcode, payload, header.fin, header.rsv, header.masking_key))
                header, payload = None, b""
    return frames


def split(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


KEY = bytes.fromhex("37fa213d")

FRAMES = [
    # RFC 6455, section 5.7
    pytest.param("81 05 48 65 6c 6c 6f", Frame(Opcode.TEXT, b"Hello"), id="5.7-text"),
    pytest.param("81 85 37 fa 21 3d 7f 9f 4d 51 58", Frame(Opcode.TEXT, b"Hello", key=KEY), id="5.7-masked-text"),
    pytest.param("01 03 48 65 6c", Frame(Opcode.TEXT, b"Hel", fin=False), id="5.7-first-fragment"),
    pytest.param("80 02 6c 6f", Frame(Opcode.CONTINUATION, b"lo"), id="5.7-last-fragment"),
    pytest.param("89 05 48 65 6c 6c 6f", Frame(Opcode.PING, b"Hello"), id="5.7-ping"),
    pytest.param("8a 85 37 fa 21 3d 7f 9f 4d 51 58", Frame(Opcode.PONG, b"Hello", key=KEY), id="5.7-masked-pong"),
    pytest.param("82 7e 01 00" + "5a" * 256, Frame(Opcode.BINARY, b"Z" * 256), id="5.7-256-bytes"),
    pytest.param("82 7f 00 00 00 00 00 01 00 00" + "5a" * 65536, Frame(Opcode.BINARY, b"Z" * 65536), id="5.7-64-KiB"),
    # empty
    pytest.param("81 00", Frame(Opcode.TEXT), id="empty-text"),
    pytest.param("02 00", Frame(Opcode.BINARY, fin=False), id="empty-first-fragment"),
    pytest.param("00 00", Frame(Opcode.CONTINUATION, fin=False), id="empty-middle-fragment"),
    pytest.param("82 80 37 fa 21 3d", Frame(Opcode.BINARY, key=KEY), id="empty-masked"),
    pytest.param("88 00", Frame(Opcode.CLOSE), id="empty-close"),
    pytest.param("8a 80 00 00 00 00", Frame(Opcode.PONG, key=bytes(4)), id="zero-key"),
    # lengths
    pytest.param("82 7d" + "5a" * 125, Frame(Opcode.BINARY, b"Z" * 125), id="125"),
    pytest.param("82 7e 00 7e" + "5a" * 126, Frame(Opcode.BINARY, b"Z" * 126), id="126"),
    pytest.param("82 7e ff ff" + "5a" * 65535, Frame(Opcode.BINARY, b"Z" * 65535), id="65535"),
    pytest.param("89 7d" + "5a" * 125, Frame(Opcode.PING, b"Z" * 125), id="longest-ping"),
    pytest.param(
        "82 fe 00 7e 00 00 00 00" + "5a" * 126, Frame(Opcode.BINARY, b"Z" * 126, key=bytes(4)), id="masked-126"
    ),
    pytest.param(
        "82 ff 00 00 00 00 00 01 00 00 00 00 00 00" + "5a" * 65536,
        Frame(Opcode.BINARY, b"Z" * 65536, key=bytes(4)),
        id="masked-64-KiB",
    ),
    # reserved bits with a meaning
    pytest.param("c1 00", Frame(Opcode.TEXT, rsv=0x40), id="rsv1"),
    pytest.param("a1 00", Frame(Opcode.TEXT, rsv=0x20), id="rsv2"),
    pytest.param("91 00", Frame(Opcode.TEXT, rsv=0x10), id="rsv3"),
    pytest.param("71 00", Frame(Opcode.TEXT, rsv=0x70, fin=False), id="all-rsv-no-fin"),
]


@pytest.mark.parametrize(("data", "frame"), FRAMES)
def test_parse_and_serialize_are_inverses(data: str, frame: Frame) -> None:
    assert serialize(frame).hex() == data.replace(" ", "")
    assert decode([bytes.fromhex(data)]) == [frame]


@pytest.mark.parametrize(("data", "frame"), FRAMES)
def test_byte_by_byte(data: str, frame: Frame) -> None:
    assert decode(split(bytes.fromhex(data))) == [frame]


@pytest.mark.parametrize(("data", "frame"), FRAMES)
def test_with_trailing_data(data: str, frame: Frame) -> None:
    assert decode([bytes.fromhex(data) + b"\x8a"]) == [frame]
    assert decode([bytes.fromhex(data) * 2, b"\x8a\x00"]) == [frame, frame, Frame(Opcode.PONG)]


@pytest.mark.parametrize(("data", "frame"), FRAMES)
def test_an_incomplete_frame_is_not_returned(data: str, frame: Frame) -> None:
    assert decode([bytes.fromhex(data)[:-1]]) == []


# (data, masked, message): refused with the last of these bytes, and not before.
REFUSED = [
    *[pytest.param(f"{0xC0 | op:x} 00", False, "RSV1 set", id=f"rsv1-{op:x}") for op in (0, 1, 2, 8, 9, 10)],
    pytest.param("a1 00", False, "RSV2 set", id="rsv2"),
    pytest.param("91 00", False, "RSV3 set", id="rsv3"),
    pytest.param("f1 00", False, "RSV1, RSV2, RSV3 set", id="rsv-all"),
    *[pytest.param(f"8{op:x} 00", False, f"opcode 0x{op:X}", id=f"opcode-{op:x}") for op in (3, 4, 5, 6, 7)],
    *[pytest.param(f"8{op:x} 80", True, f"opcode 0x{op:X}", id=f"opcode-{op:x}") for op in (11, 12, 13, 14, 15)],
    pytest.param("82 7e 00 00", False, "length 0 is not minimally", id="0-in-16-bits"),
    pytest.param("82 7e 00 7d", False, "length 125 is not minimally", id="125-in-16-bits"),
    pytest.param("82 fe 00 7d", True, "length 125 is not minimally", id="125-in-16-bits-masked"),
    pytest.param("82 7f 00 00 00 00 00 00 00 00", False, "length 0 is not minimally", id="0-in-64-bits"),
    pytest.param("82 7f 00 00 00 00 00 00 00 7e", False, "length 126 is not minimally", id="126-in-64-bits"),
    pytest.param("82 7f 00 00 00 00 00 00 ff ff", False, "length 65535 is not minimally", id="65535-in-64-bits"),
    pytest.param("82 7f 80 00 00 00 00 00 00 00", False, "most significant bit of the payload length", id="2**63"),
    pytest.param("82 ff ff ff ff ff ff ff ff ff", True, "most significant bit of the payload length", id="2**64-1"),
    pytest.param("81 00", True, "not masked, expected a masked", id="unmasked-to-server"),
    pytest.param("89 00", True, "not masked, expected a masked", id="unmasked-ping-to-server"),
    pytest.param("81 80", False, "masked, expected an unmasked", id="masked-to-client"),
    pytest.param("88 80", False, "masked, expected an unmasked", id="masked-close-to-client"),
    pytest.param("08 00", False, "fragmented CLOSE", id="fragmented-close"),
    pytest.param("09 00", False, "fragmented PING", id="fragmented-ping"),
    pytest.param("0a 80", True, "fragmented PONG", id="fragmented-pong"),
    pytest.param("88 7e", False, "CLOSE frame of more than 125", id="126-bytes-close"),
    pytest.param("89 7e", False, "PING frame of more than 125", id="126-bytes-ping"),
    pytest.param("8a ff", True, "PONG frame of more than 125", id="64-bit-pong"),
]


def failing_byte(decoder: FrameDecoder, data: bytes, error: type[RemoteProtocolError], message: str) -> int:
    """Feed byte by byte; return the number of bytes until it failed with this message."""
    for count, byte in enumerate(split(data), 1):
        decoder.feed(byte)
        try:
            read_parts(decoder)
        except error as exc:
            return count if message in exc.reason else -1
    return -1


@pytest.mark.parametrize(("data", "masked", "message"), REFUSED)
def test_violations_are_detected_at_the_first_possible_byte(data: str, masked: bool, message: str) -> None:
    wire = bytes.fromhex(data)
    assert failing_byte(FrameDecoder(masked=masked), wire + bytes(9), ProtocolError, message) == len(wire)
    decoder = FrameDecoder(masked=masked)
    decoder.feed(wire)
    with pytest.raises(ProtocolError, match=message) as caught:
        decoder.next_part()
    assert caught.value.close_code == 1002


def test_a_frame_before_the_violation_is_returned() -> None:
    decoder = FrameDecoder(masked=False)
    decoder.feed(b"\x81\x01a\x83\x00")
    assert decoder.next_part() == ((Opcode.TEXT, True, 0, 1, b""), b"a", True, True)
    with pytest.raises(ProtocolError):
        decoder.next_part()


def test_only_negotiated_reserved_bits_are_accepted() -> None:
    decoder = FrameDecoder(masked=False, rsv=0x40)
    decoder.feed(b"\xc1\x00\xe1\x00")
    assert decoder.next_part() == ((Opcode.TEXT, True, 0x40, 0, b""), b"", True, True)
    with pytest.raises(ProtocolError, match="RSV2 set"):
        decoder.next_part()


@pytest.mark.parametrize(("length", "encoded"), [(2**31, "00 00 00 00 80 00 00 00"), (2**63 - 1, "7f" + "ff" * 7)])
def test_huge_lengths_are_accepted_without_a_limit(length: int, encoded: str) -> None:
    decoder = FrameDecoder(masked=False)
    decoder.feed(b"\x82\x7f" + bytes.fromhex(encoded))
    assert decoder.next_part() == ((Opcode.BINARY, True, 0, length, b""), b"", True, False)
    assert decoder.next_part() is None


# (limit, header that exceeds it, length it announces)
LIMITS = [
    pytest.param(0, "82 01", 1, id="0"),
    pytest.param(124, "82 7d", 125, id="7-bits"),
    pytest.param(125, "82 7e 00 7e", 126, id="16-bits"),
    pytest.param(65535, "82 7f 00 00 00 00 00 01 00 00", 65536, id="64-bits"),
    pytest.param(1000, "82 7f 7f ff ff ff ff ff ff ff", 2**63 - 1, id="huge"),
    pytest.param(1000, "00 7e 03 e9", 1001, id="continuation"),
]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("limit", "data", "length"), LIMITS)
def test_the_limit_is_applied_to_the_header(limit: int, data: str, length: int, masked: bool) -> None:
    wire = bytearray.fromhex(data)
    wire[1] |= 0x80 if masked else 0
    decoder = FrameDecoder(masked=masked, max_frame_size=limit)
    assert failing_byte(decoder, bytes(wire) + bytes(4), LimitExceeded, "max_frame_size is") == len(wire)
    decoder = FrameDecoder(masked=masked, max_frame_size=limit)
    decoder.feed(bytes(wire))
    with pytest.raises(LimitExceeded) as caught:
        decoder.next_part()
    error = caught.value
    assert (error.option, error.limit, error.actual, error.close_code) == ("max_frame_size", limit, length, 1009)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_of_exactly_the_maximum_size_is_accepted(size: int) -> None:
    decoder = FrameDecoder(masked=False, max_frame_size=size)
    decoder.feed(serialize_frame(Opcode.BINARY, bytes(size)))
    assert [len(part.payload) for part in read_parts(decoder)] == [size]


def test_the_limit_applies_only_to_data_frames() -> None:
    decoder = FrameDecoder(masked=False, max_frame_size=1)
    decoder.feed(b"\x89\x02hi")
    assert [part.payload for part in read_parts(decoder)] == [b"hi"]


def test_data_is_returned_in_parts_as_it_arrives() -> None:
    decoder = FrameDecoder(masked=True)
    seen = []
    for chunk in (b"\x82\x85" + KEY, b"", b"\x7f", b"\x9f\x4d\x51", b"\x58\x82"):
        decoder.feed(chunk)
        seen.append([(part.payload, part.first, part.last) for part in read_parts(decoder)])
    assert seen == [[(b"", True, False)], [], [(b"H", False, False)], [(b"ell", False, False)], [(b"o", False, True)]]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_mutable_buffer_of_the_caller_is_copied(kind: Callable[[bytearray], bytes]) -> None:
    buffer = bytearray(b"\x82\x02ab\x82")
    connection = Connection(Role.CLIENT)
    [message] = connection.receive_data(kind(buffer))
    assert type(message) is bytes
    buffer[:] = b"\x02cd\x82\x00"
    assert [message, *connection.receive_data(kind(buffer))] == [b"ab", b"cd", b""]


def test_control_frames_are_returned_whole() -> None:
    decoder = FrameDecoder(masked=False)
    for byte in split(b"\x89\x02h"):
        decoder.feed(byte)
        assert decoder.next_part() is None
    decoder.feed(b"i")
    assert decoder.next_part() == ((Opcode.PING, True, 0, 2, b""), b"hi", True, True)


@pytest.mark.parametrize("step", range(1, 9))
def test_unmasking_continues_between_parts(step: int) -> None:
    payload = bytes(range(256)) * 3
    wire = serialize_frame(Opcode.BINARY, payload, masking_key=KEY)
    chunks = [wire[i : i + step] for i in range(0, len(wire), step)]
    assert decode(chunks, masked=True) == [Frame(Opcode.BINARY, payload, key=KEY)]


keys = st.just(b"") | st.binary(min_size=4, max_size=4)
rsvs = st.sampled_from([0, 0x40])
no_rsv = st.just(0)
first_frames = st.builds(
    Frame, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=300), st.booleans(), rsvs, keys
)
continuations = st.builds(Frame, st.just(Opcode.CONTINUATION), st.binary(max_size=300), st.booleans(), no_rsv, keys)
data_frames = first_frames | continuations
control_opcodes = st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG])
control_frames = st.builds(Frame, control_opcodes, st.binary(max_size=125), st.just(True), no_rsv, keys)


@given(st.lists(data_frames | control_frames, max_size=6), st.data())
@settings(deadline=None)
def test_any_chunking_gives_the_same_frames(frames: list[Frame], data: st.DataObject) -> None:
    wire = b"".join(map(serialize, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    chunks = [wire[start:stop] for start, stop in pairwise([0, *cuts, len(wire)])]
    assert decode(chunks) == decode([wire]) == frames


@pytest.mark.parametrize("opcode", [Opcode.CONTINUATION, Opcode.PING, Opcode.PONG, Opcode.CLOSE])
def test_a_negotiated_reserved_bit_is_accepted_only_on_the_first_frame_of_a_message(opcode: Opcode) -> None:
    """RFC 7692, section 6: neither on continuation frames nor on control frames."""
    decoder = FrameDecoder(masked=None, rsv=0x40)
    decoder.feed(serialize_frame(opcode, b"", rsv=0x40))
    with pytest.raises(ProtocolError, match="RSV1 set"):
        decoder.next_part()
