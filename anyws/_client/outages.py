"""What `reconnecting` tells its hook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["DisconnectHook", "Outage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """There is no connection: connecting has failed, or a connection has ended.

    Attributes:
        exception: why: what connecting raised, or the `ConnectionClosed` that ended the block; None when the block came
            to its end by itself.
        duration: how long the connection was open, in seconds; None if connecting failed.
        attempt: the number of outages in a row, this one included, since a connection stayed open for ``reset_after``.
        delay: what will be waited before the next attempt, in seconds.
        is_fatal: whether to give up, if the hook has no other opinion.
    """

    exception: Exception | None
    duration: float | None
    attempt: int
    delay: float
    is_fatal: bool


DisconnectHook = Callable[[Outage], bool | Awaitable[bool | None] | None]
"""Looks at an outage: True to try again, False to give up, None for the default."""
