"""The pump for any byte stream: a task that reads, and a task that writes."""

from __future__ import annotations

import functools

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskGroup

from anyws._connection.keepalive import Output
from anyws._connection.wakeup import Wakeup
from anyws._transport.ending import STREAM_ERRORS, cut_stream, end_stream

from .background import Background
from .pump import READ_SIZE, Owner, Pump

__all__ = ["StreamPump"]

_WRITE_SIZE = 65536


class StreamPump(Pump):
    """Reads and writes in tasks of its own: whatever else is cancelled, no read and no write of the stream is.

    Only one task writes, so a sender that is cancelled leaves nothing half-sent, and a blocked write never keeps the
    other from reading.
    """

    __slots__ = (
        "_is_closed",
        "_is_lost",
        "_is_paused",
        "_raw_socket",
        "_resumed",
        "_stream",
        "_tasks",
        "_to_write",
    )

    def __init__(self, owner: Owner, stream: ByteStream) -> None:
        super().__init__(owner)
        self._stream = stream
        self._to_write = Wakeup()
        self._resumed = Wakeup()
        self._is_paused = False
        self._is_lost = False
        self._is_closed = False
        self._tasks: TaskGroup | None = None
        self._raw_socket = stream.extra(SocketAttribute.raw_socket, None)

    @property
    def has_written(self) -> bool:
        """Whether all is written that the core has queued, or cannot be."""
        if self._tasks is None:
            return False
        return self._is_lost or not (self._is_writing or self._owner.core.has_data_to_send)

    def start(self, background: Background) -> None:
        """Begin."""
        super().start(background)
        self._start(self._run)

    def flush(self) -> None:
        """Let the task that writes see what the core has queued."""
        self._to_write.set()

    def resume(self) -> None:
        """There may be room again, or somebody who waits."""
        if self._is_paused:
            self._resumed.set()

    def end(self) -> None:
        """End our side, and cut when the peer has ended its side; the task that reads has ended, or does at once."""
        assert self._tasks is not None
        self._tasks.start_soon(self._guard, self._end)

    def close(self) -> None:
        """Close the stream once the tasks have ended."""
        self._is_closed = True
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._guard, self._read)
            self._tasks.start_soon(self._guard, self._write)
            if self._is_closed:
                self.close()
            self._owner.written()
        error = None
        try:
            await cut_stream(self._stream)
        except Exception as exc:
            error = exc
        self._is_lost = True
        self._has_written()
        self._owner.closed(error)

    async def _read(self) -> None:
        owner = self._owner
        while not owner.input_ended:
            if not owner.may_read():
                await self._wait_for_resume()
                continue
            try:
                data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                owner.feed_eof()
            except STREAM_ERRORS as exc:
                owner.connection_lost(exc, input_too=True)
            else:
                owner.feed(data)
                if owner.inbox.size or owner.intake.has_piece:
                    self._arrived.set()
                del data  # an idle connection keeps nothing

    async def _wait_for_resume(self) -> None:
        self._is_paused = True
        while not (self._owner.may_read() or self._owner.input_ended):
            await self._resumed.wait()
        self._is_paused = False
        self._owner.keepalive.heard = self.now()

    async def _write(self) -> None:
        owner = self._owner
        while True:
            while data := owner.core.data_to_send():
                self._is_writing = True
                if owner.drained is not None:
                    owner.drained.set()
                try:
                    await self._send(data)
                except STREAM_ERRORS as exc:
                    self._is_lost = True
                    owner.connection_lost(exc, input_too=False)
                    self._has_written()
                    return
                self._is_writing = False
            self._has_written()
            await self._to_write.wait()

    async def _send(self, data: bytes) -> None:
        """Write in parts: the peer shows by each of them that it is alive."""
        self.unsent = len(data)
        for start in range(0, len(data), _WRITE_SIZE):
            part = data[start : start + _WRITE_SIZE]
            await self._within_write_timeout(functools.partial(self._stream.send, part))
            self._sent += len(part)
            self.unsent -= len(part)

    def output(self) -> Output:
        """Return how far our bytes have got."""
        return self._output_through(self._raw_socket)

    async def _end(self) -> None:
        await end_stream(self._stream)
        self._owner.abort()
