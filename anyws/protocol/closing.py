"""The body of a Close frame: status code and reason (RFC 6455, sections 5.5.1 and 7.4)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .errors import InvalidText, ProtocolError, in_one_line

__all__ = ["Close", "CloseCode", "check_close_code", "check_close_reason", "parse_close", "serialize_close"]


class CloseCode(enum.IntEnum):
    """Status codes of the closing handshake (RFC 6455, section 7.4.1, and the IANA registry)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


_MAX_REASON = 123  # RFC 6455, section 5.5: a payload of 125 bytes, minus 2 for the code.
_EXPECTED = "expected 1000-1003, 1007-1014 or 3000-4999 (RFC 6455, section 7.4)"


def _may_be_on_the_wire(code: int) -> bool:
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


@dataclass(frozen=True, slots=True)
class Close:
    """The code and reason of a Close frame.

    Attributes:
        code: the status code; 1005 for a Close without one.
        reason: the reason; empty if there is none.
    """

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.code} ({in_one_line(self.reason)})" if self.reason else str(self.code)


def check_close_code(code: int) -> None:
    """Check that a close code may be sent.

    Raises:
        TypeError: the code is not an `int`.
        ValueError: a Close frame must not contain this code.
    """
    if not isinstance(code, int):
        hint = "; a reason is the second argument" if isinstance(code, str) else ""
        raise TypeError(f"a close code must be an int, not {type(code).__name__}{hint}")
    if not _may_be_on_the_wire(code):
        raise ValueError(f"close code {int(code)} cannot be sent: {_EXPECTED}")


def check_close_reason(reason: str) -> None:
    """Check that a close reason is a string. `serialize_close` truncates one that is too long.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(reason, str):
        raise TypeError(f"a close reason must be a str, not {type(reason).__name__}")


def parse_close(payload: bytes) -> Close:
    """Parse the payload of a Close frame.

    Raises:
        ProtocolError: the payload has only one byte, or a code that must not be sent.
        InvalidText: the reason is not valid UTF-8.
    """
    if not payload:
        return Close(CloseCode.NO_STATUS_RECEIVED)
    if len(payload) == 1:
        raise ProtocolError("Close frame with 1 byte of payload, expected 0 or at least 2 (RFC 6455, section 5.5.1)")
    code = int.from_bytes(payload[:2], "big")
    if not _may_be_on_the_wire(code):
        raise ProtocolError(f"received close code {code}, {_EXPECTED}")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as exc:
        raise InvalidText(f"close reason is not valid UTF-8 at byte {exc.start} (RFC 6455, section 5.5.1)") from exc


def serialize_close(close: Close) -> bytes:
    """Return the payload of a Close frame. A reason of more than 123 bytes is truncated at a code point."""
    if close.code == CloseCode.NO_STATUS_RECEIVED:
        return b""
    reason = close.reason.encode()
    if len(reason) > _MAX_REASON:
        reason = reason[:_MAX_REASON].decode(errors="ignore").encode()
    return close.code.to_bytes(2, "big") + reason
