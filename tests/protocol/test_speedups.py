"""The inner loops over bytes in both twins: complete messages, frames and payloads (RFC 6455, sections 5.2 and 5.6)."""

from __future__ import annotations

import gc
import inspect
import os
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws._connection.pumps.signals import PureSignal
from anyws.protocol import Connection, Event, FrameDecoder, FramePart, LimitExceeded, Role, speedups_in_use
from anyws.protocol._queues import FrameQueue, MessageQueue
from tests.twins import PURE, both_twins, compiled_twin

MANY = sys.maxsize
KEY = bytes.fromhex("37fa213d")
both_roles = pytest.mark.parametrize("role", Role)
needs_compiled = pytest.mark.skipif(compiled_twin() is None, reason="the extension is not built")


def taken(
    twin: Any, data: bytes, position: int = 0, masked: bool | None = None, max_size: int = MANY, room: int = MANY
) -> tuple[list[str | bytes], int]:
    """Return the messages that a twin takes and where it stops; check the counted memory."""
    messages: list[str | bytes] = []
    stop, left = twin.take_messages(data, position, masked, max_size, room, messages)
    unknown = sum(map(sys.getsizeof, messages)) - (room - left)
    assert 0 <= unknown <= 3 * len(messages)  # A text of one character may share the UTF-8 that CPython has of it.
    return messages, stop


def masked(data: str) -> bytes:
    return bytes(PURE.apply_mask(bytes.fromhex(data), KEY))


# -- messages ----------------------------------------------------------------------------------------------------------

# (data, messages): all of it is taken
MESSAGES = [
    pytest.param(b"", [], id="nothing"),
    pytest.param(b"\x81\x05Hello", ["Hello"], id="text"),
    pytest.param(bytes.fromhex("818537fa213d7f9f4d5158"), ["Hello"], id="masked-text"),
    pytest.param(b"\x81\x00\x82\x00", ["", b""], id="empty"),
    pytest.param(b"\x81\x80" + KEY + b"\x82\x80" + KEY, ["", b""], id="empty-masked"),
    pytest.param(b"\x82\x02\x00\xff\x81\x01a\x82\x01b", [b"\x00\xff", "a", b"b"], id="one-after-another"),
    pytest.param(b"\x81\x05\xc3\xa9\xe2\x82\xac", ["\xe9\u20ac"], id="utf-8"),
    pytest.param(b"\x81\x85" + KEY + masked("c3a9e282ac"), ["\xe9\u20ac"], id="masked-utf-8"),
    pytest.param(b"\x81\x84" + KEY + masked("f09f9880"), ["\U0001f600"], id="masked-4-byte-code-point"),
    pytest.param(b"\x81\x81" + KEY + masked("7f"), ["\x7f"], id="masked-last-of-ascii"),
    pytest.param(b"\x81\x82" + KEY + masked("c280"), ["\x80"], id="masked-first-behind-ascii"),
    pytest.param(b"\x82\x7d" + b"Z" * 125, [b"Z" * 125], id="125"),
    pytest.param(b"\x82\x7e\x00\x7e" + b"Z" * 126, [b"Z" * 126], id="126"),
    pytest.param(b"\x81\x7e\xff\xff" + b"Z" * 65535, ["Z" * 65535], id="65535"),
    pytest.param(b"\x82\x7f\0\0\0\0\0\1\0\0" + b"Z" * 65536, [b"Z" * 65536], id="65536"),
    pytest.param(b"\x81\xff\0\0\0\0\0\1\0\0" + KEY + masked("61" * 65536), ["a" * 65536], id="masked-65536"),
]


@both_twins
@pytest.mark.parametrize(("data", "messages"), MESSAGES)
def test_complete_messages_are_taken(twin: Any, data: bytes, messages: list[str | bytes]) -> None:
    assert taken(twin, data) == (messages, len(data))
    assert taken(twin, b"\x89\x00" + data + b"\x8a\x00", position=2) == (messages, len(data) + 2)


