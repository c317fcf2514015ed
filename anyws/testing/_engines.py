"""An engine of topics that fails on command: `FaultyEngine`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import EngineListener, Position
from anyws.topics.history import History
from anyws.topics.store import Store

__all__ = ["FaultyEngine"]

_Arrival = tuple[str, Position, bytes]


class FaultyEngine:
    """An `anyws.Engine` in memory that drops, delays, doubles, freezes and dies when your test says so.

    ``async with anyws.open_topics(engine=FaultyEngine(anyws.History())) as topics``. Until you call one of its methods,
    it works like the engine for one process.

    Args:
        history: what is kept of each topic; None for nothing.
        beside: another `FaultyEngine` that has the same topics, as the engine of a second process would. The faults are
            those of this engine only.
    """

    def __init__(self, history: History | None = None, *, beside: FaultyEngine | None = None) -> None:
        self._store: Store = Store(history, anyio.current_time) if beside is None else beside._store
        self._listener: EngineListener | None = None
        self._followed: dict[str, None] = {}
        self._is_dead = False
        self._dropping = 0
        self._doubling = 0
        self._delayed: deque[_Arrival] | None = None
        self._thawed: anyio.Event | None = None

    # -- faults --------------------------------------------------------------------------------------------------------

    def drop(self, count: int = 1) -> None:
        """Lose the next messages on the way here, without notice."""
        self._dropping += count

    def double(self, count: int = 1) -> None:
        """Let each of the next messages arrive twice."""
        self._doubling += count

    def delay(self) -> None:
        """Hold back the messages that arrive, until `deliver`."""
        self._delayed = deque() if self._delayed is None else self._delayed

    def deliver(self) -> None:
        """Let the messages arrive that were held back, and no longer hold back others."""
        delayed, self._delayed = self._delayed or (), None
        for arrival in delayed:
            self._arrive(arrival)

    def freeze(self) -> None:
        """Respond to nothing, and let nothing arrive, until `thaw`. Nobody is told."""
        self.delay()
        self._thawed = self._thawed or anyio.Event()

    def thaw(self) -> None:
        """End `freeze`."""
        if self._thawed is not None:
            self._thawed.set()
            self._thawed = None
        self.deliver()

    def die(self) -> None:
        """Lose the connection: what is published meanwhile does not arrive, and each call raises `EngineUnavailable`.

        If called before `anyws.open_topics`, that raises.
        """
        self._is_dead = True
        self._delayed = None
        self._followed.clear()
        if self._listener is not None:
            self._listener.interrupted(ConnectionError("the engine has died on command"))

    def restart(self, *, forget: bool = False, lost: int | None = None) -> None:
        """Connect again after `die`.

        Args:
            forget: whether all topics have lost their data, for all engines beside this one as well.
            lost: how many of the latest messages of each topic are lost, for all engines. With a number, also with 0,
                the topics begin another epoch, in which positions of messages that are not lost remain good.
        """
        if forget:
            self._store.forget_everything()
        elif lost is not None:
            self._store.recover(lost)
        self._is_dead = False
        if self._listener is not None:
            self._listener.restored()

    # -- the engine ----------------------------------------------------------------------------------------------------

    async def run(self, listener: EngineListener, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; see `anyws.Engine`."""
        await self._respond()
        self._listener = listener
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            self._store.leave(self)
            self._followed.clear()
            self._listener = None

    async def publish(self, topic: str, payload: bytes) -> Position:
        """Publish a message."""
        await self._respond()
        if self._listener is not None:
            await self._listener.drain()
        return self._store.publish(topic, payload)

    async def follow(self, topics: Sequence[str]) -> Sequence[Position]:
        """Follow topics, and return where they stand."""
        await self._respond()
        positions: list[Position] = []
        for topic in topics:
            self._followed[topic] = None
            position = self._store.follow(topic, self)
            first = next((each for name, each, _ in self._delayed or () if name == topic), None)
            # What is held back will still arrive, so the topic does not stand after it.
            positions.append(position if first is None else Position(first.epoch, first.offset - 1))
        return positions

    async def unfollow(self, topics: Sequence[str]) -> None:
        """Follow topics no longer."""
        await self._respond()
        for topic in topics:
            self._followed.pop(topic, None)
            self._store.unfollow(topic, self)

    async def read(self, topic: str, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return what was published after a position."""
        await self._respond()
        return self._store.read(topic, after, limit)

    async def _respond(self) -> None:
        await checkpoint()
        if self._thawed is not None:
            await self._thawed.wait()
        if self._is_dead:
            raise EngineUnavailable("the engine is not connected: it has died on command")

    # -- what arrives --------------------------------------------------------------------------------------------------

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Accept a message from the store, and treat it as the test wants."""
        if topic not in self._followed:  # since it died
            return
        if self._dropping:
            self._dropping -= 1
            return
        arrival = topic, position, payload
        copies = [arrival]
        if self._doubling:
            self._doubling -= 1
            copies.append(arrival)
        if self._delayed is not None:
            self._delayed.extend(copies)
        else:
            for copy in copies:
                self._arrive(copy)

    def _arrive(self, arrival: _Arrival) -> None:
        if self._listener is not None:
            self._listener.arrived(*arrival)
