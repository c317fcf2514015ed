"""How long to wait before reconnecting."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

from anyws.protocol.http11 import Response

from .dates import parse_date

__all__ = ["jittered_delay", "retry_after"]

_MAX_RETRY_AFTER = 86400
"""The longest ``Retry-After`` that is honoured, in seconds: a day."""


def jittered_delay(failures: int, initial: float, maximum: float) -> float:
    """Return a random delay between 0 and a bound that doubles with each failure (backoff with "full jitter").

    This spreads out the clients that reconnect when a server comes back (RFC 6455, section 7.2.3).

    Args:
        failures: the number of consecutive failures, at least 1.
        initial: the bound after the first failure, in seconds.
        maximum: the highest bound, in seconds.
    """
    return random.uniform(0, min(maximum, initial * 2 ** min(failures - 1, 60)))


def retry_after(response: Response | None) -> float:
    """Return the ``Retry-After`` of a 429 or 503 (RFC 9110, section 10.2.3), in seconds; 0 if there is none."""
    if response is None or response.status not in (429, 503):
        return 0
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+", value):
        return min(int(value[:9]), _MAX_RETRY_AFTER)
    date = parse_date(value)
    return 0 if date is None else min(max(0, (date - datetime.now(UTC)).total_seconds()), _MAX_RETRY_AFTER)
