"""Printing results to stdout, until nobody reads them anymore."""

from __future__ import annotations

import os
import sys

__all__ = ["discard_output", "flush_output", "print_line"]


def print_line(text: str) -> bool:
    """Print a line; return False if it cannot be written, for example because its reader has exited, like `head`.

    Then this line and all later ones are discarded, and the command should end with status 1.
    """
    try:
        print(text, flush=True)
    except OSError:
        discard_output()
        return False
    return True


def flush_output() -> None:
    """Write what is still buffered, such as the help, or discard it if it cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard_output()


def discard_output() -> None:
    """Redirect stdout to the null device, so that Python does not report a closed pipe at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