@both_twins
@pytest.mark.parametrize(("data", "messages"), MESSAGES[1:])
def test_incomplete_frames_are_left(twin: Any, data: bytes, messages: list[str | bytes]) -> None:
    for length in [*range(min(len(data), 16)), len(data) - 1]:
        found, stop = taken(twin, data[:length])
        assert found == messages[: len(found)]
        assert len(found) < len(messages)
        assert stop <= length


@both_twins
@pytest.mark.parametrize(
    ("data", "masked"),
    [
        *[pytest.param(f"{byte:02x} 00", None, id=f"{byte:02x}") for byte in range(256) if byte not in (0x81, 0x82)],
        pytest.param("81 00", True, id="not-masked"),
        pytest.param("81 80 00000000", False, id="masked"),
        pytest.param("81 7e 007d" + "61" * 125, None, id="125-in-16-bits"),
        pytest.param("82 7f 000000000000ffff" + "61" * 65535, None, id="65535-in-64-bits"),
        pytest.param("82 7f 8000000000000000", None, id="2**63"),
        pytest.param("82 ff ffffffffffffffff 00000000", None, id="2**64-1"),
        pytest.param("81 01 ff", None, id="invalid-text"),
        pytest.param("81 81 00000000 ff", None, id="invalid-masked-text"),
        pytest.param("81 03 eda080", None, id="surrogate"),
        pytest.param("81 02 e282", None, id="cut-in-a-code-point"),
        pytest.param("81 82 00000000 e282", None, id="cut-in-a-code-point-masked"),
    ],
)
def test_anything_else_is_left_and_messages_before_it_are_taken(twin: Any, data: str, masked: bool | None) -> None:
    before = PURE.build_frame(0x81, "hi", KEY if masked else b"")
    rest = bytes.fromhex(data)
    assert taken(twin, before + rest + b"\x81\x00", masked=masked) == (["hi"], len(before))
    assert taken(twin, rest, masked=masked) == ([], 0)


@both_twins
@pytest.mark.parametrize("data", [b"\x81\x03abc", b"\x82\x83" + KEY + b"abc", b"\x81\x7e\x00\x80" + b"a" * 128])
def test_messages_longer_than_the_limit_are_left(twin: Any, data: bytes) -> None:
    [message], _ = taken(twin, data)
    assert taken(twin, data, max_size=len(message)) == ([message], len(data))
    for max_size in (len(message) - 1, 0, -1):
        assert taken(twin, data, max_size=max_size) == ([], 0)
    assert taken(twin, b"\x81\x00", max_size=0) == ([""], 2)
    assert taken(twin, b"\x81\x00", max_size=-1) == ([], 0)


@both_twins
@pytest.mark.parametrize("text", ["", "a", "abc", "\x80", "a\xff", "\u20ac", "a\u20ac", "\U0001f600", "a\U0001f600b"])
@pytest.mark.parametrize("key", [b"", KEY])
def test_the_memory_of_messages_is_counted(twin: Any, text: str, key: bytes) -> None:
    data = PURE.build_frame(0x81, text, key) + PURE.build_frame(0x82, text.encode(), key)
    assert taken(twin, data * 3)[0] == [text, text.encode()] * 3  # and `taken` checks the memory


@both_twins
def test_taking_stops_when_the_room_is_used_up(twin: Any) -> None:
    data = b"\x81\x03abc" * 10
    size = sys.getsizeof("abc")
    for room, count in ((-1, 1), (0, 1), (1, 1), (size, 1), (size + 1, 2), (9 * size, 9), (9 * size + 1, 10)):
        assert taken(twin, data, room=room) == (["abc"] * count, 5 * count)


