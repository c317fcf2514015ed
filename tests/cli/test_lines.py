"""Lines of a file descriptor, however they are cut in pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from anyws.cli.lines import Lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Yield the ends of a pipe, to read and to write; the test closes the second."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\rc\n\nd", ["a", "b\rc", "", "d"]),
        ("grüße\n日本".encode(), ["grüße", "日本"]),
    ],
)
@pytest.mark.parametrize("is_whole", [True, False])
async def test_lines(data: bytes, lines: list[str], is_whole: bool, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    found = Lines(reading, "utf-8")
    pieces = [data] if is_whole else [data[i : i + 1] for i in range(len(data))]
    seen = []
    for piece in pieces:
        os.write(writing, piece)
        if piece.endswith(b"\n"):  # read what there is before the next piece comes
            seen.append(await anext(found))
    os.close(writing)
    seen += [line async for line in found]
    assert seen == lines
    with pytest.raises(StopAsyncIteration):
        await anext(found)


async def test_a_line_in_another_encoding_raises(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"\xff\nnext\n")
    os.close(writing)
    found = Lines(reading, "utf-8")
    with pytest.raises(UnicodeDecodeError):
        await anext(found)
    assert await anext(found) == "next"


async def test_what_cannot_be_read_has_no_lines(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert [line async for line in Lines(descriptor, "utf-8")] == []
    finally:
        os.close(descriptor)


def test_a_line_that_comes_after_the_end_of_the_event_loop_is_nobodys(pipe: tuple[int, int]) -> None:
    reading, writing = pipe

    async def read_in_vain() -> Lines:
        found = Lines(reading, "utf-8")
        with anyio.move_on_after(0.01):
            await anext(found)
        return found

    found = anyio.run(read_in_vain)
    os.write(writing, b"late\n")
    os.close(writing)
    assert found._thread is not None
    found._thread.join(10)
    assert not found._thread.is_alive()
