"""An exception inside the core ends the connection unless nothing has changed, so that no message is lost unnoticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anyws.protocol import Codec, Connection, LocalProtocolError, Role, State, serialize_frame
from anyws.protocol.closing import CloseCode

KEY = b"\x37\xfa\x21\x3d"


class Faulty(Codec):
    """An extension that fails at one call."""

    rsv = 0x40

    def __init__(self, fails_at: int) -> None:
        self._left = fails_at

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise MemoryError

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        self._count()
        return payload

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        self._count()
        return payload, True


def check_is_closed(connection: Connection) -> None:
    assert connection.state is State.CLOSED
    assert connection.close_code == CloseCode.ABNORMAL_CLOSURE
    assert not connection.expects_frame
    assert connection.receive_data(serialize_frame(0x1, "next", masking_key=KEY)) == []
    assert connection.get_buffer() is None
    with pytest.raises(LocalProtocolError):
        connection.send_message("next")


@pytest.mark.parametrize(
    "data",
    [
        serialize_frame(0x1, "whole", rsv=0x40, masking_key=KEY),
        serialize_frame(0x1, "a", fin=False, rsv=0x40, masking_key=KEY) + serialize_frame(0x0, "b", masking_key=KEY),
        serialize_frame(0x1, "frame in parts", rsv=0x40, masking_key=KEY)[:-3],
    ],
)
def test_while_receiving(data: bytes) -> None:
    connection = Connection(Role.SERVER, codecs=[Faulty(1)])
    with pytest.raises(MemoryError):
        connection.receive_data(data)
    check_is_closed(connection)


def test_while_a_whole_message_is_restored() -> None:
    connection = Connection(Role.SERVER, codecs=[Faulty(2)])
    assert connection.decode_message(1, b"first") == "first"
    with pytest.raises(MemoryError):
        connection.decode_message(1, b"second")
    check_is_closed(connection)


def test_while_a_large_message_is_read_into_its_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = serialize_frame(0x2, bytes(200_000), masking_key=KEY)
    for call in (lambda connection: connection.get_buffer(), lambda connection: connection.buffer_updated(1)):
        connection = Connection(Role.SERVER)
        connection.receive_data(frame[:100_000])

        def fail(*_: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr("anyws.protocol.frames.FrameDecoder.get_buffer", fail)
            patch.setattr("anyws.protocol.frames.FrameDecoder.buffer_updated", fail)
            with pytest.raises(MemoryError):
                call(connection)
        check_is_closed(connection)


SENDING: list[Callable[[Connection], None]] = [
    lambda connection: connection.send_message("text"),
    lambda connection: connection.send_message("text", fragment_size=1),
    lambda connection: connection.send_fragment("text", fin=False),
]


@pytest.mark.parametrize("send", SENDING)
def test_while_an_extension_encodes(send: Callable[[Connection], None]) -> None:
    """The extension may refer to data later that the peer has not received."""
    connection = Connection(Role.SERVER, codecs=[Faulty(1)])
    with pytest.raises(MemoryError):
        send(connection)
    check_is_closed(connection)


@pytest.mark.parametrize(("fails_at", "state"), [(1, State.OPEN), (2, State.CLOSED)])
def test_while_fragments_are_queued(fails_at: int, state: State) -> None:
    """No message may follow an incomplete one."""
    keys = [b"1234"] * (fails_at - 1)
    connection = Connection(Role.CLIENT, new_masking_key=keys.pop)
    with pytest.raises(IndexError):
        connection.send_message("text", fragment_size=1)
    assert connection.state is state
    if state is State.CLOSED:
        check_is_closed(connection)
    else:
        assert not connection.has_data_to_send


def test_a_rejected_message_changes_nothing() -> None:
    connection = Connection(Role.CLIENT)
    with pytest.raises(UnicodeEncodeError):
        connection.send_message("\ud800")
    assert connection.state is State.OPEN
    connection.send_message("text")
    assert connection.has_data_to_send
