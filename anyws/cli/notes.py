"""What a command says about itself: lines on stderr, so that stdout holds nothing but results."""

from __future__ import annotations

import re
import sys

__all__ = ["escape", "note"]

# Control characters but tab and newline: what a peer sends must not command the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escape(text: str) -> str:
    r"""Return the text with its control characters written out, such as ``\x1b``; tabs and newlines stay."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def note(text: str) -> None:
    """Write one line to stderr."""
    print(escape(text).replace("\n", " "), file=sys.stderr, flush=True)
