"""The queues of received messages and outgoing frames in pure Python. The docstrings also apply to `_queues.h`.

The queues handle only the simple case, which needs no decisions, and report everything else to their caller.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from ._pure import build_frame, build_header, take_messages

__all__ = ["FrameQueue", "MessageQueue"]

_TEXT = 0x81  # the first byte of a frame: FIN, no reserved bits, and the opcode (RFC 6455, section 5.2)
_BINARY = 0x82
_CONTROL = 0x08  # a bit of the opcode of control frames
_LARGE = 16384  # payload size, in bytes, from which copying costs more than an extra buffer in a gathered write
_BATCH = 65536  # maximum number of bytes per write, unless a single frame is larger


class MessageQueue:
    """The queue of received messages.

    Args:
        masked: whether the peer's frames must be masked (True), must not be (False), or may be (None).
        max_size: the maximum payload that `put_frames` accepts, in bytes; a negative number excludes every frame.

    Attributes:
        limit: the memory that queued messages may use before reading should pause, in bytes.
        size: the memory that queued messages use, in bytes, roughly as reported by `sys.getsizeof`, so that many empty
            messages count too.
        budget: the number of messages that `take_now` may still return before other tasks must run.
        is_open: whether another message may arrive.
        is_receiving: whether a task is receiving, so that `take_now` returns None.
        is_reserved: whether the next message belongs to a message stream, so that `take_now` returns None.
        receiver_waits: whether the receiving task is waiting; one message larger than the limit may then arrive.
        wants_pieces: whether the receiving task accepts a part of a message that is still arriving.
        is_paused: whether reading is paused, so that whoever takes a message must resume it.
        is_on_fast_path: whether the next bytes start a frame and there is room for a message, so that reading needs no
            check.
        messages_added: how many messages have been added.
        bytes_read: how many bytes of frames have arrived; `put_frames` adds those that it has processed, and the caller
            adds the others.
    """

    __slots__ = (
        "_masked",
        "_max_size",
        "_messages",
        "budget",
        "bytes_read",
        "is_on_fast_path",
        "is_open",
        "is_paused",
        "is_receiving",
        "is_reserved",
        "limit",
        "messages_added",
        "receiver_waits",
        "size",
        "wants_pieces",
    )

    def __init__(self, masked: bool | None, max_size: int, /) -> None:
        self._masked = masked
        self._max_size = max_size
        self.limit: int = sys.maxsize
        self.size: int = 0
        self.budget: int = 0
        self.is_open: bool = True
        self.is_receiving: bool = False
        self.is_reserved: bool = False
        self.receiver_waits: bool = False
        self.wants_pieces: bool = False
        self.is_paused: bool = False
        self.is_on_fast_path: bool = True
        self.messages_added: int = 0
        self.bytes_read: int = 0
        self._messages: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: str | bytes, /) -> None:
        """Add a message even if the limit is exceeded: a message that was read is never lost."""
        self._messages.append(message)
        self.size += sys.getsizeof(message)
        self.messages_added += 1

    def put_frames(
        self, data: bytes, rsv: int = 0, decode: Callable[[int, bytes], str | bytes | None] | None = None, /
    ) -> int:
        """Add the messages at the beginning of the data that are single complete frames, until the limit is reached.

        Args:
            data: bytes from the peer, starting with a new frame.
            rsv: see `take_messages`.
            decode: see `take_messages`.

        Returns:
            The position at which it stopped: the start of a frame that is anything else, or the end of the data.

        Raises:
            Exception: see `take_messages`.
        """
        room = self.limit - self.size
        if room <= 0:
            return 0
        found: list[Any] = []
        try:
            position, _ = take_messages(data, 0, self._masked, self._max_size, room, found, rsv, decode)
        finally:
            self._messages.extend(found)
            self.size += sum(map(sys.getsizeof, found))
            self.messages_added += len(found)
        self.bytes_read += position
        return position

    def take(self) -> str | bytes:
        """Remove and return the oldest message."""
        message: str | bytes = self._messages.popleft()
        self.size -= sys.getsizeof(message)
        return message

    def take_now(self) -> str | bytes | None:
        """Remove and return the oldest message; None if there is none, ``budget`` is 0, or another task is waiting."""
        if not self._messages or self.budget <= 0 or self.is_receiving or self.is_reserved:
            return None
        self.budget -= 1
        return self.take()

    def clear(self) -> None:
        """Drop all messages."""
        self._messages.clear()
        self.size = 0


class FrameQueue:
    """The queue of outgoing frames.

    Attributes:
        limit: the number of queued bytes from which no more messages are accepted.
        size: the number of queued bytes.
        budget: the number of messages that `put_message` may still accept before other tasks must run.
        is_open: whether messages are accepted: the connection is open, and no message is being sent in fragments.
        is_reserved: whether messages are not accepted because another task is waiting already.
        is_plain: whether messages are framed without extensions.
        is_direct: whether a message may be written to the socket directly while the queue is empty.
        gathers: whether writing a message directly resets `is_direct`, so that the next ones are written together.
        sent: the number of bytes that the stream has accepted.
        is_flush_due: whether a call of `take` is already scheduled, so that the caller need not schedule one. `take`
            resets it, and so does `put_message` once there is enough data for a write.
        messages_added: how many messages have been added, counted by their last frames.
        bytes_added: how many bytes of frames have been added. `Outbox` adds the control frames that overtake.
        new_masking_key: a function that returns a masking key for each frame; None for unmasked frames.
    """

    __slots__ = (
        "_frames",
        "_large",
        "budget",
        "bytes_added",
        "gathers",
        "is_direct",
        "is_flush_due",
        "is_open",
        "is_plain",
        "is_reserved",
        "limit",
        "messages_added",
        "new_masking_key",
        "sent",
        "size",
    )

    def __init__(self, new_masking_key: Callable[[], bytes] | None, /) -> None:
        self.limit: int = sys.maxsize
        self.size: int = 0
        self.budget: int = 0
        self.is_open: bool = True
        self.is_plain: bool = True
        self.is_reserved: bool = False
        self.is_flush_due: bool = False
        self.is_direct: bool = False
        self.gathers: bool = False
        self.sent: int = 0
        self.messages_added: int = 0
        self.bytes_added: int = 0
        self.new_masking_key: Callable[[], bytes] | None = new_masking_key
        self._frames: list[Any] = []  # bytes, or for large frames a tuple of header and payload
        self._large = 0  # the number of large frames

    def put(self, frame: bytes, /) -> None:
        """Add a frame."""
        self._frames.append(frame)
        self.size += len(frame)
        self._count(frame[:1], len(frame))

    def put_frame(self, first: int, payload: bytes | bytearray | memoryview | str, /) -> None:
        """Frame a payload and add it. A large payload is not copied unless it is text or masked.

        Args:
            first: the first byte of the frame.
            payload: the payload; text is encoded as UTF-8.

        Raises:
            UnicodeEncodeError: the text contains a lone surrogate.
        """
        if self.new_masking_key is not None:
            self.put(build_frame(first, payload, self.new_masking_key()))
        elif isinstance(payload, str) or len(payload) < _LARGE:
            self.put(build_frame(first, payload, b""))
        else:
            payload = bytes(payload)  # copies the payload only if it is mutable
            header = build_header(first, len(payload))
            self._frames.append((header, payload))
            self._large += 1
            self.size += len(header) + len(payload)
            self._count(header[:1], len(header) + len(payload))

    def put_message(self, message: object, /) -> bool:
        """Frame and add a message if it is a `str` or `bytes` and messages are accepted; return whether it was added.

        Raises:
            UnicodeEncodeError: the text contains a lone surrogate.
        """
        if not self._has_room or not self.is_plain or self.budget <= 0:
            return False
        if type(message) is str:
            self.put_frame(_TEXT, message)
        elif type(message) is bytes:
            self.put_frame(_BINARY, message)
        else:
            return False
        self.budget -= 1
        if self.size >= _BATCH:
            self.is_flush_due = False
        return True

    def put_prepared(self, frame: bytes, /) -> bool:
        """Add a frame that is a whole message if messages are accepted; return whether it was added."""
        if not self._has_room or self.new_masking_key is not None:
            return False
        self.put(frame)
        return True

    def _count(self, first: bytes, size: int) -> None:
        self.messages_added += first >= b"\x80" and not first[0] & _CONTROL
        self.bytes_added += size

    @property
    def _has_room(self) -> bool:
        return self.is_open and not self.is_reserved and self.size < self.limit

    def take(self) -> list[bytes]:
        """Remove and return the oldest frames: at most 64 KiB of whole frames, or one larger frame.

        Returns:
            A few buffers for one gathered write. A large payload is a separate buffer: the bytes object that was added.
        """
        self.is_flush_due = False
        if self.size <= _BATCH and not self._large:
            taken = [b"".join(self._frames)] if self._frames else []  # on MemoryError, nothing has been removed
            self.size -= len(taken[0]) if taken else 0
            self._frames = []
            return taken
        buffers: list[bytes] = []
        small: list[bytes] = []
        count = size = large = 0
        for frame in self._frames:
            if type(frame) is bytes:
                if size and size + len(frame) > _BATCH:
                    break
                small.append(frame)
                size += len(frame)
            else:
                header, payload = frame
                if size and size + len(header) + len(payload) > _BATCH:
                    break
                large += 1
                buffers += [b"".join([*small, header]), payload]
                small.clear()
                size += len(header) + len(payload)
            count += 1
        if small:
            buffers.append(b"".join(small))
        del self._frames[:count]
        self.size -= size
        self._large -= large
        return buffers

    def clear(self) -> None:
        """Drop all frames."""
        self._frames.clear()
        self._large = 0
        self.size = 0
