"""The inner loops over bytes, in pure Python. What a twin does is said here; `_speedups.c` does the same."""

from __future__ import annotations

import functools
import sys
from collections import deque
from typing import Any

__all__ = ["Payload", "apply_mask", "build_frame", "build_header", "find_payload", "take_messages"]

Buffer = bytes | bytearray | memoryview

_TEXT = 0x81  # the first byte of a frame: FIN, no reserved bit, the opcode (RFC 6455, section 5.2)
_BINARY = 0x82
_MASK = 0x80

# Up to this size one big-integer XOR is faster; above it four strided slices through a translation table are. Nothing
# else in the standard library comes near: see docs/performance.md.
_BIG_INTEGER_LIMIT = 2048
# Bytes to mask at a time: the slices stay below the size for which malloc asks the system each time.
_STRETCH = 131_072


@functools.cache
def _table(key_byte: int) -> bytes:
    """The translation table that XORs each byte with the key byte; 256 B, made once for each of 256 values."""
    return bytes(byte ^ key_byte for byte in range(256))


def _mask_in_place(buffer: bytearray, start: int, key: bytes) -> None:
    """XOR what stands in the buffer from ``start`` on with the masking key, repeated."""
    first, second, third, fourth = map(_table, key)
    for begin in range(start, len(buffer), _STRETCH):
        end = begin + _STRETCH
        buffer[begin:end:4] = buffer[begin:end:4].translate(first)
        buffer[begin + 1 : end : 4] = buffer[begin + 1 : end : 4].translate(second)
        buffer[begin + 2 : end : 4] = buffer[begin + 2 : end : 4].translate(third)
        buffer[begin + 3 : end : 4] = buffer[begin + 3 : end : 4].translate(fourth)