@both_twins
def test_arguments_are_checked(twin: Any) -> None:
    for position in (-1, 3):
        with pytest.raises(ValueError, match=f"position {position} is not within"):
            twin.take_messages(b"\x81\x00", position, None, 1, 1, [])
    assert taken(twin, b"\x81\x00", position=2) == ([], 2)
    invalid: list[Any] = [(), (b"\x81\x00", "0", None, 1, 1, []), (bytearray(2), 0, None, 1, 1, [])]
    for arguments in invalid:
        with pytest.raises(TypeError):
            twin.take_messages(*arguments)


# -- messages that an extension has transformed ------------------------------------------------------------------------


@both_twins
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "masked"])
def test_transformed_messages_are_restored_in_order(twin: Any, key: bytes) -> None:
    seen: list[tuple[int, bytes]] = []

    def decode(opcode: int, payload: bytes) -> str | bytes:
        seen.append((opcode, payload))
        return payload.decode().upper() if opcode == 1 else payload[::-1]

    frames = [(0x81, b"a"), (0xC1, b"text"), (0xC2, b"data"), (0xC1, b"x" * 300), (0x82, b"b"), (0xC2, b"")]
    data = b"".join(PURE.build_frame(first, payload, key) for first, payload in frames)
    messages: list[str | bytes] = []
    assert twin.take_messages(data, 0, bool(key), MANY, MANY, messages, 0x40, decode)[0] == len(data)
    assert messages == ["a", "TEXT", b"atad", "X" * 300, b"b", b""]
    assert seen == [(1, b"text"), (2, b"data"), (1, b"x" * 300), (2, b"")]
    assert {type(opcode) for opcode, _ in seen} == {int}


@both_twins
@pytest.mark.parametrize("first", [0x41, 0xA1, 0xD1, 0xC0, 0xC3, 0xC8, 0xC9, 0xF1])
def test_other_reserved_bits_and_fragments_are_left(twin: Any, first: int) -> None:
    messages: list[str | bytes] = []
    data = b"\xc1\x01a" + bytes([first, 0])
    assert twin.take_messages(data, 0, None, MANY, MANY, messages, 0x40, lambda *_: "ok")[0] == 3
    assert messages == ["ok"]
    for rsv in (0x60, 0x30):
        assert twin.take_messages(b"\xc1\x00", 0, None, MANY, MANY, [], rsv, lambda *_: "ok")[0] == 0


@both_twins
def test_transformed_messages_use_up_the_room_and_keep_to_the_limit(twin: Any) -> None:
    messages: list[str | bytes] = []
    data = b"\xc1\x01a" * 3
    assert twin.take_messages(data, 0, None, MANY, 1000, messages, 0x40, lambda *_: b"x" * 990)[0] == 3
    assert twin.take_messages(b"\xc1\x02ab", 0, None, 1, MANY, messages, 0x40, lambda *_: "ok") == (0, MANY)
    assert twin.take_messages(b"\xc1\x02a", 0, None, 2, MANY, messages, 0x40, lambda *_: "ok") == (0, MANY)
    assert messages == [b"x" * 990]


@both_twins
def test_what_cannot_be_restored_is_where_to_stop(twin: Any) -> None:
    data = b"\x81\x01a\xc1\x01b\xc1\x01c"

    def fail(*_: object) -> str:
        raise LookupError("failed")

    for decode, error in (
        (lambda *_: None, None),
        (fail, LookupError),
        (lambda *_: 5, TypeError),
        (lambda *_: bytearray(b"x"), TypeError),
        (lambda: "too few", TypeError),
        (5, TypeError),
    ):
        messages: list[str | bytes] = []
        if error is None:
            assert twin.take_messages(data, 0, None, MANY, MANY, messages, 0x40, decode)[0] == 3
        else:
            with pytest.raises(error):
                twin.take_messages(data, 0, None, MANY, MANY, messages, 0x40, decode)
        assert messages == ["a"]


