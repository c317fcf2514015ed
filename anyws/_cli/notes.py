"""What a command says about itself: lines on stderr, so that stdout holds nothing but results."""

from __future__ import annotations

import re
import sys

__all__ = ["escape", "note"]

# Control characters but tab and newline: what a peer sends must not command the terminal. And those that reorder the
# text around them (Unicode, UAX 9): it must not pretend to be something else either.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape(text: str) -> str:
    r"""Return the text with its control characters written out, such as ``\x1b``; tabs and newlines stay."""
    return _CONTROL.sub(_written_out, text)


def note(text: str) -> None:
    """Write one line to stderr."""
    print(escape(text).replace("\n", " "), file=sys.stderr, flush=True)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
