"""The lines of the standard input, without blocking the event loop.

A terminal, a pipe and a file can be read alike only by a thread that blocks. It is a daemon, and reads the file
descriptor rather than ``sys.stdin``: so the process can end while the thread still waits for a line. (The threads of
`anyio.to_thread` are not daemons in asyncio, and a lock of ``sys.stdin`` that is held when Python ends aborts it.)
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

__all__ = ["Lines"]

_CHUNK = 65536  # bytes; a pipe of Linux holds as many


class Lines(AsyncIterator[str]):
    """The lines of a file descriptor, without their ends; a last one needs no end.

    The iterator raises:
        UnicodeDecodeError: a line is not in the encoding.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._lines: list[bytes] = []  # complete ones, the last first
        self._rest: list[bytes] = []  # the beginning of the next one
        self._ended = False
        self._thread: threading.Thread | None = None
        self._wanted = threading.Semaphore(0)
        self._came = anyio.Event()
        self._data = b""

    async def __anext__(self) -> str:
        while not self._lines and not self._ended:
            self._split(await self._read())
        if not self._lines:
            raise StopAsyncIteration
        return self._lines.pop().removesuffix(b"\r").decode(self._encoding)

    def _split(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._rest.append(first)
        if others:
            self._lines = [b"".join(self._rest), *others[:-1]][::-1]
            self._rest = [others[-1]]
        if not data:
            self._ended = True
            if last := b"".join(self._rest):
                self._lines = [last]

    async def _read(self) -> bytes:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=[current_token()], name="stdin", daemon=True)
            self._thread.start()
        self._wanted.release()
        await self._came.wait()
        self._came = anyio.Event()
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
