"""One server of an engine: subscriptions over one connection, everything else over another.

Messages never delay the replies to publishers, and a subscriber that waits in `drain` does not stop them. `follow` asks
where the topics stand over the connection of the messages: there, the reply comes after the messages before it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

import anyio
from anyio.abc import TaskStatus

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import Position
from anyws.topics.history import History

from .connection import Command, Connection
from .link import Link
from .protocol import ServerError, pack
from .scripts import (
    META_SECONDS,
    POSITIONS,
    PUBLISH,
    READ,
    Script,
    TopicKeys,
    is_still_good,
    unpack_message,
    unpack_position,
)
from .settings import Address, Settings

__all__ = ["Moved", "Shard", "Told"]

_TOPICS_PER_COMMAND = 100  # so that no command keeps the server busy for long
_NOT_THE_PRIMARY = frozenset(("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"))

T = TypeVar("T")

_logger = logging.getLogger("anyws.topics")


class Moved(EngineUnavailable):
    """Another server of the cluster has the topic now; the command was not carried out."""


class Told:
    """What a shard tells the engine.

    Args:
        arrived: called with each message.
        drain: awaited after each read.
        lost: called when messages may be lost, or cannot be published, from now on.
        ready: called when the topics can be followed, read and published to again.
        gone: called when the shard is no longer part of the engine.
    """

    __slots__ = ("arrived", "drain", "gone", "lost", "ready")

    def __init__(
        self,
        *,
        arrived: Callable[[str, Position, bytes], None],
        drain: Callable[[], Awaitable[None]],
        lost: Callable[[Shard, EngineUnavailable], None],
        ready: Callable[[Shard], None],
        gone: Callable[[Shard], None],
    ) -> None:
        self.arrived = arrived
        self.drain = drain
        self.lost = lost
        self.ready = ready
        self.gone = gone


class Shard:
    """A server.

    Args:
        find: returns its address.
        settings: how to connect.
        history: what a topic keeps; None for nothing.
        told: whom to tell what.
    """

    def __init__(
        self, find: Callable[[], Awaitable[Address]], settings: Settings, history: History | None, told: Told
    ) -> None:
        self._told = told
        self._is_cluster = settings.kind == "cluster"
        seconds = 0.0 if history is None else history.seconds
        self._lifetime = b"%d" % (1000 * max(META_SECONDS, 2 * seconds))
        self._history = (b"%d" % (0 if history is None else history.messages), b"%d" % max(1, round(1000 * seconds)))
        self._topics: dict[bytes, str] = {}  # those to which the current connection is subscribed, by channel
        self._commands = Link(find, settings, on_up=self._commands_up, on_down=self._lost)
        self._messages = Link(
            find,
            settings,
            on_up=self._messages_up,
            on_down=self._lost,
            on_message=self._arrived,
            drain=told.drain,
        )

    @property
    def is_up(self) -> bool:
        """Whether both connections are open."""
        return self._commands.is_up and self._messages.is_up

    async def run(
        self, *, must_connect: bool, task_status: TaskStatus[EngineUnavailable | None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep both connections open until cancelled.

        Args:
            must_connect: whether to return if a first attempt fails.
            task_status: is told None once both connections are open, or the error for which this function returns.
        """
        async with anyio.create_task_group() as tasks:

            async def start(link: Link) -> EngineUnavailable | None:
                async def run(*, task_status: TaskStatus[EngineUnavailable | None]) -> None:
                    await link.run(must_connect=must_connect, task_status=task_status)

                failure: EngineUnavailable | None = await tasks.start(run)
                return failure

            failure = await start(self._messages) or await start(self._commands)
            if failure is not None:
                tasks.cancel_scope.cancel()
            task_status.started(failure)

    async def publish(self, keys: TopicKeys, payload: bytes) -> Position:
        """Publish a message, and return its position.

        Raises:
            EngineUnavailable: the server did not accept it, or did not say so.
        """
        connection = self._commands.connection
        how = b"SPUBLISH" if self._is_cluster else b"PUBLISH"
        reply = await self._evaluate(
            connection, PUBLISH, list(keys), *self._stand(connection), payload, how, *self._history, is_optional=True
        )
        return _parsed(connection, unpack_position, reply)

    async def read(self, keys: TopicKeys, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return the messages after a position, at most `limit`; None if they are not all there.

        Raises:
            EngineUnavailable: the server did not respond.
        """
        connection = self._commands.connection
        reply = await self._evaluate(
            connection, READ, [keys.meta, keys.stream], *self._stand(connection), b"%d" % after.offset, b"%d" % limit
        )
        return _parsed(connection, _complete, reply, after, limit)

    async def follow(self, topics: Sequence[tuple[str, TopicKeys]]) -> list[Position]:
        """Subscribe where necessary, and return where each topic stands.

        Raises:
            Moved: another server has a topic.
            EngineUnavailable: the server did not respond, or rejected a subscription.
        """
        connection = self._messages.connection
        if self._commands.is_up and self._commands.connection.run_id != connection.run_id:
            # A failover: one of the connections still leads to the server that was the primary before.
            reason = EngineUnavailable(f"two connections to {connection} reached two servers")
            self._commands.connection.lose(reason)
            connection.lose(reason)
            raise reason
        new = {keys.channel: topic for topic, keys in topics if keys.channel not in self._topics}
        self._topics |= new
        subscriptions = self._channel_commands(b"SUBSCRIBE", list(new))
        size = 1 if self._is_cluster else _TOPICS_PER_COMMAND
        groups = [
            [name for _, keys in topics[start : start + size] for name in (keys.meta, keys.stream)]
            for start in range(0, len(topics), size)
        ]
        stand = self._stand(connection)
        commands = [Command(POSITIONS.short(group, *stand)) for group in groups]
        replies = await connection.call(*subscriptions, *commands)
        for reply in replies[: len(subscriptions)]:
            if isinstance(reply, ServerError):
                for channel in new:
                    self._topics.pop(channel, None)
                self._raise(connection, reply)
        positions: list[Position] = []
        for group, reply in zip(groups, replies[len(subscriptions) :], strict=True):
            if isinstance(reply, ServerError) and reply.code == "NOSCRIPT":
                answer = (await connection.call(Command(POSITIONS.long(group, *stand))))[0]
            else:
                answer = reply
            if isinstance(answer, ServerError):
                self._raise(connection, answer)
            positions += _parsed(connection, _positions, answer)
        return positions

    async def unfollow(self, topics: Sequence[TopicKeys]) -> None:
        """Unsubscribe. Never raises `EngineUnavailable`: without a connection, there are no subscriptions."""
        channels = [keys.channel for keys in topics if self._topics.pop(keys.channel, None) is not None]
        if channels and self._messages.is_up:
            try:
                await self._messages.connection.call(*self._channel_commands(b"UNSUBSCRIBE", channels))
            except EngineUnavailable:
                pass

    def _stand(self, connection: Connection) -> tuple[bytes, bytes, bytes]:
        """Return the arguments that all scripts have."""
        return secrets.token_hex(6).encode(), connection.run_id, self._lifetime

    def _channel_commands(self, name: bytes, channels: list[bytes]) -> list[Command]:
        if self._is_cluster:  # the channels of a command must have the same slot
            return [Command(pack(b"S" + name, channel), channels=1) for channel in channels]
        groups = [
            channels[start : start + _TOPICS_PER_COMMAND] for start in range(0, len(channels), _TOPICS_PER_COMMAND)
        ]
        return [Command(pack(name, *group), channels=len(group)) for group in groups]

    async def _evaluate(
        self, connection: Connection, script: Script, keys: list[bytes], *arguments: bytes, is_optional: bool = False
    ) -> object:
        """Run a script, and return its reply."""
        (reply,) = await connection.call(Command(script.short(keys, *arguments), is_optional=is_optional))
        if isinstance(reply, ServerError) and reply.code == "NOSCRIPT":  # nothing was carried out
            (reply,) = await connection.call(Command(script.long(keys, *arguments), is_optional=is_optional))
        if isinstance(reply, ServerError):
            self._raise(connection, reply)
        return reply

    def _raise(self, connection: Connection, error: ServerError) -> NoReturn:
        """Raise what an error reply means."""
        if error.code == "MOVED":
            raise Moved(f"{connection}: {error}")
        failure = EngineUnavailable(f"{connection}: {error}")
        if error.code in _NOT_THE_PRIMARY:
            connection.lose(failure)
        raise failure

    def _messages_up(self) -> None:
        self._topics = {}
        self._commands_up()

    def _commands_up(self) -> None:
        if self.is_up:  # topics that missed something read the history at once, so both connections are needed
            self._told.ready(self)

    def _lost(self, reason: EngineUnavailable) -> None:
        self._told.lost(self, reason)

    def _arrived(self, channel: bytes, message: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:  # it has just been unfollowed
            return
        try:
            position, payload = unpack_message(message)
        except ValueError:
            _logger.warning("another program has published on %r, which belongs to anyws; it is ignored", channel)
            return
        self._told.arrived(topic, position, payload)


def _parsed(connection: Connection, parse: Callable[..., T], *arguments: object) -> T:
    """Parse a reply of a script; one that makes no sense is the server's fault."""
    try:
        return parse(*arguments)
    except (ValueError, TypeError, IndexError) as exc:
        raise EngineUnavailable(f"{connection} returned something unexpected: {exc}") from exc


def _positions(reply: object) -> list[Position]:
    if not isinstance(reply, list):
        raise ValueError(f"the server returned {reply!r:.60}, expected a list")
    return [unpack_position(item) for item in reply]


def _complete(reply: object, after: Position, limit: int) -> list[tuple[Position, bytes]] | None:
    """Return the messages after a position; None if some are missing, or the server does not have that position."""
    if not isinstance(reply, list) or len(reply) != 3:
        raise ValueError(f"the server returned {reply!r:.60}, expected three values")
    now, past, entries = unpack_position(reply[0]), reply[1], reply[2]
    if not is_still_good(after, now, past):
        return None
    count = min(limit, now.offset - after.offset)
    messages: list[tuple[Position, bytes]] = []
    for entry in entries[:count]:
        offset = after.offset + 1 + len(messages)
        if entry[0] != b"%d-0" % offset:
            return None
        messages.append((Position(now.epoch, offset), entry[1][1]))
    return messages if len(messages) == count else None
