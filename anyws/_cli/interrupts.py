"""A Ctrl-C that the interpreter drops while a command starts.

A `KeyboardInterrupt` that is raised in a callback of the interpreter, such as each import has one, is printed and
forgotten. It is noticed here, and the command stops before it begins.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["noticing_dropped_interrupts", "was_interrupted"]

_dropped: list[object] = []


@contextmanager
def noticing_dropped_interrupts() -> Generator[None, None, None]:
    """Notice what is dropped in the block, instead of printing it."""
    usual = sys.unraisablehook

    def notice(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _dropped.append(unraisable.exc_type)
        else:
            usual(unraisable)

    sys.unraisablehook = notice
    try:
        yield
    finally:
        sys.unraisablehook = usual
        _dropped.clear()


def was_interrupted() -> bool:
    """Whether a Ctrl-C was dropped in the block."""
    return bool(_dropped)
