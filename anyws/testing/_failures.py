"""Exceptions of handlers, hooks and scripts, which are recorded where they are raised, and fail the test later."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from anyws.exceptions import ConnectionClosed
from anyws.protocol.errors import HandshakeError

__all__ = ["raising"]


@contextmanager
def raising(recorded: list[Exception]) -> Generator[list[Exception], None, None]:
    """Raise the recorded exceptions at the end of the block, or in place of a connection error that they caused."""
    try:
        yield recorded
    except (ConnectionClosed, HandshakeError) as exc:
        if not recorded:
            raise
        raise _combined(recorded) from exc
    if recorded:
        raise _combined(recorded)


def _combined(recorded: list[Exception]) -> Exception:
    failures = recorded.copy()
    recorded.clear()  # each is raised once
    return failures[0] if len(failures) == 1 else ExceptionGroup("several connections failed", failures)
