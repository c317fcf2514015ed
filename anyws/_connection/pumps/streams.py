"""The pump for any byte stream: one task reads, another writes."""

from __future__ import annotations

import functools

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskGroup

from anyws._connection.keepalive import Output
from anyws._connection.wakeup import Wakeup
from anyws._transport.ending import STREAM_ERRORS, abort_stream, end_stream

from .background import Background
from .pump import READ_SIZE, LinkInterface, Pump

__all__ = ["StreamPump"]

_WRITE_SIZE = 65536


class StreamPump(Pump):
    """Reads and writes in its own tasks, so cancelling a sender or receiver never cancels I/O on the stream.

    Only one task writes, so a cancelled sender leaves no message half-sent; and reading goes on while a write blocks.
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

    def __init__(self, link: LinkInterface, stream: ByteStream) -> None:
        super().__init__(link)
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
        """Whether everything queued has been written, or cannot be."""
        if self._tasks is None:
            return False
        return self._is_lost or not (self._is_writing or self._link.core.has_data_to_send)

    def start(self, background: Background) -> None:
        """Start the tasks."""
        super().start(background)
        self._start(self._run)

    def flush(self, *, is_last: bool = False) -> None:
        """Wake the writing task."""
        self._to_write.set()

    def resume(self) -> None:
        """Read again, if the link now wants to."""
        if self._is_paused:
            self._resumed.set()

    def end(self) -> None:
        """End our side, and abort once the peer has ended its side. The reading task has ended or is about to."""
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
            self._link.written()
        error = None
        try:
            await abort_stream(self._stream)
        except Exception as exc:
            error = exc
        self._is_lost = True
        self._notify_written()
        self._link.closed(error)

    async def _read(self) -> None:
        link = self._link
        while not link.input_ended:
            if not link.may_read():
                await self._wait_for_resume()
                continue
            try:
                data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                link.feed_eof()
            except STREAM_ERRORS as exc:
                link.connection_lost(exc, input_too=True)
            else:
                link.feed(data)
                if link.inbox.size or link.intake.has_piece:
                    self._arrived.set()
                del data  # an idle connection keeps no buffer

    async def _wait_for_resume(self) -> None:
        self._is_paused = True
        while not (self._link.may_read() or self._link.input_ended):
            await self._resumed.wait()
        self._is_paused = False
        self._link.keepalive.last_heard = self.now()

    async def _write(self) -> None:
        link = self._link
        while True:
            while data := link.core.data_to_send():
                self._is_writing = True
                if link.drained is not None:
                    link.drained.set()
                try:
                    await self._send(data)
                except STREAM_ERRORS as exc:
                    self._is_lost = True
                    link.connection_lost(exc, input_too=False)
                    self._notify_written()
                    return
                self._is_writing = False
            self._notify_written()
            await self._to_write.wait()

    async def _send(self, data: bytes) -> None:
        """Write in parts: each part that is accepted shows that the peer is alive."""
        self.unsent = len(data)
        for start in range(0, len(data), _WRITE_SIZE):
            part = data[start : start + _WRITE_SIZE]
            await self._within_write_timeout(functools.partial(self._stream.send, part))
            self._link.outbox.sent += len(part)
            self.unsent -= len(part)

    def output(self) -> Output:
        """Return how many of our bytes were delivered, and how many are waiting."""
        return self._output_of(self._raw_socket)

    async def _end(self) -> None:
        await end_stream(self._stream)
        self._link.abort()
