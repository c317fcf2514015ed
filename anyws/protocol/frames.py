"""Encoding and decoding of frames (RFC 6455, sections 5.2, 5.3, 5.5).

The decoder returns the payload of a data frame in parts as it arrives, so that size limits apply as soon as the header
is known, and invalid text is detected before the frame is complete. Control frames are short and returned whole.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import LimitExceeded, ProtocolError
from .speedups import Payload, apply_mask, build_frame, speedups_in_use, take_messages

__all__ = ["FrameDecoder", "FrameHeader", "FramePart", "Opcode", "serialize_frame"]


class Opcode(enum.IntEnum):
    """The type of a frame (RFC 6455, section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_CONTROL = 0x8  # RFC 6455, section 5.5: the most significant bit of a control frame's opcode is 1.
_FIN = 0x80
_MASK = 0x80
_RSV = 0x70
_CLOSE = _FIN | Opcode.CLOSE
_MAX_CONTROL_PAYLOAD = 125  # RFC 6455, section 5.5.
# Memory is allocated in advance for the length that a header announces, but at most this many times what has arrived:
# after a read of 64 KiB that is 1 MiB, and after a header alone it is nothing.
_RESERVE_FACTOR = 16
# Read directly into the payload once this much of it has arrived and this much is missing, in bytes. Not in pure
# Python: saving a copy does not pay there, because the buffer has to be filled with zeros first.
_LARGE = 32768 if speedups_in_use else sys.maxsize
_MAX_BUFFER = 1024 * 1024  # bytes to read at once in this way


class FrameHeader(NamedTuple):
    """The header of a frame.

    ``rsv`` contains the three reserved bits at their position in the first byte (RSV1 is 0x40). ``length`` is the size
    of the payload in bytes. ``masking_key`` is empty if the frame is not masked.
    """

    opcode: Opcode
    fin: bool
    rsv: int
    length: int
    masking_key: bytes


class FramePart(NamedTuple):
    """A frame, or a part of one. ``first`` is true if the part starts the frame, ``last`` if it ends the frame."""

    header: FrameHeader
    payload: bytes
    first: bool
    last: bool


def serialize_frame(
    opcode: int, payload: bytes | str, *, fin: bool = True, rsv: int = 0, masking_key: bytes = b""
) -> bytes:
    """Return the bytes of a frame, masked if you pass a masking key of 4 bytes. Text is encoded as UTF-8."""
    return build_frame(opcode | rsv | (_FIN if fin else 0), payload, masking_key)


class FrameDecoder:
    """Decodes frames from bytes, which may be split at any point.

    Args:
        masked: whether frames must be masked (True, for servers), must not be (False, for clients), or may be (None).
        rsv: the reserved bits that an extension uses on the first frame of a message.
        max_frame_size: the maximum payload of a data frame, in bytes; None for no limit.
    """

    __slots__ = (
        "_buffer",
        "_header",
        "_masked",
        "_max_frame_size",
        "_offset",
        "_position",
        "_rsv",
    )

    def __init__(self, *, masked: bool | None, rsv: int = 0, max_frame_size: int | None = None) -> None:
        self._masked = masked
        self._rsv = rsv
        self._max_frame_size = max_frame_size
        # Between two calls of feed() this keeps at most a few bytes: a part of a header or of a control frame.
        self._buffer = b""
        self._position = 0
        self._header: FrameHeader | None = None  # of the frame whose payload is incomplete
        self._offset = 0  # how many bytes of this payload have been received

    def feed(self, data: bytes, start: int = 0) -> None:
        """Add bytes from the peer, starting at this position."""
        if type(data) is not bytes:
            data = bytes(data)  # the caller must not be able to change buffered data
        if self._position < len(self._buffer):
            if data:
                self._buffer = self._buffer[self._position :] + data[start:]
                self._position = 0
        elif start < len(data):
            self._buffer = data
            self._position = start

    @property
    def is_between_frames(self) -> bool:
        """Whether all received data was processed and ended at the end of a frame."""
        return not self._buffer and self._header is None

    @property
    def has_data(self) -> bool:
        """Whether there are bytes that `next_part` has not processed yet."""
        return bool(self._buffer)

    def take_messages(
        self,
        max_size: int,
        room: int,
        messages: list[Any],
        rsv: int = 0,
        decode: Callable[[int, bytes], str | bytes | None] | None = None,
    ) -> int:
        """Append the next messages as long as each is a single complete frame without reserved bits, or with ``rsv``.

        Stop at the first frame that is anything else: `next_part` handles invalid frames. Inside a frame, do nothing.

        Args:
            max_size: the maximum payload, in bytes.
            room: stop once the messages use this much memory, in bytes.
            messages: the list to append to: `str` for text, `bytes` for binary.
            rsv: the reserved bits of the messages that ``decode`` restores; 0 if there is no extension.
            decode: restores a message from its opcode and payload, or returns None to stop there.

        Returns:
            ``room`` minus the memory that the messages use.

        Raises:
            Exception: ``decode`` raised an exception, or memory ran out after it had seen a message.
        """
        if self._header is None and self._buffer:
            position, room = take_messages(
                self._buffer, self._position, self._masked, max_size, room, messages, rsv, decode
            )
            self._advance_to(position)
        return room

    def take_close(self) -> bytes | None:
        """Return the payload of the next frame if it is a complete and valid Close, and the last one received.

        Otherwise, and inside a frame, return None. Like `take_messages`, this method never raises.
        """
        data = self._buffer
        if len(data) < 2 or data[0] != _CLOSE or self._header is not None or self._position:
            return None
        masked, length = data[1] >= _MASK, data[1] & 0x7F
        start = 6 if masked else 2
        if length > _MAX_CONTROL_PAYLOAD or len(data) != start + length or self._masked not in (None, masked):
            return None
        self._buffer = b""
        return apply_mask(data[start:], data[2:6]) if masked else data[start:]

    def next_part(self, into: Payload | None = None) -> FramePart | None:
        """Return the next frame or part of a frame, or None if more bytes are needed.

        If a data frame is incomplete, its first part is the header without any payload.

        Args:
            into: collects the payload of a data frame after its first part. These parts are then returned without
                payload.

        Raises:
            ProtocolError: the peer must not send this frame.
            LimitExceeded: the header announces more than ``max_frame_size``.
        """
        header = self._header
        if header is None:
            return self._first_part()
        missing = header.length - self._offset
        count = min(missing, len(self._buffer) - self._position)
        if count == 0:
            return None
        key = self._rotated_key(header)
        start, stop = self._position, self._position + count
        if into is None:
            payload = self._buffer[start:stop]
            if key:
                payload = apply_mask(payload, key)
        else:
            payload, gathered = b"", len(into)
            is_taken_as_it_comes = gathered < self._offset
            reserve = 0 if is_taken_as_it_comes else min(missing - count, _RESERVE_FACTOR * (gathered + count))
            into.extend(self._buffer, start, stop, key, reserve)
        self._advance_to(stop)
        return self._next(header, payload, count)

    def begin_large(self, header: bytes, count: int) -> FramePart:
        """Begin a data frame, and skip the first ``count`` bytes of its payload, but not all.

        Args:
            header: the complete and valid header.
            count: how many bytes of the payload have already been collected and unmasked.
        """
        self.feed(header)
        part = self.next_part()
        assert part is not None
        self._offset = count
        return part

    def get_buffer(self, into: Payload) -> memoryview | None:
        """Return a buffer for the next bytes of a large payload, to be filled and released; otherwise None.

        Args:
            into: collects the payload; see `next_part`.
        """
        header, gathered = self._header, len(into)
        if header is None or self._buffer or gathered < self._offset:
            return None
        missing = header.length - self._offset
        if min(missing, gathered) < _LARGE:
            return None
        room = min(missing, _RESERVE_FACTOR * gathered)
        count = min(room, _MAX_BUFFER)
        return into.get_buffer(count, room - count)

    def buffer_updated(self, into: Payload, count: int) -> FramePart:
        """Add the first ``count`` bytes of the buffer that `get_buffer` returned."""
        header = self._header
        assert header is not None
        into.buffer_updated(count, self._rotated_key(header))
        return self._next(header, b"", count)

    def _rotated_key(self, header: FrameHeader) -> bytes:
        """Return the masking key, rotated to the current position in the payload; empty if the frame is not masked."""
        rotation = self._offset & 3
        return header.masking_key[rotation:] + header.masking_key[:rotation]

    def _next(self, header: FrameHeader, payload: bytes, count: int) -> FramePart:
        """Return the next part of the frame, which has ``count`` bytes."""
        self._offset += count
        last = self._offset == header.length
        if last:
            self._header = None
        return FramePart(header, payload, False, last)

    def _first_part(self) -> FramePart | None:
        header = self._read_header()
        if header is None:
            self._buffer = self._buffer[self._position :]  # keep these few bytes only, not a large read
            self._position = 0
            return None
        stop = self._position + header.length
        if stop > len(self._buffer):
            self._advance_to(self._position)
            self._header = header
            self._offset = 0
            return FramePart(header, b"", True, False)
        payload = self._buffer[self._position : stop]
        if header.masking_key:
            payload = apply_mask(payload, header.masking_key)
        self._advance_to(stop)
        return FramePart(header, payload, True, True)

    def _advance_to(self, position: int) -> None:
        if position == len(self._buffer):
            self._buffer, position = b"", 0  # an idle connection does not keep any data
        self._position = position

    def _read_header(self) -> FrameHeader | None:
        buffer, position = self._buffer, self._position
        available = len(buffer) - position
        if available < 2:
            return None
        first, second = buffer[position], buffer[position + 1]
        opcode = self._check_first(first)
        length = second & 0x7F
        if opcode & _CONTROL:
            if not first & _FIN:
                raise ProtocolError(f"fragmented {opcode.name} frame, expected FIN (RFC 6455, section 5.5)")
            if length > _MAX_CONTROL_PAYLOAD:
                raise ProtocolError(f"{opcode.name} frame of more than 125 bytes (RFC 6455, section 5.5)")
        masked = bool(second & _MASK)
        if self._masked is not None and masked is not self._masked:
            raise ProtocolError(
                "frame is not masked, expected a masked one (RFC 6455, section 5.1)"
                if self._masked
                else "frame is masked, expected an unmasked one (RFC 6455, section 5.1)"
            )
        position += 2
        extended = 2 if length == 126 else 8 if length == 127 else 0
        key_length = 4 if masked else 0
        if available < 2 + extended:
            return None
        if extended:
            length = int.from_bytes(buffer[position : position + extended], "big")
            position += extended
            self._check_extended_length(length, extended)
        if not opcode & _CONTROL and self._max_frame_size is not None and length > self._max_frame_size:
            raise LimitExceeded("max_frame_size", self._max_frame_size, length)
        needed = 2 + extended + key_length + (length if opcode & _CONTROL else 0)
        if available < needed:
            return None
        self._position = position + key_length
        return FrameHeader(opcode, bool(first & _FIN), first & _RSV, length, buffer[position : self._position])

    def _check_first(self, first: int) -> Opcode:
        # RFC 7692, section 6: extensions set reserved bits only on the first frame of a message.
        known = self._rsv if first & 0x0F in (Opcode.TEXT, Opcode.BINARY) else 0
        unknown = first & _RSV & ~known
        if unknown:
            bits = ", ".join(f"RSV{n}" for n, bit in ((1, 0x40), (2, 0x20), (3, 0x10)) if unknown & bit)
            raise ProtocolError(f"{bits} set, but no extension uses it (RFC 6455, section 5.2)")
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise ProtocolError(f"reserved opcode 0x{first & 0x0F:X} (RFC 6455, section 5.2)")
        return opcode

    def _check_extended_length(self, length: int, size: int) -> None:
        if length >> 63:
            raise ProtocolError("the most significant bit of the payload length is set (RFC 6455, section 5.2)")
        if length < (126 if size == 2 else 65536):
            raise ProtocolError(f"payload length {length} is not minimally encoded (RFC 6455, section 5.2)")
