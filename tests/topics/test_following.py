"""The engine is told what to follow, and what no longer, whatever happens in between."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from anyws.topics import Position
from tests.harness import on_mock_clock

from .followed import until


class Recorder(FaultyEngine):
    """Notes the calls, and lets some of them take until the test says so."""

    def __init__(self) -> None:
        super().__init__(anyws.History())
        self.calls: list[tuple[str, list[str]]] = []
        self.held = ""
        self.released = anyio.Event()

    async def follow(self, topics: Sequence[str]) -> Sequence[Position]:
        self.calls.append(("follow", sorted(topics)))
        positions = await super().follow(topics)
        if self.held == "follow":
            await self.released.wait()
        return positions

    async def unfollow(self, topics: Sequence[str]) -> None:
        self.calls.append(("unfollow", sorted(topics)))
        if self.held == "unfollow":
            await self.released.wait()
        await super().unfollow(topics)


async def test_many_that_begin_together_share_a_call() -> None:
    engine = Recorder()
    async with anyws.open_topics(engine=engine) as topics:
        async with anyio.create_task_group() as tasks:

            async def follow(number: int) -> None:
                async with topics.subscribe(f"{number % 10}", "all"):
                    await anyio.wait_all_tasks_blocked()

            for number in range(50):
                tasks.start_soon(follow, number)
        await until(lambda: not topics._service.feeds)
        await until(lambda: engine.calls[-1][0] == "unfollow")
    assert len([call for call, _ in engine.calls if call == "follow"]) <= 2
    assert sorted({topic for call, names in engine.calls if call == "unfollow" for topic in names}) == sorted(
        [*"0123456789", "all"]
    )


async def test_one_that_comes_back_while_its_topic_is_given_up() -> None:
    engine = Recorder()
    async with anyws.open_topics(engine=engine) as topics:
        async with topics.subscribe("a"):
            engine.held = "unfollow"
        await until(lambda: engine.calls[-1][0] == "unfollow")
        async with anyio.create_task_group() as tasks:

            async def come_back() -> None:
                async with topics.subscribe("a") as messages:
                    await topics.publish("a", "x")
                    assert (await messages.receive()).message == "x"

            scope = anyio.CancelScope()

            async def give_up() -> None:
                with scope:
                    await come_back()

            tasks.start_soon(give_up)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(come_back)
            await anyio.wait_all_tasks_blocked()
            engine.held = ""
            engine.released.set()


@on_mock_clock
async def test_a_topic_that_could_not_be_followed_is_given_up() -> None:
    """The engine may have subscribed, although it did not respond."""
    engine = Recorder()
    async with anyws.open_topics(engine=engine, publish_timeout=3) as topics:
        engine.held = "follow"
        with pytest.raises(anyws.EngineUnavailable, match="did not respond within 3 s"):
            async with topics.subscribe("a"):
                pass
        await until(lambda: not engine._followed)
    assert engine.calls == [("follow", ["a"]), ("unfollow", ["a"])]
