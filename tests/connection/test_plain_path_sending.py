"""A plain path writes a message to the socket, or leaves it to others; the bytes are the same in both twins."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from anyws.protocol import _pure

from .plain_paths import BUDGET, Driver, Rig, both_paths, compiled_only, frame, open_rig

MESSAGES = {
    "empty text": "",
    "empty binary": b"",
    "ascii": "hello",
    "latin": "\xe9" * 10,
    "euro": "\u20ac" * 400,
    "astral": "\U0001f600",
    **{f"{size} bytes": bytes(range(256)) * (size // 256) + b"x" * (size % 256) for size in (1, 125, 126, 1023, 1024)},
    **{f"{size} binary": b"y" * size for size in (1025, 65535, 65536)},
    **{f"{size} text": "z" * size for size in (125, 126, 1024, 1025, 65535, 65536)},
}
KEY = b"\x37\xfa\x21\x3d"


@pytest.fixture
def rig(kind: str) -> Iterator[Rig]:
    with open_rig(kind) as rig:
        yield rig


def send(rig: Rig, message: object) -> list[Any]:
    return Driver(rig.path.send(message)).outcome


@both_paths
@pytest.mark.parametrize("key", [None, KEY], ids=["server", "client"])
@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_of_a_message(kind: str, name: str, key: bytes | None) -> None:
    message: Any = MESSAGES[name]
    opcode = 0x81 if isinstance(message, str) else 0x82
    expected = _pure.build_frame(opcode, message.encode() if isinstance(message, str) else message, key or b"")
    with open_rig(kind, masking_key=key) as rig:
        for at in (rig.ours, rig.peer):
            at.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert send(rig, message) == [None]
        assert rig.written() == expected
        assert rig.outbox.sent == len(expected)
        assert rig.outbox.budget == BUDGET - 1
        assert [call for call in rig.calls if call != "flush"] == []
        assert rig.path.send_now(message) is True
        assert rig.written() == expected


@both_paths
def test_text_that_cannot_be_encoded_is_not_sent(rig: Rig) -> None:
    assert [type(exc) for exc in send(rig, "x\udc80")] == [UnicodeEncodeError]
    with pytest.raises(UnicodeEncodeError):
        rig.path.send_now("\ud800")
    assert (rig.written(), rig.outbox.budget, rig.outbox.size) == (b"", BUDGET, 0)


class Text(str):
    __slots__ = ()


class Data(bytes):
    pass


@both_paths
@pytest.mark.parametrize("message", [5, None, bytearray(b"x"), memoryview(b"x"), Text("x"), Data(b"x"), ["x"]])
def test_other_objects_are_left_to_the_sender(rig: Rig, message: object) -> None:
    send(rig, message)
    assert rig.calls == [("send", message)]
    assert rig.path.send_now(message) is False
    assert rig.written() == b""


@both_paths
@pytest.mark.parametrize("flag", ["is_open", "is_plain", "budget", "limit", "is_reserved"])
def test_what_is_not_plain_is_left_to_the_sender(rig: Rig, flag: str) -> None:
    setattr(rig.outbox, flag, True if flag == "is_reserved" else type(getattr(rig.outbox, flag))(0))
    assert rig.path.send_now("x") is False
    driver = Driver(rig.path.send("x"))
    rig.loop.run()
    assert driver.outcome == [None]
    assert rig.calls[0] == ("send", "x")


@both_paths
def test_messages_behind_others_are_queued_in_order(rig: Rig) -> None:
    rig.outbox.put(b"first")
    rig.outbox.is_flush_due = True
    for message in ("a", b"b"):
        assert send(rig, message) == [None]
    assert (rig.calls, rig.written()) == ([], b"")
    rig.outbox.is_flush_due = False
    assert send(rig, "c") == [None]
    assert rig.calls == ["flush"]
    assert rig.written() == b"first\x81\x01a\x82\x01b\x81\x01c"


@both_paths
def test_answers_to_several_messages_are_queued_together(rig: Rig) -> None:
    rig.inbox.put("another question")
    assert send(rig, "answer") == [None]
    assert (rig.calls, rig.written(), rig.outbox.size) == (["flush"], b"", 8)


@compiled_only
@pytest.mark.parametrize("kind", ["compiled"])
def test_after_a_message_is_written_directly_the_next_ones_may_be_gathered(rig: Rig) -> None:
    rig.outbox.gathers = True
    assert send(rig, "one") == send(rig, "two") == [None]
    assert (rig.calls, rig.written()) == (["flush"], b"\x81\x03one\x81\x03two")
    assert not rig.outbox.is_direct


@both_paths
def test_a_message_is_queued_while_others_are_written(rig: Rig) -> None:
    rig.outbox.is_direct = False
    assert send(rig, "x") == [None]
    assert rig.calls == ["flush"]


def fill(rig: Rig) -> None:
    """Write until the socket accepts nothing more."""
    for size in (1000, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                rig.ours.send(b"x" * size)


@compiled_only
@pytest.mark.parametrize("message", ["x" * 500, "x" * 5000, "\u20ac" * 5000, b"x" * 5000], ids=str)
@pytest.mark.parametrize("key", [None, KEY], ids=["server", "client"])
@pytest.mark.parametrize("room", [0, 3000])
def test_the_exact_rest_is_left_to_the_pump(message: Any, key: bytes | None, room: int) -> None:
    data = message.encode() if isinstance(message, str) else message
    expected = _pure.build_frame(0x81 if isinstance(message, str) else 0x82, data, key or b"")
    with open_rig("compiled", masking_key=key) as rig:
        fill(rig)
        while room > 0:
            room -= len(rig.peer.recv(room))
        assert send(rig, message) == [None]
        written = b""
        while part := rig.written():
            written += part
        direct = written[-rig.outbox.sent :] if rig.outbox.sent else b""
        rest = b"".join(call[1] for call in rig.calls)
        assert direct + rest == expected
        assert rig.outbox.budget == BUDGET - 1
        assert len(rig.calls) == (1 if rest else 0)


@compiled_only
@pytest.mark.parametrize("size", [5, 5000])
def test_a_lost_connection_is_left_to_the_pump(size: int) -> None:
    with open_rig("compiled") as rig:
        rig.peer.close()
        assert send(rig, "x" * size) == [None]
        assert rig.calls == [("lost", os.strerror(errno.EPIPE))]
        assert rig.outbox.sent == 0
        assert send(rig, "again") == [None]
        assert rig.calls[1:] == [("send", "again")]


@compiled_only
def test_an_error_of_the_pump_is_raised() -> None:
    def fail(*_: object) -> None:
        raise LookupError

    with open_rig("compiled") as rig:
        rig.peer.close()
        rig.write_rest = fail  # type: ignore[method-assign, assignment]
        assert [type(exc) for exc in send(rig, "x")] == [LookupError]


@compiled_only
def test_a_payload_lives_as_long_as_it_is_written() -> None:
    with open_rig("compiled") as rig:
        rig.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        coroutine = rig.path.send(b"a" * 2000 + os.urandom(2000))
        gc.collect()
        assert Driver(coroutine).outcome == [None]
        assert rig.written().startswith(b"\x82\x7e\x0f\xa0" + b"a" * 2000)


@both_paths
def test_an_exception_of_the_masking_key_is_raised_and_nothing_is_sent(kind: str) -> None:
    with open_rig(kind, masking_key=b"123") as rig:
        assert [type(exc) for exc in send(rig, "x")] == [ValueError]
        assert (rig.written(), rig.outbox.size, rig.outbox.budget) == (b"", 0, BUDGET)


# -- prepared frames ---------------------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize("size", [0, 10, 1000, 1100, 50_000])
def test_a_prepared_frame_is_written_unchanged(rig: Rig, size: int) -> None:
    for at in (rig.ours, rig.peer):
        at.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    prepared = _pure.build_frame(0x82, b"x" * size, b"")
    assert rig.path.send_prepared(prepared) is True
    assert rig.written() == prepared
    assert rig.outbox.budget == BUDGET


@both_paths
@pytest.mark.parametrize("flag", ["is_open", "limit", "is_reserved"])
def test_a_prepared_frame_is_refused_when_no_message_is_accepted(rig: Rig, flag: str) -> None:
    setattr(rig.outbox, flag, True if flag == "is_reserved" else type(getattr(rig.outbox, flag))(0))
    assert rig.path.send_prepared(b"\x81\x00") is False
    assert (rig.written(), rig.outbox.size, rig.calls) == (b"", 0, [])


@both_paths
def test_a_client_frames_a_prepared_message_again(kind: str) -> None:
    with open_rig(kind, masking_key=KEY) as rig:
        assert rig.path.send_prepared(b"\x81\x00") is False
        assert rig.written() == b""


@both_paths
@pytest.mark.parametrize("flag", ["is_direct", "put"])
def test_a_prepared_frame_is_queued_behind_others(rig: Rig, flag: str) -> None:
    rig.outbox.is_direct = flag != "is_direct"
    rig.outbox.put(b"first")
    assert rig.path.send_prepared(b"\x81\x01x") is True
    assert rig.calls == ["flush"]
    assert rig.written() == b"first\x81\x01x"


@compiled_only
@pytest.mark.parametrize("size", [10, 5000])
def test_the_rest_of_a_prepared_frame_is_left_to_the_pump(size: int) -> None:
    with open_rig("compiled") as rig:
        fill(rig)
        prepared = _pure.build_frame(0x82, b"x" * size, b"")
        assert rig.path.send_prepared(prepared) is True
        assert rig.calls == [("write_rest", prepared)]
    with open_rig("compiled") as rig:
        rig.peer.close()
        assert rig.path.send_prepared(prepared) is True
        assert rig.calls == [("lost", os.strerror(errno.EPIPE))]


@compiled_only
def test_a_prepared_frame_is_bytes() -> None:
    with open_rig("compiled") as rig:
        with pytest.raises(TypeError):
            rig.path.send_prepared("text")
        assert rig.path.send_prepared(Data(b"\x81\x00"))
        assert rig.written() == b"\x81\x00"


# -- TLS ---------------------------------------------------------------------------------------------------------------


class Records:
    """A TLS layer whose records are the bytes in upper case."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.on_encrypt: Any = None
        self.is_quiet = True

    def encrypt_piece(self, data: bytes) -> Any:
        if self.on_encrypt is not None:
            self.on_encrypt()
        if self.error is not None:
            raise self.error
        return data.upper()


