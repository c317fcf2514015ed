"""The recipe for presence, over topics of this process and over real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from examples.shared.presence import Presence
from tests.topics.servers import PROGRAMS, RedisServer, find_program


@pytest.fixture(params=["this process", *PROGRAMS])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """The URL of an engine."""
    if request.param not in PROGRAMS:
        yield None
        return
    program = find_program(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    server = RedisServer(program, tmp_path)
    server.start()
    yield server.url
    server.kill()


class Watched:
    """A presence, as one process has it, and what it has told."""

    def __init__(self, topics: anyws.Topics, interval: float) -> None:
        self.presence = Presence(topics, "people", self.changed, interval)
        self.condition = anyio.Event()

    async def changed(self) -> None:
        self.condition.set()

    async def until(self, is_wanted: Callable[[list[str]], bool]) -> None:
        while not is_wanted(self.presence.names()):
            self.condition = anyio.Event()
            await self.condition.wait()


@asynccontextmanager
async def process(topics: anyws.Topics, *names: str, interval: float = 60) -> Any:
    watched = Watched(topics, interval)
    watched.presence.set(names)
    async with anyio.create_task_group() as tasks:
        await tasks.start(watched.presence.run)
        yield watched
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def shared(engine: str | None) -> Any:
    """Topics of two processes, which are the same without an engine."""
    async with anyws.open_topics(engine) as topics:
        if engine is None:
            yield topics, topics
            return
        async with anyws.open_topics(engine) as others:
            yield topics, others


async def test_processes_see_who_comes_and_goes_without_waiting_for_the_interval(engine: str | None) -> None:
    async with shared(engine) as (topics, others), process(topics, "Ann") as one:
        async with process(others, "Bob", "Bea") as other:
            await other.until(lambda names: names == ["Ann", "Bea", "Bob"])
            await one.until(lambda names: names == ["Ann", "Bea", "Bob"])
            other.presence.set(["Bob"])
            await one.until(lambda names: names == ["Ann", "Bob"])
        await one.until(lambda names: names == ["Ann"])


async def test_a_process_that_announces_nothing_more_is_forgotten(engine: str | None) -> None:
    async with shared(engine) as (topics, others), process(topics, "Ann", interval=0.05) as one:
        crashed = Presence(others, "people", one.changed, 0.05)
        crashed.set(["Bob"])
        await crashed.announce()
        await one.until(lambda names: names == ["Ann", "Bob"])
        await one.until(lambda names: names == ["Ann"])
