"""Masking keys for what a client sends: fresh and unpredictable (RFC 6455, sections 5.3 and 10.3)."""

from __future__ import annotations

import os
import struct

__all__ = ["new_masking_key"]

# Asking the operating system for each key would cost more than the rest of a small frame. Each key is used once.
_SIZE = 4096  # bytes to ask for at once
_split = struct.Struct("4s" * (_SIZE // 4)).unpack
_keys: list[bytes] = []

if hasattr(os, "register_at_fork"):  # Parent and child must not use the same keys.
    os.register_at_fork(after_in_child=_keys.clear)


def new_masking_key() -> bytes:
    """Return 4 bytes from the operating system's source of randomness. Any thread may call it."""
    while True:
        try:
            return _keys.pop()
        except IndexError:
            _keys.extend(_split(os.urandom(_SIZE)))
