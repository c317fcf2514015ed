"""Frames that wait to be sent, in two lanes: control frames overtake data, but never split a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .speedups import FrameQueue

__all__ = ["Outbox"]

# RFC 6455, section 5.5.3 demands a Pong for the newest Ping only, but a peer that sends a few at once may count them. A flood
# of Pings by a peer that does not read fills no more than this.
_MAX_PONGS = 16


class Outbox(FrameQueue):
    """A queue of whole frames; bytes come out in pieces for one write each. Automatic Pongs do not count as queued.

    Args:
        new_masking_key: gives the masking key of each frame; None for frames that are not masked.

    Attributes:
        pongs: the automatic ones that wait.
        control_taken: how many bytes of control frames were in what `take` has returned last.
    """

    __slots__ = ("_control", "control_taken", "pongs")

    size: int

    def __init__(self, new_masking_key: Callable[[], bytes] | None) -> None:
        super().__init__(new_masking_key)
        self._control: Sequence[bytes] = ()
        self.pongs: Sequence[bytes] = ()
        self.control_taken: int = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return self.size > 0 or bool(self.pongs)

    @property
    def data_size(self) -> int:
        """The number of bytes that wait in the data lane: messages, and the Close behind them."""
        return self.size - sum(map(len, self._control))

    def put_control(self, frame: bytes) -> None:
        """Add a Ping, or a Pong that is sent on purpose."""
        size = self.size + len(frame)
        self._control = [*self._control, frame]
        self.size = size

    def put_pong(self, frame: bytes) -> None:
        """Add the answer to a Ping; of many, the newest are kept."""
        self.pongs = [*self.pongs[1 - _MAX_PONGS :], frame]

    def take(self) -> list[bytes]:
        """Remove the control frames, and the oldest data frames; see `FrameQueue.take`."""
        if not self._control and not self.pongs:
            self.control_taken = 0
            return super().take()
        first, size = b"".join([*self._control, *self.pongs]), sum(map(len, self._control))
        buffers = super().take()  # if there is no memory, nothing is taken
        buffers.insert(0, first)
        self._control = self.pongs = ()
        self.size -= size
        self.control_taken = len(first)
        return buffers

    def clear(self) -> None:
        """Drop all frames."""
        self._control = self.pongs = ()
        super().clear()

    def keep_last(self) -> None:
        """Drop all frames but the newest one of the data lane."""
        self._control = self.pongs = ()
        super().keep_last()
