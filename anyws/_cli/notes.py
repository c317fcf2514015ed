"""Notes to the user on stderr, so that stdout contains only results."""

from __future__ import annotations

import re
import sys

__all__ = ["escape", "note"]

# Control characters except tab and newline, so that a peer cannot control the terminal; and characters that reorder the
# text around them (Unicode, UAX 9), so that text cannot disguise itself.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape(text: str) -> str:
    r"""Escape control characters, for example as ``\x1b``, but not tabs and newlines."""
    return _CONTROL.sub(_escaped, text)


def note(text: str) -> None:
    """Write one line to stderr."""
    print(escape(text).replace("\n", " "), file=sys.stderr, flush=True)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
