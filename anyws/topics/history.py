"""How much of a topic is kept: `History`."""

from __future__ import annotations

from dataclasses import dataclass

from anyws._checking import check_positive

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class History:
    """How much of each topic an engine keeps, so that those who missed messages can get them.

    Attributes:
        messages: how many of the latest messages of a topic are kept.
        seconds: how long a message is kept, in seconds.
    """

    messages: int = 1000
    seconds: float = 300

    def __post_init__(self) -> None:
        check_positive(self, "messages", "seconds")
