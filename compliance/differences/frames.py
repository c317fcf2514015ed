"""Writes and reads frames without the code under test, including frames that no sender may send."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "RSV1", "RSV2", "TEXT", "Frame", "close", "read_frame"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1, RSV2 = 0x40, 0x20
_MASKING_KEY = b"\x37\xfa\x21\x3d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame (RFC 6455, section 5.2).

    Attributes:
        opcode: 0 to 15.
        payload: the payload to send, unmasked.
        fin: whether it is the last frame of its message.
        rsv: the reserved bits, as in the first byte.
        length: the length in the header; None for the length of the payload.
        length_bytes: the number of bytes of the extended length: 0, 2 or 8; None for the minimum.
        wrongly_masked: whether a client omits the mask, or a server masks.
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    length: int | None = None
    length_bytes: int | None = None
    wrongly_masked: bool = False

    def serialize(self, *, from_client: bool) -> bytes:
        """Return the bytes of the frame, masked if it comes from a client."""
        masked = from_client is not self.wrongly_masked
        length = len(self.payload) if self.length is None else self.length
        size = self.length_bytes
        if size is None:
            size = 0 if length < 126 else 2 if length < 65536 else 8
        first = (0x80 if self.fin else 0) | self.rsv | self.opcode
        second = (0x80 if masked else 0) | {0: length, 2: 126, 8: 127}[size]
        head = bytes([first, second]) + (length.to_bytes(size, "big") if size else b"")
        return head + _MASKING_KEY + _masked(self.payload, _MASKING_KEY) if masked else head + self.payload


def close(code: int, reason: bytes = b"") -> Frame:
    """Return a Close (RFC 6455, section 5.5.1)."""
    return Frame(opcode=CLOSE, payload=code.to_bytes(2, "big") + reason)


def read_frame(buffer: bytearray) -> Frame | None:
    """Remove a complete frame from the buffer and return it unmasked, or return None."""
    if len(buffer) < 2:
        return None
    length, at = buffer[1] & 0x7F, 2
    if length >= 126:
        at = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:at], "big")
    start = at + (4 if buffer[1] & 0x80 else 0)
    if len(buffer) < start + length:
        return None
    payload = bytes(buffer[start : start + length])
    if start > at:
        payload = _masked(payload, bytes(buffer[at:start]))
    frame = Frame(opcode=buffer[0] & 0x0F, payload=payload, fin=bool(buffer[0] & 0x80), rsv=buffer[0] & 0x70)
    del buffer[: start + length]
    return frame


def _masked(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
