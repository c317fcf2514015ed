"""The event loops that a command can run on."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .notes import note

__all__ = ["BACKENDS", "add_backend", "is_missing", "run"]

BACKENDS = ("asyncio", "trio", "uvloop")

_EXTRAS = {"trio": "demo", "trustme": "demo", "uvloop": "uvloop"}

T = TypeVar("T")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--backend``."""
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio", help="the event loop; default: %(default)s")


def is_missing(*packages: str) -> bool:
    """Return whether one of these optional packages is not installed, and tell the user how to install it."""
    for package in packages:
        if package in _EXTRAS and importlib.util.find_spec(package) is None:
            extra = f"anyio-websocket[{_EXTRAS[package]}]"
            note(f"anyws: this requires {package}, which is not installed: pip install '{extra}'")
            return True
    return False


def run(backend: str, function: Callable[[], Awaitable[T]]) -> T:
    """Run an async function on one of `BACKENDS`."""
    if backend == "uvloop":
        return anyio.run(function, backend="asyncio", backend_options={"use_uvloop": True})
    return anyio.run(function, backend=backend)
