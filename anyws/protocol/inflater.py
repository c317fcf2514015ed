"""Decompresses the messages of one connection (RFC 7692, section 7.2.2)."""

from __future__ import annotations

from typing import Any

from .errors import InvalidText

__all__ = ["TAIL", "Inflater", "InvalidDeflate"]

TAIL = b"\x00\x00\xff\xff"
"""The end of a compressed message that is not sent (RFC 7692, section 7.2.1)."""

# A final block takes the peer only two bytes but makes us create a new decompressor. Senders that use final blocks use
# one per message.
_MAX_FINAL_BLOCKS = 8


class InvalidDeflate(InvalidText):
    """The peer sent a compressed message that cannot be decompressed (close code 1007)."""


class Inflater:
    """Decompresses up to a limit.

    A block with BFINAL=1 is legal (section 7.2.3.4), and later blocks may refer to data before it, but zlib ends its
    stream there. The next block therefore needs a new decompressor with the window as its dictionary, so this class
    keeps a copy of the window.
    """

    def __init__(self, library: Any, *, bits: int, takeover: bool) -> None:
        self._zlib = library
        self._bits = bits
        self._size = 1 << bits
        self._takeover = takeover
        self._decompressor: Any = None
        self._window = bytearray()
        self._mid_block = False  # whether there was data after the start of the message or its last final block
        self._final_blocks = 0  # in this message

    def decode(self, payload: bytes, *, fin: bool, limit: int | None) -> bytes:
        try:
            output = self._inflate(payload, limit)
            if fin:
                if self._mid_block:
                    self._end_block()
                self._final_blocks = 0
                if not self._takeover:
                    self._decompressor = None
                    self._window.clear()
        except self._zlib.error as exc:
            raise InvalidDeflate(f"message cannot be decompressed: {exc} (RFC 7692, section 7.2.2)") from exc
        return output

    def _inflate(self, data: bytes, limit: int | None) -> bytes:
        output = b""
        while data:
            decompressor = self._decompressor
            if decompressor is None:
                decompressor = self._zlib.decompressobj(-self._bits, zdict=bytes(self._window))
                self._decompressor = decompressor
            # The limit 0 means no limit.
            piece: bytes = decompressor.decompress(data, 0 if limit is None else limit - len(output) + 1)
            output = output + piece if output else piece
            if limit is not None and len(output) > limit:
                raise OverflowError
            self._window += piece[-self._size :]
            if len(self._window) > self._size * 5 // 4:
                del self._window[: -self._size]
            self._mid_block = not decompressor.eof
            if self._mid_block:
                break
            data = decompressor.unused_data
            self._decompressor = None
            self._final_blocks += 1
            if self._final_blocks > _MAX_FINAL_BLOCKS:
                raise InvalidDeflate(f"message with more than {_MAX_FINAL_BLOCKS} final blocks")
        return output

    def _end_block(self) -> None:
        """Restore the tail that the sender omitted, and check that it completes an empty block."""
        decompressor = self._decompressor
        if decompressor.decompress(TAIL, 1) or decompressor.unused_data:
            raise InvalidDeflate("compressed message is truncated (RFC 7692, section 7.2.2)")
        if decompressor.eof:  # the block was final
            self._decompressor = None
        self._mid_block = False
