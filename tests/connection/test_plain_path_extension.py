"""A plain path lets an extension restore and transform whole messages; the bytes are the same in both twins."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from anyws.protocol import _pure
from tests.frames import BINARY, TEXT, frame_bytes

from .plain_paths import BUDGET, Driver, Rig, both_paths, compiled_only, frame, open_rig

KEY = b"\x37\xfa\x21\x3d"


@pytest.fixture
def rig(kind: str) -> Iterator[Rig]:
    with open_rig(kind, extension=True) as rig:
        yield rig


def transformed(message: str | bytes) -> bytes:
    """Return the frame of a message that the extension has transformed, as a client sends it."""
    text = isinstance(message, str)
    payload = message.encode() if isinstance(message, str) else message
    return frame_bytes(TEXT if text else BINARY, payload[::-1], masked=True, rsv=0x40)


def received(rig: Rig) -> list[str | bytes]:
    return [rig.inbox.take() for _ in range(len(rig.inbox))]


def send(rig: Rig, message: object) -> list[Any]:
    return Driver(rig.path.send(message)).outcome


# -- receiving ---------------------------------------------------------------------------------------------------------


@both_paths
def test_transformed_messages_and_others_are_received_in_order(rig: Rig) -> None:
    messages: list[str | bytes] = ["plain", "a" * 300, b"data", "", "plain again", "\u20ac"]
    rig.arrive(b"".join(frame(each) if each in ("plain", "plain again") else transformed(each) for each in messages))
    assert received(rig) == messages
    assert rig.calls == []


@both_paths
def test_a_waiting_task_receives_a_transformed_message(rig: Rig) -> None:
    driver = Driver(rig.path.receive())
    rig.arrive(transformed("hello"))
    assert driver.outcome == ["hello"]


@both_paths
def test_the_frame_of_a_violation_and_the_rest_are_left_to_the_pump(rig: Rig) -> None:
    rest = transformed(b"x!") + frame("after")
    rig.arrive(transformed("before") + rest)
    assert received(rig) == ["before"]
    assert rig.calls == [("feed", rest)]


@both_paths
def test_an_extension_that_fails_ends_the_connection(rig: Rig) -> None:
    rig.arrive(transformed("before") + transformed("x?") + frame("after"))
    assert received(rig) == ["before"]
    assert [type(error) for error in rig.errors] == [LookupError]
    assert rig.calls == ["fail_internally"]


@both_paths
def test_an_incomplete_frame_is_left_to_the_pump(rig: Rig) -> None:
    rig.arrive(transformed("before") + transformed("text")[:-1])
    assert received(rig) == ["before"]
    assert rig.calls == [("feed", transformed("text")[:-1])]


@both_paths
def test_a_full_inbox_is_not_filled_further(rig: Rig) -> None:
    rig.inbox.limit = 100
    rig.arrive(transformed("b" * 60) + transformed("c"))
    assert rig.calls == [("feed", transformed("c"))]


class Records:
    """A TLS layer that changes the case."""

    is_quiet = True

    def decrypt(self, data: bytes) -> bytes:
        return data.swapcase()

    encrypt_piece = decrypt


@compiled_only
def test_over_tls() -> None:
    with open_rig("compiled", extension=True, records=Records()) as rig:
        rig.arrive(transformed("before").swapcase() + transformed("x?").swapcase())
        assert received(rig) == ["before"]
        assert [type(error) for error in rig.errors] == [LookupError]
    with open_rig("compiled", extension=True, records=Records()) as rig:
        for message in ("abc", b"abc" * 1000):
            assert send(rig, message) == [None]
            reversed_frame = _pure.build_frame(0xC1 if isinstance(message, str) else 0xC2, message[::-1], b"")
            assert rig.written() == reversed_frame.swapcase()
        assert rig.calls == []
        rig.inbox.put("x")  # so that the link does not write yet
        assert send(rig, b"x" * 16384) == [None]
        assert rig.calls == ["flush"]


# -- sending -----------------------------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize("key", [None, KEY], ids=["server", "client"])
@pytest.mark.parametrize(
    "message", ["hello", "", b"", b"data" * 300, "\u20ac", "x" * 16383, b"x" * 16384, b"x" * 70_000]
)
def test_the_bytes_of_a_message(kind: str, message: Any, key: bytes | None) -> None:
    data = message.encode() if isinstance(message, str) else message
    first = (0xC0 if message else 0x80) | (1 if isinstance(message, str) else 2)
    expected = _pure.build_frame(first, data[::-1], key or b"")
    with open_rig(kind, masking_key=key, extension=True) as rig:
        for at in (rig.ours, rig.peer):
            at.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert send(rig, message) == [None]
        assert rig.written() == expected
        assert (rig.outbox.sent, rig.outbox.size) == (len(expected), 0)
        assert rig.outbox.budget == BUDGET - 1
        assert [call for call in rig.calls if call != "flush"] == []
        assert rig.is_pure or rig.calls == []  # nothing was left to the link
        assert rig.path.send_now(message) is True
        assert rig.written() == expected


@both_paths
def test_messages_behind_others_are_queued_in_order(rig: Rig) -> None:
    rig.outbox.put(b"first")
    rig.outbox.is_flush_due = True
    assert send(rig, "a") == [None]
    assert (rig.calls, rig.written()) == ([], b"")
    rig.outbox.is_flush_due = False
    assert send(rig, "b") == [None]
    assert (rig.calls, rig.written()) == (["flush"], b"first\xc1\x01a\xc1\x01b")


@both_paths
def test_enough_for_a_write_is_written_at_once(rig: Rig) -> None:
    rig.inbox.put("another question")
    rig.outbox.is_flush_due = True
    assert send(rig, "x" * 65536) == [None]
    assert (rig.outbox.is_flush_due, rig.calls) == (False, ["flush"])


@both_paths
@pytest.mark.parametrize("flag", ["is_open", "budget", "limit", "is_reserved"])
def test_what_is_not_accepted_now_is_left_to_the_sender(rig: Rig, flag: str) -> None:
    setattr(rig.outbox, flag, True if flag == "is_reserved" else type(getattr(rig.outbox, flag))(0))
    assert rig.path.send_now("x") is False
    assert rig.path.send_now(bytearray(b"x")) is False
    send(rig, "x")
    assert rig.calls[0] == ("send", "x")


@both_paths
def test_the_caller_sees_what_the_extension_raises(rig: Rig) -> None:
    assert [type(exc) for exc in send(rig, "?")] == [LookupError]
    with pytest.raises(LookupError):
        rig.path.send_now(b"?")
    with pytest.raises(UnicodeEncodeError):
        rig.path.send_now("\ud800")
    assert (rig.written(), rig.outbox.budget, rig.outbox.size) == (b"", BUDGET, 0)


@both_paths
def test_what_the_socket_does_not_accept_is_left_to_the_pump(rig: Rig) -> None:
    message = bytes(1 << 20)
    if rig.is_pure:
        pytest.skip("the pure twin leaves every write to the link")
    assert send(rig, message) == [None]
    [(name, rest)] = rig.calls
    assert name == "write_rest"
    written = b""
    while piece := rig.written():
        written += piece
    assert written + rest == _pure.build_frame(0xC2, message, b"")
    assert rig.outbox.sent == len(written)


@compiled_only
def test_the_extension_may_end_the_connection_or_send_by_itself() -> None:
    with open_rig("compiled", extension=True) as rig:

        def encode(message: str | bytes) -> None:
            rig.encode(message)
            rig.end()

        rig.path.use_extension(0x40, rig.decode, encode)
        rig.path.send_now("x")
        assert (rig.calls, rig.written()) == (["flush"], b"\xc1\x01x")
    with open_rig("compiled", extension=True) as rig:

        def encode_twice(message: str | bytes) -> None:
            rig.encode("1")
            rig.encode(message)

        rig.path.use_extension(0x40, rig.decode, encode_twice)
        rig.path.send_now("x")
        assert (rig.calls, rig.written()) == (["flush"], b"\xc1\x011\xc1\x01x")
        rig.path.use_extension(0, None, lambda _: None)
        rig.path.send_now("x")
        assert (rig.calls, rig.written()) == (["flush", "flush"], b"")
