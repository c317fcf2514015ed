"""Formatting messages: binary as hexadecimal digits, pretty-printed JSON, timestamps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from .notes import escape

__all__ = ["Formatter", "hexdump", "pretty_json"]

_MAX_INLINE = 16  # bytes of a binary message that is shown in one line
_MAX_SHOWN = 4096  # bytes of a binary message that are shown in a terminal


@dataclass(frozen=True, slots=True)
class Formatter:
    """How to show messages.

    Attributes:
        timestamps: whether to print the time before each message.
        json: whether to pretty-print JSON.
    """

    timestamps: bool = False
    json: bool = False

    def for_terminal(self, message: str | bytes) -> str:
        """Return a message for a terminal, with control characters escaped."""
        if isinstance(message, bytes):
            return hexdump(message)
        return escape(self._pretty(message))

    def for_pipe(self, message: str | bytes) -> str:
        """Return a message for a pipe or a file: text unchanged, binary as marked hexadecimal digits."""
        text = f"[binary, {len(message)} bytes] {message.hex()}" if isinstance(message, bytes) else message
        return f"{self.date_prefix()}{self._pretty(text)}"

    def is_shown_as_json(self, message: str | bytes) -> bool:
        """Return whether a message is shown as JSON."""
        return self.json and isinstance(message, str) and pretty_json(message) is not None

    def time_prefix(self) -> str:
        """Return the time of day to print before a message; empty without ``timestamps``."""
        return f"{datetime.now().strftime('%H:%M:%S.%f')[:-3]} " if self.timestamps else ""

    def date_prefix(self) -> str:
        """Return date and time (ISO 8601) to print before a message; empty without ``timestamps``."""
        return f"{datetime.now().astimezone().isoformat(timespec='milliseconds')} " if self.timestamps else ""

    def _pretty(self, text: str) -> str:
        pretty = pretty_json(text) if self.json else None
        return text if pretty is None else pretty


def hexdump(data: bytes) -> str:
    """Return binary data in readable form: a few bytes in one line, more as a hex dump."""
    title = f"[binary, {len(data)} bytes]"
    if len(data) <= _MAX_INLINE:
        return f"{title} {data.hex()}".rstrip()
    shown = data[:_MAX_SHOWN]
    rows = [title, *(_row(start, shown[start : start + 16]) for start in range(0, len(shown), 16))]
    if len(data) > _MAX_SHOWN:
        rows.append(f"[{len(data) - _MAX_SHOWN} more bytes]")
    return "\n".join(rows)


def _row(start: int, data: bytes) -> str:
    letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{start:08x}  {data[:8].hex(' '):23}  {data[8:].hex(' '):23}  |{letters}|"


def pretty_json(text: str) -> str | None:
    """Return a JSON object or array, pretty-printed.

    None if the text is not one, or if Python would change its values: numbers with more digits than a float keeps, or
    duplicate names.
    """
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = json.loads(
            text, parse_float=_exact_float, parse_constant=_reject_constant, object_pairs_hook=_without_duplicates
        )
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ArithmeticError, RecursionError, ValueError):
        return None


def _exact_float(digits: str) -> float:
    number = float(digits)
    if Decimal(repr(number)) != Decimal(digits):
        raise ValueError(digits)
    return number


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not valid JSON")


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate name")
    return found
