"""Reading the standard input without blocking the event loop.

Only a blocking thread can read terminals, pipes and files alike. It is a daemon thread and reads the file descriptor
rather than ``sys.stdin``, so that the process can exit while the thread waits for data. (On asyncio, the threads of
`anyio.to_thread` are not daemons, and Python aborts if the lock of ``sys.stdin`` is held at exit.)
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

_CHUNK = 65536  # bytes; the capacity of a pipe on Linux


class Chunks(AsyncIterator[bytes]):
    """The bytes from a file descriptor, as they arrive."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread: threading.Thread | None = None
        self._requested = threading.Semaphore(0)
        self._arrived = anyio.Event()
        self._data = b""
        self._ended = False

    async def __anext__(self) -> bytes:
        if not self._ended:
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, args=[current_token()], name="stdin", daemon=True)
                self._thread.start()
            self._requested.release()
            await self._arrived.wait()
            self._arrived = anyio.Event()
            self._ended = not self._data
        if self._ended:
            raise StopAsyncIteration
        return self._data

    def _read(self, token: EventLoopToken) -> None:
        data = b"data"
        while data:
            self._requested.acquire()
            try:
                data = os.read(self._descriptor, _CHUNK)
            except OSError:  # for example, the terminal was closed
                data = b""
            try:
                run_sync(self._deliver, data, token=token)
            except RuntimeError:  # the event loop has already ended
                return

    def _deliver(self, data: bytes) -> None:
        self._data = data
        self._arrived.set()


async def messages(
    chunks: AsyncIterator[bytes], splitter: Splitter, encoding: str | None
) -> AsyncGenerator[str | bytes, None]:
    """Split bytes into messages.

    Args:
        chunks: the bytes.
        splitter: splits the bytes.
        encoding: the encoding of text messages; None for binary messages.

    Raises:
        UnicodeDecodeError: a message is not valid in the encoding.
        IncompleteInput: the bytes end in the middle of a message.
    """
    async for chunk in chunks:
        for message in splitter.feed(chunk):
            yield message if encoding is None else message.decode(encoding)
    for message in splitter.feed(b""):
        yield message if encoding is None else message.decode(encoding)


async def decoded(chunks: AsyncIterator[bytes], encoding: str) -> AsyncGenerator[str, None]:
    """Decode bytes that may be split anywhere.

    Raises:
        UnicodeDecodeError: they are not valid in the encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    async for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
