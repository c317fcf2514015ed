"""Frames that wait to be sent, in two lanes: control frames overtake data, but never split a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

__all__ = ["LargeFrame", "Outbox"]

# RFC 6455, 5.5.3 demands a Pong for the newest Ping only, but a peer that sends a few at once may count them. A flood
# of Pings by a peer that does not read fills no more than this.
_MAX_PONGS = 16
_BATCH = 65536  # bytes that one write gathers, before it looks again for a Pong that should go first


@dataclass(slots=True)
class LargeFrame:
    """A frame of which the payload is not copied behind its header."""

    header: bytes
    payload: bytes

    def __len__(self) -> int:
        return len(self.header) + len(self.payload)


class Outbox:
    """A queue of whole frames; bytes come out in pieces for one write each.

    Attributes:
        queued: bytes of frames that wait to be sent; automatic Pongs are not counted.
    """

    __slots__ = ("_control", "_data", "_large_frames", "_pongs", "queued")

    def __init__(self) -> None:
        self._data: list[bytes | LargeFrame] = []
        self._large_frames = 0  # how many of them are in it
        self._control: list[bytes] = []
        self._pongs: list[bytes] = []
        self.queued: int = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._data or self._control or self._pongs)

    def put(self, frame: bytes | LargeFrame) -> None:
        """Add a data frame, or a Close."""
        if not isinstance(frame, bytes):
            self._large_frames += 1
        self._data.append(frame)
        self.queued += len(frame)

    def put_control(self, frame: bytes) -> None:
        """Add a Ping, or a Pong that is sent on purpose."""
        self._control.append(frame)
        self.queued += len(frame)

    def put_pong(self, frame: bytes) -> None:
        """Add the answer to a Ping; of many, the newest are kept."""
        self._pongs.append(frame)
        del self._pongs[:-_MAX_PONGS]

    def take(self) -> list[bytes]:
        """Take the next frames: 64 KiB of whole frames at most, or one larger frame; empty if none waits.

        Returns:
            A few buffers for one gathered write (``sendmsg``).
        """
        frames = self._take_control() if self._control or self._pongs else []
        if self.queued <= _BATCH and not self._large_frames:
            frames += cast("list[bytes]", self._data)
            self._data = []
            self.queued = 0
            return [b"".join(frames)] if frames else []
        buffers: list[bytes] = []
        count = size = 0
        for frame in self._data:
            if size and size + len(frame) > _BATCH:
                break
            count += 1
            size += len(frame)
            if isinstance(frame, bytes):
                frames.append(frame)
            else:
                self._large_frames -= 1
                frames.append(frame.header)
                buffers += [b"".join(frames), frame.payload]
                frames.clear()
        del self._data[:count]
        self.queued -= size
        if frames:
            buffers.append(b"".join(frames))
        return buffers

    def clear(self) -> None:
        """Drop all frames."""
        self._data.clear()
        self._large_frames = 0
        self._control.clear()
        self._pongs.clear()
        self.queued = 0

    def keep_last(self) -> None:
        """Drop all frames but the last one of the data lane."""
        last = self._data[-1:]
        self.clear()
        for frame in last:
            self.put(frame)

    def _take_control(self) -> list[bytes]:
        frames, self._control = self._control, []
        self.queued -= sum(map(len, frames))
        frames += self._pongs
        self._pongs.clear()
        return frames
