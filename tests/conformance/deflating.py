"""Helpers: connections with permessage-deflate."""

from __future__ import annotations

import zlib
from typing import Any

from anyws.protocol import Connection, DeflateParameters, PerMessageDeflate, Role, State
from anyws.protocol.deflate import DeflateCodec

from .wire import CLOSE, sent

__all__ = ["HELLO", "RSV1", "connection_of", "deflated", "failed"]

RSV1 = 0x40


HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, section 7.2.3.1


def codec_of(role: Role, deflate: PerMessageDeflate | None = None, **agreed: Any) -> DeflateCodec:
    return DeflateCodec(
        DeflateParameters(**agreed), deflate or PerMessageDeflate(threshold=0), is_server=role is Role.SERVER
    )


def connection_of(
    role: Role, deflate: PerMessageDeflate | None = None, *, limit: int | None = 1024 * 1024, **agreed: Any
) -> Connection:
    return Connection(role, max_message_size=limit, codecs=[codec_of(role, deflate, **agreed)])


def failed(connection: Connection) -> tuple[type[Exception], int]:
    """Return the violation for which the connection failed, and the code of the Close."""
    assert connection.failure is not None
    assert connection.state is State.CLOSED
    [*_, (first, close)] = sent(connection)
    assert first == CLOSE
    assert int.from_bytes(close[:2], "big") == connection.failure.close_code
    return type(connection.failure), connection.failure.close_code


def deflated(data: bytes, *, level: int = 9, bits: int = 15) -> bytes:
    """Return a message compressed with plain zlib."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    compressed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert compressed.endswith(b"\0\0\xff\xff")
    return compressed[:-4]
