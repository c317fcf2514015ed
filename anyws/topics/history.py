"""How much of each topic an engine keeps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class History:
    """How much of each topic an engine keeps, so that subscribers can receive what they missed.

    Attributes:
        messages: the number of latest messages that are kept.
        seconds: how long they are kept after the last message of the topic.
    """

    messages: int = 1000
    seconds: float = 300
