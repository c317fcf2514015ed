"""Messages that an engine loses are noticed: the history fills the hole, or all that follow are told."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from anyws.topics import following
from tests.harness import on_mock_clock
from tests.peers import meeting

from .followed import pairs, received, until


@pytest.mark.parametrize("count", [1, 3])
async def test_history_fills_a_hole(count: int) -> None:
    engine = FaultyEngine(anyws.History())
    async with (
        anyws.open_topics(engine=engine) as topics,
        pairs(2) as (clients, servers),
        topics.forward(servers[0], "news") as forwarding,
        topics.forward(servers[1], "news"),
        topics.subscribe("news") as messages,
    ):
        engine.drop(count)
        engine.double(2)
        sent = [str(number) for number in range(count + 3)]
        for message in sent:
            await topics.publish("news", message)
        for client in clients:
            assert [await client.receive() for _ in sent] == sent
        assert [(await messages.receive()).message for _ in sent] == sent
        assert forwarding.is_continuous


@pytest.mark.parametrize("history", [None, anyws.History(messages=1)])
async def test_what_cannot_be_filled_is_told(history: anyws.History | None) -> None:
    engine = FaultyEngine(history)
    async with (
        anyws.open_topics(engine=engine, reconnect_spread=0) as topics,
        pairs(2) as (clients, servers),
        topics.forward(servers[0], "news"),
        topics.forward(servers[1], "news", gap="continue") as forwarding,
        topics.subscribe("news") as messages,
    ):
        last = await topics.publish("news", "0")
        engine.drop(2)
        for message in ("1", "2", "3"):
            new = await topics.publish("news", message)
        assert await clients[0].receive() == "0"
        with pytest.raises(anyws.ConnectionClosedError, match=r"1012 \(messages were missed\)"):
            await clients[0].receive()
        assert [await clients[1].receive(), await clients[1].receive()] == ["0", "3"]
        assert not forwarding.is_continuous
        assert (await messages.receive()).message == "0"
        with pytest.raises(anyws.MessagesMissed, match="messages of topic 'news' were missed after") as raised:
            await messages.receive()
        assert (raised.value.topic, raised.value.last) == ("news", last)
        assert raised.value.new == new[:-1] + "3"


@on_mock_clock
async def test_a_loss_is_noticed_within_five_seconds_without_a_next_message() -> None:
    engine = FaultyEngine(anyws.History())
    async with anyws.open_topics(engine=engine) as topics, topics.subscribe("news") as messages:
        engine.drop()
        await topics.publish("news", "lost on the way")
        began = anyio.current_time()
        assert (await messages.receive()).message == "lost on the way"
        assert anyio.current_time() - began <= following.CHECK_INTERVAL == 5


def status_of(topics: anyws.Topics) -> str:
    """Return the status, which a type checker believes to be what it was."""
    return topics.status


@pytest.mark.parametrize("keeps", ["history", "no history", "no data"])
async def test_an_engine_that_dies_and_comes_back(keeps: str) -> None:
    engine = FaultyEngine(None if keeps == "no history" else anyws.History())
    async with (
        anyws.open_topics(engine=engine, reconnect_spread=0) as topics,
        anyws.open_topics(engine=FaultyEngine(beside=engine)) as others,
        pairs(1) as ((client,), (server,)),
        topics.forward(server, "news"),
    ):
        await topics.publish("news", "before")
        assert await client.receive() == "before"
        assert topics.status == "connected"
        engine.die()
        assert status_of(topics) == "interrupted"
        with pytest.raises(anyws.EngineUnavailable, match="not connected"):
            await topics.publish("news", "raises")
        with pytest.raises(anyws.EngineUnavailable, match="topics cannot be followed"):
            async with topics.forward(server, "another topic"):
                pass
        async with topics.forward(server, "news"):
            pass  # is followed already, so it works
        await others.publish("news", "meanwhile")
        assert await received(client, server) == []  # it stays open
        engine.restart(forget=keeps == "no data")
        assert topics.status == "connected"
        if keeps == "history":
            assert await client.receive() == "meanwhile"
            await topics.publish("news", "after")
            assert await client.receive() == "after"
        else:
            with pytest.raises(anyws.ConnectionClosedError, match="1012"):
                await client.receive()


@on_mock_clock
async def test_a_frozen_engine_is_noticed() -> None:
    engine = FaultyEngine(anyws.History())
    async with anyws.open_topics(engine=engine) as topics, topics.subscribe("news") as messages:
        engine.freeze()
        began = anyio.current_time()
        with pytest.raises(anyws.EngineUnavailable, match="within 5 s; it may have been published"):
            await topics.publish("news", "x")
        assert anyio.current_time() - began == 5
        await anyio.sleep(10 - 5 + 0.01)
        assert topics.status == "interrupted"
        engine.thaw()
        await anyio.sleep(5)
        assert status_of(topics) == "connected"
        await topics.publish("news", "y")
        assert (await messages.receive()).message == "y"


@on_mock_clock
async def test_connections_are_not_closed_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = itertools.count(start=0.025, step=0.05)
    monkeypatch.setattr("anyws.topics.closes.uniform", lambda low, high: low + (high - low) * next(shares))
    engine = FaultyEngine()
    closed: list[float] = []
    async with (
        anyws.open_topics(engine=engine, reconnect_spread=60) as topics,
        anyio.create_task_group() as tasks,
        contextlib.AsyncExitStack() as stack,
    ):
        began = anyio.current_time()
        for _ in range(20):
            websocket, peer = await stack.enter_async_context(meeting("server", ping_interval=None))
            await stack.enter_async_context(topics.forward(websocket, "news"))

            async def watch(peer: Any = peer) -> None:
                assert (await peer.frame()).close_code == 1012  # and nothing before it
                closed.append(anyio.current_time() - began)

            tasks.start_soon(watch)
        engine.drop()
        await topics.publish("news", "lost")
        await topics.publish("news", "not sent, because something is missing before it")
        await anyio.sleep(61)
    assert closed == pytest.approx([60 * (number + 0.5) / 20 for number in range(20)], abs=0.2)


async def test_an_engine_that_has_lost_its_latest_messages() -> None:
    """Their numbers come a second time, so the check has to tell; for example a database without its last second."""
    engine = FaultyEngine(anyws.History())
    async with (
        anyws.open_topics(engine=engine, reconnect_spread=0) as topics,
        pairs(1) as ((client,), (server,)),
        topics.forward(server, "news"),
    ):
        for message in ("1", "2", "3"):
            await topics.publish("news", message)
            assert await client.receive() == message
        topic = engine._store._topics["news"]
        topic.offset -= 2
        engine.die()
        engine.restart()
        with pytest.raises(anyws.ConnectionClosedError, match="1012"):
            await client.receive()


async def test_whoever_publishes_too_fast_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws.topics.arrivals._SIZE", 1000)
    async with (
        anyws.open_topics() as topics,
        topics.subscribe("news", slow="drop", buffer=1) as messages,
        anyio.create_task_group() as tasks,
    ):
        arrivals = topics._service.arrivals
        put, sizes = arrivals.arrived, []

        def arrived(*arguments: Any) -> None:
            put(*arguments)
            sizes.append(arrivals._size)

        monkeypatch.setattr(arrivals, "arrived", arrived)
        for _ in range(50):
            tasks.start_soon(topics.publish, "news", "x" * 300)
        await until(lambda: len(sizes) == 50)
        assert max(sizes) <= 1000 + 301 + 128
        assert (await messages.receive()).message == "x" * 300


async def test_a_topic_that_waits_for_its_history_holds_back_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FaultyEngine(anyws.History())
    async with anyws.open_topics(engine=engine) as topics, topics.subscribe("news", buffer=10_000_000) as messages:
        read = engine.read

        async def slow_read(*arguments: Any) -> Any:
            await released.wait()
            return await read(*arguments)

        released = anyio.Event()
        monkeypatch.setattr(engine, "read", slow_read)
        engine.drop()
        for number in range(20):
            await topics.publish("news", f"{number}" + "x" * 100_000)
            await anyio.wait_all_tasks_blocked()
        assert topics._service.feeds["news"]._held_size <= 262_144
        released.set()
        for number in range(20):
            assert str((await messages.receive()).message).rstrip("x") == str(number)
