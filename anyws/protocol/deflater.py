"""Compresses the messages of one connection (RFC 7692, section 7.2.1).

How this works: a connection keeps its compressor, whose window holds the end of its last messages. A compressor of
zlib-ng uses at least 140 KiB whatever its settings. Unless the user has chosen zlib-ng explicitly, only the connections
that created theirs last therefore have one. The others keep the window on its own; with it as a dictionary, a new
compressor continues where the old one stopped. For a window of 4 KiB this takes as long as compressing half a KiB.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from .inflater import TAIL

__all__ = ["Deflater"]

# With more, they no longer fit into the processor's cache, and new ones are as fast.
_MAX_COMPRESSORS = 32
_END = -len(TAIL)


class Deflater:
    """Compresses messages.

    Args:
        library: the compression module.
        level: the compression level of this module.
        bits: the base-2 logarithm of the window size in bytes.
        mem_level: the amount of memory for the compressor's state.
        threshold: the minimum message size to compress.
        takeover: whether a message may refer to the messages before it.
        shares_memory: whether to drop the compressor when many other connections have created theirs.
    """

    def __init__(
        self,
        library: Any,
        *,
        level: int,
        bits: int,
        mem_level: int,
        threshold: int,
        takeover: bool,
        shares_memory: bool,
    ) -> None:
        self._library = library
        # zlib does not support raw deflate with a window of 2**8 bytes. With 2**9 it never refers back more than 250.
        self._bits = max(bits, 9)
        self._level, self._mem_level, self._threshold = level, mem_level, threshold
        self._takeover = takeover
        self._compressor: Any = None
        self._compressing = False  # the message that is being sent
        self._shares_memory = shares_memory
        self._size = 1 << self._bits
        self._window = bytearray()  # only if it shares memory
        self._max_window = self._size * 5 // 4  # so that not every message moves the whole window

    def encode(self, payload: bytes, *, first: bool, fin: bool, compress: bool | None) -> tuple[bytes, bool]:
        """Compress a message or its next fragment."""
        if first:
            small = fin and len(payload) < self._threshold
            self._compressing = not small if compress is None else compress
        if not self._compressing:
            return payload, False
        compressor = self._compressor
        if compressor is None:
            compressor = self._new_compressor()
        data: bytes = compressor.compress(payload) + compressor.flush(self._library.Z_SYNC_FLUSH)
        if self._shares_memory:
            window = self._window
            window += payload[-self._size :]
            if len(window) > self._max_window:
                del window[: -self._size]
        if fin:
            data = data[:_END] if data.endswith(TAIL) else data + b"\x00"
            if not self._takeover:
                self._compressor = None
                self._window.clear()
        return data, True

    def drop_compressor(self) -> None:
        """Free the compressor but keep the window. Another thread may do so even while a message is compressed."""
        self._compressor = None

    def _new_compressor(self) -> Any:
        library = self._library
        settings = (self._level, library.DEFLATED, -self._bits, self._mem_level)
        if self._window:
            compressor = library.compressobj(*settings, library.Z_DEFAULT_STRATEGY, self._window[-self._size :])
        else:
            compressor = library.compressobj(*settings)
        self._compressor = compressor
        if self._shares_memory:
            _recent.add(self)
        return compressor


class _Recent(threading.local):
    """The deflaters of this thread that have a compressor, in the order in which they created it."""

    def __init__(self) -> None:
        self._deflaters: dict[weakref.ref[Deflater], None] = {}

    def add(self, deflater: Deflater) -> None:
        """Add a deflater with a new compressor. If there are too many, the first one drops its compressor."""
        deflaters, reference = self._deflaters, weakref.ref(deflater)
        deflaters.pop(reference, None)
        deflaters[reference] = None
        if len(deflaters) > _MAX_COMPRESSORS:
            first = next(iter(deflaters))
            del deflaters[first]
            dropping = first()
            if dropping is not None:
                dropping.drop_compressor()


_recent = _Recent()
