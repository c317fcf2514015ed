"""permessage-deflate on a connection: examples, windows, limits and invalid messages (RFC 7692, sections 6 to 8)."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import InvalidDeflate, LimitExceeded, PerMessageDeflate, Role
from anyws.protocol.deflate import PRESETS
from tests.chunks import byte_by_byte, whole
from tests.conformance.deflating import HELLO, RSV1, connection_of, deflated, failed
from tests.conformance.wire import FIN, Frames, both_roles, frame, receive, sent, wire_of

BINARY = 2
CONTINUATION = 0


def frames_of(payload: bytes, size: int, opcode: int = BINARY) -> Frames:
    """Split a compressed message into frames."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    firsts = [opcode | RSV1] + [CONTINUATION] * (len(pieces) - 1)
    firsts[-1] |= FIN
    return list(zip(firsts, pieces, strict=True))


# -- receiving ---------------------------------------------------------------------------------------------------------

# -- limits ------------------------------------------------------------------------------------------------------------

LIMIT = 100_000
FINAL = bytes.fromhex("0300")  # an empty final block

ZEROS = deflated(bytes(10_000_000))
# (compressed payload, size of its frames, failure)
BOMBS = [
    pytest.param(ZEROS, len(ZEROS), LimitExceeded, 1009, id="one-frame"),
    pytest.param(ZEROS, 10, LimitExceeded, 1009, id="fragments"),
    pytest.param(deflated(bytes(LIMIT + 1)), 10_000, LimitExceeded, 1009, id="one-byte-too-many"),
    pytest.param(deflated(bytes(LIMIT + 1)), 1, LimitExceeded, 1009, id="one-byte-too-many-in-fragments"),
    pytest.param(b"\0\0\0\xff\xff" * 50_000, 1000, LimitExceeded, 1009, id="endless-empty-blocks"),
    pytest.param(b"\0\0\0\xff\xff" * 50_000, 250_000, LimitExceeded, 1009, id="endless-empty-blocks-in-one-frame"),
    pytest.param(FINAL * 20, 40, InvalidDeflate, 1007, id="final-blocks"),
    pytest.param(FINAL * 20, 1, InvalidDeflate, 1007, id="final-blocks-in-fragments"),
    pytest.param(deflated(bytes(1000)) + FINAL * 10_000, 1000, InvalidDeflate, 1007, id="final-blocks-behind-data"),
]


@both_roles
@pytest.mark.parametrize(("payload", "size", "failure", "code"), BOMBS)
def test_a_decompression_bomb_is_rejected_before_it_is_decompressed(
    payload: bytes, size: int, failure: type[Exception], code: int, role: Role, library: Any
) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library), limit=LIMIT)
    wire = wire_of(role, frames_of(payload, size))
    assert connection.receive_data(frame(role, 0xC1, HELLO)) == ["Hello"]
    tracemalloc.start()
    try:
        assert connection.receive_data(wire) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failed(connection) == (failure, code)
    assert peak < 4 * LIMIT + 2 * len(wire)


def test_the_error_names_the_limit() -> None:
    connection = connection_of(Role.SERVER, limit=10)
    connection.receive_data(frame(Role.SERVER, 0xC2, deflated(bytes(11))))
    assert isinstance(connection.failure, LimitExceeded)
    assert (connection.failure.option, connection.failure.limit) == ("max_message_size", 10)


def test_eight_final_blocks_are_accepted_in_each_message() -> None:
    connection = connection_of(Role.CLIENT)
    for _ in range(20):
        assert connection.receive_data(frame(Role.CLIENT, 0xC2, FINAL * 8)) == [b""]


