"""Fresh, unpredictable masking keys for the frames that a client sends (RFC 6455, sections 5.3 and 10.3)."""

from __future__ import annotations

import os
import struct

__all__ = ["new_masking_key"]

# One system call per key would cost more than the rest of a small frame, so keys are generated in batches and each key
# is used once.
_SIZE = 4096  # bytes per batch
_split = struct.Struct("4s" * (_SIZE // 4)).unpack
_keys: list[bytes] = []

if hasattr(os, "register_at_fork"):  # a forked child must not reuse the keys of its parent
    os.register_at_fork(after_in_child=_keys.clear)


def new_masking_key() -> bytes:
    """Return 4 random bytes from the operating system. You can call it from any thread."""
    while True:
        try:
            return _keys.pop()
        except IndexError:
            _keys.extend(_split(os.urandom(_SIZE)))
