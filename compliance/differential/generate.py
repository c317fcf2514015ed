"""Generates sequences of frames, valid and nearly valid, each from a seed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random
from typing import Any

from anyws.protocol import DeflateParameters, Role

from .wire import frame_bytes

__all__ = ["Sequence", "generate"]

_TAIL = b"\x00\x00\xff\xff"  # RFC 7692, section 7.2.1
_SIZES = (0, 1, 2, 3, 5, 20, 60, 124, 125, 126, 127, 300, 1000, 4000)
_LARGE = (16383, 65535, 65536, 70000)
_WORDS = ("Hello", "Grüße", "世界", "😀", "a", " ", "abcabcabc", "\0", "x" * 40, '{"id": 1}')
_BAD_TEXT = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8", b"\x80", b"\xf8\x88\x80\x80\x80")
_CLOSE_CODES = (0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015)
_MORE_CLOSE_CODES = (1016, 1100, 2999, 3000, 3999, 4000, 4999, 5000, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """The bytes that one peer sends.

    Attributes:
        seed: the seed of the sequence.
        role: the role of the receiver.
        deflate: the negotiated parameters of permessage-deflate; None without the extension.
        max_message_size: the limit of the receiver, in bytes; None for no limit.
        chunks: the bytes, as the receiver gets them.
    """

    seed: int
    role: Role
    deflate: DeflateParameters | None
    max_message_size: int | None
    chunks: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """All bytes of the sequence."""
        return b"".join(self.chunks)

    @property
    def window_bits(self) -> int:
        """The negotiated window bits of the sender; 15 without the extension."""
        if self.deflate is None:
            return 15
        server = self.role is Role.CLIENT
        return self.deflate.server_max_window_bits if server else self.deflate.client_max_window_bits

    @property
    def takeover(self) -> bool:
        """Whether the sender keeps its window from message to message."""
        if self.deflate is None:
            return True
        server = self.role is Role.CLIENT
        return not (self.deflate.server_no_context_takeover if server else self.deflate.client_no_context_takeover)


def generate(seed: int) -> Sequence:
    """Generate the sequence of a seed. It is always the same, unless another zlib compresses differently."""
    source = Random(seed)
    role = source.choice((Role.CLIENT, Role.SERVER))
    deflate = _agreement(source) if source.random() < 0.6 else None
    blank = Sequence(
        seed=seed,
        role=role,
        deflate=deflate,
        max_message_size=source.choice((1, 20, 125, 1000)) if source.random() < 0.08 else None,
        chunks=(),
    )
    peer = _Peer(source, blank)
    for _ in range(source.randint(1, 7)):
        peer.step()
    data = _damage(source, b"".join(peer.frames))
    return Sequence(
        seed=seed,
        role=role,
        deflate=deflate,
        max_message_size=blank.max_message_size,
        chunks=_split_into_chunks(source, data),
    )


def _agreement(source: Random) -> DeflateParameters:
    def bits() -> int:
        return source.choice((8, 9, 10, 12, 15, 15, 15))

    return DeflateParameters(
        server_no_context_takeover=source.random() < 0.3,
        client_no_context_takeover=source.random() < 0.3,
        server_max_window_bits=bits(),
        client_max_window_bits=bits(),
    )


def _damage(source: Random, data: bytes) -> bytes:
    """Change a byte of some sequences, or truncate them."""
    if not data or source.random() > 0.2:
        return data
    damaged = bytearray(data)
    match source.randrange(4):
        case 0:
            damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
        case 1:
            del damaged[source.randrange(len(damaged)) :]
        case 2:
            del damaged[source.randrange(len(damaged))]
        case _:
            damaged.insert(source.randrange(len(damaged)), source.randrange(256))
    return bytes(damaged)


def _split_into_chunks(source: Random, data: bytes) -> tuple[bytes, ...]:
    cuts = sorted(source.randrange(len(data) + 1) for _ in range(source.choice((0, 1, 2, 5, 20))))
    return tuple(data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < stop)


class _Peer:
    """The sender."""

    def __init__(self, source: Random, sequence: Sequence) -> None:
        self.frames: list[bytes] = []
        self._source = source
        self._masked = sequence.role is Role.SERVER
        self._deflater = None if sequence.deflate is None else _Deflater(source, sequence)

    def step(self) -> None:
        """Send a message, a control frame, a Close or garbage."""
        chance = self._source.random()
        if chance < 0.7:
            self._message()
        elif chance < 0.9:
            self._control()
        elif chance < 0.97:
            self._close()
        else:
            self._frame(self._source.randrange(256), self._source.randbytes(self._source.randrange(8)))

    def _message(self) -> None:
        source = self._source
        text = source.random() < 0.6
        payload = _text(source) if text else source.randbytes(_size(source))
        if text and source.random() < 0.05:
            place = source.randrange(len(payload) + 1)
            payload = payload[:place] + source.choice(_BAD_TEXT) + payload[place:]
        rsv = 0
        if self._deflater is not None and source.random() < 0.75:
            payload, rsv = self._deflater.message(payload), 0x40
        pieces = [payload]
        if source.random() < 0.4:
            cuts = sorted(source.randrange(len(payload) + 1) for _ in range(source.randint(1, 4)))
            pieces = [payload[i:j] for i, j in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        first = (1 if text else 2) | rsv
        for number, piece in enumerate(pieces, 1):
            self._frame(first | (0x80 if number == len(pieces) else 0), piece)
            first = 0
            if number < len(pieces) and source.random() < 0.2:
                self._control()

    def _control(self) -> None:
        size = self._source.choice((0, 1, 4, 124, 125))
        self._frame(self._source.choice((0x89, 0x8A)), self._source.randbytes(size))

    def _close(self) -> None:
        source = self._source
        chance = source.random()
        if chance < 0.15:
            payload = b""
        elif chance < 0.2:
            payload = b"\x03"
        else:
            payload = source.choice(_CLOSE_CODES + _MORE_CLOSE_CODES).to_bytes(2, "big")
            payload += source.choice((b"", b"bye", "schön".encode(), b"x" * 123, b"bad \xff", b"cut \xe4\xb8"))
        self._frame(0x88, payload)

    def _frame(self, first: int, payload: bytes) -> None:
        """Send a frame; about one in thirty has an invalid header."""
        source = self._source
        masked, size, length = self._masked, None, None
        if source.random() < 0.03:
            match source.randrange(8):
                case 0:
                    first ^= source.choice((0x10, 0x20, 0x40, 0x80))
                case 1:
                    first = first & 0xF0 | source.randrange(16)
                case 2:
                    masked = not masked
                case 3 | 4:
                    size = 2 if len(payload) < 65536 and source.random() < 0.5 else 8
                case 5:
                    size, length = 8, source.choice((1 << 63, (1 << 63) | len(payload), (1 << 63) - 1, 1 << 53))
                case 6:
                    size, length = 2, source.randrange(126, 65536)
                case _:
                    size, length = 1, source.randrange(126)
        key = source.choice((b"\0\0\0\0", source.randbytes(4))) if masked else None
        self.frames.append(frame_bytes(first, payload, key=key, size=size, length=length))


class _Deflater:
    """A compressor that uses all that DEFLATE allows, and sometimes a little more."""

    def __init__(self, source: Random, sequence: Sequence) -> None:
        self._source = source
        self._takeover = sequence.takeover or source.random() < 0.1
        # zlib does not support raw deflate with a window of 2**8; see anyws/protocol/deflate.py.
        self._bits = max(9, sequence.window_bits)
        if source.random() < 0.05:
            self._bits = 15
        self._window = b""
        self._compressor: Any = None

    def message(self, payload: bytes) -> bytes:
        """Return the payload of a compressed message."""
        source = self._source
        if self._compressor is None or source.random() < 0.1:
            self._start()
        chance = source.random()
        if not payload and chance < 0.5:
            return source.choice((b"", b"\0"))
        if chance < 0.6:
            data = self._flushed(payload)
        elif chance < 0.75:
            half = len(payload) // 2
            data = self._compressor.compress(payload[:half])
            data += self._compressor.flush(source.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK)))
            data += self._flushed(payload[half:])
        elif chance < 0.9:
            data = self._final(payload)
        elif chance < 0.93:
            return source.randbytes(source.randrange(20))
        elif chance < 0.96:
            data = self._flushed(payload)
            data = data[: source.randrange(len(data) + 1)]
        else:
            data = self._flushed(payload) + source.choice((b"\0", _TAIL, b"\x02\x00", b"\x00\x00\x00\xff\xff"))
        self._window = (self._window + payload)[-(1 << self._bits) :]
        if not self._takeover:
            self._compressor = None
            self._window = b""
        return data

    def _start(self) -> None:
        source = self._source
        level = source.choice((-1, 0, 1, 9))
        strategy = source.choice((zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE))
        arguments = (level, zlib.DEFLATED, -self._bits, source.choice((1, 8, 9)), strategy)
        window = self._window
        self._compressor = zlib.compressobj(*arguments, window) if window else zlib.compressobj(*arguments)

    def _flushed(self, payload: bytes) -> bytes:
        data: bytes = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4] if data.endswith(_TAIL) else data + b"\0"

    def _final(self, payload: bytes) -> bytes:
        """Return a message with one or more final blocks (RFC 7692, section 7.2.3.4)."""
        data: bytes = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_FINISH)
        self._compressor = None
        return data + self._source.choice((*(b"", b"\0", b"\0", b"\x03\x00\0") * 3, b"\x03\x00" * 9))


def _text(source: Random) -> bytes:
    size = _size(source)
    text = "".join(source.choices(_WORDS, k=1 + size // 5))
    return text.encode()[:size].decode(errors="ignore").encode()


def _size(source: Random) -> int:
    return source.choice(_LARGE if source.random() < 0.01 else _SIZES)