@both_roles
@pytest.mark.parametrize("size", [1, 125, 10_000, LIMIT])
@pytest.mark.parametrize("pieces", [1, 2, 500])
@pytest.mark.parametrize("content", ["zeros", "random"])
def test_a_message_of_exactly_the_maximum_size_is_accepted(
    role: Role, size: int, pieces: int, content: str, library: Any
) -> None:
    """Incompressible data grows with each fragment; this does not count towards the limit."""
    data = bytes(size) if content == "zeros" else random.Random(size).randbytes(size)
    deflate = PerMessageDeflate(zlib=library, mem_level=1)
    sender = connection_of(Role.CLIENT if role is Role.SERVER else Role.SERVER, deflate)
    receiver = connection_of(role, deflate, limit=size)
    step = -(-size // pieces)
    for start in range(0, size, step):
        sender.send_fragment(data[start : start + step], fin=start + step >= size, compress=True)
    assert receive(receiver, iter(sender.data_to_send, b"")) == [data]
    sender.send_message(data + b"1", compress=True)
    assert receive(receiver, iter(sender.data_to_send, b"")) == []
    assert failed(receiver) == (LimitExceeded, 1009)


def test_without_a_limit_every_message_is_accepted() -> None:
    connection = connection_of(Role.CLIENT, limit=None)
    assert connection.receive_data(frame(Role.CLIENT, 0xC2, ZEROS)) == [bytes(10_000_000)]


def test_the_limit_applies_to_each_message_separately() -> None:
    connection = connection_of(Role.CLIENT, limit=1000)
    for _ in range(5):
        assert connection.receive_data(frame(Role.CLIENT, 0xC2, deflated(bytes(1000)))) == [bytes(1000)]


# -- sending -----------------------------------------------------------------------------------------------------------


def test_a_compressed_message_is_split_into_frames() -> None:
    data = random.Random(1).randbytes(1000)
    connection = connection_of(Role.CLIENT)
    connection.send_message(data, fragment_size=300)
    frames = sent(connection)
    assert [first for first, _ in frames] == [0x42, 0, 0, 0x80]
    assert [len(payload) for _, payload in frames[:3]] == [300, 300, 300]
    assert zlib.decompressobj(-15).decompress(b"".join(payload for _, payload in frames) + b"\0\0\xff\xff") == data


# (message, compress, first byte)
CHOICES = [
    pytest.param("x" * 63, None, 0x81, id="small"),
    pytest.param("x" * 64, None, 0xC1, id="threshold"),
    pytest.param("é" * 32, None, 0xC1, id="the-threshold-is-in-bytes"),
    pytest.param(b"x" * 64, None, 0xC2, id="binary"),
    pytest.param("x", True, 0xC1, id="small-wanted"),
    pytest.param("x" * 1000, False, 0x81, id="large-unwanted"),
]


@both_roles
@pytest.mark.parametrize(("message", "compress", "first"), CHOICES)
def test_which_messages_are_compressed(message: str | bytes, compress: bool | None, first: int, role: Role) -> None:
    connection = connection_of(role, PerMessageDeflate(threshold=64))
    connection.send_message(message, compress=compress)
    [(sent_first, payload)] = sent(connection)
    data = message.encode() if isinstance(message, str) else message
    assert sent_first == first
    assert (zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff") if first & RSV1 else payload) == data


@both_roles
def test_the_first_fragment_decides_about_compression(role: Role) -> None:
    connection = connection_of(role)
    connection.send_fragment("a", fin=False, compress=False)
    connection.send_fragment("b", fin=True, compress=True)
    assert sent(connection) == [(0x01, b"a"), (0x80, b"b")]
    connection.send_message("Hello")
    assert sent(connection) == [(0xC1, HELLO)]


# -- both ends ---------------------------------------------------------------------------------------------------------

bits = st.integers(8, 15)
agreements: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=bits,
    client_max_window_bits=bits,
)
words = st.sampled_from(["", "a", "Hello", "Grüße, 世界", "x" * 300, "abcdefgh" * 20])
texts = st.lists(words | st.text(max_size=30), max_size=8).map("".join)
blobs = st.binary(max_size=400) | texts.map(str.encode)
pieces = st.lists(texts, min_size=1, max_size=5) | st.lists(blobs, min_size=1, max_size=5)
messages = st.lists(
    st.tuples(pieces, st.booleans(), st.none() | st.integers(1, 50), st.sampled_from([True, False, None])), max_size=8
)


@settings(max_examples=150)
@given(
    role=st.sampled_from(Role),
    agreed=agreements,
    level=st.integers(-1, 9),
    mem_level=st.integers(1, 9),
    threshold=st.sampled_from([0, 64]),
    messages=messages,
    data=st.data(),
)
@pytest.mark.parametrize("module", ["zlib", "zlib_ng.zlib_ng"])
def test_one_side_receives_what_the_other_sends(
    module: str,
    role: Role,
    agreed: dict[str, Any],
    level: int,
    mem_level: int,
    threshold: int,
    messages: list[tuple[list[Any], bool, int | None, bool | None]],
    data: st.DataObject,
) -> None:
    deflate = PerMessageDeflate(level=level, mem_level=mem_level, threshold=threshold, zlib=pytest.importorskip(module))
    sender = connection_of(role, deflate, **agreed)
    # The receiver inflates by the other library, or the same.
    receiver = connection_of(Role.CLIENT if role is Role.SERVER else Role.SERVER, **agreed)
    expected = []
    for pieces, in_fragments, fragment_size, compress in messages:
        message = type(pieces[0])().join(pieces)
        expected.append(message)
        if in_fragments:
            for number, piece in enumerate(pieces, 1):
                sender.send_fragment(piece, fin=number == len(pieces), compress=compress)
        else:
            sender.send_message(message, fragment_size=fragment_size, compress=compress)
    wire = b"".join(iter(sender.data_to_send, b""))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    chunks: Iterable[bytes] = [wire[i:j] for i, j in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert receive(receiver, chunks) == expected
    assert receiver.failure is None
    assert not receiver.in_message


@settings(max_examples=300)
@given(payload=st.binary(max_size=200), fin=st.booleans())
@pytest.mark.parametrize("module", ["zlib", "zlib_ng.zlib_ng"])
def test_any_bytes_are_decompressed_or_rejected(module: str, payload: bytes, fin: bool) -> None:
    """Any bytes are a message within the limit or a failure, no matter how they are split."""
    library = pytest.importorskip(module)
    results = []
    for cut in (whole, byte_by_byte):
        connection = connection_of(Role.CLIENT, PerMessageDeflate(zlib=library), limit=1000)
        events = receive(connection, cut(frame(Role.CLIENT, 0xC2 if fin else 0x42, payload)))
        assert all(isinstance(event, bytes) and len(event) <= 1000 for event in events)
        assert not (events and connection.failure)
        results.append((events, connection.failure and connection.failure.close_code))
    assert results[0] == results[1]


def test_presets_round_trip() -> None:
    source = random.Random(1)
    names = [source.randbytes(4).hex() for _ in range(200)]
    data = b"".join(b'{"id": %d, "name": "%b"}' % (i, source.choice(names).encode()) for i in range(1000))
    sizes = {}
    for name, deflate in PRESETS.items():
        connection = connection_of(Role.CLIENT, deflate, client_max_window_bits=deflate.client_max_window_bits or 15)
        connection.send_message(data)
        [(first, payload)] = sent(connection)
        assert first == 0xC2
        assert zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff") == data
        sizes[name] = len(payload)
    assert sizes["ratio"] <= sizes["default"] <= sizes["memory"] < len(data) // 2
    assert sizes["ratio"] <= sizes["speed"] < len(data) // 2
