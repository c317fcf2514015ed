"""Timeouts whose error message names the operation that took too long."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

__all__ = ["deadline", "took_too_long"]


@contextmanager
def deadline(seconds: float | None, what: str) -> Generator[anyio.CancelScope, None, None]:
    """Cancel the block after this many seconds.

    Args:
        seconds: the timeout; None for no timeout.
        what: the operation, for the error message.

    Raises:
        TimeoutError: the block took longer.
    """
    with anyio.move_on_after(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise took_too_long(what, seconds)


def took_too_long(what: str, seconds: float | None) -> TimeoutError:
    """Return the exception for an operation that exceeded its timeout."""
    return TimeoutError(f"{what} took more than {seconds:g} s")
