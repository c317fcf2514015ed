"""The pump of a connection that is over."""

from __future__ import annotations

from anyws._connection.keepalive import Output

from .pump import Pump

__all__ = ["CLOSED"]


class _ClosedPump(Pump):
    """Moves nothing, and belongs to no link: so a link and the pump that it had are not kept by each other."""

    __slots__ = ()

    def __init__(self) -> None:
        self._is_writing = False
        self.unsent = 0

    def output(self) -> Output:
        """Nothing waits."""
        return Output(0, 0)

    def look(self) -> None:
        """Nothing is read."""

    def flush(self) -> None:
        """Write nothing."""

    def end(self) -> None:
        """It has ended."""

    def close(self) -> None:
        """It is closed."""

    def resume(self) -> None:
        """Nothing is read."""

    def wake_receiver(self) -> None:
        """Nobody waits."""

    async def write_all(self) -> None:
        """All that could be written has been."""


CLOSED = _ClosedPump()
