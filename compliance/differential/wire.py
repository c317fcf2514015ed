"""Writes and reads frames as bytes, valid or not."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WireFrame", "frame_bytes", "read_frames"]

_RSV1 = 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFrame:
    """A frame, or the incomplete frame at the end of the bytes.

    Attributes:
        opcode: the opcode, known or not.
        fin: whether FIN is set.
        length: the announced payload length in bytes; None if the bytes end before it.
        minimal: whether the length uses the minimal encoding (RFC 6455, section 5.2).
        payload: the payload as far as it is complete, unmasked.
        complete: whether the frame is complete.
        message: the number of its message; None for a control frame.
        compressed: whether RSV1 is set in the first frame of its message.
    """

    opcode: int
    fin: bool
    length: int | None
    minimal: bool
    payload: bytes
    complete: bool
    message: int | None
    compressed: bool

    @property
    def is_control(self) -> bool:
        """Whether it is a control frame, known or not."""
        return self.opcode >= 8


def _xor(payload: bytes, key: bytes) -> bytes:
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")


def frame_bytes(
    first: int, payload: bytes, *, key: bytes | None, size: int | None = None, length: int | None = None
) -> bytes:
    """Return the bytes of a frame, without checking anything.

    Args:
        first: the first byte.
        payload: the payload.
        key: the masking key; None for an unmasked frame.
        size: the number of bytes of the length: 1, 2 or 8; None for the minimum.
        length: the length to announce; None for the actual one.
    """
    length = len(payload) if length is None else length
    if size is None:
        size = 1 if length < 126 else 2 if length < 65536 else 8
    mask_bit = 0 if key is None else 0x80
    if size == 1:
        head = bytes([first, mask_bit | length])
    else:
        head = bytes([first, mask_bit | (126 if size == 2 else 127)]) + length.to_bytes(size, "big")
    return head + payload if key is None else head + key + _xor(payload, key)


def read_frames(data: bytes) -> list[WireFrame]:
    """Read all frames by their announced lengths, even if a receiver would reject them."""
    frames: list[WireFrame] = []
    position, message, in_message, compressed = 0, -1, False, False
    while len(data) - position >= 2:
        first, second = data[position], data[position + 1]
        opcode, fin = first & 0x0F, bool(first & 0x80)
        if opcode < 8:
            if not in_message:
                message += 1
                compressed = bool(first & _RSV1)
            in_message = not fin
        length: int | None = second & 0x7F
        start, minimal = position + 2, True
        if length in (126, 127):
            size = 2 if length == 126 else 8
            start += size
            length = int.from_bytes(data[start - size : start], "big") if len(data) >= start else None
            minimal = length is None or length >= (126 if size == 2 else 65536)
        key = b""
        if second & 0x80:
            start += 4
            key = data[start - 4 : start]
        end = start + (length or 0)
        payload = data[start:end]
        complete = length is not None and end <= len(data)
        frames.append(
            WireFrame(
                opcode=opcode,
                fin=fin,
                length=length,
                minimal=minimal,
                payload=_xor(payload, key) if key and payload else payload,
                complete=complete,
                message=message if opcode < 8 else None,
                compressed=compressed and opcode < 8,
            )
        )
        if not complete:
            break
        position = end
    return frames
