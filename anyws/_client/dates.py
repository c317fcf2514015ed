"""Dates in headers received from servers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["parse_date"]


def parse_date(value: str) -> datetime | None:
    """Return the date in a header (RFC 9110, section 5.6.7), in UTC; None if it is invalid or out of range."""
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # depends on the Python version and the date
        return None
