"""The interface between a pump and its link, and the pump for sockets."""

from __future__ import annotations

import functools
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from anyws._connection.intake import Intake
from anyws._connection.keepalive import Keepalive, Output
from anyws._connection.options import ConnectionOptions
from anyws._connection.plain_path import PlainPath
from anyws._connection.wakeup import Progress, Wakeup
from anyws._transport.stream import unacknowledged_bytes
from anyws.protocol.connection import Connection
from anyws.protocol.outbox import Outbox
from anyws.protocol.speedups import MessageQueue

from .background import Background

__all__ = ["READ_SIZE", "GatheringPump", "LinkInterface", "Pump"]

_WRITE_SIZE = 65536  # when this much is queued, it is written immediately
READ_SIZE = 122880  # fits a 64 KiB message; from 128 KiB on, the allocator maps fresh pages for every read


class LinkInterface(Protocol):
    """What a pump needs of its link."""

    core: Connection
    options: ConnectionOptions
    keepalive: Keepalive
    drained: Progress | None
    inbox: MessageQueue
    intake: Intake
    outbox: Outbox
    path: PlainPath

    @property
    def input_ended(self) -> bool:
        """Whether nothing more will be read."""
        ...

    def may_read(self) -> bool:
        """Return whether to continue reading; if not, `Pump.resume` is called when that may have changed."""
        ...

    def feed(self, data: bytes) -> None:
        """Process bytes from the peer."""

    def feed_buffer(self, count: int) -> None:
        """Process bytes that were read into the buffer provided by the core."""

    def feed_eof(self) -> None:
        """Handle the end of the peer's side of the stream."""

    def connection_lost(self, error: BaseException, *, input_too: bool) -> None:
        """Handle a lost connection."""

    def written(self) -> None:
        """Handle that everything queued has been written."""

    def drop(self, why: str) -> None:
        """Abort the connection for the given reason."""

    def fail_internally(self, exc: BaseException) -> None:
        """Abort the connection because of an error that should be impossible."""

    def abort(self) -> None:
        """Close the stream immediately; also called when both sides have ended."""

    def closed(self, error: Exception | None = None) -> None:
        """Handle that the stream has been closed; ``error`` if closing it failed."""


class Pump(ABC):
    """Feeds received bytes to a link, writes the bytes that its core has queued, and ends the stream."""

    __slots__ = (
        "_arrived",
        "_background",
        "_is_writing",
        "_link",
        "_written",
        "now",
        "unsent",
    )

    def __init__(self, link: LinkInterface, now: Callable[[], float] = anyio.current_time) -> None:
        self._link = link
        self._arrived = self.new_wakeup()
        self._background: Background | None = None  # until started
        self._written: Wakeup | None = None
        self._is_writing = False
        self.unsent: int = 0
        """The number of bytes taken from the outbox that the stream has not accepted yet."""
        self.now: Callable[[], float] = now
        """The time of the event loop, in seconds."""

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest kind of `Wakeup` on this event loop."""
        return Wakeup()

    @property
    def is_writing(self) -> bool:
        """Whether a write is waiting for the peer."""
        return self._is_writing

    @property
    def has_written(self) -> bool:
        """Whether everything queued has been written, or cannot be."""
        return not self._is_writing

    @abstractmethod
    def output(self) -> Output:
        """Return how many of our bytes were delivered, and how many are waiting."""

    def _output_of(self, raw_socket: socket.socket | None) -> Output:
        """Count bytes that the kernel has not delivered as waiting, on systems that report them."""
        queued = 0 if raw_socket is None else unacknowledged_bytes(raw_socket)
        return Output(self._link.outbox.sent - queued, self._link.outbox.size + self.unsent + queued)

    def start(self, background: Background) -> None:
        """Start reading and writing; tasks and timers run in ``background``."""
        self._background = background

    @abstractmethod
    def flush(self, *, is_last: bool = False) -> None:
        """Write what the core has queued, now or soon. Never blocks.

        Args:
            is_last: whether `end` is called next, so that both may go into one segment.
        """

    def flush_soon(self) -> None:
        """Write what the core has queued, at the latest in the next iteration of the event loop. Never blocks."""
        self.flush()

    async def write_all(self) -> None:
        """Wait until everything queued has been written, or cannot be. For one task at a time."""
        self.flush()
        while not self.has_written:
            self._written = self._written or self.new_wakeup()
            await self._written.wait()

    @abstractmethod
    def end(self) -> None:
        """End our side once everything is written, and abort once the peer has ended its side. Never blocks."""

    @abstractmethod
    def close(self) -> None:
        """Close the stream, now or soon, and then call `LinkInterface.closed`."""

    @abstractmethod
    def resume(self) -> None:
        """Read again, if the link now wants to: there may be room, or a task may be waiting."""

    def ensure_reading(self) -> None:
        """Make sure that somebody reads, because a Pong or the end of the stream is awaited and no task may receive."""
        self.resume()

    def poll(self) -> None:
        """Read what has arrived, without waiting, if the link wants it and no task is reading."""
        self.ensure_reading()

    async def read_in_task(self) -> None:
        """Read in the calling task, which has nothing else to do, unless another task reads. May return at any time."""
        self.ensure_reading()

    def wait_for_arrival(self) -> Awaitable[None]:
        """Return an awaitable for the receiving task, to await immediately. It may return without a message."""
        return self._arrived.wait()

    def wake_receiver(self) -> None:
        """Wake a task that awaits `wait_for_arrival`."""
        self._arrived.set()

    def _start(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task; an error in it ends this connection and nothing else."""
        assert self._background is not None
        self._background.start_soon(functools.partial(self._guard, task))

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as exc:
            self._link.fail_internally(exc)

    def _notify_written(self) -> None:
        if self._written is not None:
            self._written.set()
        self._link.written()

    async def _within_write_timeout(self, write: Callable[[], Awaitable[None]]) -> None:
        """Wait up to ``write_timeout`` for the peer to accept more bytes."""
        timeout = self._link.options.write_timeout
        if timeout is None:
            await write()
            return
        with anyio.move_on_after(timeout) as scope:
            await write()
        if scope.cancelled_caught:
            self._link.drop(f"the peer took no data for {timeout:g} s")


class GatheringPump(Pump):
    """A pump whose `flush` writes immediately, so it is worth waiting a moment for what is queued next."""

    __slots__ = ()

    @abstractmethod
    def _call_soon(self, callback: Callable[[], None]) -> None:
        """Call a function in the next iteration of the event loop."""

    def flush_soon(self) -> None:
        """Write soon, together with what is queued next; at the latest in the next iteration of the event loop."""
        outbox = self._link.outbox
        if outbox.size >= _WRITE_SIZE:
            self.flush()
        elif not outbox.is_flush_due:
            outbox.is_flush_due = True
            self._call_soon(self._flush_now)

    def _flush_now(self) -> None:
        if self._link.outbox.is_flush_due:
            self._link.outbox.is_flush_due = False
            self.flush()
