"""The queue of outgoing frames. It has two lanes: control frames overtake data frames, but never split one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .speedups import FrameQueue

__all__ = ["Outbox"]

# RFC 6455, section 5.5.3 requires a Pong for the most recent Ping only, but a peer that sends a few Pings at once may
# count the Pongs. The limit bounds the memory if a peer floods us with Pings and does not read the Pongs.
_MAX_PONGS = 16


class Outbox(FrameQueue):
    """A queue of whole frames; `take` returns the bytes for one write. Automatic Pongs are not counted in ``size``.

    Args:
        new_masking_key: a function that returns a masking key for each frame; None for unmasked frames.

    Attributes:
        pongs: the queued automatic Pongs.
        control_taken: the number of bytes in control frames that the last call of `take` returned.
    """

    __slots__ = ("_control", "control_taken", "pongs")

    size: int
    bytes_added: int

    def __init__(self, new_masking_key: Callable[[], bytes] | None) -> None:
        super().__init__(new_masking_key)
        self._control: Sequence[bytes] = ()
        self.pongs: Sequence[bytes] = ()
        self.control_taken: int = 0

    def __bool__(self) -> bool:
        """Whether any frames are queued."""
        return self.size > 0 or bool(self.pongs)

    @property
    def data_size(self) -> int:
        """The number of bytes in the data lane: messages, and a Close after them."""
        return self.size - sum(map(len, self._control))

    def put_control(self, frame: bytes) -> None:
        """Add a Ping or an unsolicited Pong."""
        size = self.size + len(frame)
        self._control = [*self._control, frame]
        self.size = size
        self.bytes_added += len(frame)

    def put_pong(self, frame: bytes) -> None:
        """Add the Pong for a received Ping. If there are too many, the oldest ones are dropped."""
        self.pongs = [*self.pongs[1 - _MAX_PONGS :], frame]
        self.bytes_added += len(frame)

    def take(self) -> list[bytes]:
        """Remove and return the control frames and the oldest data frames; see `FrameQueue.take`."""
        if not self._control and not self.pongs:
            self.control_taken = 0
            return super().take()
        first, size = b"".join([*self._control, *self.pongs]), sum(map(len, self._control))
        buffers = super().take()  # on MemoryError, nothing has been removed
        buffers.insert(0, first)
        self._control = self.pongs = ()
        self.size -= size
        self.control_taken = len(first)
        return buffers

    def clear(self) -> None:
        """Drop all frames."""
        self._control = self.pongs = ()
        super().clear()
