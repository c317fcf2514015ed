"""The standard input, without blocking the event loop.

A terminal, a pipe and a file can be read alike only by a thread that blocks. It is a daemon, and reads the file
descriptor rather than ``sys.stdin``: so the process can end while the thread still waits for data. (The threads of
`anyio.to_thread` are not daemons in asyncio, and a lock of ``sys.stdin`` that is held when Python ends aborts it.)
"""

from __future__ import annotations

import codecs
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

from .framing import Splitter

__all__ = ["Chunks", "decoded", "messages"]

_CHUNK = 65536  # bytes; a pipe of Linux holds as many


class Chunks(AsyncIterator[bytes]):
    """The bytes of a file descriptor, as they come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread: threading.Thread | None = None
        self._wanted = threading.Semaphore(0)
        self._came = anyio.Event()
        self._data = b""
        self._ended = False

    async def __anext__(self) -> bytes:
        if not self._ended:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=[current_token()], name="stdin", daemon=True)
                self._thread.start()
            self._wanted.release()
            await self._came.wait()
            self._came = anyio.Event()
            self._ended = not self._data
        if self._ended:
            raise StopAsyncIteration
        return self._data

    def _work(self, token: EventLoopToken) -> None:
        data = b"data"
        while data:
            self._wanted.acquire()
            try:
                data = os.read(self._descriptor, _CHUNK)
            except OSError:  # such as of a terminal that has gone
                data = b""
            try:
                run_sync(self._hand_over, data, token=token)
            except RuntimeError:  # the event loop has ended meanwhile
                return

    def _hand_over(self, data: bytes) -> None:
        self._data = data
        self._came.set()


async def messages(
    chunks: AsyncIterator[bytes], splitter: Splitter, encoding: str | None
) -> AsyncGenerator[str | bytes, None]:
    """Cut bytes into messages.

    Args:
        chunks: the bytes.
        splitter: how to cut.
        encoding: of text messages; None for binary ones.

    Raises:
        UnicodeDecodeError: a message is not in the encoding.
        IncompleteInput: the bytes end within a message.
    """
    async for chunk in chunks:
        for message in splitter.feed(chunk):
            yield message if encoding is None else message.decode(encoding)
    for message in splitter.feed(b""):
        yield message if encoding is None else message.decode(encoding)


async def decoded(chunks: AsyncIterator[bytes], encoding: str) -> AsyncGenerator[str, None]:
    """Decode bytes that may be cut anywhere.

    Raises:
        UnicodeDecodeError: they are not in the encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    async for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
