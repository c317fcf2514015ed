"""Published messages for code: `Subscription`."""

from __future__ import annotations

from anyio.abc import ObjectReceiveStream
from anyio.lowlevel import checkpoint

from .inbox import Inbox
from .published import Published

__all__ = ["Subscription"]


class Subscription(ObjectReceiveStream[Published]):
    """A stream of what is published: an `anyio.abc.ObjectReceiveStream`. You get one from `Topics.subscribe`.

    ``async for published in subscription`` never ends by itself. Only one task at a time may receive.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def receive(self) -> Published:
        """Wait for the next message. If cancelled, nothing is lost.

        Raises:
            MessagesMissed: messages are missing: the history does not reach back to ``since``, the engine has lost
                messages, or more than ``buffer`` was waiting here. Nothing more can be received.
            EngineUnavailable: what ``since`` asked for cannot be read at the moment. Try again later.
            anyio.ClosedResourceError: the subscription, or its topics, are closed.
            anyio.BusyResourceError: another task is receiving.
        """
        return await self._inbox.receive()

    async def aclose(self) -> None:
        """Receive nothing more."""
        self._inbox.close()
        await checkpoint()

    @property
    def dropped(self) -> int:
        """How many messages were dropped because the buffer was full.

        With ``slow="drop"``, these are all that found it full; with ``slow="latest"``, those that a newer one has
        replaced.
        """
        return self._inbox.dropped
