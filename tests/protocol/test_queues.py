"""The queues of received messages and outgoing frames, in both twins."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import _queues
from tests.twins import PURE, compiled_twin

KEY = bytes.fromhex("37fa213d")
BATCH, LARGE = 65536, 16384
COMPILED: Any = compiled_twin()
needs_compiled = pytest.mark.skipif(COMPILED is None, reason="the extension is not built")
both_queues = pytest.mark.parametrize(
    "queues", [pytest.param(_queues, id="pure"), pytest.param(COMPILED, id="compiled", marks=needs_compiled)]
)


def new_inbox(queues: Any, masked: bool | None = False, max_size: int = 1000, limit: int = 10_000) -> Any:
    inbox = queues.MessageQueue(masked, max_size)
    inbox.limit, inbox.budget = limit, 64
    return inbox


def new_frames(queues: Any, key: Callable[[], bytes] | None = None, limit: int = 10_000) -> Any:
    frames = queues.FrameQueue(key)
    frames.limit, frames.budget = limit, 64
    return frames


def everything(inbox: Any) -> list[str | bytes]:
    return [inbox.take() for _ in range(len(inbox))]


# -- messages ----------------------------------------------------------------------------------------------------------


@both_queues
def test_messages_are_returned_in_order_and_their_memory_is_counted(queues: Any) -> None:
    inbox = new_inbox(queues)
    messages = ["text", b"bytes", "", "\u20ac", "\U0001f600", b"", "caf\xe9"]
    for message in messages:
        inbox.put(message)
    assert len(inbox) == len(messages)
    assert inbox.size == sum(map(sys.getsizeof, messages))
    assert [inbox.take(), inbox.take()] == messages[:2]
    assert inbox.size == sum(map(sys.getsizeof, messages[2:]))
    inbox.clear()
    assert (len(inbox), inbox.size) == (0, 0)
    with pytest.raises(IndexError):
        inbox.take()


@both_queues
@pytest.mark.parametrize(
    ("masked", "max_size", "data", "messages", "position"),
    [
        (False, 9, b"", [], 0),
        (False, 9, b"\x81\x02ab\x82\x01c", ["ab", b"c"], 7),
        (False, 9, b"\x81\x02ab\x89\x00\x81\x00", ["ab"], 4),
        (False, 9, b"\x81\x02ab\x01\x00", ["ab"], 4),
        (False, 9, b"\x81\x02ab\x81\x02c", ["ab"], 4),
        (False, 9, b"\x82\x09123456789\x82\x0a1234567890", [b"123456789"], 11),
        (False, -1, b"\x82\x00", [], 0),
        (True, 9, b"\x81\x80" + KEY + b"\x81\x00", [""], 6),
        (None, 9, b"\x81\x80" + KEY + b"\x81\x00", ["", ""], 8),
        (False, 9, b"\x81\x01a\x81\x01\xff", ["a"], 3),
    ],
)
def test_put_frames_adds_plain_frames_and_stops_at_others(
    queues: Any, masked: bool | None, max_size: int, data: bytes, messages: list[str | bytes], position: int
) -> None:
    inbox = new_inbox(queues, masked, max_size)
    assert inbox.put_frames(data) == position
    assert inbox.size == sum(map(sys.getsizeof, messages))
    assert everything(inbox) == messages


@both_queues
def test_put_frames_stops_at_the_limit(queues: Any) -> None:
    size = sys.getsizeof(b"abc")
    inbox = new_inbox(queues, limit=2 * size + 1)
    data = b"\x82\x03abc" * 5
    assert inbox.put_frames(data) == 15
    assert inbox.size == 3 * size
    assert inbox.put_frames(data) == 0
    inbox.take()
    assert inbox.put_frames(data) == 5


@both_queues
def test_put_frames_restores_messages_that_an_extension_has_transformed(queues: Any) -> None:
    inbox = new_inbox(queues)
    data = b"\x81\x01a\xc1\x01b\xc2\x01c\xc1\x01!\xc1\x01d"

    def decode(opcode: int, payload: bytes) -> str | bytes | None:
        if payload == b"d":
            raise LookupError
        return None if payload == b"!" else payload.decode() * 2 if opcode == 1 else payload * 3

    assert inbox.put_frames(data) == 3
    assert inbox.put_frames(data[3:], 0x40, decode) == 6
    assert everything(inbox) == ["a", "bb", b"ccc"]
    with pytest.raises(LookupError):
        inbox.put_frames(b"\xc1\x01x" + data[-3:], 0x40, decode)
    assert inbox.size == sys.getsizeof("xx")
    assert everything(inbox) == ["xx"]
    with pytest.raises(ValueError, match="reserved bits"):
        inbox.put_frames(b"", 1, decode)


@both_queues
def test_take_now_needs_budget_and_no_reservation(queues: Any) -> None:
    inbox = new_inbox(queues)
    assert inbox.take_now() is None
    for message in "abcd":
        inbox.put(message)
    inbox.budget = 2
    assert [inbox.take_now(), inbox.take_now(), inbox.take_now()] == ["a", "b", None]
    inbox.budget = 64
    inbox.is_reserved = True
    assert inbox.take_now() is None
    inbox.is_reserved = False
    assert inbox.take_now() == "c"
    assert inbox.budget == 63
    assert everything(inbox) == ["d"]


@both_queues
def test_a_message_queue_checks_its_arguments(queues: Any) -> None:
    for arguments in [(), (True,), (True, 1, 1), (True, "1")]:
        if queues is COMPILED:
            with pytest.raises(TypeError):
                queues.MessageQueue(*arguments)
    with pytest.raises(TypeError):
        new_inbox(queues).put_frames("text")


# -- frames ------------------------------------------------------------------------------------------------------------


@both_queues
def test_messages_are_framed_and_returned_as_one_buffer(queues: Any) -> None:
    frames = new_frames(queues)
    assert [frames.put_message("a\u20ac"), frames.put_message(b"bc")] == [True, True]
    frames.put(b"\x89\x00")
    frames.put_frame(0x01, bytearray(b"d"))
    assert frames.size == 6 + 4 + 2 + 3
    assert frames.take() == [b"\x81\x04a\xe2\x82\xac\x82\x02bc\x89\x00\x01\x01d"]
    assert (frames.size, frames.take(), frames.budget) == (0, [], 62)


@both_queues
def test_each_frame_is_masked_with_its_own_key(queues: Any) -> None:
    keys = [KEY, bytes(4)]
    frames = new_frames(queues, keys.pop)
    frames.put_message("Hello")
    frames.put_message(b"Hello")
    frames.put(b"\x8a\x80" + KEY)
    assert frames.take() == [b"\x81\x85\0\0\0\0Hello" + bytes.fromhex("828537fa213d7f9f4d5158") + b"\x8a\x80" + KEY]


@both_queues
def test_a_large_payload_is_copied_only_if_necessary(queues: Any) -> None:
    payload = bytes(LARGE)
    frames = new_frames(queues, limit=BATCH)
    frames.put_message("a")
    frames.put_message(payload)
    frames.put_message("b")
    frames.put_frame(0x82, bytearray(payload))
    size = frames.size
    first, same, second, copied = frames.take()
    assert first == b"\x81\x01a\x82\x7e\x40\x00"
    assert same is payload
    assert second == b"\x81\x01b\x82\x7e\x40\x00"
    assert copied == payload
    assert (size, frames.size) == (3 + 3 + 2 * (4 + LARGE), 0)
    frames.put_message(payload[1:])
    masked = new_frames(queues, lambda: KEY)
    masked.put_message(payload)
    assert [len(frames.take()), len(masked.take())] == [1, 1]


@both_queues
def test_one_write_has_a_batch_or_one_larger_frame(queues: Any) -> None:
    frames = new_frames(queues, limit=sys.maxsize)
    for size in (40_000, 40_000, 200_000, 10):
        frames.put(bytes(size))
    assert [sum(map(len, frames.take())) for _ in range(5)] == [40_000, 40_000, 200_000, 10, 0]
    frames.put(b"1")
    frames.put_message(bytes(BATCH))
    frames.put(b"2")
    assert [sum(map(len, frames.take())) for _ in range(3)] == [1, 10 + BATCH, 1]


@both_queues
@pytest.mark.parametrize(
    ("attribute", "value"), [("is_open", False), ("is_reserved", True), ("budget", 0), ("limit", 3), ("limit", 0)]
)
def test_a_message_is_not_accepted(queues: Any, attribute: str, value: int) -> None:
    frames = new_frames(queues)
    frames.put_message("a")
    setattr(frames, attribute, value)
    assert not frames.put_message("b")
    assert frames.take() == [b"\x81\x01a"]


@both_queues
def test_a_prepared_message_needs_neither_budget_nor_plain_frames(queues: Any) -> None:
    frames = new_frames(queues)
    frames.budget, frames.is_plain = 0, False
    assert not frames.put_message("a")
    assert frames.put_prepared(b"\x81\x01b")
    assert frames.take() == [b"\x81\x01b"]


@both_queues
@pytest.mark.parametrize(("attribute", "value"), [("is_open", False), ("is_reserved", True), ("limit", 0)])
def test_a_prepared_message_is_not_accepted(queues: Any, attribute: str, value: int) -> None:
    frames = new_frames(queues)
    setattr(frames, attribute, value)
    assert not frames.put_prepared(b"\x81\x01b")
    assert not new_frames(queues, lambda: KEY).put_prepared(b"\x81\x01b")
    assert frames.take() == []


@both_queues
@pytest.mark.parametrize("message", [None, 1, bytearray(b"a"), memoryview(b"a"), ["a"], type("Text", (str,), {})("a")])
def test_anything_but_a_plain_message_is_not_accepted(queues: Any, message: object) -> None:
    frames = new_frames(queues)
    assert not frames.put_message(message)
    assert (frames.size, frames.budget, frames.take()) == (0, 64, [])


@both_queues
def test_a_message_that_cannot_be_framed_changes_nothing(queues: Any) -> None:
    def fail() -> bytes:
        raise LookupError

    frames = new_frames(queues)
    with pytest.raises(UnicodeEncodeError):
        frames.put_message("\ud800")
    with pytest.raises(LookupError):
        new_frames(queues, fail).put_message("a")
    keys: list[Any] = [b"123", "text"]
    for key in keys:
        with pytest.raises((ValueError, TypeError)):
            new_frames(queues, [key].pop).put_message("a")
    with pytest.raises(TypeError):
        frames.put_frame(0x82, 7)
    assert (frames.size, frames.budget, frames.take()) == (0, 64, [])


@both_queues
def test_a_flush_is_no_longer_due_once_there_is_a_batch_or_all_was_taken(queues: Any) -> None:
    frames = new_frames(queues, limit=sys.maxsize)
    frames.is_flush_due = True
    frames.put_message("a")
    assert frames.is_flush_due
    frames.take()
    assert not frames.is_flush_due
    frames.is_flush_due = True
    frames.put_message("b" * BATCH)
    assert not frames.is_flush_due


@both_queues
def test_all_frames_can_be_dropped(queues: Any) -> None:
    frames = new_frames(queues)
    frames.put_message(bytes(LARGE))
    frames.put(b"1")
    frames.clear()
    assert (frames.size, frames.take()) == (0, [])


@both_queues
def test_reference_cycles_through_a_queue_are_collected(queues: Any) -> None:
    class Mine(queues.FrameQueue):  # type: ignore[misc]
        pass

    def make() -> weakref.ref[Any]:
        cycle: list[Any] = []

        def new_key() -> bytes:
            return KEY[: 4 * len(cycle)]

        cycle.append(Mine(new_key))
        cycle[0].put_message("a")
        return weakref.ref(cycle[0])

    seen = make()
    gc.collect()
    assert seen() is None


# -- the two twins -----------------------------------------------------------------------------------------------------


def done(queue: Any, name: str, *arguments: Any) -> Any:
    """Perform an operation on a queue; return its result or its exception."""
    if name == "set":
        setattr(queue, *arguments)
        return None
    return getattr(queue, name)(*arguments)


SIZES = st.sampled_from([LARGE - 1, LARGE, BATCH])
MESSAGES = st.text(max_size=5) | st.binary(max_size=5) | SIZES.map(bytes) | SIZES.map("a".__mul__)
OPERATIONS = st.lists(
    st.tuples(st.just("put_message"), MESSAGES)
    | st.tuples(st.just("put_frame"), st.sampled_from([0x01, 0x82, 0x88]), MESSAGES)
    | st.tuples(st.sampled_from(["put", "put_prepared"]), st.binary(max_size=5))
    | st.tuples(st.sampled_from(["take", "take", "clear"]))
    | st.tuples(st.just("set"), st.sampled_from(["is_open", "is_reserved", "is_plain", "is_flush_due"]), st.booleans())
    | st.tuples(st.just("set"), st.sampled_from(["budget", "limit"]), st.integers(0, 20)),
    max_size=40,
)


@needs_compiled
@settings(max_examples=300)
@given(operations=OPERATIONS, masked=st.booleans())
def test_both_queues_of_frames_do_the_same(operations: list[tuple[Any, ...]], masked: bool) -> None:
    pair = [new_frames(queues, (lambda: KEY) if masked else None) for queues in (_queues, COMPILED)]
    for operation in operations:
        pure, compiled = ((done(queue, *operation), queue.size, queue.budget, queue.is_flush_due) for queue in pair)
        assert pure == compiled


def framed(messages: list[str | bytes]) -> bytes:
    """Return one frame for each message."""
    return b"".join(PURE.build_frame(0x81 + isinstance(message, bytes), message, b"") for message in messages)


INCOMING = st.lists(
    st.tuples(st.just("put"), st.text(max_size=5) | st.binary(max_size=5))
    | st.tuples(st.just("put_frames"), st.lists(st.text(max_size=3) | st.binary(max_size=3), max_size=5).map(framed))
    | st.tuples(st.sampled_from(["take_now", "take_now", "clear"]))
    | st.tuples(st.just("set"), st.just("is_reserved"), st.booleans())
    | st.tuples(st.just("set"), st.just("budget"), st.integers(0, 20))
    | st.tuples(st.just("set"), st.just("limit"), st.integers(0, 2000)),
    max_size=60,
)


@needs_compiled
@settings(max_examples=300)
@given(operations=INCOMING)
def test_both_queues_of_messages_do_the_same(operations: list[tuple[Any, ...]]) -> None:
    pair = [new_inbox(queues) for queues in (_queues, COMPILED)]
    for operation in operations:
        pure, compiled = ((done(queue, *operation), len(queue), queue.budget) for queue in pair)
        assert pure == compiled
        # A text of one character may share the UTF-8 that CPython has of it.
        assert abs(pair[0].size - pair[1].size) <= 3 * len(pair[0])


# -- counting ----------------------------------------------------------------------------------------------------------


@both_queues
def test_received_messages_and_bytes_are_counted(queues: Any) -> None:
    inbox = new_inbox(queues)
    assert (inbox.messages_added, inbox.bytes_read) == (0, 0)
    assert inbox.put_frames(b"\x81\x02ab\x82\x01c\x89\x00") == 7
    assert (inbox.messages_added, inbox.bytes_read) == (2, 7)
    inbox.put("assembled from fragments, whose bytes the caller counts")
    inbox.bytes_read += 60
    inbox.clear()
    assert (inbox.messages_added, inbox.bytes_read) == (3, 67)


@both_queues
def test_sent_messages_are_counted_by_their_last_frames(queues: Any) -> None:
    frames = new_frames(queues, limit=10 * LARGE)
    assert frames.put_message("text")
    assert frames.put_message(bytes(LARGE))
    assert frames.put_prepared(b"\x82\x00")
    assert frames.messages_added == 3
    frames.put_frame(0x01, "a fragmented ")
    assert frames.messages_added == 3
    frames.put_frame(0xC0, b"message")  # a reserved bit changes nothing
    frames.put_frame(0x88, b"")  # a Close
    frames.put_frame(0x89, b"")  # a Ping
    assert frames.messages_added == 4
    assert frames.bytes_added == frames.size == 6 + 4 + LARGE + 2 + 15 + 9 + 2 + 2
    frames.clear()
    assert frames.bytes_added > frames.size == 0
