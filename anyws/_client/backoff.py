"""How long to wait before connecting again."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

from anyws.protocol.http11 import Response

from .dates import parse_date

__all__ = ["jittered_delay", "retry_after"]

_MOST = 86400
"""A day: more than that a server does not get to say, in seconds."""


def jittered_delay(failures: int, first: float, longest: float) -> float:
    """Return a random time, evenly between 0 and a bound that doubles with each failure ("full jitter").

    All the clients of a server that comes back come back spread out (RFC 6455, 7.2.3).

    Args:
        failures: how many there were in a row, from 1.
        first: the bound after the first, in seconds.
        longest: the highest bound, in seconds.
    """
    return random.uniform(0, min(longest, first * 2 ** min(failures - 1, 60)))


def retry_after(response: Response | None) -> float:
    """Return how long a 429 or 503 asks to stay away (RFC 9110, 10.2.3), in seconds; 0 if it does not say."""
    if response is None or response.status not in (429, 503):
        return 0
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+", value):
        return min(int(value[:9]), _MOST)
    date = parse_date(value)
    return 0 if date is None else min(max(0, (date - datetime.now(UTC)).total_seconds()), _MOST)
