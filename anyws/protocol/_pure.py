"""The inner loops over bytes in pure Python. The docstrings also apply to the compiled twins in `_speedups.c`."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Payload", "apply_mask", "build_frame", "build_header", "find_payload", "take_messages"]

Buffer = bytes | bytearray | memoryview

_TEXT = 0x81  # the first byte of a frame: FIN, no reserved bits, and the opcode (RFC 6455, section 5.2)
_BINARY = 0x82
_MASK = 0x80
_RSV = 0x70
_OPCODES = {_TEXT: 1, _BINARY: 2}

# Up to this size, a single XOR of big integers is fastest; above it, translating four strided slices is. Nothing else
# in the standard library comes close; see docs/performance.md.
_BIG_INTEGER_LIMIT = 2048
# The number of bytes to mask at a time. It keeps the slices below the size for which malloc makes a system call.
_STRETCH = 131_072


@functools.cache
def _table(key_byte: int) -> bytes:
    """Return the translation table that XORs each byte with the key byte: 256 bytes, cached for each of 256 values."""
    return bytes(byte ^ key_byte for byte in range(256))


def _mask_in_place(buffer: bytearray, start: int, key: bytes) -> None:
    """XOR the buffer with the repeated masking key, beginning at ``start``."""
    first, second, third, fourth = map(_table, key)
    for begin in range(start, len(buffer), _STRETCH):
        end = begin + _STRETCH
        buffer[begin:end:4] = buffer[begin:end:4].translate(first)
        buffer[begin + 1 : end : 4] = buffer[begin + 1 : end : 4].translate(second)
        buffer[begin + 2 : end : 4] = buffer[begin + 2 : end : 4].translate(third)
        buffer[begin + 3 : end : 4] = buffer[begin + 3 : end : 4].translate(fourth)


def _masked(data: bytes | bytearray, key: bytes) -> bytes | bytearray:
    """Do the same as `apply_mask`, but return a `bytearray` for long data to save a copy."""
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
    """XOR the data with the repeated masking key, to mask or unmask it (RFC 6455, section 5.3).

    Args:
        data: the payload, or a part of it that starts at a multiple of four bytes.
        key: the masking key, 4 bytes.
    """
    _check_key(key)
    if type(data) is not bytes:
        data = _bytes_of(data)
    return bytes(_masked(data, key))


def take_messages(
    data: bytes,
    position: int,
    masked: bool | None,
    max_size: int,
    room: int,
    messages: list[Any] | deque[Any],
    rsv: int = 0,
    decode: Callable[[int, bytes], str | bytes | None] | None = None,
    /,
) -> tuple[int, int]:
    """Append the next messages as long as each is a single complete frame without reserved bits, or with ``rsv``.

    Stop at the first frame that is anything else: a control frame, a fragment, or a frame that has another reserved
    bit, exceeds ``max_size``, is incomplete or invalid, or for which memory runs out. `FrameDecoder`, which knows all
    rules and errors, handles such a frame. Also stop after the message with which the messages use ``room`` memory.

    Args:
        data: bytes from the peer.
        position: where the next frame starts in the data.
        masked: whether frames must be masked (True), must not be (False), or may be (None).
        max_size: the maximum payload, in bytes; a negative number excludes every frame.
        room: stop once the messages use this much memory, in bytes, roughly as reported by `sys.getsizeof`.
        messages: the list to append to: `str` for text, `bytes` for binary.
        rsv: the reserved bits that an extension sets on the messages that it has transformed; 0 if there is none.
        decode: restores such a message from its opcode and payload. If it returns None, the frame is where to stop.

    Returns:
        The position of the frame at which it stopped, or the end of the data; and ``room`` minus the memory used.

    Raises:
        TypeError: ``decode`` has returned something else.
        Exception: ``decode`` raised an exception, or memory ran out after it had seen the message.
    """
    _check_bytes(data)
    _check_decoder(rsv, decode)
    end = len(data)
    if not 0 <= position <= end:
        raise ValueError(f"position {position} is not within the data")
    while end - position >= 2:
        first = data[position]
        is_encoded = rsv and first & rsv == rsv
        opcode = _OPCODES.get(first ^ rsv if is_encoded else first)
        place = None if opcode is None else find_payload(data, position, masked, max_size)
        if opcode is None or place is None:
            break
        start, stop, has_key = place
        message: str | bytes | None = None
        try:
            payload: bytes | bytearray = data[start:stop]
            if has_key:
                payload = _masked(payload, data[start - 4 : start])
            if not is_encoded:
                message = payload.decode() if first == _TEXT else bytes(payload)
                messages.append(message)
        except (UnicodeDecodeError, MemoryError):
            break
        if is_encoded:
            assert decode is not None
            message = decode(opcode, bytes(payload))
            if message is None:
                break
            if not isinstance(message, (str, bytes)):
                raise TypeError(f"an extension has restored {type(message).__name__}, expected bytes")
            messages.append(message)
        position = stop
        room -= sys.getsizeof(message)
        if room <= 0:
            break
    return position, room


def _check_decoder(rsv: int, decode: object) -> None:
    if rsv & ~_RSV or (rsv and decode is None):
        raise ValueError(f"reserved bits 0x{rsv:X}: expected bits within 0x70, and a function for them")


def find_payload(data: bytes, position: int, masked: bool | None, max_size: int) -> tuple[int, int, bool] | None:
    """Find the payload of a frame of which at least two bytes are available. The first byte is ignored.

    Args:
        data: bytes from the peer.
        position: where the frame starts in the data.
        masked: see `take_messages`.
        max_size: see `take_messages`.

    Returns:
        Where the payload starts and ends, and whether a masking key precedes it; None if the frame is incomplete, too
        long, or has an invalid length.
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
    """Return the start of a frame, before the masking key and payload: the first byte, the mask bit and the length."""
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 65536:
        return bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")


