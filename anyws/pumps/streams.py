"""The pump for any byte stream: a task that reads, and a task that writes."""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream, TaskGroup

from anyws.transport.ending import STREAM_ERRORS
from anyws.wakeup import Wakeup

from .pump import READ_SIZE, Owner, Pump

__all__ = ["StreamPump"]


class StreamPump(Pump):
    """Reads and writes in tasks of its own: whatever else is cancelled, no read and no write of the stream is.

    Only one task writes, so a sender that is cancelled leaves nothing half-sent, and a blocked write never keeps the
    other from reading.
    """

    def __init__(self, owner: Owner, stream: ByteStream) -> None:
        super().__init__(owner)
        self._stream = stream
        self._to_write = Wakeup()
        self._is_lost = False

    @property
    def has_tasks(self) -> bool:
        """Whether tasks of the pump may be running."""
        return True

    def start(self, tasks: TaskGroup) -> None:
        """Begin."""
        tasks.start_soon(self._read)
        tasks.start_soon(self._write)

    def stop(self) -> None:
        """Read no more; the task that reads has ended, for it said so."""

    def flush(self) -> None:
        """Let the task that writes see what the core has queued."""
        self._to_write.set()

    async def write_all(self) -> None:
        """Wait until all is written that the core has queued, or cannot be."""
        while not self._is_lost and (self._is_writing or self._owner.core.has_data_to_send):
            self._to_write.set()
            await self._written.wait()

    async def _read(self) -> None:
        owner = self._owner
        while not owner.input_ended:
            if not owner.may_read():
                await self.wait_for_resume()
                continue
            try:
                data = await self._stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                owner.feed_eof()
            except STREAM_ERRORS as exc:
                owner.lose(exc, input_too=True)
            else:
                owner.feed(data)
                if owner.inbox.size or owner.has_piece:
                    self._arrived.set()
                del data  # an idle connection keeps nothing

    async def _write(self) -> None:
        owner = self._owner
        while True:
            while data := owner.core.data_to_send():
                self._is_writing = True
                owner.drained.set()
                try:
                    await self._send(self._stream.send, data)
                except STREAM_ERRORS as exc:
                    self._is_lost = True
                    owner.lose(exc, input_too=False)
                    self._written.set()
                    return
                self._is_writing = False
            self._written.set()
            await self._to_write.wait()
