"""The receiving half of a connection: whole messages, or one message piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

import anyio

from anyws.exceptions import ConnectionClosedError, is_clean
from anyws.protocol.connection import State
from anyws.protocol.errors import UnsupportedData

from .link import Link

__all__ = ["MessageStream", "Receiver", "other_task_receives", "reject_message"]

_CLOSED = State.CLOSED  # on Python 3.11, looking up an enum member is slow


class Receiver:
    """Takes messages from the inbox of a link, for one task at a time.

    A message is removed from the inbox only after the last wait, so a cancelled receive loses nothing.

    To receive a message piece by piece, its pieces are taken from the core while the message is still arriving. At the
    end of the message, the core then puts only the rest of it into the inbox; that belongs to the same message stream.
    """

    __slots__ = (
        "_link",
        "_stream",
    )

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stream: MessageStream | None = None  # of a message that was received in part

    async def receive(self, *, stops: bool = False) -> str | bytes:
        """Wait for the next message; see `WebSocket.receive`.

        Args:
            stops: whether to raise `StopAsyncIteration` after the peer's normal closure, which costs less than another
                exception.
        """
        link, inbox = self._link, self._link.inbox
        if inbox.is_receiving:
            raise other_task_receives()
        inbox.is_receiving = True
        try:
            if inbox.budget <= 0:
                await link.checkpoint()
            if self._stream is not None:
                await self._skip_rest()
            while not inbox.size:
                if stops and link.core.state is _CLOSED and is_clean(link.core.close_received):
                    raise StopAsyncIteration
                await link.wait_for_arrival()
            return self._take()
        finally:
            inbox.is_receiving = inbox.receiver_waits = False
            inbox.is_reserved = self._stream is not None

    async def next(self) -> str | bytes:
        """Wait for the next message; stop at a normal closure."""
        try:
            return await self.receive(stops=True)
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive_piece(self, stream: MessageStream) -> tuple[str | bytes, bool]:
        """Wait for the next piece of this stream's message; return it, and whether it is the last one."""
        link, inbox = self._link, self._link.inbox
        if inbox.is_receiving:
            raise other_task_receives()
        inbox.is_receiving = True
        try:
            if inbox.budget <= 0:
                await link.checkpoint()
            if self._stream is not stream:
                await self._skip_rest()
            while True:
                if inbox.size:
                    self._stream = None
                    return self._take(), True
                if link.core.partial_size and not link.intake.is_discarding and (piece := link.core.take_partial()):
                    inbox.budget -= 1
                    self._stream = stream
                    if link.inbox.is_paused:
                        link.resume_reading()
                    return piece, False
                await self._wait_for_arrival()
        finally:
            inbox.is_receiving = inbox.receiver_waits = False
            inbox.is_reserved = self._stream is not None

    def is_current(self, stream: MessageStream) -> bool:
        """Whether the stream's message has begun, has not ended, and was not skipped."""
        return self._stream is stream

    async def _skip_rest(self) -> None:
        """Discard the rest of a message whose stream was abandoned early."""
        while self._stream is not None:
            if self._link.inbox.size:
                self._stream = None
                self._take()
            else:
                self._link.core.take_partial()
                await self._wait_for_arrival()

    def _wait_for_arrival(self) -> Awaitable[None]:
        """Return what to await, immediately, until something has arrived; raise if nothing will."""
        if self._stream is not None and self._link.core.state is _CLOSED:
            raise self._link.ending.for_interrupted()
        return self._link.wait_for_arrival(pieces=True)

    def _take(self) -> str | bytes:
        self._link.inbox.budget -= 1
        message = self._link.inbox.take()
        if self._link.inbox.is_paused:
            self._link.resume_reading()
        return message


def other_task_receives() -> anyio.BusyResourceError:
    """Return the exception for a task that receives while another one does."""
    busy = anyio.BusyResourceError("receiving from")
    busy.add_note("let one task receive, and pass the messages on, for example through a memory object stream")
    return busy


def reject_message(link: Link, message: str | bytes) -> ConnectionClosedError:
    """Close the connection with 1003, because the message is of the other kind; return the exception to raise."""
    received, expected = ("text", "binary") if isinstance(message, str) else ("binary", "text")
    problem = UnsupportedData(f"received a {received} message, expected a {expected} one")
    link.begin_close(problem.close_code, problem.reason, discard=True)
    closed = link.ending.for_interrupted()
    closed.__cause__ = problem
    return closed


class MessageStream(AsyncIterator[str | bytes]):
    """One message, piece by piece: see `WebSocket.receive_stream`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._begun = False
        self._ended = False

    async def __anext__(self) -> str | bytes:
        """Return the next piece of the message."""
        if self._ended:
            raise StopAsyncIteration
        if self._begun and not self._receiver.is_current(self):
            raise anyio.ClosedResourceError("the rest of this message was skipped by a later receive()")
        piece, self._ended = await self._receiver.receive_piece(self)
        if self._ended and self._begun and not piece:
            raise StopAsyncIteration
        self._begun = True
        return piece
