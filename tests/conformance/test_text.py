"""Text must be UTF-8 (RFC 6455, section 8.1)."""

from __future__ import annotations

import pytest

from anyws.protocol import Connection, Role, State
from tests.chunks import Chunked, byte_by_byte, chunked

from .wire import both_roles, check_failed, frame, receive, wire_of

VALID = [
    pytest.param(b"", "", id="empty"),
    pytest.param("Grüße, €, 😀".encode(), "Grüße, €, 😀", id="2-to-4-bytes"),
    pytest.param(b"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", "\ud7ff\ue000\U0010ffff", id="edges"),
    pytest.param(b"\x00\xef\xbb\xbf\xef\xbf\xbf", "\x00\ufeff\uffff", id="nul-byte-order-mark-noncharacter"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("payload", "text"), VALID)
def test_8_1_valid_text(payload: bytes, text: str, role: Role, chunked: Chunked) -> None:
    fragments = wire_of(role, [(0x01, b""), *[(0x00, byte) for byte in byte_by_byte(payload)], (0x80, b"")])
    assert receive(Connection(role), chunked(frame(role, 0x81, payload) + fragments)) == [text, text]


# (bytes, the number of them after which no more can make them valid)
INVALID = [
    pytest.param(b"\x80", 1, id="continuation-first"),
    pytest.param(b"ab\xbf", 3, id="continuation-behind-ascii"),
    pytest.param("€".encode() + b"\x80", 4, id="continuation-too-many"),
    pytest.param(b"\xc0\x80", 1, id="overlong-2-c0"),
    pytest.param(b"\xc1\xbf", 1, id="overlong-2-c1"),
    pytest.param(b"\xe0\x80\x80", 2, id="overlong-3-first"),
    pytest.param(b"\xe0\x9f\xbf", 2, id="overlong-3-last"),
    pytest.param(b"\xf0\x80\x80\x80", 2, id="overlong-4-first"),
    pytest.param(b"\xf0\x8f\xbf\xbf", 2, id="overlong-4-last"),
    pytest.param(b"\xed\xa0\x80", 2, id="surrogate-first"),
    pytest.param(b"\xed\xaf\xbf", 2, id="surrogate-high-last"),
    pytest.param(b"a\xed\xb0\x80", 3, id="surrogate-low"),
    pytest.param(b"\xed\xbf\xbf", 2, id="surrogate-last"),
    pytest.param(b"\xf4\x90\x80\x80", 2, id="above-10ffff"),
    pytest.param(b"\xf5\x80", 1, id="f5"),
    pytest.param(b"\xfe", 1, id="fe"),
    pytest.param(b"\xff", 1, id="ff"),
    pytest.param(b"\xc3a", 2, id="cut-2"),
    pytest.param(b"\xe2\x82a", 3, id="cut-3"),
    pytest.param(b"\xf0\x9f\x98a", 4, id="cut-4"),
    pytest.param(b"\xe2\xe2", 2, id="start-inside"),
    pytest.param(bytes.fromhex("cebae1bdb9cf83cebcceb5f4908080656469746564"), 13, id="autobahn-6.4.1"),
    pytest.param(bytes.fromhex("cebae1bdb9cf83cebcceb5eda080656469746564"), 13, id="autobahn-6.3.1"),
]


@both_roles
@pytest.mark.parametrize(("data", "count"), INVALID)
def test_8_1_fail_fast_inside_an_incomplete_frame(data: bytes, count: int, role: Role) -> None:
    """It fails at the first invalid byte and not before (Autobahn 6.4.*, strict)."""
    connection = Connection(role)
    connection.receive_data(frame(role, 0x81, length=b"\x7d") + data[: count - 1])
    assert connection.state is State.OPEN
    connection.receive_data(data[count - 1 : count])
    check_failed(connection, 1007)


@both_roles
@pytest.mark.parametrize(("data", "count"), INVALID)
def test_8_1_fail_fast_across_fragments(data: bytes, count: int, role: Role) -> None:
    connection = Connection(role)
    connection.receive_data(wire_of(role, [(0x01, b""), *[(0x00, byte) for byte in byte_by_byte(data[: count - 1])]]))
    assert connection.state is State.OPEN
    connection.receive_data(frame(role, 0x00, data[count - 1 : count]))
    check_failed(connection, 1007)


@both_roles
@chunked
@pytest.mark.parametrize(("data", "count"), INVALID)
def test_8_1_invalid_text_is_1007(data: bytes, count: int, role: Role, chunked: Chunked) -> None:
    fragments = [(0x01, data[:1]), (0x00, data[1:2]), (0x80, data[2:])]
    for wire in (frame(role, 0x81, data), wire_of(role, fragments), frame(role, 0x01, data)):
        connection = Connection(role)
        assert receive(connection, chunked(wire + frame(role, 0x81, b"more"))) == []
        check_failed(connection, 1007)


@both_roles
@chunked
@pytest.mark.parametrize("data", [b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98", b"\xed\x9f"])
@pytest.mark.parametrize("firsts", [[0x81], [0x01, 0x80]], ids=["one-frame", "fragments"])
def test_8_1_an_incomplete_sequence_at_fin(data: bytes, firsts: list[int], role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    *before, last = chunked(wire_of(role, list(zip(firsts, [data, b""], strict=False))))
    assert receive(connection, before) == []
    assert connection.state is State.OPEN
    assert connection.receive_data(last) == []
    check_failed(connection, 1007)


@both_roles
@chunked
@pytest.mark.parametrize("reason", [b"\xff", b"\xed\xa0\x80", b"ok \xc0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"])
def test_8_1_a_close_reason_is_utf_8_too(reason: bytes, role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    assert receive(connection, chunked(frame(role, 0x88, b"\x03\xe8" + reason))) == []
    check_failed(connection, 1007)


@both_roles
@chunked
def test_8_1_binary_messages_are_not_text(role: Role, chunked: Chunked) -> None:
    wire = wire_of(role, [(0x02, b"\xff\xed"), (0x80, b"\xa0\x80")])
    assert receive(Connection(role), chunked(wire)) == [b"\xff\xed\xa0\x80"]