@compiled_only
@pytest.mark.parametrize("key", [None, KEY], ids=["server", "client"])
def test_a_message_is_encrypted(key: bytes | None) -> None:
    with open_rig("compiled", records=Records(), masking_key=key) as rig:
        for message in ("hello", "\u20ac", b"x" * 5000):
            data = message.encode() if isinstance(message, str) else message
            opcode = 0x81 if isinstance(message, str) else 0x82
            assert send(rig, message) == [None]
            assert rig.written() == _pure.build_frame(opcode, data, key or b"").upper()
        assert rig.path.send_prepared(b"\x81\x01x") is (key is None)
        assert rig.written() == (b"\x81\x01X" if key is None else b"")
        assert rig.calls == []


@compiled_only
def test_a_large_message_is_left_to_the_pump_which_encrypts_it_in_pieces() -> None:
    with open_rig("compiled", records=Records()) as rig:
        rig.inbox.put("x")  # so that the link does not write yet
        assert send(rig, b"x" * 16384) == [None]
        assert rig.calls == ["flush"]


@compiled_only
def test_a_message_that_cannot_be_encrypted_is_told_to_the_pump() -> None:
    records = Records()
    with open_rig("compiled", records=records) as rig:
        for error in (LookupError(), MemoryError()):
            records.error = error
            assert send(rig, "x") == [None]
            assert (rig.calls.pop(), rig.errors.pop()) == ("writing_failed", error)
        records.error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            rig.path.send_now("x")
        assert (rig.calls, rig.written()) == ([], b"")


@compiled_only
def test_the_connection_may_end_while_a_message_is_encrypted() -> None:
    records = Records()
    with open_rig("compiled", records=records) as rig:
        records.on_encrypt = rig.end
        assert send(rig, "x") == [None]
        assert (rig.errors, rig.written()) == ([], b"")


@both_paths
def test_an_echo(rig: Rig) -> None:
    async def echo() -> None:
        while True:
            await rig.path.send(await rig.path.receive())

    Driver(echo())
    for count in (1, 2, 3 * BUDGET):
        rig.arrive(b"".join(frame(f"{number}") for number in range(count)))
        rig.loop.run()
        written = rig.written()
        while rig.outbox.size:
            rig.write()
            written += rig.written()
        assert written == b"".join(_pure.build_frame(0x81, b"%d" % number, b"") for number in range(count))
