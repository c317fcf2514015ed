"""Frames and heads written out by hand, not by the code that is tested."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "REQUEST",
    "TEXT",
    "Frame",
    "accept_value",
    "close_payload",
    "frame_bytes",
    "opening_response",
    "take_frame",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)  # the key of RFC 6455, 1.3
_MASKING_KEY = b"\x37\xfa\x21\x3d"


@dataclass(frozen=True)
class Frame:
    """A frame as it was on the wire, unmasked."""

    opcode: int
    payload: bytes = b""
    fin: bool = True

    @property
    def close_code(self) -> int | None:
        """The code of a Close frame, None if it has none."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def frame_bytes(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool, rsv: int = 0) -> bytes:
    """Return the bytes of a frame (RFC 6455, 5.2)."""
    length, mask_bit = len(payload), 0x80 if masked else 0
    head = bytes([opcode | rsv | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 65536:
        head += bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    return head + _MASKING_KEY + _xored(payload, _MASKING_KEY) if masked else head + payload


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Return the payload of a Close frame; nothing is checked."""
    return b"" if code is None else code.to_bytes(2, "big") + reason.encode()


def _xored(payload: bytes, key: bytes) -> bytes:
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")


def take_frame(buffer: bytearray) -> Frame | None:
    """Take a whole frame out of the buffer, if there is one."""
    if len(buffer) < 2:
        return None
    length, at = buffer[1] & 0x7F, 2
    if length >= 126:
        extended = 2 if length == 126 else 8
        length, at = int.from_bytes(buffer[2 : 2 + extended], "big"), 2 + extended
    masked = bool(buffer[1] & 0x80)
    start = at + (4 if masked else 0)
    if len(buffer) < start + length:
        return None
    payload = bytes(buffer[start : start + length])
    if masked:
        payload = _xored(payload, bytes(buffer[at:start]))
    frame = Frame(buffer[0] & 0x0F, payload, bool(buffer[0] & 0x80))
    del buffer[: start + length]
    return frame


def accept_value(head: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` that a request asks for."""
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def opening_response(request: bytes, headers: bytes = b"") -> bytes:
    """Return the 101 to a request."""
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return upgrade + b"Sec-WebSocket-Accept: " + accept_value(request) + b"\r\n" + headers + b"\r\n"
