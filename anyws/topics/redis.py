"""Topics over Redis or Valkey."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskStatus

from anyws.exceptions import EngineUnavailable

from ._redis.places import Places, places_of
from ._redis.scripts import TopicKeys, keys_of
from ._redis.settings import parse_url
from ._redis.shard import Moved, Shard, Told
from .engine import EngineListener, Position
from .history import History

__all__ = ["RedisEngine"]

_MOVES = 5
"""How often a command follows a topic that a cluster moves from server to server."""

_SLICE = 1000
"""How many topics are followed at once, so that other tasks run in between: the event loop is held up for some 6 ms."""


class RedisEngine:
    """An engine over Redis 7 or later, or Valkey: a server, a server watched by sentinels, or a cluster.

    ``open_topics("redis://...")`` uses it. Each process has two connections to each server that has topics. Keys and
    channels begin with ``anyws:``.

    The URL is one of these, with ``rediss`` instead of ``redis`` for TLS; ``valkey`` and ``valkeys`` mean the same:

    - ``redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]``
    - ``redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DB]``, with the sentinels as hosts
    - ``redis+cluster://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]``, with some of the servers as hosts
    - ``unix://[[USER]:PASSWORD@]/PATH[?db=DB]``

    Percent-encode characters that have a meaning in URLs. Options follow ``?``: ``client_name`` (default ``anyws``),
    ``sentinel_username``, ``sentinel_password``, and for TLS ``ssl_ca_certs`` (a file or a folder), ``ssl_certfile``,
    ``ssl_keyfile``, ``ssl_check_hostname`` (default true) and ``ssl_cert_reqs`` (``required``, ``optional`` or
    ``none``; default ``required``).

    Args:
        url: where the servers are.
        history: how much of each topic is kept; None for nothing. All processes should have the same.
        ssl_context: for TLS, instead of the options in the URL.
        credentials: an async callable that returns user name and password, called for each connection; for passwords
            that expire. The URL must have none then.

    Raises:
        ValueError: the URL is malformed.
        OSError: a certificate cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        history: History | None = None,
        ssl_context: ssl.SSLContext | None = None,
        credentials: Callable[[], Awaitable[tuple[str, str]]] | None = None,
    ) -> None:
        self._settings = parse_url(url, ssl_context=ssl_context, credentials=credentials)
        self._history = history
        self._places: Places | None = None
        self._listener: EngineListener | None = None  # once it is told when the connection is lost
        self._down: set[Shard] = set()

    async def run(self, listener: EngineListener, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Connect, and keep the connections open until cancelled. An engine runs once at a time.

        A connection that is lost is opened again, after at most 1.5 seconds each time. A server that does not respond
        is given up after at most 10 seconds.

        Args:
            listener: receives the messages, and is told of interruptions.
            task_status: is told when all servers are connected.

        Raises:
            EngineUnavailable: the first attempt to connect failed.
        """
        if self._places is not None:
            raise RuntimeError("the engine is already running; give each Topics an engine of its own")
        told = Told(
            arrived=listener.arrived, drain=listener.drain, lost=self._lost, ready=self._ready, gone=self._ready
        )
        self._places = places = places_of(self._settings, self._history, told)
        failure: EngineUnavailable | None = None
        try:
            async with anyio.create_task_group() as tasks:
                failure = await tasks.start(places.run)
                if failure is None:
                    self._listener = listener
                    task_status.started()
        finally:
            self._places = self._listener = None
            self._down = set()
        if failure is not None:
            raise failure

    async def publish(self, topic: str, payload: bytes) -> Position:
        """Publish a message to all processes, and return its position.

        Messages that one task publishes keep their order; concurrent calls share a write. Nothing is sent again once it
        may have been carried out. If cancelled, the message may have been published.

        Raises:
            EngineUnavailable: the server cannot be reached, does not respond within 5 seconds, or refused the message.
                The error says whether the message may have been published.
            ValueError: the topic is longer than 8 KiB.
        """
        keys = keys_of(topic, self._settings.db)
        for _ in range(_MOVES):
            try:
                return await self._running().shard_of(keys).publish(keys, payload)
            except Moved:
                await self._running().refresh()
        raise EngineUnavailable(f"the cluster kept moving the topic {topic!r}; nothing was published")

    async def follow(self, topics: Sequence[str]) -> Sequence[Position]:
        """Subscribe to the topics where that is necessary, and return where each stands.

        When this returns, each message up to the returned position has been passed to the listener or will never be.
        If cancelled, some of the topics may be subscribed.

        Raises:
            EngineUnavailable: a server cannot be reached, or rejected the subscription.
            ValueError: a topic is longer than 8 KiB.
        """
        pairs = [(topic, keys_of(topic, self._settings.db)) for topic in topics]
        positions: list[Position] = []
        for start in range(0, len(pairs), _SLICE):
            positions += await self._follow_slice(pairs[start : start + _SLICE])
        return positions

    async def unfollow(self, topics: Sequence[str]) -> None:
        """Unsubscribe from the topics. Without a connection there is nothing to do."""
        groups: dict[Shard, list[TopicKeys]] = {}
        for topic in topics:
            keys = keys_of(topic, self._settings.db)
            try:
                groups.setdefault(self._running().shard_of(keys), []).append(keys)
            except EngineUnavailable:
                continue
        for shard, group in groups.items():
            await shard.unfollow(group)

    async def read(self, topic: str, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return the messages after a position, in order and without gaps.

        Args:
            topic: the topic.
            after: the position.
            limit: how many messages to return at most.

        Returns:
            The messages, which are empty if the position is the latest. None if messages are missing, because they are
            older than the history, or because the server has lost them.

        Raises:
            EngineUnavailable: the server cannot be reached.
        """
        keys = keys_of(topic, self._settings.db)
        for _ in range(_MOVES):
            try:
                return await self._running().shard_of(keys).read(keys, after, limit)
            except Moved:
                await self._running().refresh()
        raise EngineUnavailable(f"the cluster kept moving the topic {topic!r}")

    def _running(self) -> Places:
        if self._places is None:
            raise EngineUnavailable("the engine is not running; run() connects it")
        return self._places

    async def _follow_slice(self, pairs: Sequence[tuple[str, TopicKeys]]) -> list[Position]:
        for _ in range(_MOVES):
            try:
                return await self._follow(pairs)
            except Moved:
                await self._running().refresh()
        raise EngineUnavailable("the cluster kept moving the topics")

    async def _follow(self, pairs: Sequence[tuple[str, TopicKeys]]) -> list[Position]:
        places = self._running()
        groups: dict[Shard, list[tuple[str, TopicKeys]]] = {}
        for pair in pairs:
            groups.setdefault(places.shard_of(pair[1]), []).append(pair)
        positions: dict[str, Position] = {}
        failures: list[EngineUnavailable] = []

        async def follow(shard: Shard, group: list[tuple[str, TopicKeys]]) -> None:
            try:
                positions.update(zip((topic for topic, _ in group), await shard.follow(group), strict=True))
            except EngineUnavailable as exc:
                failures.append(exc)

        async with anyio.create_task_group() as tasks:
            for shard, group in groups.items():
                tasks.start_soon(follow, shard, group)
        for failure in sorted(failures, key=lambda failure: not isinstance(failure, Moved)):
            raise failure
        return [positions[topic] for topic, _ in pairs]

    def _lost(self, shard: Shard, reason: EngineUnavailable) -> None:
        is_first = not self._down
        self._down.add(shard)
        if is_first and self._listener is not None:
            self._listener.interrupted(reason)

    def _ready(self, shard: Shard) -> None:
        if shard in self._down:
            self._down.discard(shard)
            if not self._down and self._listener is not None:
                self._listener.restored()
