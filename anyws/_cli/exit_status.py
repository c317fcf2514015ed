"""The exit statuses of the commands."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CommandError", "ExitStatus"]


class ExitStatus(IntEnum):
    """The exit status of a command."""

    OK = 0  # success; a normal closure (1000, 1001 or no code)
    FAILED = 1  # a local failure, an interruption, or fewer messages than requested
    USAGE = 2  # invalid command line
    NOT_CONNECTED = 3  # unknown host, connection refused, TLS failure or timeout
    REFUSED = 4  # the server rejected the handshake, or sent an invalid response
    ABNORMAL = 5  # closed with another code, connection lost, or protocol violation
    TIMED_OUT = 6  # --timeout has passed


class CommandError(Exception):
    """Ends a command with an exit status and a one-line message."""

    def __init__(self, status: ExitStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
