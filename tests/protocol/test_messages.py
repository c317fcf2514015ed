"""Assembling messages: fragmentation, UTF-8 and limits (RFC 6455, sections 5.4 and 8.1)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import FrameDecoder, FrameHeader, FramePart, InvalidText, LimitExceeded, MessageDecoder, Opcode
from anyws.protocol.errors import ProtocolError, RemoteProtocolError
from tests.chunks import Chunked, byte_by_byte, chunked

Message = str | bytes


class Receiver:
    """A message decoder after a frame decoder."""

    def __init__(self, *, max_message_size: int | None = None, max_fragments: int | None = None) -> None:
        self.frames = FrameDecoder(masked=False)
        self.messages = MessageDecoder(max_message_size=max_message_size, max_fragments=max_fragments)

    def receive(self, chunks: Iterable[bytes]) -> list[Message]:
        received = []
        for chunk in chunks:
            self.frames.feed(chunk)
            for part in iter(self.frames.next_part, None):
                if (message := self.messages.receive(part)) is not None:
                    received.append(message)
        return received


def frames(*payloads: bytes, text: bool = False, fin: bool = True) -> bytes:
    """Return the frames of one message, each with less than 126 bytes."""
    first = [0x01 if text else 0x02, *[0x00] * (len(payloads) - 1)]
    if fin:
        first[-1] |= 0x80
    return b"".join(bytes([byte, len(payload)]) + payload for byte, payload in zip(first, payloads, strict=True))


MESSAGES = [
    pytest.param(frames(b"Hello", text=True), "Hello", id="text"),
    pytest.param(frames(b"\x00\xff"), b"\x00\xff", id="binary"),
    pytest.param(frames(b"", text=True), "", id="empty-text"),
    pytest.param(frames(b""), b"", id="empty-binary"),
    pytest.param(frames(b"Hel", b"lo", text=True), "Hello", id="rfc-5.7-fragmented-text"),
    pytest.param(frames(b"\x00", b"\xff", b"\x01"), b"\x00\xff\x01", id="fragmented-binary"),
    pytest.param(frames(b"", b"a", b"", b"", b"b", b"", text=True), "ab", id="empty-fragments"),
    pytest.param(frames(b"", b""), b"", id="only-empty-fragments"),
    pytest.param(frames(b"\xce\xba\xe1\xbd", b"\xb9", text=True), "\u03ba\u1f79", id="cut-inside-a-code-point"),
    pytest.param(frames(*byte_by_byte("é€😀".encode()), text=True), "é€😀", id="one-byte-fragments"),
    pytest.param(frames(b"\r", b"\n\n\r", b"\r\n", text=True), "\r\n\n\r\r\n", id="line-ends-stay"),
    pytest.param(frames(b"\x00\xef\xbb", b"\xbf", text=True), "\x00\ufeff", id="nul-and-byte-order-mark-stay"),
    pytest.param(frames(b"\xef\xbb\xbfa", text=True), "\ufeffa", id="leading-byte-order-mark-stays"),
    pytest.param(frames(b"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", text=True), "\ud7ff\ue000\U0010ffff", id="edges"),
]


@chunked
@pytest.mark.parametrize(("data", "message"), MESSAGES)
def test_frames_make_the_message(data: bytes, message: Message, chunked: Chunked) -> None:
    receiver = Receiver()
    assert receiver.receive(chunked(data)) == [message]
    assert not receiver.messages.in_message
    assert receiver.messages.partial_size == 0


@chunked
@pytest.mark.parametrize(("data", "message"), MESSAGES)
def test_followed_by_the_start_of_another_message(data: bytes, message: Message, chunked: Chunked) -> None:
    receiver = Receiver()
    assert receiver.receive(chunked(data + frames(b"x", fin=False))) == [message]
    assert receiver.messages.in_message
    assert receiver.receive(chunked(b"\x80\x00" + data)) == [b"x", message]


@chunked
@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x80\x01a", "continuation frame outside a message", id="continuation-first"),
        pytest.param(b"\x00\x00", "continuation frame outside a message", id="middle-first"),
        pytest.param(frames(b"a") + b"\x80\x00", "outside a message", id="continuation-behind-message"),
        pytest.param(frames(b"a", b"b") + b"\x80\x00", "outside a message", id="continuation-behind-fragments"),
        pytest.param(frames(b"a", fin=False) + b"\x82\x01", "BINARY frame inside a fragmented", id="binary-in-binary"),
        pytest.param(frames(b"", fin=False, text=True) + b"\x82\x00", "BINARY frame inside", id="binary-in-text"),
        pytest.param(frames(b"a", b"", fin=False) + b"\x01\x00", "TEXT frame inside a fragmented", id="text-in-binary"),
    ],
)
def test_fragments_out_of_order_are_rejected(data: bytes, message: str, chunked: Chunked) -> None:
    with pytest.raises(ProtocolError, match=message):
        Receiver().receive(chunked(data))


# -- limits ------------------------------------------------------------------------------------------------------------


@chunked
@pytest.mark.parametrize(
    ("limits", "data", "option", "actual"),
    [
        pytest.param({"max_message_size": 4}, frames(b"12345")[:2], "max_message_size", 5, id="size-whole"),
        pytest.param({"max_message_size": 4}, frames(b"123", b"12")[:7], "max_message_size", 5, id="size-fragments"),
        pytest.param({"max_message_size": 0}, b"\x02\x01", "max_message_size", 1, id="size-0"),
        pytest.param(
            {"max_message_size": 4}, b"\x82\x7f" + b"\x7f" * 8, "max_message_size", 0x7F7F7F7F7F7F7F7F, id="huge"
        ),
        pytest.param(
            {"max_message_size": 2},
            frames("€".encode(), text=True)[:2],
            "max_message_size",
            3,
            id="bytes-not-characters",
        ),
        pytest.param({"max_fragments": 2}, frames(b"a", b"b", b"c")[:8], "max_fragments", 3, id="fragments"),
        pytest.param({"max_fragments": 2}, frames(b"", b"", b"")[:6], "max_fragments", 3, id="empty-fragments"),
    ],
)
def test_limits_are_applied_to_the_header(
    limits: dict[str, int], data: bytes, option: str, actual: int, chunked: Chunked
) -> None:
    receiver = Receiver(**limits)
    *before, last = chunked(data)
    assert receiver.receive(before) == []
    with pytest.raises(LimitExceeded, match=f"{option} is {limits[option]}, received {actual}") as caught:
        receiver.receive([last])
    error = caught.value
    assert (error.option, error.limit, error.actual, error.close_code) == (option, limits[option], actual, 1009)


@chunked
def test_messages_of_exactly_the_maximum_size_are_accepted_repeatedly(chunked: Chunked) -> None:
    receiver = Receiver(max_message_size=4, max_fragments=2)
    data = frames(b"12", b"34") + frames(b"1234") + frames(b"", b"1234", text=True)
    assert receiver.receive(chunked(data * 2)) == [b"1234", b"1234", "1234"] * 2


def test_receiving_pieces_does_not_raise_the_limit() -> None:
    receiver = Receiver(max_message_size=4)
    receiver.receive([frames(b"123", fin=False)])
    assert receiver.messages.take_partial() == b"123"
    with pytest.raises(LimitExceeded, match="max_message_size is 4, received 5"):
        receiver.receive([b"\x80\x02"])


# -- pieces ------------------------------------------------------------------------------------------------------------


@chunked
def test_pieces_can_be_received_and_the_end_returns_the_rest(chunked: Chunked) -> None:
    receiver = Receiver()
    messages = receiver.messages
    assert not messages.in_message
    assert messages.take_partial() == b""
    receiver.receive(chunked(frames(b"ab\xe2\x82", text=True, fin=False)))
    assert (messages.in_message, messages.partial_size) == (True, 4)
    assert messages.take_partial() == "ab"  # and the two bytes of the unfinished code point wait
    assert (messages.in_message, messages.partial_size, messages.take_partial()) == (True, 0, "")
    receiver.receive(chunked(b"\x00\x02\xacc"))
    assert messages.partial_size == 2
    assert messages.take_partial() == "€c"
    assert receiver.receive(chunked(b"\x80\x01d")) == ["d"]
    assert (messages.in_message, messages.partial_size) == (False, 0)


def test_pieces_of_an_incomplete_frame_can_be_received() -> None:
    receiver = Receiver()
    receiver.receive([b"\x82\x05ab"])
    assert (receiver.messages.partial_size, receiver.messages.take_partial()) == (2, b"ab")
    receiver.receive([b"cd"])
    assert (receiver.messages.partial_size, receiver.messages.take_partial()) == (2, b"cd")
    assert receiver.receive([b"e"]) == [b"e"]


# -- UTF-8 -------------------------------------------------------------------------------------------------------------

# Each proper prefix of the encoding of each code point; the last byte of an encoding never decides, so 64 share theirs.
UNFINISHED = {
    chr(code).encode()[:length]
    for code in range(0, 0x110000, 64)
    if not 0xD800 <= code <= 0xDFFF
    for length in range(1, len(chr(code).encode()))
}


@cache
def is_possible(data: bytes) -> bool:
    """Return whether the data is the start of valid text: code points and perhaps a part of another one."""
    for cut in range(max(0, len(data) - 3), len(data) + 1):
        try:
            data[:cut].decode()
        except UnicodeDecodeError:
            continue
        if cut == len(data) or data[cut:] in UNFINISHED:
            return True
    return False


def accepted_prefix(data: bytes) -> int:
    """Feed a text message byte by byte; return the number of bytes until it is rejected."""
    decoder = MessageDecoder(max_message_size=None, max_fragments=None)
    header = FrameHeader(Opcode.TEXT, True, 0, 125, b"")
    for count in range(len(data)):
        try:
            decoder.receive(FramePart(header, data[count : count + 1], count == 0, False))
        except RemoteProtocolError:
            return count
    return len(data)


def possible_prefix(data: bytes) -> int:
    return next((count for count in range(len(data)) if not is_possible(data[: count + 1])), len(data))


# One byte on each side of every border in the table of Unicode 3-7, "Well-Formed UTF-8 Byte Sequences".
BORDERS = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")


@pytest.mark.parametrize("first", range(256))
def test_every_two_bytes_fail_as_the_oracle_says(first: int) -> None:
    for second in range(256):
        data = bytes([first, second])
        assert accepted_prefix(data) == possible_prefix(data), data.hex(" ")


@pytest.mark.parametrize("first", BORDERS)
def test_bytes_at_the_borders_fail_as_the_oracle_says(first: int) -> None:
    for others in product(BORDERS, BORDERS, [0x7F, 0x80, 0xBF, 0xC0]):
        data = bytes([first, *others])
        assert accepted_prefix(data) == possible_prefix(data), data.hex(" ")


@given(st.text(max_size=4), st.lists(st.sampled_from(BORDERS), max_size=4).map(bytes), st.data())
@settings(deadline=None)
def test_text_with_invalid_bytes_fails_at_the_same_byte_however_it_is_split(
    text: str, bad: bytes, data: st.DataObject
) -> None:
    payload = text.encode() + bad
    good = possible_prefix(payload)
    step = data.draw(st.integers(1, 8))
    receiver = Receiver()
    receiver.receive([b"\x81\x7d"])
    for start in range(0, len(payload), step):
        chunk = payload[start : start + step]
        if start + len(chunk) > good:
            with pytest.raises(InvalidText):
                receiver.receive([chunk])
            return
        receiver.receive([chunk])
    assert payload.startswith(str(receiver.messages.take_partial()).encode())
