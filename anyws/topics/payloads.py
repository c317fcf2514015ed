"""Messages as the bytes that an engine carries: one byte for the kind, ``t`` or ``b``, and then text or binary data."""

from __future__ import annotations

__all__ = ["parse_payload", "serialize_payload"]


def serialize_payload(message: str | bytes | bytearray | memoryview) -> bytes:
    """Return the payload of a message.

    Raises:
        TypeError: the message is neither `str` nor bytes.
        UnicodeEncodeError: the text contains a lone surrogate.
    """
    if isinstance(message, str):
        return b"t" + message.encode()
    if isinstance(message, bytes | bytearray | memoryview):
        return b"b" + message
    raise TypeError(f"cannot publish {type(message).__name__}: expected str or bytes")


def parse_payload(payload: bytes) -> str | bytes:
    """Return the message of a payload.

    Raises:
        ValueError: the payload was not made by `serialize_payload`; another program uses the same names.
    """
    kind, data = payload[:1], payload[1:]
    if kind == b"t":
        return data.decode()
    if kind == b"b":
        return data
    raise ValueError(f"a payload starts with {kind!r}: expected b't' or b'b'; does another program use this topic?")
