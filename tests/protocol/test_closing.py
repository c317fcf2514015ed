"""The body of a Close frame (RFC 6455, sections 5.5.1 and 7.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from anyws.protocol import Close, CloseCode, InvalidText, ProtocolError, RemoteProtocolError
from anyws.protocol.closing import check_close_code, parse_close, serialize_close

BODIES = [
    pytest.param(b"", Close(1005), id="empty"),
    pytest.param(b"\x03\xe8", Close(1000), id="code"),
    pytest.param(b"\x03\xe9bye", Close(1001, "bye"), id="reason"),
    pytest.param(b"\x0b\xb8\xe2\x82\xac", Close(3000, "\u20ac"), id="utf-8"),
    pytest.param(b"\x13\x87" + b"r" * 123, Close(4999, "r" * 123), id="longest-reason"),
]

MALFORMED = [
    pytest.param(b"\x03", ProtocolError, "1 byte of payload", id="one-byte"),
    pytest.param(b"\x00\x00", ProtocolError, "received close code 0,", id="code-0"),
    pytest.param(b"\x03\xed", ProtocolError, "received close code 1005,", id="code-1005"),
    pytest.param(b"\xff\xff", ProtocolError, "received close code 65535,", id="code-65535"),
    pytest.param(b"\x03\xed\xff", ProtocolError, "received close code 1005,", id="code-before-reason"),
    pytest.param(b"\x03\xe8\xff", InvalidText, "not valid UTF-8 at byte 0", id="bad-reason"),
    pytest.param(b"\x03\xe8ok\xed\xa0\x80", InvalidText, "not valid UTF-8 at byte 2", id="surrogate-in-reason"),
    pytest.param(b"\x03\xe8\xe2\x82", InvalidText, "not valid UTF-8 at byte 0", id="cut-reason"),
]


@pytest.mark.parametrize(("payload", "close"), BODIES)
def test_parse_and_serialize_are_inverses(payload: bytes, close: Close) -> None:
    assert parse_close(payload) == close
    assert serialize_close(close) == payload


@pytest.mark.parametrize(("payload", "error", "message"), MALFORMED)
def test_a_malformed_body_is_rejected(payload: bytes, error: type[RemoteProtocolError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_close(payload)


def passes(call: Callable[..., object], *arguments: Any) -> bool:
    try:
        call(*arguments)
    except (ValueError, ProtocolError):
        return False
    return True


def test_each_of_the_65536_codes_is_valid_in_both_directions_or_in_none() -> None:
    """RFC 6455, section 7.4, and the IANA registry say which codes a Close frame may contain."""
    allowed = [*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)]
    assert [code for code in range(65536) if passes(check_close_code, code)] == allowed
    assert [code for code in range(65536) if passes(parse_close, code.to_bytes(2, "big"))] == allowed


@pytest.mark.parametrize("code", ["1000", 1000.0, None])
def test_a_code_that_is_not_an_int_is_a_type_error(code: Any) -> None:
    with pytest.raises(TypeError, match=f"a close code must be an int, not {type(code).__name__}"):
        check_close_code(code)


@pytest.mark.parametrize("code", [-1, 65536, True, CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE])
def test_a_code_that_cannot_be_sent_is_a_value_error(code: int) -> None:
    with pytest.raises(ValueError, match=f"close code {int(code)} cannot be sent"):
        check_close_code(code)


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        pytest.param("r" * 123, b"r" * 123, id="fits"),
        pytest.param("r" * 124, b"r" * 123, id="ascii"),
        pytest.param("r" * 122 + "\xe9", b"r" * 122, id="2-bytes-do-not-fit"),
        pytest.param("r" * 121 + "\xe9!", b"r" * 121 + b"\xc3\xa9", id="2-bytes-fit"),
        pytest.param("\u20ac" * 42, "\u20ac".encode() * 41, id="3-bytes"),
        pytest.param("\U0001f600" * 31, "\U0001f600".encode() * 30, id="4-bytes"),
    ],
)
def test_a_long_reason_is_truncated_at_a_code_point(reason: str, sent: bytes) -> None:
    assert serialize_close(Close(1000, reason)) == b"\x03\xe8" + sent


@given(st.text(max_size=130))
def test_any_reason_survives_a_round_trip(reason: str) -> None:
    payload = serialize_close(Close(1000, reason))
    assert len(payload) <= 125
    close = parse_close(payload)
    assert reason.startswith(close.reason)
    assert len(close.reason.encode()) > 119 or close.reason == reason


def test_str_shows_code_and_reason() -> None:
    assert str(Close(1000)) == "1000"
    assert str(Close(CloseCode.GOING_AWAY, "bye")) == "1001 (bye)"


def test_codes_have_their_registered_values() -> None:
    assert {code.name: code.value for code in CloseCode} == {
        "NORMAL_CLOSURE": 1000,
        "GOING_AWAY": 1001,
        "PROTOCOL_ERROR": 1002,
        "UNSUPPORTED_DATA": 1003,
        "NO_STATUS_RECEIVED": 1005,
        "ABNORMAL_CLOSURE": 1006,
        "INVALID_PAYLOAD": 1007,
        "POLICY_VIOLATION": 1008,
        "MESSAGE_TOO_BIG": 1009,
        "MANDATORY_EXTENSION": 1010,
        "INTERNAL_ERROR": 1011,
        "SERVICE_RESTART": 1012,
        "TRY_AGAIN_LATER": 1013,
        "BAD_GATEWAY": 1014,
    }
