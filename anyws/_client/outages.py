"""`Outage`, which `reconnecting` passes to its hook ``on_disconnect``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["DisconnectHook", "Outage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An outage in `reconnecting`: connecting failed, or a connection ended.

    Attributes:
        exception: the reason: the exception from connecting, or the `ConnectionClosed` that ended the block; None if
            the block ended normally.
        duration: how long the connection was open, in seconds; None if connecting failed.
        attempt: the number of consecutive outages, including this one, since a connection last stayed open for
            ``reset_after``.
        delay: the delay before the next attempt, in seconds.
        is_fatal: whether to stop, unless the hook decides otherwise.
    """

    exception: Exception | None
    duration: float | None
    attempt: int
    delay: float
    is_fatal: bool


DisconnectHook = Callable[[Outage], bool | Awaitable[bool | None] | None]
"""Decides about an outage: return True to reconnect, False to stop, None for the default."""
