"""Measure the cost of each preset of `compression`, for docs/compression.md: ``python -m benchmarks.presets``."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence

from anyws.protocol.deflate import PRESETS, DeflateCodec, PerMessageDeflate

from .load import json_messages

_SIZES = (256, 1024, 8192)
_COUNT = 200
_ROUNDS = 7


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


def _memory(use: Callable[[], object]) -> int:
    """Return the memory that the call allocates and keeps, in bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = use()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del kept
    return held


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
    client, server = _codecs(deflate)
    compressor = _memory(lambda: _compress(client, messages)[:0])
    decompressor = _memory(lambda: _inflate(server, compressed))
    figures = [f"{compressor / 1024:.0f} KiB", f"{decompressor / 1024:.0f} KiB", ", ".join(shares)]
    return " | ".join([f'`"{name}"`', *figures, f"{compress:.0f} µs, {inflate:.1f} µs"])


def main() -> None:
    """Print the table."""
    print("| Preset | Compressor | Decompressor and window | Size of 256 B, 1 KiB, 8 KiB | CPU time for 1 KiB |")
    print("|---|--:|--:|--:|--:|")
    for name, deflate in PRESETS.items():
        print(f"| {_row(name, deflate)} |")


if __name__ == "__main__":
    main()