def build_frame(first: int, payload: Buffer | str, masking_key: bytes, /) -> bytes:
    """Return the bytes of a frame.

    Args:
        first: the first byte of the frame: FIN, the reserved bits and the opcode.
        payload: the payload; text is encoded as UTF-8.
        masking_key: 4 bytes, or ``b""`` for an unmasked frame.

    Raises:
        UnicodeEncodeError: the text contains a lone surrogate.
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
    """The growing payload of an incomplete message. `len` returns the number of bytes received."""

    __slots__ = ("_data", "_room")

    def __init__(self) -> None:
        self._data = bytearray()
        self._room = 0  # bytes at the end that are not filled yet

    def __len__(self) -> int:
        return len(self._data) - self._room

    def extend(self, data: bytes, start: int, stop: int, masking_key: bytes, reserve: int, /) -> None:
        """Unmask and add ``data[start:stop]``.

        Args:
            data: bytes from the peer.
            start: where the payload continues in the data.
            stop: where this part of the payload ends.
            masking_key: the masking key, rotated so that its first byte applies to ``start``; empty if not masked.
            reserve: the number of bytes that will follow, for which memory may be allocated in advance.
        """
        _check_bytes(data)
        if not 0 <= start <= stop <= len(data):
            raise ValueError(f"range {start} to {stop} is not within the data")
        if masking_key:
            _check_key(masking_key)
        self._forget_room()
        size = len(self._data)
        self._data += memoryview(data)[start:stop]
        if masking_key:
            _mask_in_place(self._data, size, masking_key)

    def get_buffer(self, count: int, reserve: int, /) -> memoryview:
        """Return a buffer for the next bytes. Fill and release it before you call any other method.

        Args:
            count: the size of the buffer, in bytes.
            reserve: see `extend`.
        """
        self._forget_room()
        self._data += bytes(count)
        self._room = count
        return memoryview(self._data)[len(self._data) - count :]

    def buffer_updated(self, count: int, masking_key: bytes, /) -> None:
        """Unmask and add the first ``count`` bytes of the buffer that `get_buffer` returned.

        Args:
            count: how many bytes were filled.
            masking_key: see `extend`.
        """
        if not 0 <= count <= self._room:
            raise ValueError(f"{count} is not within the buffer of {self._room} bytes")
        if masking_key:
            _check_key(masking_key)
        start = len(self._data) - self._room
        del self._data[start + count :]
        self._room = 0
        if masking_key:
            _mask_in_place(self._data, start, masking_key)

    def take(self) -> bytes:
        """Return and remove the bytes added since the last call.

        Raises:
            MemoryError: there is not room memory, or a part of the payload was lost earlier when memory ran out.
        """
        self._forget_room()
        data = bytes(self._data)
        self._data = bytearray()
        return data

    def _forget_room(self) -> None:
        """Drop the buffer that `get_buffer` returned if its contents were never added."""
        if self._room:
            del self._data[len(self) :]
            self._room = 0
