"""Publishes numbers, and checks what a subscriber has received of them."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import Engine

__all__ = ["Publisher", "check"]


class Publisher:
    """Publishes the numbers from 0 on, one after another, each once; `accepted` are those that the engine accepted."""

    def __init__(self, engine: Engine, topic: str = "news") -> None:
        self.accepted: list[int] = []
        self.failures: list[EngineUnavailable] = []
        self._engine = engine
        self._topic = topic
        self._next = 0

    async def publish(self, count: int = 1) -> None:
        """Publish this many numbers that the engine accepts; retry with the next number if it does not."""
        for _ in range(count):
            while not await self.try_once():  # noqa: ASYNC110 - the engine tells only its listener
                await anyio.sleep(0.01)

    async def try_once(self) -> bool:
        """Publish a number; return whether the engine has accepted it."""
        number, self._next = self._next, self._next + 1
        try:
            await self._engine.publish(self._topic, b"%d" % number)
        except EngineUnavailable as exc:
            self.failures.append(exc)
            return False
        self.accepted.append(number)
        return True

    async def run(self, pause: float = 0) -> None:
        """Publish until cancelled."""
        while True:
            await self.publish()
            await anyio.sleep(pause)


def check(received: Sequence[bytes], accepted: Sequence[int], losses: int) -> None:
    """Check that a subscriber received each number at most once and in order, and that it was told of each loss."""
    numbers = [int(payload) for payload in received]
    assert numbers == sorted(set(numbers)), f"out of order or twice: {numbers}"
    missing = set(accepted) - set(numbers)
    assert losses or not missing, f"lost without a word: {sorted(missing)}"
