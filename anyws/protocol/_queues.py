"""What waits to be received and to be sent, in pure Python. What a twin does is said here; `_queues.h` does the same.

Nothing is decided here but whether the plain case is at hand, in which nothing needs to be decided.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from ._pure import build_frame, build_header, take_messages

__all__ = ["FrameQueue", "MessageQueue"]

_TEXT = 0x81  # the first byte of a frame: FIN, no reserved bit, the opcode (RFC 6455, section 5.2)
_BINARY = 0x82
_LARGE = 16384  # bytes of payload from which a copy costs more than one buffer more in a gathered write
_BATCH = 65536  # bytes that one write gathers


class MessageQueue:
    """Received messages that nobody has taken yet.

    Args:
        masked: whether the peer's frames must be masked, must not be, or may be (None).
        max_size: the largest payload that `put_frames` takes, in bytes; below 0 for none at all.

    Attributes:
        limit: the memory that they may fill before no more should be read, in bytes.
        size: the memory that they fill, in bytes, about as `sys.getsizeof` tells: also many empty messages fill some.
        turns: how many more messages `take_now` gives.
        is_reserved: whether `take_now` gives none, for somebody has asked before.
    """

    __slots__ = ("_masked", "_max_size", "_messages", "is_reserved", "limit", "size", "turns")

    def __init__(self, masked: bool | None, max_size: int, /) -> None:
        self._masked = masked
        self._max_size = max_size
        self.limit: int = sys.maxsize
        self.size: int = 0
        self.turns: int = 0
        self.is_reserved: bool = False
        self._messages: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: str | bytes, /) -> None:
        """Add a message, also beyond the limit: what has been read is never lost."""
        self._messages.append(message)
        self.size += sys.getsizeof(message)

    def put_frames(self, data: bytes, /) -> int:
        """Add the messages at the beginning of the data, each in one whole and plain frame, until the limit is reached.

        Args:
            data: bytes from the peer, at whose beginning a frame begins.

        Returns:
            The position at which it stopped: of a frame that is anything else, or the end of the data.
        """
        room = self.limit - self.size
        if room <= 0:
            return 0
        position, left = take_messages(data, 0, self._masked, self._max_size, room, self._messages)
        self.size = self.limit - left
        return position

    def take(self) -> str | bytes:
        """Remove and return the oldest message."""
        message: str | bytes = self._messages.popleft()
        self.size -= sys.getsizeof(message)
        return message

    def take_now(self) -> str | bytes | None:
        """Remove and return the oldest message, if there is one, and a turn for it, and nobody has asked before."""
        if not self._messages or self.turns <= 0 or self.is_reserved:
            return None
        self.turns -= 1
        return self.take()

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self.size = 0


class FrameQueue:
    """Frames that wait to be sent.

    Attributes:
        limit: how many bytes of frames may wait before no message is added any more.
        size: how many wait.
        turns: how many more messages `put_message` takes.
        is_open: whether a message may be added: the connection is open, and no other is being sent in fragments.
        is_reserved: whether none may, for somebody has asked before.
        is_plain: whether messages are framed as they are, without extensions.
        is_flush_due: whether it is certain that `take` will be called soon, so nobody need see to that; `take`, and
            `put_message` once there is much to write, take it back.
        new_masking_key: gives the masking key of each frame; None for frames that are not masked.
    """

    __slots__ = (
        "_frames",
        "_large",
        "is_flush_due",
        "is_open",
        "is_plain",
        "is_reserved",
        "limit",
        "new_masking_key",
        "size",
        "turns",
    )

    def __init__(self, new_masking_key: Callable[[], bytes] | None, /) -> None:
        self.limit: int = sys.maxsize
        self.size: int = 0
        self.turns: int = 0
        self.is_open: bool = True
        self.is_plain: bool = True
        self.is_reserved: bool = False
        self.is_flush_due: bool = False
        self.new_masking_key: Callable[[], bytes] | None = new_masking_key
        self._frames: list[Any] = []  # bytes; or header and payload of a large frame
        self._large = 0  # how many of them are large

    def put(self, frame: bytes, /) -> None:
        """Add a frame."""
        self._frames.append(frame)
        self.size += len(frame)

    def put_frame(self, first: int, payload: bytes | bytearray | memoryview | str, /) -> None:
        """Frame a payload and add it; without a copy if it is large, and neither text nor masked.

        Args:
            first: the first byte of the frame.
            payload: bytes, or text that will be UTF-8.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate.
        """
        if self.new_masking_key is not None:
            self.put(build_frame(first, payload, self.new_masking_key()))
        elif isinstance(payload, str) or len(payload) < _LARGE:
            self.put(build_frame(first, payload, b""))
        else:
            payload = bytes(payload)  # the same, or a copy of what may change
            header = build_header(first, len(payload))
            self._frames.append((header, payload))
            self._large += 1
            self.size += len(header) + len(payload)

    def put_message(self, message: object, /) -> bool:
        """Frame a message and add it if it is `str` or `bytes`, and it may be; say whether that was done.

        Raises:
            UnicodeEncodeError: the text has a lone surrogate.
        """
        if not self._has_room or not self.is_plain or self.turns <= 0:
            return False
        if type(message) is str:
            self.put_frame(_TEXT, message)
        elif type(message) is bytes:
            self.put_frame(_BINARY, message)
        else:
            return False
        self.turns -= 1
        if self.size >= _BATCH:
            self.is_flush_due = False
        return True

    def put_prepared(self, frame: bytes, /) -> bool:
        """Add a frame that is a whole message, if it may be; say whether that was done."""
        if not self._has_room or self.new_masking_key is not None:
            return False
        self.put(frame)
        return True

    @property
    def _has_room(self) -> bool:
        return self.is_open and not self.is_reserved and self.size < self.limit

    def take(self) -> list[bytes]:
        """Remove the oldest frames: 64 KiB of whole ones at most, or one larger; none if none waits.

        Returns:
            A few buffers for one gathered write: a large payload is one of its own, the very bytes that were sent.
        """
        self.is_flush_due = False
        if self.size <= _BATCH and not self._large:
            taken = [b"".join(self._frames)] if self._frames else []  # if there is no memory, nothing is taken
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

    def keep_last(self) -> None:
        """Drop all frames but the newest one, which is not large."""
        last = self._frames[-1:]
        self.clear()
        for frame in last:
            self.put(frame)
