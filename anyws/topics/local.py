"""The engine for topics in one process: `LocalEngine`."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from .engine import EngineListener, Position
from .history import History
from .store import Store

__all__ = ["LocalEngine"]

_EXPIRY_INTERVAL = 10  # seconds


class LocalEngine:
    """Carries messages within one process. Nothing is lost on the way, because there is none.

    Args:
        history: what is kept of each topic; None for nothing.
    """

    def __init__(self, history: History | None = None) -> None:
        self._history = history
        self._store = Store(history, anyio.current_time)
        self._listener: EngineListener

    async def run(self, listener: EngineListener, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; see `Engine.run`."""
        self._listener = listener
        task_status.started()
        while True:
            await anyio.sleep(_EXPIRY_INTERVAL)
            self._store.expire()

    async def publish(self, topic: str, payload: bytes) -> Position:
        """Publish a message. If cancelled, it was not published."""
        await self._listener.drain()  # whoever publishes too fast waits
        return self._store.publish(topic, payload)

    async def follow(self, topics: Sequence[str]) -> Sequence[Position]:
        """Follow topics; see `Engine.follow`."""
        await checkpoint()
        return [self._store.follow(topic, self._listener) for topic in topics]

    async def unfollow(self, topics: Sequence[str]) -> None:
        """Follow topics no longer."""
        await checkpoint()
        for topic in topics:
            self._store.unfollow(topic, self._listener)

    async def read(self, topic: str, after: Position, limit: int) -> Sequence[tuple[Position, bytes]] | None:
        """Return what was published after a position; see `Engine.read`."""
        await checkpoint()
        return self._store.read(topic, after, limit)
