"""The inner loops over payload bytes, in pure Python."""

from __future__ import annotations

__all__ = ["apply_mask"]

# Up to this size one big-integer XOR is faster; above it four strided slices through a translation table are.
_BIG_INTEGER_LIMIT = 512

_TABLES: list[bytes | None] = [None] * 256


def _table(key_byte: int) -> bytes:
    """The translation table that XORs each byte with the key byte; 256 B, made once for each of 256 values."""
    table = _TABLES[key_byte]
    if table is None:
        table = _TABLES[key_byte] = bytes(byte ^ key_byte for byte in range(256))
    return table


def apply_mask(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """XOR the data with the masking key, repeated: masking and unmasking alike (RFC 6455, 5.3).

    Args:
        data: the payload, or a part of it that starts at a multiple of four bytes.
        key: the masking key, 4 bytes.
    """
    length = len(data)
    if length <= _BIG_INTEGER_LIMIT:
        mask = (key * (length // 4 + 1))[:length]
        return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")
    result = bytearray(data)
    for offset in range(4):
        result[offset::4] = result[offset::4].translate(_table(key[offset]))
    return bytes(result)
