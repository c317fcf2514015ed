"""A connected pair of byte streams in memory."""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from anyws._connection.wakeup import Wakeup

__all__ = ["MemoryStream", "memory_stream_pair"]


class _Pipe:
    """One direction: a buffer of at most ``capacity`` bytes in transit."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.buffer: bytearray = bytearray()
        self.ended = False  # the writer has closed its end
        self.abandoned = False  # the reader has closed its end
        self.changed_for_reader: Wakeup = Wakeup()
        self.changed_for_writer: Wakeup = Wakeup()

    def wake(self) -> None:
        self.changed_for_reader.set()
        self.changed_for_writer.set()


class MemoryStream(ByteStream):
    """One end of a pair that behaves like TCP: bytes arrive in order and in any pieces; backpressure and half-close."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._receive_guard = anyio.ResourceGuard("reading from")
        self._send_guard = anyio.ResourceGuard("writing to")

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Wait for data and return 1 to ``max_bytes`` bytes; raises the same errors as `anyio.abc.ByteStream`."""
        with self._receive_guard:
            await checkpoint()
            pipe = self._incoming
            while True:
                if self._closed:
                    raise anyio.ClosedResourceError
                if pipe.buffer:
                    data = bytes(pipe.buffer[:max_bytes])
                    del pipe.buffer[:max_bytes]
                    pipe.changed_for_writer.set()
                    return data
                if pipe.ended:
                    raise anyio.EndOfStream
                await pipe.changed_for_reader.wait()

    async def send(self, item: bytes) -> None:
        """Send all bytes, waiting while the peer doesn't read; raises the same errors as `anyio.abc.ByteStream`."""
        with self._send_guard:
            await checkpoint()
            pipe = self._outgoing
            rest = memoryview(item)
            while True:
                if self._closed or pipe.ended:
                    raise anyio.ClosedResourceError
                if pipe.abandoned:
                    raise anyio.BrokenResourceError
                room = pipe.capacity - len(pipe.buffer)
                if room > 0 and rest:
                    pipe.buffer += rest[:room]
                    rest = rest[room:]
                    pipe.changed_for_reader.set()
                if not rest:
                    return
                await pipe.changed_for_writer.wait()

    async def send_eof(self) -> None:
        """Close this side for sending; the other direction stays open."""
        self._outgoing.ended = True
        self._outgoing.wake()
        await checkpoint()

    async def aclose(self) -> None:
        """Close both directions."""
        self._closed = True
        self._outgoing.ended = True
        self._incoming.abandoned = True
        self._outgoing.wake()
        self._incoming.wake()
        await checkpoint()


def memory_stream_pair(capacity: int = 65536) -> tuple[MemoryStream, MemoryStream]:
    """Return two connected streams.

    Args:
        capacity: how many bytes may be in transit in each direction before sending waits; at least 1.

    Raises:
        ValueError: the capacity is less than 1, so nothing could ever be sent.
    """
    if capacity < 1:
        raise ValueError(f"capacity is {capacity}: expected at least 1")
    one, other = _Pipe(capacity), _Pipe(capacity)
    return MemoryStream(one, other), MemoryStream(other, one)
