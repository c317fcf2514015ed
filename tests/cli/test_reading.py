"""Splitting stdin into messages, however its bytes arrive."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from anyws._cli.framing import IncompleteInput, splitter
from anyws._cli.reading import Chunks, decoded, messages


class Pieces(AsyncIterator[bytes]):
    """Bytes as they might come."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Yield the ends of a pipe, to read and to write; the test closes the second."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


@pytest.mark.parametrize(
    ("framing", "data", "expected"),
    [
        ("line", b"", []),
        ("line", b"\n", [""]),
        ("line", b"a", ["a"]),
        ("line", b"a\n", ["a"]),
        ("line", b"a\r\nb\rc\n\nd", ["a", "b\rc", "", "d"]),
        ("line", "grüße\n日本".encode(), ["grüße", "日本"]),
        ("nul", b"", []),
        ("nul", b"a\nb\0\0c\r", ["a\nb", "", "c\r"]),
        ("length", b"", []),
        ("length", b"\0\0\0\2hi\0\0\0\0\0\0\0\1\0", ["hi", "", "\0"]),
    ],
)
@pytest.mark.parametrize("is_whole", [True, False])
async def test_framings(framing: str, data: bytes, expected: list[str], is_whole: bool) -> None:
    pieces = [data] if is_whole else [data[i : i + 1] for i in range(len(data))]
    assert [text async for text in messages(Pieces(*pieces), splitter(framing), "utf-8")] == expected
    binary = [message async for message in messages(Pieces(*pieces), splitter(framing), None)]
    assert binary == [text.encode() for text in expected]


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\1", b"\0\0\0\1a\0\0\0\2a"])
async def test_an_input_that_ends_within_a_message_raises(data: bytes) -> None:
    with pytest.raises(IncompleteInput):
        _ = [message async for message in messages(Pieces(data), splitter("length"), None)]


async def test_text_is_decoded_wherever_it_is_split() -> None:
    data = [bytes([byte]) for byte in "grüße 日本".encode()]
    assert "".join([text async for text in decoded(Pieces(*data), "utf-8")]) == "grüße 日本"


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3"])
async def test_text_in_another_encoding_raises(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        _ = [text async for text in decoded(Pieces(data), "utf-8")]
    with pytest.raises(UnicodeDecodeError):
        _ = [message async for message in messages(Pieces(data), splitter("line"), "utf-8")]


async def test_chunks_arrive_as_they_are_written(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    chunks = Chunks(reading)
    for data in (b"a", b"bc"):
        os.write(writing, data)
        assert await anext(chunks) == data
    os.close(writing)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_an_unreadable_descriptor_yields_no_chunks(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert [chunk async for chunk in Chunks(descriptor)] == []
    finally:
        os.close(descriptor)


def test_a_chunk_that_arrives_after_the_event_loop_has_ended_is_dropped(pipe: tuple[int, int]) -> None:
    reading, writing = pipe

    async def read_in_vain() -> Chunks:
        found = Chunks(reading)
        with anyio.move_on_after(0.01):
            await anext(found)
        return found

    found = anyio.run(read_in_vain)
    os.write(writing, b"late\n")
    os.close(writing)
    assert found._thread is not None
    found._thread.join(10)
    assert not found._thread.is_alive()
