"""A plain path reads whole frames by itself, and leaves everything else to the pump; nothing is lost or doubled."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from tests.frames import CLOSE, CONTINUATION, PING, TEXT, frame_bytes

from .plain_paths import BUDGET, Driver, Rig, both_paths, compiled_only, frame, open_rig

MESSAGES: list[str | bytes] = ["hello", b"world", "", "\u20ac" * 50, b"x" * 300]
STREAM = b"".join(map(frame, MESSAGES))


@pytest.fixture
def rig(kind: str) -> Iterator[Rig]:
    with open_rig(kind) as rig:
        yield rig


def received(rig: Rig) -> list[str | bytes]:
    return [rig.inbox.take() for _ in range(len(rig.inbox))]


def whole_frames(size: int) -> tuple[int, int]:
    """Return how many frames of `STREAM` are within so many bytes, and where they end."""
    count = end = 0
    for message in MESSAGES:
        if end + len(frame(message)) > size:
            break
        count, end = count + 1, end + len(frame(message))
    return count, end


@both_paths
@pytest.mark.parametrize("size", range(1, len(STREAM) + 1, 3))
def test_exactly_the_incomplete_rest_is_left_to_the_pump(rig: Rig, size: int) -> None:
    rig.arrive(STREAM[:size])
    count, end = whole_frames(size)
    assert received(rig) == MESSAGES[:count]
    assert rig.calls == ([("feed", STREAM[end:size])] if end < size else [])


NOT_PLAIN = {
    "ping": frame_bytes(PING, b"?", masked=True),
    "close": frame_bytes(CLOSE, b"\x03\xe8", masked=True),
    "fragment": frame_bytes(TEXT, b"a", fin=False, masked=True),
    "continuation": frame_bytes(CONTINUATION, b"a", masked=True),
    "reserved bit": b"\xc1" + frame("x")[1:],
    "unknown opcode": b"\x83" + frame("x")[1:],
    "not masked": frame("x", masked=False),
    "too large": frame(b"x" * 100_001),
    "not UTF-8": frame_bytes(TEXT, b"\xff", masked=True),
    "longer than needed": b"\x81\xfe\x00\x01\0\0\0\0x",
    "enormous": b"\x82\xff" + b"\xff" * 8 + b"\0\0\0\0" + b"x" * 50,
}


@both_paths
@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_pump_with_what_follows(rig: Rig, name: str) -> None:
    rest = NOT_PLAIN[name] + frame("after")
    rig.arrive(frame("before") + rest)
    assert received(rig) == ["before"]
    assert rig.calls == [("feed", rest)]


@both_paths
def test_a_full_inbox_is_not_filled_further(rig: Rig) -> None:
    rig.inbox.limit = 100
    rig.arrive(frame("a") + frame("b" * 60) + frame("c"))
    assert rig.calls[-1:] == [("feed", frame("c"))]
    assert len(rig.inbox) == 2
    if not rig.is_pure:
        rig.path.on_readable()
        assert rig.calls[-1] == "on_readable"  # the pump decides


@both_paths
@pytest.mark.parametrize("flag", ["is_on_fast_path", "is_open"])
def test_in_the_middle_of_a_frame_or_at_the_end_the_pump_reads(rig: Rig, flag: str) -> None:
    setattr(rig.inbox, flag, False)
    rig.arrive(STREAM)
    assert [call for call in rig.calls if call != "on_readable"] == [("feed", STREAM)]
    assert rig.is_pure or rig.calls[0] == "on_readable"


@both_paths
def test_nothing_has_arrived_after_all(rig: Rig) -> None:
    rig.path.on_readable()
    assert (rig.calls, rig.heard) == ([], 0)


@both_paths
@pytest.mark.parametrize("waiting", [True, False])
def test_the_end_and_an_error_are_left_to_the_pump(kind: str, waiting: bool) -> None:
    for end, call in ((False, "reading_ended"), (True, ("reading_failed", "ECONNRESET"))):
        with open_rig(kind) as rig:
            listener = socket.create_server(("127.0.0.1", 0))
            with socket.create_connection(listener.getsockname()) as peer, listener.accept()[0] as ours, listener:
                rig.ours.close()
                rig.ours = ours
                ours.setblocking(False)
                rig.path.attach(rig, rig, rig.now, rig.signal, None, ours.fileno())
                driver = Driver(rig.path.receive()) if waiting else None
                if end:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                while not rig.calls or rig.calls == ["receive"]:
                    rig.path.on_readable()
                assert next(each for each in rig.calls if each != "receive") == call
                rig.loop.run()
                assert driver is None or isinstance(driver.outcome[0], anyio.EndOfStream)


@compiled_only
def test_a_descriptor_that_is_no_socket_is_an_error_of_reading() -> None:
    with open_rig("compiled") as rig:
        rig.path.attach(rig, rig, rig.now, rig.signal, None, 1 << 20)
        rig.path.on_readable()
        assert rig.calls == [("reading_failed", "EBADF")]


@both_paths
def test_the_keepalive_hears_of_everything_that_arrives(rig: Rig) -> None:
    rig.arrive(frame("hello"))
    assert (rig.heard, rig.last_heard) == (1, 5.0)


@both_paths
def test_a_task_is_run_for_the_messages_before_what_is_not_plain(rig: Rig) -> None:
    driver = Driver(rig.path.receive())
    rig.arrive(frame("before") + NOT_PLAIN["ping"])
    assert driver.outcome == ["before"]


# -- TLS ---------------------------------------------------------------------------------------------------------------


class Records:
    """A TLS layer whose records are the bytes in upper case."""

    def __init__(self) -> None:
        self.is_quiet = True
        self.error: BaseException | None = None
        self.on_decrypt: Any = None

    def decrypt(self, data: bytes) -> Any:
        if self.on_decrypt is not None:
            self.on_decrypt()
        if self.error is not None:
            raise self.error
        return data.swapcase()


@both_paths
def test_decrypted_messages_are_plain(kind: str) -> None:
    with open_rig(kind, records=Records()) as rig:
        driver = Driver(rig.path.receive())
        rig.arrive(STREAM.swapcase())
        assert driver.outcome == ["hello"]
        assert received(rig) == MESSAGES[1:]
        assert [call for call in rig.calls if call != "receive"] == []
        assert rig.heard == 1


@both_paths
@pytest.mark.parametrize("size", range(1, len(STREAM), 17))
def test_the_decrypted_rest_is_left_to_the_pump(kind: str, size: int) -> None:
    with open_rig(kind, records=Records()) as rig:
        rig.arrive(STREAM[:size].swapcase())
        count, end = whole_frames(size)
        assert received(rig) == MESSAGES[:count]
        assert rig.calls == ([("feed_decrypted", STREAM[end:size])] if end < size else [])


@both_paths
def test_what_else_tls_has_received_is_left_to_the_pump(kind: str) -> None:
    records = Records()
    records.is_quiet = False
    with open_rig(kind, records=records) as rig:
        driver = Driver(rig.path.receive())
        rig.arrive(frame("x").swapcase())
        assert rig.calls[-1] == ("feed_decrypted", b"")
        assert driver.outcome == ["x"]


@pytest.mark.parametrize("result", [None, "text", bytearray(b"x")])
@compiled_only
def test_what_is_not_bytes_ends_the_connection(result: object) -> None:
    records = Records()
    records.decrypt = lambda data: result  # type: ignore[method-assign]
    with open_rig("compiled", records=records) as rig:
        rig.arrive(b"x")
        assert [type(error) for error in rig.errors] == [TypeError]


@both_paths
def test_tls_may_end_the_connection_while_it_decrypts(kind: str) -> None:
    records = Records()
    with open_rig(kind, records=records) as rig:
        records.on_decrypt = rig.end
        rig.arrive(STREAM.swapcase())
        assert rig.errors == []


# -- errors ------------------------------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize("place", ["feed", "decrypt", "clock"])
def test_an_exception_ends_this_connection_and_nothing_else(kind: str, place: str) -> None:
    records, error = Records(), LookupError()
    with open_rig(kind, records=records if place == "decrypt" else None) as rig:
        records.error = error

        def fail() -> float:
            raise error

        rig.when_fed = fail
        if place == "clock":
            rig.now = fail  # type: ignore[method-assign]
            rig.path.attach(rig, rig, fail, rig.signal, None, rig.ours.fileno())
        driver = Driver(rig.path.receive())
        rig.arrive(frame("x") if place == "clock" else NOT_PLAIN["ping"])
        assert rig.errors == [error]
        rig.loop.run()
        assert len(driver.outcome) == 1


@both_paths
@pytest.mark.parametrize("place", ["feed", "decrypt", "task", "hook"])
def test_an_exception_that_ends_the_program_propagates(kind: str, place: str) -> None:
    records = Records()
    records.error = KeyboardInterrupt()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    async def receive(path: Any) -> None:
        await path.receive()
        raise KeyboardInterrupt

    with open_rig(kind, records=records if place == "decrypt" else None) as rig:
        rig.when_fed = interrupt
        if place == "task":
            Driver(receive(rig.path))
        elif place == "hook":
            Driver(rig.path.deliver(interrupt))
        with pytest.raises(KeyboardInterrupt):
            rig.arrive(NOT_PLAIN["ping"] if place in ("feed", "decrypt") else frame("x"))
        assert rig.errors == []


@compiled_only
def test_an_error_of_the_link_propagates() -> None:
    def fail(*_: object) -> None:
        raise LookupError

    with open_rig("compiled") as rig:
        rig.when_fed = fail
        rig.fail_internally = fail  # type: ignore[method-assign, assignment]
        with pytest.raises(LookupError):
            rig.arrive(NOT_PLAIN["ping"])


@both_paths
def test_many_small_messages_in_one_read(rig: Rig) -> None:
    seen: list[Any] = []
    driver = Driver(rig.path.deliver(seen.append))
    rig.arrive(frame("x") * (BUDGET * 5))
    rig.loop.run()
    assert (driver.outcome, seen) == ([], ["x"] * (BUDGET * 5))
