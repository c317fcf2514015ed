"""The pump of a connection that has ended."""

from __future__ import annotations

from anyws._connection.keepalive import Output

from .pump import Pump

__all__ = ["CLOSED"]


class _ClosedPump(Pump):
    """Does nothing and belongs to no link. It replaces a link's pump at the end, which breaks their reference cycle."""

    __slots__ = ()

    def __init__(self) -> None:
        self._is_writing = False
        self.unsent = 0

    def output(self) -> Output:
        """Report that nothing is waiting to be written."""
        return Output(0, 0)

    def poll(self) -> None:
        """Read nothing."""

    def flush(self, *, is_last: bool = False) -> None:
        """Write nothing."""

    def end(self) -> None:
        """Do nothing: it has ended."""

    def close(self) -> None:
        """Do nothing: it is closed."""

    def resume(self) -> None:
        """Read nothing."""

    def wake_receiver(self) -> None:
        """Do nothing: no task is waiting."""

    async def write_all(self) -> None:
        """Return: everything that could be written has been."""


CLOSED = _ClosedPump()
