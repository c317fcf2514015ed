"""Publish and subscribe: `Topics`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import anyio

from anyws._connection.websocket import WebSocket
from anyws.exceptions import EngineUnavailable

from .catch_up import CatchUp
from .engine import Engine, Position
from .feed import Feed
from .followers import FrameFollower, Reader
from .forwarder import Forwarder, Gap, Slow
from .forwarding import Forwarding
from .inbox import Inbox
from .payloads import serialize_payload
from .published import Encode
from .service import Service
from .subscription import Subscription

__all__ = ["Topics"]

_SLOW = ("disconnect", "drop", "latest")
_GAP = ("close", "continue")
_Since = str | Mapping[str, str] | None


class Topics:
    """Publish to topics and follow them. You get one from `anyws.open_topics`.

    A topic is a name: a `str` that is not empty. It needs no declaration, and exists as long as somebody follows it or
    its history is kept.
    """

    def __init__(self, service: Service, engine: Engine, publish_timeout: float) -> None:
        self._service = service
        self._engine = engine
        self._publish_timeout = publish_timeout

    def __repr__(self) -> str:
        return f"<anyws.topics.Topics {self.status}, {len(self._service.feeds)} topics>"

    @property
    def status(self) -> Literal["connected", "interrupted"]:
        """Whether the engine can be used, for health checks.

        While it is ``"interrupted"``, `publish` raises and nothing arrives. Connections stay open, and get what they
        have missed as soon as the engine is back.
        """
        return "interrupted" if self._service.is_interrupted else "connected"

    async def publish(self, topic: str, message: str | bytes | bytearray | memoryview) -> str:
        """Publish a message to all that follow a topic, in all processes.

        Returns once the engine has accepted the message, which may be before anybody is sent it. Messages that one task
        publishes one after another arrive in this order. Nothing is queued or retried: if this raises, you decide.

        If cancelled, the message may have been published, but never to a part of the connections only.

        Args:
            topic: the topic.
            message: the message: `str` as text, bytes as binary.

        Returns:
            The position of the message; see `Published.position`.

        Raises:
            EngineUnavailable: the engine is not connected, or did not accept the message within ``publish_timeout``;
                then it may have been published.
            TypeError: the message is neither `str` nor bytes, or the topic is not a `str`.
            ValueError: the topic is empty, or a text has a lone surrogate.
            anyio.ClosedResourceError: the block of `anyws.open_topics` has ended.
        """
        _check_topic(topic)
        payload = serialize_payload(message)
        self._service.check_open()
        with anyio.move_on_after(self._publish_timeout):
            return str(await self._engine.publish(topic, payload))
        raise EngineUnavailable(
            f"the engine did not accept a message for topic {topic!r} within {self._publish_timeout:g} s; "
            "it may have been published"
        )

    @asynccontextmanager  # not @block: it owns no task, so it may be left in any order
    async def forward(
        self,
        websocket: WebSocket,
        *topics: str,
        since: _Since = None,
        encode: Encode | None = None,
        slow: Slow = "disconnect",
        gap: Gap = "close",
    ) -> AsyncGenerator[Forwarding, None]:
        """Send what is published on a connection: ``async with topics.forward(websocket, "news"):``.

        Inside the block, the connection is sent each message of the topics, as `WebSocket.send` would send it. A
        message is framed once for all connections of the process, and there is no task for each of them. A connection
        that closes is sent nothing more; leaving the block ends it at once. If a connection is forwarded to by several
        blocks, each of them sends; within a block, a topic that is named twice counts once.

        Several blocks of a task may be left in any order. If cancelled on entry, nothing more is sent.

        Args:
            websocket: the connection.
            topics: one or more topics.
            since: the position from which to go on: of the only topic, or a mapping from topics to positions; topics
                that are not in it begin now. What was published after it is sent first, in order, and entering the
                block waits for that. Pass what the client has sent: anything that is not a position is treated as one
                that the history does not reach back to, see `anyws.topics.Forwarding.is_continuous`.
            encode: a function that receives a `Published` and returns what to send: `str` or bytes. It is called once
                for each message and process, so pass the same function for all connections. If it raises, that is
                logged and the connections are closed with 1011.
            slow: what to do about a connection whose ``send_buffer`` is full, or which is in the middle of a fragmented
                message: ``"disconnect"`` it: close it with 1013 (try again later); ``"drop"`` the message for it; or
                keep only the ``"latest"`` message of each topic until there is room.
            gap: what to do if messages were lost and the history does not have them: ``"close"`` the connection with
                1012 (service restart), at a random time within ``reconnect_spread``, even if the block is left
                meanwhile; or ``"continue"``, see `anyws.topics.Forwarding.is_continuous`.

        Raises:
            EngineUnavailable: the engine is not connected, so the topics cannot be followed or the history cannot be
                read. It is not raised for topics that this process follows already, without ``since``.
            TypeError: no topics, or an argument of the wrong type.
            ValueError: a topic is empty, or ``slow`` or ``gap`` is none of these.
            anyio.ClosedResourceError: the block of `anyws.open_topics` has ended.
        """
        _check_choice("slow", slow, _SLOW)
        _check_choice("gap", gap, _GAP)
        if not isinstance(websocket, WebSocket):
            raise TypeError(f"forward() expects a WebSocket and then topics, not {type(websocket).__name__}")
        if encode is not None and not callable(encode):
            raise TypeError(f"encode must be a callable, not {type(encode).__name__}")
        with self._following(topics) as feeds:
            await self._opened(feeds)
            forwarder = Forwarder(
                websocket,
                encode,
                slow,
                gap,
                call_soon=self._service.arrivals.call_soon,
                stopped=self._leaving(feeds),
                closes=self._service.closes,
            )
            try:
                self._service.followers.add(forwarder)
                positions: dict[str, str] = {}
                for feed, position in zip(feeds, _positions(feeds, since), strict=True):
                    if position is _MALFORMED:
                        forwarder.refuse()
                    positions[feed.topic] = str(await forwarder.join(feed, self._catch_up(feed, position)))
                yield Forwarding(forwarder, positions)
            finally:
                forwarder.stop()

    @asynccontextmanager
    async def subscribe(
        self, *topics: str, since: _Since = None, buffer: int = 65536, slow: Slow = "disconnect"
    ) -> AsyncGenerator[Subscription, None]:
        """Receive what is published: ``async with topics.subscribe("orders") as messages:``.

        Args:
            topics: one or more topics.
            since: the position from which to go on: of the only topic, or a mapping from topics to positions; topics
                that are not in it begin now. What was published after it is received first.
            buffer: how many bytes of messages may wait to be received; each message counts its length and 129 bytes.
            slow: what to do about a message when the buffer is full: ``"disconnect"``: let
                `anyws.topics.Subscription.receive` raise `MessagesMissed` after the messages in the buffer; ``"drop"``
                the message; or keep only the ``"latest"`` message of each topic until there is room.

        Raises:
            EngineUnavailable: the engine is not connected, so the topics cannot be followed. It is not raised for
                topics that this process follows already.
            TypeError: no topics, or an argument of the wrong type.
            ValueError: a topic is empty, ``buffer`` is less than 1, or ``slow`` is none of these.
            anyio.ClosedResourceError: the block of `anyws.open_topics` has ended.
        """
        _check_choice("slow", slow, _SLOW)
        if buffer < 1:
            raise ValueError(f"buffer is {buffer}: expected a number of bytes above 0")
        with self._following(topics) as feeds:
            await self._opened(feeds)
            inbox = Inbox(buffer, slow, self._leaving(feeds))
            try:
                self._service.followers.add(inbox)
                for feed, position in zip(feeds, _positions(feeds, since), strict=True):
                    if position is _MALFORMED:
                        inbox.refuse(feed.topic)
                    elif (catch_up := self._catch_up(feed, position)) is None:
                        feed.join(inbox)
                    else:
                        inbox.join(catch_up)
                yield Subscription(inbox)
            finally:
                inbox.end("its block has ended")

    @contextmanager
    def _following(self, topics: Sequence[str]) -> Generator[list[Feed], None, None]:
        """Follow topics for the duration of a block."""
        if not topics:
            raise TypeError("expected one or more topics")
        for topic in topics:
            _check_topic(topic)
        self._service.check_open()
        feeds = [self._service.following.begin(topic) for topic in dict.fromkeys(topics)]
        try:
            yield feeds
        finally:
            for feed in feeds:
                self._service.following.end(feed)

    async def _opened(self, feeds: Sequence[Feed]) -> None:
        """Wait until the topics are followed."""
        await anyio.lowlevel.checkpoint()
        for feed in feeds:
            if feed.opened is not None:
                await feed.opened.wait()
            if feed.failure is not None:
                raise EngineUnavailable(str(feed.failure)) from feed.failure

    def _catch_up(self, feed: Feed, since: Position | None) -> CatchUp | None:
        return None if since is None or since is _MALFORMED else CatchUp(feed, since, self._service.reads)

    def _leaving(self, feeds: Sequence[Feed]) -> Callable[[FrameFollower | Reader], None]:
        """Return a function with which a follower leaves topics."""

        def leave(follower: FrameFollower | Reader) -> None:
            self._service.followers.discard(follower)
            for feed in feeds:
                feed.leave(follower)

        return leave


_MALFORMED = Position("", -1)


def _positions(feeds: Sequence[Feed], since: object) -> list[Position | None]:
    """Return for each topic the position from which to go on; `_MALFORMED` if that cannot be told.

    Args:
        feeds: the topics.
        since: what a client may have sent: anything.
    """
    if since is None:
        return [None] * len(feeds)
    if isinstance(since, str):
        return [_position(since if len(feeds) == 1 else None)] * len(feeds)
    if not isinstance(since, Mapping):
        return [_MALFORMED] * len(feeds)
    return [_position(since[feed.topic]) if feed.topic in since else None for feed in feeds]


def _position(text: object) -> Position:
    try:
        return Position.parse(text) if isinstance(text, str) else _MALFORMED
    except ValueError:
        return _MALFORMED


def _check_topic(topic: object) -> None:
    if not isinstance(topic, str):
        raise TypeError(f"a topic must be a str, not {type(topic).__name__}")
    if not topic:
        raise ValueError("a topic must not be empty")


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: expected {', '.join(map(repr, choices))}")
