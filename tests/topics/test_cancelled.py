"""Each call, cancelled wherever it suspends: no other block notices, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from tests.harness import cancelling_at

from .followed import pairs, until

_MOST_STEPS = 100


async def everywhere(
    call: Callable[[], Coroutine[Any, Any, None]], check: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run a call again and again, cancelled one step later each time, until it is not cancelled any more."""
    for step in range(_MOST_STEPS):
        with anyio.fail_after(10), anyio.CancelScope() as scope:
            await cancelling_at(step, scope, call())
        await check()
        if not scope.cancelled_caught:
            assert step
            return
    raise AssertionError(f"it has more than {_MOST_STEPS} steps")


@pytest.mark.parametrize("is_followed", [False, True])
async def test_forward(is_followed: bool) -> None:
    engine = FaultyEngine(anyws.History())
    async with anyws.open_topics(engine=engine) as topics, pairs(2) as (clients, servers):
        service = topics._service
        first = await topics.publish("news", "known")
        await topics.publish("news", "missed")

        async def call() -> None:
            async with topics.forward(servers[0], "news", "more", since={"news": first}):
                pass

        async def check() -> None:
            async with topics.forward(servers[1], "news", "more"):
                await topics.publish("more", "works")
                assert await clients[1].receive() == "works"
            await until(lambda: set(service.feeds) == ({"news"} if is_followed else set()))
            await until(lambda: len(service.followers) == is_followed)
            assert not service.reads._in_progress
            await until(lambda: set(engine._followed) == set(service.feeds))

        if is_followed:
            async with topics.subscribe("news"):
                await everywhere(call, check)
        else:
            await everywhere(call, check)


async def test_subscribe_and_receive() -> None:
    engine = FaultyEngine(anyws.History())
    async with anyws.open_topics(engine=engine) as topics:
        first = await topics.publish("news", "known")
        for number in range(3):
            await topics.publish("news", str(number))

        async def call() -> None:
            async with topics.subscribe("news", since=first, buffer=1) as messages:
                for number in range(3):
                    assert (await messages.receive()).message == str(number)

        async def check() -> None:
            await until(lambda: not topics._service.feeds)
            assert not topics._service.followers
            assert not topics._service.reads._in_progress

        await everywhere(call, check)


async def test_receive_loses_nothing() -> None:
    got: list[str | bytes] = []
    async with anyws.open_topics(history=anyws.History()) as topics:
        first = await topics.publish("news", "known")
        for number in range(3):
            await topics.publish("news", str(number))
        async with topics.subscribe("news", since=first, buffer=1) as messages:

            async def call() -> None:
                while len(got) < 3:
                    got.append((await messages.receive()).message)

            async def check() -> None:
                assert got == [*"012"][: len(got)]

            await everywhere(call, check)
    assert got == [*"012"]


async def test_publish_reaches_all_or_nobody() -> None:
    async with (
        anyws.open_topics() as topics,
        pairs(3) as (clients, servers),
        topics.forward(servers[0], "news"),
        topics.forward(servers[1], "news"),
        topics.forward(servers[2], "news"),
    ):

        async def call() -> None:
            await topics.publish("news", "perhaps")

        async def check() -> None:
            await topics.publish("news", "end")
            found: list[list[str | bytes]] = []
            for client in clients:
                messages = [await client.receive()]
                while messages[-1] != "end":
                    messages.append(await client.receive())
                found.append(messages)
            assert found == [found[0]] * 3

        await everywhere(call, check)


async def test_open_topics() -> None:
    engine = FaultyEngine()

    async def call() -> None:
        async with anyws.open_topics(engine=engine) as topics:
            await topics.publish("news", "x")

    async def check() -> None:
        assert engine._listener is None

    await everywhere(call, check)
