"""The input of a command that outlives its connections, for ``anyws connect --reconnect``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from anyws._background_task import background_task

from .conversation import Message
from .framing import IncompleteInput

__all__ = ["Replay", "replayable"]


class Replay(AsyncIterator[Message]):
    """The messages of an input, which the next connection can continue to send."""

    def __init__(self, messages: MemoryObjectReceiveStream[Message | Exception]) -> None:
        self._messages = messages
        self._last: Message | None = None  # what was returned last, until the next one is requested
        self._is_unsent = False

    def rewind(self) -> None:
        """Return the last message again, because it could not be sent; unless the next one was requested already."""
        self._is_unsent = self._last is not None

    async def __anext__(self) -> Message:
        if not self._is_unsent:
            self._last = None
            try:
                item = await self._messages.receive()
            except anyio.EndOfStream:
                raise StopAsyncIteration from None
            if isinstance(item, Exception):
                raise item
            self._last = item
        self._is_unsent = False
        assert self._last is not None
        return self._last


@asynccontextmanager
async def replayable(source: AsyncIterator[Message]) -> AsyncGenerator[Replay, None]:
    """Read an input in a task of its own, so that the end of a connection does not end the input."""
    writer, reader = anyio.create_memory_object_stream[Message | Exception]()

    async def read() -> None:
        async with writer:
            try:
                async for message in source:
                    await writer.send(message)
            except (UnicodeDecodeError, IncompleteInput) as exc:
                await writer.send(exc)

    async with reader, background_task(read):
        yield Replay(reader)
