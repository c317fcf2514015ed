"""Reading large messages into their final buffer: `Connection.get_buffer`, and `Payload` in both twins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import Close, Connection, Event, Ping, Role, serialize_frame, speedups_in_use
from tests.twins import PURE, both_twins, compiled_twin

KEY = bytes.fromhex("37fa213d")
LARGE = 32768
needs_compiled = pytest.mark.skipif(compiled_twin() is None, reason="the extension is not built")
needs_speedups = pytest.mark.skipif(not speedups_in_use, reason="pure Python does not read into messages")


def payload_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def read(connection: Connection, data: bytes, sizes: list[int]) -> tuple[list[Event], int]:
    """Feed data in reads of these sizes, as a pump does; return the events and the number of reads into buffers."""
    events: list[Event] = []
    position = straight = 0
    while position < len(data):
        size = sizes[0] if len(sizes) == 1 else sizes.pop(0)
        if (buffer := connection.get_buffer()) is None:
            chunk = data[position : position + size]
            events += connection.receive_data(chunk)
            position += len(chunk)
        else:
            with buffer:
                count = min(size, len(buffer), len(data) - position)
                buffer[:count] = data[position : position + count]
            events += connection.buffer_updated(count)
            position += count
            straight += 1
    return events, straight


# -- the core ----------------------------------------------------------------------------------------------------------


@needs_speedups
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("size", [4 * LARGE, 4 * LARGE + 1, 20 * LARGE])
@pytest.mark.parametrize("reads", [65536, 65535, 32771])
def test_a_large_message_is_read_into_its_final_buffer(role: Role, size: int, reads: int) -> None:
    key = KEY if role is Role.SERVER else b""
    payload = payload_of(size)
    frames = [
        serialize_frame(0x9, b"p", masking_key=key),
        serialize_frame(0x2, payload, masking_key=key),
        serialize_frame(0x1, "text", masking_key=key),
        serialize_frame(0x2, payload, fin=False, masking_key=key),
        serialize_frame(0x9, b"q", masking_key=key),
        serialize_frame(0x0, payload, masking_key=key),
        serialize_frame(0x8, b"", masking_key=key),
    ]
    connection = Connection(role, max_message_size=None)
    events, straight = read(connection, b"".join(frames), [reads])
    assert events == [Ping(b"p"), payload, "text", Ping(b"q"), 2 * payload, Close(1005, "")]
    assert straight >= 3 * (size // 65536 - 1)


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 200_000), min_size=1, max_size=20),
    lengths=st.lists(st.sampled_from([0, 5, 40_000, 70_000, 150_000]), min_size=1, max_size=5),
    fins=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_messages_do_not_depend_on_how_they_are_read(sizes: list[int], lengths: list[int], fins: list[bool]) -> None:
    data, expected, begun = b"", [], b""
    is_open = False
    for length, fin in zip(lengths, fins, strict=False):
        payload = payload_of(length)
        data += serialize_frame(0x0 if is_open else 0x2, payload, fin=fin, masking_key=KEY)
        begun += payload
        is_open = not fin
        if fin:
            expected.append(begun)
            begun = b""
    events, _ = read(Connection(Role.SERVER, max_message_size=None), data, [*sizes, 50_000])
    assert events == expected


@needs_speedups
def test_no_buffer_is_provided_for_a_message_received_in_pieces() -> None:
    connection = Connection(Role.CLIENT, max_message_size=None)
    payload = payload_of(10 * LARGE)
    frame = serialize_frame(0x2, payload)
    connection.receive_data(frame[: 3 * LARGE])
    buffer = connection.get_buffer()
    assert buffer is not None
    buffer[:5] = frame[3 * LARGE : 3 * LARGE + 5]
    buffer.release()
    connection.buffer_updated(5)
    taken = connection.take_partial()
    assert connection.get_buffer() is None
    [rest] = connection.receive_data(frame[3 * LARGE + 5 :])
    assert isinstance(taken, bytes)
    assert isinstance(rest, bytes)
    assert taken + rest == payload


@pytest.mark.parametrize("opcode", [0x1, 0x2])
def test_no_buffer_is_provided_for_small_or_text_messages_or_between_messages(opcode: int) -> None:
    connection = Connection(Role.CLIENT)
    assert connection.get_buffer() is None
    size = 10 * LARGE if opcode == 0x1 else 2 * LARGE - 1
    frame = serialize_frame(opcode, "a" * size if opcode == 0x1 else bytes(size))
    for end in (1, 4, LARGE + 4, LARGE + 100):
        connection.receive_data(frame[:end])
        assert connection.get_buffer() is None
        connection = Connection(Role.CLIENT)
    connection.receive_data(frame)
    assert connection.get_buffer() is None


@needs_speedups
def test_no_buffer_is_provided_after_the_end() -> None:
    connection = Connection(Role.CLIENT)
    connection.receive_data(serialize_frame(0x2, bytes(10 * LARGE))[: 2 * LARGE])
    connection.receive_eof()
    assert connection.get_buffer() is None


# -- what gathers ------------------------------------------------------------------------------------------------------


@both_twins
def test_a_buffer_is_filled_and_taken(twin: Any) -> None:
    payload = twin.Payload()
    payload.extend(b"abcdef", 1, 3, b"", 10)
    with payload.get_buffer(10, 0) as room:
        assert len(room) == 10
        assert len(payload) == 2
        room[:5] = PURE.apply_mask(b"Hello", KEY)
    payload.buffer_updated(5, KEY)
    assert len(payload) == 7
    with payload.get_buffer(3, 0):
        pass
    payload.buffer_updated(0, b"")
    payload.extend(b"!", 0, 1, b"", 0)
    assert payload.take() == b"bcHello!"
    with payload.get_buffer(0, 0) as room:
        assert len(room) == 0
    payload.buffer_updated(0, KEY)
    assert payload.take() == b""


@both_twins
def test_no_more_than_the_buffer_can_be_added(twin: Any) -> None:
    payload = twin.Payload()
    payload.get_buffer(2, 0).release()
    for count in (-1, 3):
        with pytest.raises(ValueError, match="buffer of 2 bytes"):
            payload.buffer_updated(count, b"")
    payload.buffer_updated(2, b"")
    with pytest.raises(ValueError, match="buffer of 0 bytes"):
        payload.buffer_updated(1, b"")
    assert len(payload.take()) == 2


@needs_compiled
def test_a_payload_cannot_change_until_its_buffer_is_released() -> None:
    twin: Any = compiled_twin()
    payload = twin.Payload()
    room = payload.get_buffer(4, 0)
    for change in (lambda: payload.buffer_updated(1, b""), payload.take, lambda: payload.extend(b"a", 0, 1, b"", 0)):
        with pytest.raises(BufferError):
            change()
    with pytest.raises(ValueError, match="-1"):
        payload.get_buffer(-1, 0)
    room[:] = b"abcd"
    room.release()
    payload.buffer_updated(4, b"")
    assert payload.take() == b"abcd"