def _masked(data: bytes | bytearray, key: bytes) -> bytes | bytearray:
    """Do what `apply_mask` does, and spare what is long a copy."""
    length = len(data)
    if length <= _BIG_INTEGER_LIMIT:
        mask = (key * (length // 4 + 1))[:length]
        return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")
    buffer = bytearray(data)
    _mask_in_place(buffer, 0, key)
    return buffer


def _check_bytes(data: bytes) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"expected bytes, not {type(data).__name__}")


def _check_key(key: bytes) -> None:
    _check_bytes(key)
    if len(key) != 4:
        raise ValueError(f"masking key of {len(key)} bytes, expected 4 (RFC 6455, section 5.3)")


def _bytes_of(data: Buffer) -> bytes:
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view.tobytes()


def apply_mask(data: Buffer, key: bytes, /) -> bytes:
    """XOR the data with the masking key, repeated: masking and unmasking alike (RFC 6455, section 5.3).

    Args:
        data: the payload, or a part of it that starts at a multiple of four bytes.
        key: the masking key, 4 bytes.
    """
    _check_key(key)
    if type(data) is not bytes:
        data = _bytes_of(data)
    return bytes(_masked(data, key))


def take_messages(
    data: bytes, position: int, masked: bool | None, max_size: int, enough: int, messages: list[Any] | deque[Any], /
) -> tuple[int, int]:
    """Append the messages that stand one after another, each in one whole and plain frame.

    It stops at the first frame that is anything else: a control frame, a fragment, one with a reserved bit, longer than
    ``max_size``, not whole, not valid, or one for which there is no memory. Those are the business of `FrameDecoder`,
    which knows all rules and errors. It stops as well behind the message with which the messages fill ``enough``.

    Args:
        data: bytes from the peer.
        position: where a frame begins in them.
        masked: whether frames must be masked, must not be, or may be (None).
        max_size: the largest payload, in bytes; below 0 for none at all.
        enough: the memory to fill, in bytes, about as `sys.getsizeof` tells.
        messages: what to append to: `str` for text, `bytes` for binary.

    Returns:
        The position of the frame at which it stopped, or the end of the data; and what is left of ``enough``.
    """
    _check_bytes(data)
    end = len(data)
    if not 0 <= position <= end:
        raise ValueError(f"position {position} is not within the data")
    while end - position >= 2:
        first = data[position]
        if first != _TEXT and first != _BINARY:
            break
        place = find_payload(data, position, masked, max_size)
        if place is None:
            break
        start, stop, has_key = place
        try:
            payload: bytes | bytearray = data[start:stop]
            if has_key:
                payload = _masked(payload, data[start - 4 : start])
            message = payload.decode() if first == _TEXT else bytes(payload)
            messages.append(message)
        except (UnicodeDecodeError, MemoryError):
            break
        position = stop
        enough -= sys.getsizeof(message)
        if enough <= 0:
            break
    return position, enough


def find_payload(data: bytes, position: int, masked: bool | None, max_size: int) -> tuple[int, int, bool] | None:
    """Find the payload of the frame at a position, of which two bytes are there, whatever the first of them says.

    Args:
        data: bytes from the peer.
        position: where the frame begins in them.
        masked: as of `take_messages`.
        max_size: as of `take_messages`.

    Returns:
        Where the payload starts and stops, and whether a masking key stands before it; None if the frame is not whole,
        too long, or has no valid length.
    """
    length = data[position + 1]
    has_key = length >= _MASK
    if masked is not None and masked is not has_key:
        return None
    length &= 0x7F
    start = position + 2
    if length >= 126:
        extended, shortest = (2, 126) if length == 126 else (8, 65536)
        length = int.from_bytes(data[start : start + extended], "big")
        start += extended
        if length < shortest:
            return None
    if has_key:
        start += 4
    stop = start + length
    return None if stop > len(data) or length > max_size else (start, stop, has_key)


def build_header(first: int, length: int, mask_bit: int = 0) -> bytes:
    """Return what stands before the masking key or the payload: the first byte, the mask bit and the length."""
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 65536:
        return bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")


def build_frame(first: int, payload: Buffer | str, masking_key: bytes, /) -> bytes:
    """Return the bytes of a frame.

    Args:
        first: its first byte: FIN, the reserved bits and the opcode.
        payload: bytes, or text that will be UTF-8.
        masking_key: 4 bytes, or none for a frame that is not masked.

    Raises:
        UnicodeEncodeError: the text has a lone surrogate.
    """
    if masking_key:
        _check_key(masking_key)
    if isinstance(payload, str):
        payload = payload.encode()
    elif type(payload) is not bytes:
        payload = _bytes_of(payload)
    if masking_key:
        header = build_header(first, len(payload), _MASK)
        return b"".join((header, masking_key, _masked(payload, masking_key)))
    return build_header(first, len(payload)) + payload


class Payload:
    """The payload of a message that is coming in. It grows by what comes, and `len` says how much that is."""

    __slots__ = ("_data", "_room")

    def __init__(self) -> None:
        self._data = bytearray()
        self._room = 0  # at its end, that is to be filled

    def __len__(self) -> int:
        return len(self._data) - self._room

    def extend(self, data: bytes, start: int, stop: int, masking_key: bytes, ahead: int, /) -> None:
        """Add ``data[start:stop]``, unmasked.

        Args:
            data: bytes from the peer.
            start: where the payload goes on in them.
            stop: where this part of it ends.
            masking_key: the key, turned so that it begins with the byte for ``start``; empty if there is none.
            ahead: how many bytes will follow, for which room may be made at once.
        """
        _check_bytes(data)
        if not 0 <= start <= stop <= len(data):
            raise ValueError(f"{start} to {stop} is not within the data")
        if masking_key:
            _check_key(masking_key)
        self._forget_room()
        size = len(self._data)
        self._data += memoryview(data)[start:stop]
        if masking_key:
            _mask_in_place(self._data, size, masking_key)

    def tail(self, count: int, ahead: int, /) -> memoryview:
        """Return room behind what there is, to be filled and released before anything else is done.

        Args:
            count: how much, in bytes.
            ahead: as of `extend`.
        """
        self._forget_room()
        self._data += bytes(count)
        self._room = count
        return memoryview(self._data)[len(self._data) - count :]

    def commit(self, count: int, masking_key: bytes, /) -> None:
        """Add so many bytes of the room that `tail` has given, unmasked.

        Args:
            count: how many were filled.
            masking_key: as of `extend`.
        """
        if not 0 <= count <= self._room:
            raise ValueError(f"{count} is not within the {self._room} bytes of room")
        if masking_key:
            _check_key(masking_key)
        start = len(self._data) - self._room
        del self._data[start + count :]
        self._room = 0
        if masking_key:
            _mask_in_place(self._data, start, masking_key)

    def take(self) -> bytes:
        """Return what has been added since the last time.

        Raises:
            MemoryError: also when a part was lost before, because there was no memory for more.
        """
        self._forget_room()
        data = bytes(self._data)
        self._data = bytearray()
        return data

    def _forget_room(self) -> None:
        """Drop the room that `tail` has given: what is in it was never committed."""
        if self._room:
            del self._data[len(self) :]
            self._room = 0
