"""How a connection has ended, and the exceptions that say so."""

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
    """Why a connection has ended, and how much was not delivered.

    Args:
        core: the protocol.
    """

    __slots__ = ("_core", "_undelivered", "detail", "error", "is_local")

    def __init__(self, core: Connection) -> None:
        self._core = core
        self._undelivered: int | None = 0  # bytes of messages; None once an exception has reported them
        self.detail: str = ""
        """Why this side aborted the connection, unless an error or the core already says so."""
        self.error: BaseException | None = None
        """The error that the stream raised."""
        self.is_local: bool = False
        """Whether this side has begun to close the connection."""

    def note_reason(self, detail: str) -> None:
        """Remember why this side aborted the connection; only the first reason counts."""
        self.detail = self.detail or detail

    def note_error(self, error: BaseException) -> None:
        """Remember the error of the stream; only the first one counts."""
        self.error = self.error or error

    def note_undelivered(self, size: int) -> None:
        """Remember how many bytes of messages were not delivered; after the peer's Close, none are missed."""
        if self._core.close_received is None and self._undelivered is not None:
            self._undelivered = max(self._undelivered, size)

    def check_delivered(self) -> None:
        """Check that all accepted messages were delivered. Raises only once.

        Raises:
            ConnectionClosedError: some messages were not delivered.
        """
        if self._undelivered and self._core.close_received is None:
            raise self.for_interrupted()

    def for_receiver(self) -> ConnectionClosed:
        """Return the exception for a task that is receiving."""
        core = self._core
        decisive = core.close_sent if core.state is not State.CLOSED else core.close_received
        return self._exception(ConnectionClosedOK if is_clean(decisive) else ConnectionClosedError)

    def for_sender(self) -> ConnectionClosed:
        """Return the exception for a task that is sending."""
        return self._exception(ConnectionClosedLocally if self.is_local else ConnectionClosedError)

    def for_ping(self) -> ConnectionClosed:
        """Return the exception for a task that is waiting for a Pong."""
        return self._exception(ConnectionClosedOK if is_clean(self._core.close_received) else ConnectionClosedError)

    def for_interrupted(self) -> ConnectionClosedError:
        """Return the exception for an operation that was interrupted, whatever the close code."""
        return self._exception(ConnectionClosedError)

    def _exception(self, exception: type[C]) -> C:
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