@both_twins
def test_reserved_bits_need_a_function(twin: Any) -> None:
    for rsv, decode in ((0x80, str), (0x41, str), (0x100, str), (-1, str), (0x40, None)):
        with pytest.raises(ValueError, match="expected bits within 0x70, and a function"):
            twin.take_messages(b"", 0, None, MANY, MANY, [], rsv, decode)
    with pytest.raises(TypeError):
        twin.take_messages(b"", 0, None, MANY, MANY, [], "x", str)
    assert twin.take_messages(b"\x81\x00", 0, None, MANY, MANY, [], 0, None)[0] == 2


# -- frames ------------------------------------------------------------------------------------------------------------


@both_twins
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "masked"])
@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, "00"),
        (1, "01"),
        (125, "7d"),
        (126, "7e007e"),
        (65535, "7effff"),
        (65536, "7f0000000000010000"),
        (70000, "7f0000000000011170"),
    ],
)
def test_a_frame_of_each_length(twin: Any, size: int, length: str, key: bytes) -> None:
    payload = bytes(i % 127 for i in range(size))
    header = bytearray.fromhex(length)
    header[0] |= 0x80 if key else 0
    expected = b"\x82" + header + key + (PURE.apply_mask(payload, key) if key else payload)
    assert twin.build_frame(0x82, payload, key) == expected
    for same in (bytearray(payload), memoryview(payload), payload.decode()):
        assert twin.build_frame(0x82, same, key) == expected
    assert taken(twin, expected) == ([payload], len(expected))


@both_twins
@pytest.mark.parametrize("text", ["\xe9", "\u20ac" * 50, "\U0001f600", "a\0b"])
def test_text_becomes_utf_8(twin: Any, text: str) -> None:
    size = sys.getsizeof(text)
    for key in (b"", KEY):
        assert twin.build_frame(0x01, text, key) == PURE.build_frame(0x01, text.encode(), key)
    assert sys.getsizeof(text) == size  # nothing is left behind in the text


