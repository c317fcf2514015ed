"""Sends what is published on a connection: `Forwarder`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import anyio

from anyws._connection.sending import PreparedMessage
from anyws._connection.websocket import WebSocket, link_of
from anyws.exceptions import ConnectionClosed
from anyws.protocol.closing import CloseCode

from .catch_up import CatchUp
from .closes import SpreadCloses
from .engine import Position
from .feed import Feed
from .followers import FrameFollower
from .published import Encode

__all__ = ["Forwarder", "Gap", "Slow"]

Slow = Literal["disconnect", "drop", "latest"]
Gap = Literal["close", "continue"]


class Forwarder(FrameFollower):
    """Sends what is published on a connection.

    Args:
        websocket: the connection.
        encode: see `Topics.forward`.
        slow: see `Topics.forward`.
        gap: see `Topics.forward`.
        call_soon: lets the task that delivers call a function.
        stopped: called when nothing more will be sent.
        closes: closes connections that have missed messages.

    Attributes:
        dropped: how many messages were not sent because the connection was slow.
        is_continuous: whether nothing is missing.
    """

    __slots__ = (
        "_call_soon",
        "_closes",
        "_gap",
        "_link",
        "_slow",
        "_stopped",
        "_waiting",
        "_websocket",
        "dropped",
        "encode",
        "is_continuous",
        "send",
    )

    def __init__(
        self,
        websocket: WebSocket,
        encode: Encode | None,
        slow: Slow,
        gap: Gap,
        *,
        call_soon: Callable[[Callable[[], None]], None],
        stopped: Callable[[FrameFollower], None],
        closes: SpreadCloses,
    ) -> None:
        self.encode: Encode | None = encode
        self.dropped: int = 0
        self._websocket = websocket
        self._link = link_of(websocket)
        self._slow = slow
        self._gap = gap
        self._call_soon = call_soon
        self._stopped = stopped
        self._closes = closes
        self.is_continuous: bool = True
        self._waiting: dict[str, PreparedMessage] = {}  # with "latest": the newest message of each topic
        # For speed: a bound method, which is called for each message without further questions.
        self.send: Callable[[bytes], bool] = self._link.path.send_prepared

    # -- catching up ---------------------------------------------------------------------------------------------------

    async def join(self, feed: Feed, since: CatchUp | None) -> Position:
        """Send what a topic has published since a position, and then have what it publishes from now on.

        Returns:
            The position up to which everything was sent.
        """
        is_whole = since is not None and await self._catch_up(since)
        assert feed.last is not None
        at = since.at if since is not None and is_whole else feed.last
        if self.is_active:
            feed.join(self, at)
        return at

    async def _catch_up(self, since: CatchUp) -> bool:
        """Send the history; return whether nothing is missing."""
        while messages := await since.read():
            for message in messages:
                try:
                    await self._websocket.send(message.prepared(self.encode), compress=False)
                except ConnectionClosed:
                    self.stop()
                if not self.is_active:
                    return True
                since.at = message.position
        if messages is None and since.has_begun:
            self._tell()
        elif messages is None:
            self.is_continuous = False  # nothing was sent: the block decides
        return messages is not None

    def refuse(self) -> None:
        """Note that ``since`` is malformed."""
        self.is_continuous = False

    # -- delivery ------------------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether messages are sent."""
        return self.send is not _is_sent

    def send_later(self, topic: str, prepared: PreparedMessage) -> None:
        """Send a message that needs more than to be written, or treat the connection as slow."""
        if topic in self._waiting or not self._try_send(prepared):
            self._pass_over(topic, prepared)

    def _try_send(self, prepared: PreparedMessage) -> bool:
        """Send a message now if possible; return whether that is done, or impossible for good."""
        try:
            self._websocket.send_nowait(prepared, compress=False)
        except anyio.WouldBlock:
            return False
        except ConnectionClosed:
            self.stop()
        except Exception:
            self._link.logger.exception("a published message cannot be sent")
            self.fail("a message could not be sent")
        return True

    def _pass_over(self, topic: str, prepared: PreparedMessage) -> None:
        if self._slow == "disconnect":
            self.stop()
            self._link.begin_close(CloseCode.TRY_AGAIN_LATER, "too slow", discard=True)
        elif self._slow == "drop":
            self.dropped += 1
        else:
            if not self._waiting:
                self.send = _is_not_sent  # until there is room, each message may have to replace one that waits
                self._watch()
            self.dropped += topic in self._waiting
            self._waiting[topic] = prepared

    def _watch(self) -> None:
        self._link.call_on_progress(lambda: self._call_soon(self._send_waiting))

    def _send_waiting(self) -> None:
        """Send the messages that wait, as far as there is room."""
        while self._waiting and self.is_active:
            topic, prepared = next(iter(self._waiting.items()))
            if not self._try_send(prepared):
                self._watch()
                return
            self._waiting.pop(topic, None)
        if self.is_active:
            self.send = self._link.path.send_prepared

    # -- ending --------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Send nothing more."""
        if self.is_active:
            self.send = _is_sent
            self._waiting.clear()
            self._stopped(self)

    def missed(self, topic: str, last: Position, new: Position) -> None:
        """Note that messages are missing: close the connection, or go on."""
        self._tell()

    def _tell(self) -> None:
        self.is_continuous = False
        if self._gap == "close":
            self.stop()
            self._closes.add(self._close_for_gap)

    def _close_for_gap(self) -> None:
        self._link.begin_close(CloseCode.SERVICE_RESTART, "messages were missed", discard=True)

    def end(self, why: str) -> None:
        """Close the connection with 1012, because it will be sent nothing more."""
        self.stop()
        self._link.begin_close(CloseCode.SERVICE_RESTART, why, discard=True)

    def fail(self, why: str) -> None:
        """Close the connection with 1011, because it cannot be sent a message."""
        self.stop()
        self._link.begin_close(CloseCode.INTERNAL_ERROR, why, discard=True)


def _is_sent(_frame: bytes) -> bool:
    return True


def _is_not_sent(_frame: bytes) -> bool:
    return False
