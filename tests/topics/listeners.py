"""Listeners of an engine: one records, one is a subscriber that repairs gaps from the history."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import Engine, Position

__all__ = ["Follower", "Recorder"]


class Recorder:
    """Records what an engine tells it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Position, bytes]] = []
        self.events: list[str] = []
        self.drained = anyio.Event()
        self.drained.set()
        self._changed = anyio.Event()

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Record a message."""
        self.messages.append((topic, position, payload))
        self._change()

    async def drain(self) -> None:
        """Wait while a test says so."""
        await self.drained.wait()

    def interrupted(self, reason: BaseException) -> None:
        """Record an interruption."""
        self.events.append("interrupted")
        self._change()

    def restored(self) -> None:
        """Record the end of an interruption."""
        self.events.append("restored")
        self._change()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, which is checked after each event."""
        while not condition():
            await self._changed.wait()

    def payloads(self, topic: str) -> list[bytes]:
        """Return what has arrived in a topic."""
        return [payload for name, _, payload in self.messages if name == topic]

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Follower(Recorder):
    """A subscriber of one topic: `received` has each message once and in order; where some are missing, `losses` grows.

    `run` has to run beside it.
    """

    def __init__(self, engine: Engine, topic: str) -> None:
        super().__init__()
        self.received: list[bytes] = []
        self.losses = 0
        self.following = anyio.Event()
        self._engine = engine
        self._topic = topic
        self.position: Position | None = None
        self._work = anyio.Event()

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Take the next message, or see that there is a gap."""
        if self.position is None or not self.following.is_set():
            return  # `follow` has not returned; it says where to begin
        if position == (self.position.epoch, self.position.offset + 1):
            self._take(position, payload)
        elif position.epoch != self.position.epoch or position.offset > self.position.offset:
            self._work.set()

    def has_last(self, payload: bytes) -> bool:
        """Return whether this is the last payload."""
        return self.received[-1:] == [payload]

    def restored(self) -> None:
        """Look for what was missed."""
        super().restored()
        self._work.set()

    async def run(self, check_interval: float = 5) -> None:
        """Follow the topic, and repair gaps, until cancelled."""
        while True:
            self._work = anyio.Event()
            try:
                (current,) = await self._engine.follow([self._topic])
                if self.position is None:
                    self.position = current
                self.following.set()
                await self._repair(current)
            except EngineUnavailable:
                with anyio.move_on_after(0.05):
                    await self._work.wait()
                continue
            self._change()
            with anyio.move_on_after(check_interval):
                await self._work.wait()

    async def _repair(self, current: Position) -> None:
        while True:
            assert self.position is not None
            before = self.position
            found = await self._engine.read(self._topic, before, 100)
            if self.position != before:  # messages have arrived meanwhile
                continue
            if found is None:
                self.losses += 1
                (self.position,) = await self._engine.follow([self._topic])
                return
            if not found:
                if before.epoch != current.epoch and before.offset == current.offset:
                    self.position = current
                return
            for position, payload in found:
                self._take(position, payload)

    def _take(self, position: Position, payload: bytes) -> None:
        self.position = position
        self.received.append(payload)
        self._change()
