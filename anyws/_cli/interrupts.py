"""Detecting a Ctrl-C that the interpreter drops while a command starts.

The interpreter prints and discards a `KeyboardInterrupt` that is raised in one of its own callbacks; every import runs
such a callback. This module records it, so that the command stops before it starts working.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["recording_dropped_interrupts", "was_interrupted"]

_dropped: list[object] = []


@contextmanager
def recording_dropped_interrupts() -> Generator[None, None, None]:
    """Record a dropped `KeyboardInterrupt` in the block instead of printing it."""
    usual = sys.unraisablehook

    def record(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _dropped.append(unraisable.exc_type)
        else:
            usual(unraisable)

    sys.unraisablehook = record
    try:
        yield
    finally:
        sys.unraisablehook = usual
        _dropped.clear()


def was_interrupted() -> bool:
    """Whether a Ctrl-C was dropped in the block."""
    return bool(_dropped)
