"""permessage-deflate at work: the RFC's examples, windows, bounds and what is refused (RFC 7692, 6 to 8)."""

from __future__ import annotations

import importlib
import random
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import (
    Connection,
    DeflateParameters,
    Event,
    FrameDecoder,
    InvalidDeflate,
    InvalidText,
    LimitExceeded,
    Opcode,
    PerMessageDeflate,
    Ping,
    ProtocolError,
    Role,
    State,
)
from anyws.protocol.deflate import PRESETS, DeflateCodec
from tests.chunks import Chunked, byte_by_byte, chunked, whole

both_roles = pytest.mark.parametrize("role", Role)
RSV1 = 0x40
TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9
FIN = 0x80
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, 7.2.3.1
Frames = list[tuple[int, bytes]]


def receive(connection: Connection, chunks: Iterable[bytes]) -> list[Event]:
    return [event for chunk in chunks for event in connection.receive_data(chunk)]


def frame(role: Role, first: int, payload: bytes) -> bytes:
    """A frame that the peer of the role sends; its masking key is zero."""
    mask, key = (0x80, bytes(4)) if role is Role.SERVER else (0, b"")
    length = len(payload)
    if length < 126:
        head = bytes([first, mask | length])
    elif length < 65536:
        head = bytes([first, mask | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + length.to_bytes(8, "big")
    return head + key + payload


@pytest.fixture(params=["zlib", "zlib_ng.zlib_ng"])
def library(request: pytest.FixtureRequest) -> Any:
    """Each module that can be given as ``zlib=``."""
    try:
        return importlib.import_module(request.param)
    except ModuleNotFoundError:
        pytest.skip(f"{request.param} is not installed")


def codec_of(role: Role, deflate: PerMessageDeflate | None = None, **agreed: Any) -> DeflateCodec:
    return DeflateCodec(
        DeflateParameters(**agreed), deflate or PerMessageDeflate(threshold=0), is_server=role is Role.SERVER
    )


def connection_of(
    role: Role, deflate: PerMessageDeflate | None = None, *, limit: int | None = 1024 * 1024, **agreed: Any
) -> Connection:
    return Connection(role, max_message_size=limit, codecs=[codec_of(role, deflate, **agreed)])


def wire_of(role: Role, frames: Frames) -> bytes:
    return b"".join(frame(role, *each) for each in frames)


def sent_frames(connection: Connection) -> Frames:
    """Take what is to be sent, as first bytes and payloads."""
    decoder = FrameDecoder(masked=connection.role is Role.CLIENT, rsv=0x70)
    frames = []
    while connection.has_data_to_send:
        decoder.feed(connection.data_to_send())
        for part in iter(decoder.next_part, None):
            assert part.first
            assert part.last
            header = part.header
            frames.append((header.opcode | header.rsv | (FIN if header.fin else 0), part.payload))
    return frames


def failed(connection: Connection) -> tuple[type[Exception], int]:
    """Return why the connection was failed, with the code of the Close that says so."""
    assert connection.failure is not None
    assert connection.state is State.CLOSED
    [*_, (first, close)] = sent_frames(connection)
    assert first == FIN | Opcode.CLOSE
    assert int.from_bytes(close[:2], "big") == connection.failure.close_code
    return type(connection.failure), connection.failure.close_code


def deflated(data: bytes, *, level: int = 9, bits: int = 15) -> bytes:
    """Compress a message as a peer does, by plain zlib."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    compressed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert compressed.endswith(b"\0\0\xff\xff")
    return compressed[:-4]


def frames_of(payload: bytes, size: int, opcode: int = BINARY) -> Frames:
    """Cut a compressed message into frames."""
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    firsts = [opcode | RSV1] + [CONTINUATION] * (len(pieces) - 1)
    firsts[-1] |= FIN
    return list(zip(firsts, pieces, strict=True))


# -- receiving ---------------------------------------------------------------------------------------------------------

# (frames, events)
RECEIVED = [
    pytest.param([(0xC1, HELLO)], ["Hello"], id="7.2.3.1-one-block"),
    pytest.param([(0x41, HELLO[:3]), (0x80, HELLO[3:])], ["Hello"], id="7.2.3.1-fragmented"),
    pytest.param([(0xC1, HELLO), (0xC1, HELLO)], ["Hello", "Hello"], id="7.2.3.2-same-again"),
    pytest.param([(0xC1, HELLO), (0xC1, bytes.fromhex("f200110000"))], ["Hello", "Hello"], id="7.2.3.2-window"),
    pytest.param([(0xC1, bytes.fromhex("000500faff48656c6c6f00"))], ["Hello"], id="7.2.3.3-stored"),
    pytest.param([(0xC1, bytes.fromhex("f348cdc9c9070000"))], ["Hello"], id="7.2.3.4-bfinal"),
    pytest.param([(0xC1, bytes.fromhex("f24805000000ffffcac9c90700"))], ["Hello"], id="7.2.3.5-two-blocks"),
    pytest.param([(0xC2, bytes.fromhex("f248cdc9c90700"))], [b"Hello"], id="binary"),
    pytest.param([(0xC1, b"\0")], [""], id="7.2.3.6-empty"),
    pytest.param([(0xC2, b"")], [b""], id="empty-payload"),
    pytest.param([(0xC1, HELLO), (0xC1, b""), (0xC1, HELLO)], ["Hello", "", "Hello"], id="empty-payload-between"),
    pytest.param([(0x41, b""), (0x00, HELLO), (0x80, b"")], ["Hello"], id="empty-fragments-around"),
    pytest.param([(0x41, b""), (0x80, b"")], [""], id="only-empty-fragments"),
    pytest.param(
        [(0xC1, bytes.fromhex("f348cdc9c9070000"))] * 3, ["Hello", "Hello", "Hello"], id="messages-after-bfinal"
    ),
    pytest.param(
        [(0xC1, bytes.fromhex("f348cdc9c9070000")), (0xC1, bytes.fromhex("f200110000"))],
        ["Hello", "Hello"],
        id="back-reference-behind-bfinal",
    ),
    pytest.param([(0xC1, bytes.fromhex("f348cdc9c90700"))] * 2, ["Hello", "Hello"], id="bfinal-without-empty-block"),
    pytest.param(
        [(0xC1, bytes.fromhex("f348cdc9c90700f348cdc9c9070000"))], ["HelloHello"], id="two-final-blocks-in-one-message"
    ),
    pytest.param([(0xC2, bytes.fromhex("010500faff48656c6c6f00"))], [b"Hello"], id="stored-bfinal"),
    pytest.param(
        [(0xC1, HELLO), (0x81, b"plain"), (0xC1, bytes.fromhex("f200110000"))],
        ["Hello", "plain", "Hello"],
        id="plain-message-leaves-the-window",
    ),
    pytest.param(
        [(0xC1, HELLO), (0x01, b"pl"), (0x80, b"ain"), (0xC1, bytes.fromhex("f200110000"))],
        ["Hello", "plain", "Hello"],
        id="plain-fragments-leave-the-window",
    ),
    pytest.param(
        [(0x41, HELLO[:2]), (0x89, b"Hello"), (0x80, HELLO[2:]), (0xC1, bytes.fromhex("f200110000"))],
        [Ping(b"Hello"), "Hello", "Hello"],
        id="a-ping-between-is-not-compressed",
    ),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events"), RECEIVED)
def test_what_is_inflated(frames: Frames, events: list[Event], role: Role, chunked: Chunked, library: Any) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    assert receive(connection, chunked(wire_of(role, [*frames, (0x82, b"more")]))) == [*events, b"more"]
    assert connection.failure is None


@both_roles
@pytest.mark.parametrize("theirs", ["no_context_takeover", "max_window_bits"])
def test_the_window_is_empty_where_that_was_agreed(role: Role, theirs: str, library: Any) -> None:
    """Without context takeover, a message that reaches back to the one before is broken."""
    peer = "client" if role is Role.SERVER else "server"
    parameters = {f"{peer}_{theirs}": 8 if theirs == "max_window_bits" else True}
    connection = connection_of(role, PerMessageDeflate(zlib=library), **parameters)
    frames = wire_of(role, [(0xC1, HELLO), (0xC1, HELLO), (0xC1, bytes.fromhex("f200110000"))])
    events = receive(connection, [frames])
    if theirs == "max_window_bits":
        assert (events, connection.failure) == (["Hello"] * 3, None)
    else:
        assert events == ["Hello"] * 2
        assert failed(connection) == (InvalidDeflate, 1007)


def test_the_window_behind_a_final_block_is_as_large_as_agreed(library: Any) -> None:
    """A message may reach back over several final blocks, through the whole window."""
    data = random.Random(1).randbytes(30_000)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, data)
    reference = compressor.compress(data[:258]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert len(reference) < 20
    connection = connection_of(Role.CLIENT, PerMessageDeflate(zlib=library))
    for part in (bytes(40_000), data[:10_000], data[10_000:20_000], data[20_000:]):
        final = zlib.compressobj(0, zlib.DEFLATED, -15)
        wire = frame(Role.CLIENT, 0xC2, final.compress(part) + final.flush() + b"\0")
        assert connection.receive_data(wire) == [part]
    assert connection.receive_data(frame(Role.CLIENT, 0xC2, reference[:-4])) == [data[:258]]


# (frames, events before, failure)
BROKEN = [
    pytest.param([(0xC1, b"\xff\xff\xff")], [], InvalidDeflate, id="reserved-block-type"),
    pytest.param([(0xC2, b"\x00\x05\x00\x00\x00Hello")], [], InvalidDeflate, id="stored-length-not-complement"),
    pytest.param([(0xC2, bytes.fromhex("f200110000"))], [], InvalidDeflate, id="back-reference-to-nothing"),
    pytest.param([(0xC2, bytes.fromhex("000500faff48656c"))], [], InvalidDeflate, id="cut-off-stored-block"),
    pytest.param([(0xC2, bytes.fromhex("000400fbff48656c"))], [], InvalidDeflate, id="one-byte-missing"),
    pytest.param([(0xC2, b"garbage" * 9)], [], InvalidDeflate, id="garbage"),
    pytest.param([(0x82, b"ok"), (0xC1, b"\xff")], [b"ok"], InvalidDeflate, id="behind-another"),
    pytest.param([(0x42, b"\x06"), (0x80, b"\0")], [], InvalidDeflate, id="in-the-first-fragment"),
    pytest.param([(0xC1, bytes.fromhex("f348cdc9c90700") + b"\xff\xff")], [], InvalidDeflate, id="behind-bfinal"),
    pytest.param([(0xC1, deflated(b"\xff"))], [], InvalidText, id="not-utf-8"),
    pytest.param([(0xC1, deflated(b"\xed\xa0\x80"))], [], InvalidText, id="surrogate"),
    pytest.param([(0xC1, deflated("é".encode()[:1]))], [], InvalidText, id="unfinished-utf-8"),
    pytest.param([(0x41, deflated(b"\xff") + b"\0\0\xff\xff")], [], InvalidText, id="not-utf-8-in-unfinished-message"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("frames", "events", "failure"), BROKEN)
def test_what_cannot_be_inflated_is_1007(
    frames: Frames, events: list[Event], failure: type[Exception], role: Role, chunked: Chunked, library: Any
) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    assert receive(connection, chunked(wire_of(role, frames))) == events
    assert failed(connection) == (failure, 1007)


def test_bad_text_is_seen_before_its_frame_is_whole() -> None:
    connection = connection_of(Role.CLIENT)
    payload = deflated(b"ab\xffcd") + b"\0\0\xff\xff" + b"\0\0\0\xff\xff" * 200
    assert connection.receive_data(frame(Role.CLIENT, 0xC1, payload)[:20]) == []
    assert failed(connection) == (InvalidText, 1007)


# (with compression, frames, bits that the reason names)
RESERVED = [
    pytest.param(False, [(0xC1, HELLO)], "RSV1", id="rsv1-not-agreed"),
    pytest.param(False, [(0xC2, b"")], "RSV1", id="rsv1-not-agreed-empty"),
    pytest.param(True, [(0x41, HELLO), (0xC0, b"")], "RSV1", id="rsv1-on-last-fragment"),
    pytest.param(True, [(0x01, b"a"), (0x40, b"b")], "RSV1", id="rsv1-on-continuation-of-plain"),
    pytest.param(True, [(0xC9, b"")], "RSV1", id="rsv1-on-ping"),
    pytest.param(True, [(0xCA, b"")], "RSV1", id="rsv1-on-pong"),
    pytest.param(True, [(0xC8, b"")], "RSV1", id="rsv1-on-close"),
    pytest.param(True, [(0xA1, b"")], "RSV2", id="rsv2"),
    pytest.param(True, [(0x91, b"")], "RSV3", id="rsv3"),
    pytest.param(True, [(0xE1, HELLO)], "RSV2", id="rsv1-and-rsv2"),
    pytest.param(True, [(0xF1, HELLO)], "RSV2, RSV3", id="all"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("with_compression", "frames", "bits"), RESERVED)
def test_reserved_bits_that_mean_nothing_are_1002(
    with_compression: bool, frames: Frames, bits: str, role: Role, chunked: Chunked
) -> None:
    connection = connection_of(role) if with_compression else Connection(role)
    assert receive(connection, chunked(wire_of(role, frames))) == []
    assert connection.failure is not None
    assert connection.failure.reason.startswith(f"{bits} set")
    assert failed(connection) == (ProtocolError, 1002)


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
def test_a_bomb_is_refused_before_it_unfolds(
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


def test_the_limit_is_named() -> None:
    connection = connection_of(Role.SERVER, limit=10)
    connection.receive_data(frame(Role.SERVER, 0xC2, deflated(bytes(11))))
    assert isinstance(connection.failure, LimitExceeded)
    assert (connection.failure.option, connection.failure.limit) == ("max_message_size", 10)


def test_eight_final_blocks_are_taken_in_each_message() -> None:
    connection = connection_of(Role.CLIENT)
    for _ in range(20):
        assert connection.receive_data(frame(Role.CLIENT, 0xC2, FINAL * 8)) == [b""]


@both_roles
@pytest.mark.parametrize("size", [1, 125, 10_000, LIMIT])
@pytest.mark.parametrize("pieces", [1, 2, 500])
@pytest.mark.parametrize("content", ["zeros", "random"])
def test_a_message_of_exactly_the_limit_passes(role: Role, size: int, pieces: int, content: str, library: Any) -> None:
    """What compresses badly grows, with each fragment; that is not counted against the sender."""
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


def test_without_a_limit_everything_passes() -> None:
    connection = connection_of(Role.CLIENT, limit=None)
    assert connection.receive_data(frame(Role.CLIENT, 0xC2, ZEROS)) == [bytes(10_000_000)]


def test_the_limit_holds_for_each_message_anew() -> None:
    connection = connection_of(Role.CLIENT, limit=1000)
    for _ in range(5):
        assert connection.receive_data(frame(Role.CLIENT, 0xC2, deflated(bytes(1000)))) == [bytes(1000)]


# -- sending -----------------------------------------------------------------------------------------------------------


@both_roles
def test_the_examples_of_the_rfc_are_what_is_sent(role: Role) -> None:
    """7.2.3.1 and 7.2.3.2 byte for byte; zlib makes the same of them."""
    connection = connection_of(role)
    connection.send_message("Hello")
    connection.send_message("Hello")
    connection.send_message("")
    assert sent_frames(connection) == [(0xC1, HELLO), (0xC1, bytes.fromhex("f200110000")), (0xC1, b"\0")]


@both_roles
def test_an_empty_message(role: Role, library: Any) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    for _ in range(2):
        connection.send_message("", compress=True)
        connection.send_message(b"")
    assert sent_frames(connection) == [(0xC1, b"\0"), (0x82, b"")] * 2


@both_roles
def test_without_context_takeover_each_message_is_compressed_alone(role: Role) -> None:
    connection = connection_of(role, None, **{f"{role.value}_no_context_takeover": True})
    for _ in range(2):
        connection.send_message("Hello")
    connection.send_fragment("Hel", fin=False)
    connection.send_fragment("lo", fin=True)
    connection.send_message("Hello")
    first, second, *fragments, last = sent_frames(connection)
    assert first == second == last == (0xC1, HELLO)
    assert zlib.decompress(b"".join(payload for _, payload in fragments) + b"\0\0\xff\xff\3\0", -15) == b"Hello"


@both_roles
def test_the_other_sides_takeover_is_its_own(role: Role) -> None:
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    connection = connection_of(role, None, **{f"{other.value}_no_context_takeover": True})
    for _ in range(2):
        connection.send_message("Hello")
    assert sent_frames(connection) == [(0xC1, HELLO), (0xC1, bytes.fromhex("f200110000"))]


@both_roles
def test_only_the_first_fragment_has_rsv1(role: Role, library: Any) -> None:
    connection = connection_of(role, PerMessageDeflate(zlib=library))
    for fragment in ("Hel", "", "lo"):
        connection.send_fragment(fragment, fin=False)
    connection.send_fragment("", fin=True)
    frames = sent_frames(connection)
    assert [first for first, _ in frames] == [0x41, 0, 0, 0x80]
    assert zlib.decompressobj(-15).decompress(b"".join(payload for _, payload in frames) + b"\0\0\xff\xff") == b"Hello"


def test_one_compressed_message_is_cut_into_frames() -> None:
    data = random.Random(1).randbytes(1000)
    connection = connection_of(Role.CLIENT)
    connection.send_message(data, fragment_size=300)
    frames = sent_frames(connection)
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
    [(sent_first, payload)] = sent_frames(connection)
    data = message.encode() if isinstance(message, str) else message
    assert sent_first == first
    assert (zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff") if first & RSV1 else payload) == data


@both_roles
def test_the_choice_at_the_first_fragment_counts(role: Role) -> None:
    connection = connection_of(role)
    connection.send_fragment("a", fin=False, compress=False)
    connection.send_fragment("b", fin=True, compress=True)
    assert sent_frames(connection) == [(0x01, b"a"), (0x80, b"b")]
    connection.send_message("Hello")
    assert sent_frames(connection) == [(0xC1, HELLO)]


@pytest.mark.parametrize("level", [-1, 0, 1, 6, 9])
@pytest.mark.parametrize("mem_level", [1, 8, 9])
def test_what_is_sent_has_no_tail_and_inflates_with_plain_zlib(level: int, mem_level: int, library: Any) -> None:
    connection = connection_of(Role.CLIENT, PerMessageDeflate(level=level, mem_level=mem_level, zlib=library))
    decompressor = zlib.decompressobj(-15)
    source = random.Random(level)
    for size in (0, 1, 5, 127, 128, 1000, 65_535, 65_536, 200_000):
        for data in (bytes(size), source.randbytes(size), b"\0\0\xff\xff" * (size // 4)):
            connection.send_message(data, compress=True)
            [(first, payload)] = sent_frames(connection)
            assert first == 0xC2
            assert not payload.endswith(b"\0\0\xff\xff")
            assert decompressor.decompress(payload + b"\0\0\xff\xff") == data


def inflated_strictly(data: bytes, bits: int) -> bytes:
    """Inflate byte by byte, so that zlib has no more to refer to than its window."""
    decompressor = zlib.decompressobj(-bits)
    output = bytearray()
    while piece := decompressor.decompress(data, 1):
        output += piece
        data = decompressor.unconsumed_tail
    return bytes(output)


def repetitive(seed: int) -> bytes:
    """Data that repeats itself at many distances."""
    source = random.Random(seed)
    letters = range(97, 97 + source.choice([2, 4, 26]))
    words = [bytes(source.choices(letters, k=source.randint(1, 300))) for _ in range(source.randint(2, 40))]
    return b"".join(source.choices(words, k=300))[: source.choice([600, 2500])]


@both_roles
@pytest.mark.parametrize("level", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("bits", [8, 9, 10])
def test_a_window_that_was_agreed_is_kept_to(role: Role, level: int, bits: int, library: Any) -> None:
    """Above all a window of 8, for which zlib has no compressor of its own."""
    reaches_back = False
    for seed in range(10):
        deflate = PerMessageDeflate(level=level, mem_level=source_level(seed), zlib=library)
        connection = connection_of(role, deflate, **{f"{role.value}_max_window_bits": bits})
        data = repetitive(seed)
        for start in range(0, len(data), 777):
            connection.send_message(data[start : start + 777], compress=True)
        stream = b"".join(payload + b"\0\0\xff\xff" for _, payload in sent_frames(connection))
        assert inflated_strictly(stream, bits) == data
        try:
            reaches_back = reaches_back or inflated_strictly(stream, 8) != data
        except zlib.error:
            reaches_back = True
    assert reaches_back is (bits == 10)  # so the check would see a window that is too large


def source_level(seed: int) -> int:
    return (1, 5, 8, 9)[seed % 4]


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
def test_what_one_end_sends_the_other_receives(
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
def test_whatever_comes_is_inflated_or_refused(module: str, payload: bytes, fin: bool) -> None:
    """Any bytes give a message within the limit, or a failure; the same for each way to cut them."""
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
        [(first, payload)] = sent_frames(connection)
        assert first == 0xC2
        assert zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff") == data
        sizes[name] = len(payload)
    assert sizes["ratio"] <= sizes["default"] <= sizes["memory"] < len(data) // 2
