"""How a connection ends, as the exceptions that its users get."""

from __future__ import annotations

from typing import TypeVar

from anyws.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedLocally,
    ConnectionClosedOK,
    is_clean,
)
from anyws.protocol.connection import Connection, State

__all__ = ["Ending"]

C = TypeVar("C", bound=ConnectionClosed)


class Ending:
    """Why a connection has ended, and what of it was lost.

    Args:
        core: the protocol.
    """

    __slots__ = ("_core", "_undelivered", "detail", "error", "is_ours")

    def __init__(self, core: Connection) -> None:
        self._core = core
        self._undelivered: int | None = 0  # bytes of messages that the peer has not taken; None once that was raised
        self.detail: str = ""
        """Why we aborted the connection, if neither the network nor the core says so."""
        self.error: BaseException | None = None
        """The error that the stream raised."""
        self.is_ours: bool = False
        """Whether this side began to close."""

    def because(self, detail: str) -> None:
        """Remember why we aborted the connection; the first reason counts."""
        self.detail = self.detail or detail

    def lost_by(self, error: BaseException) -> None:
        """Remember the error of the stream; the first one counts."""
        self.error = self.error or error

    def note_undelivered(self, size: int) -> None:
        """Remember how many bytes of messages the peer has not taken, unless its Close says that it wants no more."""
        if self._core.close_received is None and self._undelivered is not None:
            self._undelivered = max(self._undelivered, size)

    def check_delivered(self) -> None:
        """Raise, once, if messages were accepted that the peer has not taken.

        Raises:
            ConnectionClosedError: some were not delivered.
        """
        if self._undelivered and self._core.close_received is None:
            raise self.error_closed()

    def for_receiver(self) -> ConnectionClosed:
        """Return the exception for a task that receives."""
        core = self._core
        decisive = core.close_sent if core.state is not State.CLOSED else core.close_received
        return self._closed(ConnectionClosedOK if is_clean(decisive) else ConnectionClosedError)

    def for_sender(self) -> ConnectionClosed:
        """Return the exception for a task that sends."""
        return self._closed(ConnectionClosedLocally if self.is_ours else ConnectionClosedError)

    def for_ping(self) -> ConnectionClosed:
        """Return the exception for a task that waits for a Pong."""
        return self._closed(ConnectionClosedOK if is_clean(self._core.close_received) else ConnectionClosedError)

    def error_closed(self) -> ConnectionClosedError:
        """Return the exception for what was interrupted, whatever the close code."""
        return self._closed(ConnectionClosedError)

    def _closed(self, exception: type[C]) -> C:
        undelivered = (self._undelivered or 0) if self._core.close_received is None else 0
        if undelivered:
            self._undelivered = None
        closed = exception(
            received=self._core.close_received,
            sent=self._core.close_sent,
            detail=self.detail,
            undelivered=undelivered,
        )
        closed.__cause__ = self._core.failure or self.error
        return closed
