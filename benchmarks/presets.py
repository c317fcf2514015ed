"""Measure the cost of each preset of `compression`, for docs/compression.md: ``python -m benchmarks.presets``.

The second table is for zlib-ng, if it is installed. The memory is that of each further connection, once many of them
are compressing; with zlib-ng, the number of compressors is limited (see `anyws/protocol/deflater.py`).
"""

from __future__ import annotations

import dataclasses
import statistics
import time
import tracemalloc
import zlib
from collections.abc import Callable, Sequence

from anyws.protocol.default_zlib import default_zlib, is_zlib_ng
from anyws.protocol.deflate import PRESETS, DeflateCodec, PerMessageDeflate

from .load import json_messages

_SIZES = (256, 1024, 8192)
_COUNT = 200
_ROUNDS = 7
_CODECS = 100


def _codecs(deflate: PerMessageDeflate) -> tuple[DeflateCodec, DeflateCodec]:
    """Return the codecs of both ends of a connection."""
    accepted = deflate.accept(deflate.offers()[0])
    assert accepted is not None
    answer, server = accepted
    return deflate.create_codec(answer), server


def _compress(codec: DeflateCodec, messages: Sequence[bytes]) -> list[bytes]:
    return [codec.encode(message, first=True, fin=True, compress=True)[0] for message in messages]


def _inflate(codec: DeflateCodec, messages: Sequence[bytes]) -> None:
    for message in messages:
        codec.decode(message, fin=True, limit=None)


def _memory(use: Callable[[DeflateCodec], object], codecs: Sequence[DeflateCodec]) -> float:
    """Return the memory that each codec of the second half allocates when used, in KiB."""
    half = len(codecs) // 2
    tracemalloc.start()
    for codec in codecs[:half]:
        use(codec)
    before = tracemalloc.get_traced_memory()[0]
    for codec in codecs[half:]:
        use(codec)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / half / 1024


def _row(name: str, deflate: PerMessageDeflate) -> str:
    shares: list[str] = []
    for size in _SIZES:
        messages = [message.encode() for message in json_messages(_COUNT, size)]
        compressed = _compress(_codecs(deflate)[0], messages)
        shares.append(f"{sum(map(len, compressed)) / sum(map(len, messages)):.0%}")
    messages = [message.encode() for message in json_messages(_COUNT, 1024)]
    times: list[tuple[float, float]] = []
    for _ in range(_ROUNDS):
        client, server = _codecs(deflate)
        begun = time.process_time()
        compressed = _compress(client, messages)
        between = time.process_time()
        _inflate(server, compressed)
        times.append((between - begun, time.process_time() - between))
    compress, inflate = (statistics.median(column) / _COUNT * 1e6 for column in zip(*times, strict=True))
    clients, servers = zip(*(_codecs(deflate) for _ in range(_CODECS)), strict=True)
    compressor = _memory(lambda codec: len(_compress(codec, messages)), clients)
    decompressor = _memory(lambda codec: _inflate(codec, compressed), servers)
    figures = [f"{compressor:.0f} KiB", f"{decompressor:.0f} KiB", ", ".join(shares)]
    return " | ".join([f'`"{name}"`', *figures, f"{compress:.0f} µs, {inflate:.1f} µs"])


def main() -> None:
    """Print the tables."""
    for library, module in (("zlib", zlib), ("zlib-ng", None)):
        if module is None and not is_zlib_ng(default_zlib()):
            continue
        print(f"With {library}:\n")
        print("| Preset | Compressor | Decompressor and window | Size of 256 B, 1 KiB, 8 KiB | CPU time for 1 KiB |")
        print("|---|--:|--:|--:|--:|")
        for name, deflate in PRESETS.items():
            print(f"| {_row(name, dataclasses.replace(deflate, zlib=module))} |")
        print()


if __name__ == "__main__":
    main()
