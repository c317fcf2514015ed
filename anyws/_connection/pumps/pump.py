"""What a pump offers to its link, and needs of it."""

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
from anyws._connection.wakeup import Wakeup
from anyws._transport.stream import unacknowledged
from anyws.protocol.connection import Connection
from anyws.protocol.outbox import Outbox
from anyws.protocol.speedups import MessageQueue

from .background import Background

__all__ = ["READ_SIZE", "Owner", "Pump"]

READ_SIZE = 122880  # a message of 64 KiB in one go; from 128 KiB on the allocator maps fresh pages for every read


class Owner(Protocol):
    """The link of a pump."""

    core: Connection
    options: ConnectionOptions
    keepalive: Keepalive
    drained: Wakeup | None
    inbox: MessageQueue
    intake: Intake
    outbox: Outbox

    @property
    def input_ended(self) -> bool:
        """Whether nothing more is to be read."""
        ...

    def may_read(self) -> bool:
        """Say whether to read on; if not, `Pump.resume` is called when that may have changed."""
        ...

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""

    def feed_buffer(self, count: int) -> None:
        """Take bytes from the peer that were read into what its core has given for that."""

    def feed_eof(self) -> None:
        """The peer has ended its side."""

    def connection_lost(self, error: BaseException, *, input_too: bool) -> None:
        """The connection is lost."""

    def written(self) -> None:
        """All is written that waited for the peer."""

    def drop(self, why: str) -> None:
        """Abort the connection, and say why."""

    def fail_internally(self, exc: BaseException) -> None:
        """Abort the connection because of an error that should be impossible."""

    def abort(self) -> None:
        """Close the stream; also once both sides have ended."""

    def closed(self, error: Exception | None = None) -> None:
        """The stream is closed, as far as possible."""


class Pump(ABC):
    """Feeds a link with what comes, writes what its core has queued, and ends the stream."""

    __slots__ = (
        "_arrived",
        "_background",
        "_is_writing",
        "_owner",
        "_sent",
        "_written",
        "now",
        "unsent",
    )

    def __init__(self, owner: Owner, now: Callable[[], float] = anyio.current_time) -> None:
        self._owner = owner
        self._arrived = self.new_wakeup()
        self._background: Background | None = None  # until it begins
        self._written: Wakeup | None = None
        self._is_writing = False
        self._sent = 0  # bytes that the stream has accepted
        self.unsent: int = 0
        """The number of bytes that were taken from the outbox, and that the stream has not accepted."""
        self.now: Callable[[], float] = now
        """The time of the event loop, in seconds."""

    def new_wakeup(self) -> Wakeup:
        """Return the cheapest signal on this event loop."""
        return Wakeup()

    @property
    def is_writing(self) -> bool:
        """Whether a write waits for the peer."""
        return self._is_writing

    @property
    def has_written(self) -> bool:
        """Whether all is written that the core has queued, or cannot be."""
        return not self._is_writing

    @abstractmethod
    def output(self) -> Output:
        """Return how far our bytes have got."""

    def _output_through(self, raw_socket: socket.socket | None) -> Output:
        """Count what the kernel has yet to deliver as waiting, where it says so."""
        queued = 0 if raw_socket is None else unacknowledged(raw_socket)
        return Output(self._sent - queued, self._owner.outbox.size + self.unsent + queued)

    def start(self, background: Background) -> None:
        """Begin; what needs a task or a timer has it there."""
        self._background = background

    @abstractmethod
    def flush(self) -> None:
        """Write what the core has queued, now or soon. Never waits."""

    def flush_soon(self) -> None:
        """Write what the core has queued in the next pass of the event loop at the latest. Never waits."""
        self.flush()

    async def write_all(self) -> None:
        """Wait until all is written that the core has queued, or cannot be; for one task at a time."""
        self.flush()
        while not self.has_written:
            self._written = self._written or self.new_wakeup()
            await self._written.wait()

    @abstractmethod
    def end(self) -> None:
        """End our side, once all is written, and cut when the peer has ended its side. Never waits."""

    @abstractmethod
    def close(self) -> None:
        """Close the stream, now or soon; the owner is told."""

    @abstractmethod
    def resume(self) -> None:
        """There may be room again, or somebody who waits."""

    def expect(self) -> None:
        """Something is awaited from the peer, though nobody may receive."""
        self.resume()

    def look(self) -> None:
        """Read what has come, if it may be read and nobody does."""
        self.expect()

    async def attend(self) -> None:
        """Something is awaited by a task that may as well read, if nobody else does; return at any time."""
        self.expect()

    def next_arrival(self) -> Awaitable[None]:
        """Return what the task that receives is to await, at once, until something has changed for it."""
        return self._arrived.wait()

    def wake_receiver(self) -> None:
        """Let a task go on that waits for `next_arrival`."""
        self._arrived.set()

    def _start(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task; an error in it ends this connection, and nothing else."""
        assert self._background is not None
        self._background.start_soon(functools.partial(self._guard, task))

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as exc:
            self._owner.fail_internally(exc)

    def _has_written(self) -> None:
        if self._written is not None:
            self._written.set()
        self._owner.written()

    async def _within_write_timeout(self, write: Callable[[], Awaitable[None]]) -> None:
        """Wait for the peer to take more bytes, for ``write_timeout`` at most."""
        timeout = self._owner.options.write_timeout
        if timeout is None:
            await write()
            return
        with anyio.move_on_after(timeout) as scope:
            await write()
        if scope.cancelled_caught:
            self._owner.drop(f"the peer took no data for {timeout:g} s")
