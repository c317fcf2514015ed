"""Dates in the headers of strangers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["parse_date"]


def parse_date(value: str) -> datetime | None:
    """Return the date that a header has (RFC 9110, section 5.6.7), in UTC; None if it has none that Python can hold."""
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # which of them depends on Python, and on the date
        return None
