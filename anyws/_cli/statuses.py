"""The exit statuses of the commands."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CommandError", "Status"]


class Status(IntEnum):
    """How a command ended."""

    OK = 0  # all went as asked for; a clean close (1000, 1001 or no code)
    FAILED = 1  # on our own side; or interrupted; or less came than was asked for
    USAGE = 2  # the command line is wrong
    NOT_CONNECTED = 3  # no such host, nobody listens, TLS failed, or it took too long
    REFUSED = 4  # the server answered, but with no opening handshake
    ABNORMAL = 5  # lost, failed, or closed with another code
    TIMED_OUT = 6  # --timeout


class CommandError(Exception):
    """A command cannot be done: ``status`` and one line that says why."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
