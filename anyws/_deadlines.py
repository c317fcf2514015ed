"""Time limits that say what took too long."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

__all__ = ["deadline", "took_too_long"]


@contextmanager
def deadline(seconds: float | None, what: str) -> Generator[anyio.CancelScope, None, None]:
    """Cancel the block when it takes longer.

    Args:
        seconds: the limit; None for none.
        what: what takes time, for the message.

    Raises:
        TimeoutError: it took longer.
    """
    with anyio.move_on_after(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise took_too_long(what, seconds)


def took_too_long(what: str, seconds: float | None) -> TimeoutError:
    """Return the exception that says that a limit was passed."""
    return TimeoutError(f"{what} took more than {seconds:g} s")
