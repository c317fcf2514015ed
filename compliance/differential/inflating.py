"""Analyses the compressed messages of a sequence, slowly and independently of anyws."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .generate import Sequence
from .wire import WireFrame

__all__ = ["Compressed", "compressed_messages"]

_TAIL = b"\x00\x00\xff\xff"  # RFC 7692, section 7.2.1
_LARGEST_WINDOW = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """A compressed message.

    Attributes:
        first: the index of its first frame.
        has_final_block: whether one of its blocks has BFINAL=1 (RFC 7692, section 7.2.3.4).
        is_empty: whether it is complete and has no payload.
        reaches_too_far: whether a distance exceeds the negotiated window (RFC 7692, section 7.1.2).
    """

    first: int
    has_final_block: bool
    is_empty: bool
    reaches_too_far: bool


def compressed_messages(sequence: Sequence, frames: list[WireFrame]) -> Iterator[Compressed]:
    """Yield the compressed messages, including an unfinished one, up to the first that cannot be decompressed."""
    window = b""
    numbers = [frame.message for frame in frames if frame.compressed]
    for number in dict.fromkeys(numbers):
        own = [(index, frame) for index, frame in enumerate(frames) if frame.message == number]
        data = b"".join(frame.payload for _, frame in own)
        whole = own[-1][1].fin and own[-1][1].complete
        is_empty = whole and not data
        if whole and data:
            data += _TAIL
        output, finals, good = _inflate(data, window, bits=15)
        strict, _, good_too = _inflate(data, window, bits=sequence.window_bits)
        too_far = len(strict) < len(output) or (good and not good_too)
        yield Compressed(first=own[0][0], has_final_block=finals > 0, is_empty=is_empty, reaches_too_far=too_far)
        if not good:
            return
        window = (window + output)[-_LARGEST_WINDOW:] if sequence.takeover else b""


def _inflate(data: bytes, window: bytes, *, bits: int) -> tuple[bytes, int, bool]:
    """Return the output up to an error, the number of final blocks, and whether there was no error.

    Decompressing byte by byte makes zlib use no more than the window.
    """
    output, finals = b"", 0
    while data:
        decompressor = zlib.decompressobj(-bits, zdict=(window + output)[-(1 << bits) :])
        try:
            while not decompressor.eof:
                piece = decompressor.decompress(data, 1)
                if not piece and not decompressor.unconsumed_tail:
                    break
                output += piece
                data = decompressor.unconsumed_tail
        except zlib.error:
            return output, finals, False
        data = decompressor.unused_data
        finals += decompressor.eof
    return output, finals, True
