"""Compressing: with zlib-ng by default, only a limited number of connections keep their compressors."""

from __future__ import annotations

import threading
import weakref
import zlib
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from anyws.protocol import PerMessageDeflate, Role, deflater
from anyws.protocol.deflate import DeflateCodec
from tests.conformance.deflating import codec_of

MESSAGES = [f'{{"id": {number}, "name": "{number * 7919 % 1000}"}}'.encode() * 3 for number in range(20)]


class Counting:
    """zlib-ng, with a list of the dictionaries that were given to its compressors."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.dictionaries: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def compressobj(self, level: int, method: int, bits: int, memory: int, strategy: int = 0, zdict: Any = b"") -> Any:
        self.dictionaries.append(bytes(zdict))
        return self._library.compressobj(level, method, bits, memory, strategy, *([zdict] if zdict else []))


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(pytest.importorskip("zlib_ng.zlib_ng"))
    monkeypatch.setattr("anyws.protocol.deflate.default_zlib", lambda: counting)
    monkeypatch.setattr(deflater, "_recent", deflater._Recent())
    return counting


def sent(codec: DeflateCodec, message: bytes, **how: Any) -> bytes:
    """Return the compressed bytes of a message or fragment, as the receiver restores them."""
    payload, changed = codec.encode(message, **{"first": True, "fin": True, "compress": True, **how})
    assert changed
    return payload + (b"" if how.get("fin") is False else b"\0\0\xff\xff")


def test_few_connections_keep_their_compressors(counting: Counting) -> None:
    codecs = [codec_of(Role.SERVER) for _ in range(32)]
    for message in MESSAGES:
        for codec in codecs:
            sent(codec, message)
    assert counting.dictionaries == [b""] * 32


def test_others_continue_with_their_windows(counting: Counting) -> None:
    """The receiver sees no difference, and each message still refers to those before it."""
    codecs = [codec_of(Role.SERVER, server_max_window_bits=10) for _ in range(40)]
    receivers = [zlib.decompressobj(-10) for _ in codecs]
    for number, message in enumerate(MESSAGES):
        for codec, receiver in zip(codecs, receivers, strict=True):
            payload = sent(codec, message)
            assert receiver.decompress(payload) == message
            assert not number or len(payload) < 40
    assert len(counting.dictionaries) == len(codecs) * len(MESSAGES)
    assert counting.dictionaries[-1] == b"".join(MESSAGES[:-1])[-1024:]


def test_a_closed_connection_frees_its_compressor(counting: Counting) -> None:
    codecs = [codec_of(Role.SERVER) for _ in range(32)]
    for codec in codecs:
        sent(codec, MESSAGES[0])
    deflaters = [weakref.ref(codec._deflater) for codec in codecs]
    del codecs, codec
    assert all(deflater() is None for deflater in deflaters)


def test_without_takeover_nothing_is_kept(counting: Counting) -> None:
    codec = codec_of(Role.SERVER, server_no_context_takeover=True)
    for message in MESSAGES:
        assert zlib.decompressobj(-15).decompress(sent(codec, message)) == message
    assert counting.dictionaries == [b""] * len(MESSAGES)
    assert codec._deflater._compressor is None
    assert codec._deflater._window == bytearray()


def test_an_explicit_module_keeps_a_compressor_for_each_connection(
    counting: Counting,
) -> None:
    codecs = [codec_of(Role.SERVER, PerMessageDeflate(zlib=counting)) for _ in range(40)]
    for message in MESSAGES:
        for codec in codecs:
            sent(codec, message)
    assert len(counting.dictionaries) == len(codecs)
    assert all(codec._deflater._window == bytearray() for codec in codecs)


@given(
    bits=st.integers(8, 15),
    takeover=st.booleans(),
    mem_level=st.integers(1, 9),
    pieces=st.lists(
        st.tuples(
            st.sampled_from([b"", b"abc" * 30, bytes(range(256)) * 2, b"x" * 700, b"y" * 40_000, *MESSAGES]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    ),
)
@settings(max_examples=200)
def test_a_dropped_compressor_changes_nothing_for_the_receiver(
    bits: int, takeover: bool, mem_level: int, pieces: list[tuple[bytes, bool, bool]]
) -> None:
    """A compressor may be dropped after any message and after any fragment of one."""
    agreed = {"server_max_window_bits": bits, "server_no_context_takeover": not takeover}
    codec = codec_of(Role.SERVER, PerMessageDeflate(mem_level=mem_level), **agreed)
    receiver = codec_of(Role.CLIENT, PerMessageDeflate(zlib=zlib), **agreed)
    first = True
    for piece, fin, drops in pieces:
        payload, _ = codec.encode(piece, first=first, fin=fin, compress=True)
        assert receiver.decode(payload, fin=fin, limit=None) == piece
        first = fin
        if drops:
            codec._deflater.drop_compressor()


def test_threads_do_not_share_compressors(counting: Counting) -> None:
    """Connections of one thread do not make those of another drop theirs."""
    mine, theirs = ([codec_of(Role.SERVER) for _ in range(32)] for _ in range(2))
    for codec in mine:
        sent(codec, MESSAGES[0])
    thread = threading.Thread(target=lambda: [sent(codec, MESSAGES[0]) for codec in theirs])
    thread.start()
    thread.join()
    for codec in mine:
        sent(codec, MESSAGES[1])
    assert counting.dictionaries == [b""] * 64