@both_twins
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param((0x81, "a\ud800", b""), UnicodeEncodeError, id="lone-surrogate"),
        pytest.param((0x81, "\udfff", KEY), UnicodeEncodeError, id="lone-surrogate-masked"),
        pytest.param((256, b"", b""), ValueError, id="first-byte-256"),
        pytest.param((-1, b"", b""), ValueError, id="first-byte-negative"),
        pytest.param(("1", b"", b""), TypeError, id="first-byte-text"),
        pytest.param((0x82, b"", b"123"), ValueError, id="key-of-3-bytes"),
        pytest.param((0x82, b"", "1234"), TypeError, id="key-of-text"),
        pytest.param((0x82, 5, b""), TypeError, id="payload-int"),
        pytest.param((0x82, None, KEY), TypeError, id="payload-none"),
        pytest.param((0x82, [1, 2], b""), TypeError, id="payload-list"),
        pytest.param((0x82, memoryview(b"abcd")[::2], b""), BufferError, id="payload-with-gaps"),
        pytest.param((0x82, b""), TypeError, id="no-key"),
    ],
)
def test_arguments_that_make_no_frame_are_rejected(twin: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        twin.build_frame(*arguments)


# -- large payloads ----------------------------------------------------------------------------------------------------


@both_twins
@pytest.mark.parametrize("reserve", [0, 1, 100_000])
@pytest.mark.parametrize("step", [1, 3, 4, 7, 1000, 20_000, 131_075])
def test_a_payload_grows_by_what_is_added(twin: Any, step: int, reserve: int) -> None:
    payload = twin.Payload()
    data = bytes(i % 251 for i in range(2000 if step < 8 else 2 * step + 10_000))
    sent = PURE.apply_mask(data, KEY)
    for start in range(0, len(sent), step):
        stop = min(start + step, len(sent))
        turn = start % 4
        payload.extend(sent, start, stop, KEY[turn:] + KEY[:turn], reserve)
        assert len(payload) == stop
    assert payload.take() == data


@both_twins
def test_taking_a_payload_empties_it(twin: Any) -> None:
    payload = twin.Payload()
    assert (len(payload), payload.take()) == (0, b"")
    payload.extend(b"", 0, 0, b"", 0)
    assert (len(payload), payload.take()) == (0, b"")
    payload.extend(b"-abc-", 1, 4, b"", 1000)
    first = payload.take()
    payload.extend(b"defg", 0, 3, b"", 0)
    payload.extend(b"defg", 3, 4, b"", 0)
    assert (first, len(payload), payload.take(), payload.take()) == (b"abc", 4, b"defg", b"")


@both_twins
@pytest.mark.parametrize("bounds", [(-1, 1), (0, 4), (2, 1), (4, 4)])
def test_a_payload_rejects_a_range_outside_the_data(twin: Any, bounds: tuple[int, int]) -> None:
    payload = twin.Payload()
    with pytest.raises(ValueError, match=f"{bounds[0]} to {bounds[1]} is not within the data"):
        payload.extend(b"abc", *bounds, b"", 0)
    with pytest.raises(ValueError, match="masking key of 3 bytes"):
        payload.extend(b"abc", 0, 3, b"123", 0)
    with pytest.raises(TypeError):
        payload.extend(bytearray(3), 0, 3, b"", 0)
    assert len(payload) == 0
    with pytest.raises(TypeError):
        twin.Payload(1)


@needs_compiled
def test_a_payload_survives_a_memory_error() -> None:
    payload: Any = compiled_twin().Payload()  # type: ignore[union-attr]
    payload.extend(b"abc", 0, 3, b"", 0)
    for reserve in (sys.maxsize, sys.maxsize - 3):  # refused before anything is tried
        with pytest.raises((MemoryError, OverflowError)):
            payload.extend(b"abc" * 2, 0, 6, b"", reserve)
    assert payload.take() == b"abc"


@needs_compiled
def test_a_payload_with_a_lost_part_is_unusable() -> None:
    payload: Any = compiled_twin().Payload()  # type: ignore[union-attr]
    payload.extend(b"abc", 0, 3, b"", 0)
    with pytest.raises((MemoryError, OverflowError)):
        payload.extend(b"abc" * 2, 0, 6, b"", sys.maxsize // 2)
    for change in (
        payload.take,
        lambda: payload.extend(b"def", 0, 3, b"", 0),
        lambda: payload.get_buffer(3, 0),
        lambda: payload.buffer_updated(0, b""),
    ):
        with pytest.raises(MemoryError, match="a part of the payload was lost"):
            change()
    assert len(payload) == 0


@pytest.mark.parametrize("announced", [10_000_000, 2**62])
def test_a_header_alone_takes_no_memory(announced: int) -> None:
    """Memory is allocated for received data, not for an announced length."""
    connection = Connection(Role.CLIENT, max_message_size=None)
    tracemalloc.start()
    try:
        connection.receive_data(b"\x82\x7f" + announced.to_bytes(8, "big"))
        for _ in range(100):
            connection.receive_data(b"x")
        assert (connection.partial_size, tracemalloc.get_traced_memory()[1] < 20_000) == (100, True)
    finally:
        tracemalloc.stop()


# -- the two twins do the same -----------------------------------------------------------------------------------------

keys = st.sampled_from([b"", KEY, b"\0\0\0\0"])
texts = st.text(max_size=30).map(str.encode)
sizes = st.sampled_from([0, 1, 7, 8, 125, 126, 127, 300])
payloads = texts | st.binary(max_size=20) | sizes.map(lambda size: b"x" * size)
frames = st.builds(PURE.build_frame, st.sampled_from([0x81, 0x82] * 4 + [0x01, 0x80, 0xC1, 0x88, 0x89]), payloads, keys)
damage = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2)


@st.composite
def nearly_valid(draw: st.DrawFn) -> bytes:
    data = bytearray(b"".join(draw(st.lists(frames, max_size=6))))
    for place, byte in draw(damage):
        if place < len(data):
            data[place] = byte
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


wires = st.binary(max_size=40) | nearly_valid()
limits = st.sampled_from([MANY, 1 << 20, 126, 125, 7, 0, -1])


@needs_compiled
@given(wires, st.sampled_from([None, True, False]), limits, st.sampled_from([MANY, 1]), st.data())
@settings(max_examples=500)
def test_both_twins_take_the_same(
    data: bytes, masked: bool | None, max_size: int, room: int, draws: st.DataObject
) -> None:
    position = draws.draw(st.integers(0, len(data)))
    ours, theirs = (taken(twin, data, position, masked, max_size, room) for twin in (PURE, compiled_twin()))
    assert ours == theirs
    assert [type(message) for message in ours[0]] == [type(message) for message in theirs[0]]


@needs_compiled
@given(st.integers(0, 255), st.text(max_size=200) | st.binary(max_size=200), keys)
def test_both_twins_build_the_same(first: int, payload: str | bytes, key: bytes) -> None:
    compiled: Any = compiled_twin()
    assert compiled.build_frame(first, payload, key) == PURE.build_frame(first, payload, key)


@both_roles
@given(nearly_valid(), st.data())
@settings(max_examples=200)
def test_messages_taken_at_once_equal_those_decoded_frame_by_frame(
    role: Role, wire: bytes, data: st.DataObject
) -> None:
    """Decoding complete messages at once gives the same result as decoding in parts, for any chunks."""
    limit = data.draw(st.sampled_from([None, 126, 7]))
    quick, slow, chunked = (
        Connection(role, max_message_size=limit, accept_unmasked=True, new_masking_key=lambda: KEY) for _ in range(3)
    )
    slow._max_whole = -1
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    chunks = [wire[start:stop] for start, stop in pairwise([0, *cuts, len(wire)])]
    expected: list[Event] = slow.receive_data(wire)
    answer = slow.data_to_send()
    assert quick.receive_data(wire) == expected
    assert [event for chunk in chunks for event in chunked.receive_data(chunk)] == expected
    for connection in (quick, chunked):
        assert repr(connection.failure) == repr(slow.failure)
        assert connection.state is slow.state
        assert connection.partial_size == slow.partial_size or slow.failure
        assert connection.data_to_send() == answer


def test_after_a_control_frame_messages_are_taken_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded(*arguments: Any) -> FramePart | None:
        parts.append(next_part(*arguments))
        return parts[-1]

    parts: list[FramePart | None] = []
    next_part = FrameDecoder.next_part
    monkeypatch.setattr(FrameDecoder, "next_part", recorded)
    message = b"\x81\x01a"
    connection = Connection(Role.CLIENT)
    events = connection.receive_data(message * 50 + b"\x8a\x00" + message * 50 + b"\x01\x00\x80\x00" + message * 50)
    assert len(events) == 152
    assert [part.header.opcode.name for part in parts if part] == ["PONG", "TEXT", "CONTINUATION"]


@pytest.mark.parametrize("option", ["max_message_size", "max_frame_size", "max_fragments"])
def test_messages_taken_at_once_respect_every_limit(option: str) -> None:
    limits: dict[str, Any] = {"max_message_size": None, "max_frame_size": None, "max_fragments": None}
    limit = 0 if option == "max_fragments" else 2
    connection = Connection(Role.CLIENT, **{**limits, option: limit})
    assert connection.receive_data(b"\x81\x02ab\x81\x03abc") == (["ab"] if limit else [])
    assert isinstance(connection.failure, LimitExceeded)
    assert connection.failure.option == option


# -- memory ------------------------------------------------------------------------------------------------------------


def exercise(twin: Any, data: bytes, key: bytes, messages: list[str | bytes]) -> None:
    """Call every function with valid and invalid arguments."""
    messages.clear()
    twin.take_messages(data, 0, None, MANY, MANY, messages)
    payload = twin.Payload()
    for reserve in (0, 100):
        payload.extend(data, 0, len(data), key, reserve)
    payload.take()
    payload.extend(data, 0, len(data), b"", 0)
    for call in (
        lambda: twin.apply_mask(data, key),
        lambda: twin.apply_mask(data, b""),
        lambda: twin.apply_mask(5, key),
        lambda: twin.build_frame(0x81, data, key),
        lambda: twin.build_frame(0x81, "\u20ac" * 100, key),
        lambda: twin.build_frame(0x81, "\ud800", b""),
        lambda: twin.build_frame(0x81, None, b""),
        lambda: twin.take_messages(data, -1, None, 1, 1, messages),
        lambda: twin.take_messages(b"\x81\x01\xff", 0, None, 1, 1, messages),
        lambda: twin.take_messages(b"\x81\x81" + key + b"\xff", 0, None, 1, 1, messages),
        lambda: payload.extend(data, 0, MANY, key, 0),
        lambda: payload.extend(data, 0, 1, b"1", 0),
    ):
        try:
            call()
        except (TypeError, ValueError):
            pass


@both_twins
def test_nothing_leaks(twin: Any) -> None:
    data = b"".join([PURE.build_frame(0x81, text, KEY) for text in ("a" * 1000, "\u20ac", "")]) + b"\x82\x03abc\x89"
    key, messages = bytes(bytearray(KEY)), list[str | bytes]()
    watched = [data, key, messages, twin.Payload, None, b""]
    exercise(twin, data, key, messages)
    gc.collect()
    tracemalloc.start()
    try:
        exercise(twin, data, key, messages)
        before, references = tracemalloc.get_traced_memory()[0], [sys.getrefcount(each) for each in watched]
        for _ in range(500):
            exercise(twin, data, key, messages)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 5000  # a leak of one byte each time would be 10 times that, with its object
    for each, count in zip(watched, references, strict=True):
        assert abs(sys.getrefcount(each) - count) < 100


# -- documentation -----------------------------------------------------------------------------------------------------


def documented(twin: Any) -> dict[str, str]:
    """Return the first paragraph of each docstring, by name."""
    names = {name: value for name, value in vars(twin).items() if not name.startswith("_") and callable(value)}
    return {name: first_paragraph(value) for name, value in names.items()}


def first_paragraph(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


@needs_compiled
@pytest.mark.parametrize("pure", [PURE.Payload, MessageQueue, FrameQueue, PureSignal])
def test_both_twins_of_a_class_have_the_same_docstrings(pure: Any) -> None:
    compiled = getattr(compiled_twin(), pure.__name__.removeprefix("Pure"))
    assert inspect.getdoc(compiled) == first_paragraph(pure)
    assert documented(compiled) == documented(pure)


@needs_compiled
@pytest.mark.parametrize("name", ["apply_mask", "build_frame", "take_messages"])
def test_both_twins_of_a_function_have_the_same_docstring(name: str) -> None:
    assert documented(compiled_twin())[name] == documented(PURE)[name]


# -- the choice --------------------------------------------------------------------------------------------------------


def test_the_extension_is_used_where_it_is_built() -> None:
    assert speedups_in_use is (compiled_twin() is not None and not os.environ.get("ANYWS_NO_EXTENSION"))


@pytest.mark.parametrize(("value", "expected"), [("1", "False _pure"), ("", None)])
def test_an_environment_variable_selects_pure_python(value: str, expected: str | None) -> None:
    code = "import anyws.protocol as p; print(p.speedups_in_use, p.apply_mask.__module__.rpartition('.')[2])"
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ANYWS_NO_EXTENSION": value},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()
    assert output == (expected or ("False _pure" if compiled_twin() is None else "True _speedups"))
