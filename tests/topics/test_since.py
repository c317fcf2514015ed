"""A client that comes back gets what it has missed, or is told that it cannot."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from anyws.topics import Position
from tests.peers import TEXT, Frame, meeting

from .followed import pairs, received

HISTORY = anyws.History(messages=5, seconds=300)


async def published(topics: anyws.Topics, *messages: str) -> list[str]:
    return [await topics.publish("news", message) for message in messages]


async def test_what_was_missed_comes_first_and_then_what_is_published() -> None:
    async with anyws.open_topics(history=HISTORY) as topics, pairs(1) as ((client,), (server,)):
        first, *_, last = await published(topics, "0", "1", "2", "3")
        async with topics.forward(server, "news", since=first) as forwarding:
            assert forwarding.is_continuous
            assert forwarding.positions == {"news": last}
            await topics.publish("news", "4")
            assert [await client.receive() for _ in range(4)] == ["1", "2", "3", "4"]


async def test_nothing_was_missed() -> None:
    async with anyws.open_topics(history=HISTORY) as topics, pairs(1) as ((client,), (server,)):
        async with topics.forward(server, "news") as forwarding:
            position = forwarding.positions["news"]
        async with topics.forward(server, "news", since=position) as forwarding:
            assert forwarding.is_continuous
            assert await received(client, server) == []


async def test_more_than_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws.topics.reads._LIMIT", 2)
    async with anyws.open_topics(history=HISTORY) as topics, pairs(1) as ((client,), (server,)):
        first, *_ = await published(topics, *"012345")
        async with topics.forward(server, "news", since=first) as forwarding:
            assert forwarding.is_continuous
            assert await received(client, server) == [*"12345"]


SINCE: dict[str, Any] = {
    "too old": lambda first, last: first,
    "of another life": lambda first, last: "0123456789abcdef.3",
    "after the end": lambda first, last: str(Position(Position.parse(last).epoch, 10**18)),
    "not a position": lambda first, last: "hello",
    "empty": lambda first, last: "",
    "huge": lambda first, last: "9" * 1_000_000,
    "too many digits": lambda first, last: f"a.{'9' * 5000}",
    "other digits": lambda first, last: "a.\u0663",
    "a number": lambda first, last: 5,
    "a list": lambda first, last: [last],
    "bytes": lambda first, last: last.encode(),
    "a mapping of nonsense": lambda first, last: {"news": {"news": last}},
    "a mapping to None": lambda first, last: {"news": None},
}


@pytest.mark.parametrize("since", SINCE)
async def test_what_a_client_says_never_raises(since: str) -> None:
    async with anyws.open_topics(history=HISTORY) as topics, pairs(1) as ((client,), (server,)):
        first, *_, last = await published(topics, *"0123456")
        async with topics.forward(server, "news", since=SINCE[since](first, last)) as forwarding:
            assert not forwarding.is_continuous
            assert forwarding.positions == {"news": last}
            await topics.publish("news", "now")
            assert await client.receive() == "now"  # and nothing of the history: never a part of it


async def test_several_topics_go_on_where_each_was() -> None:
    async with anyws.open_topics(history=HISTORY) as topics, pairs(1) as ((client,), (server,)):
        since = {topic: await topics.publish(topic, "known") for topic in ("a", "b")}
        since["of others"] = "hello"
        for topic in ("a", "b", "c"):
            await topics.publish(topic, f"missed {topic}")
        async with topics.forward(server, "a", "b", "c", since=since) as forwarding:
            assert forwarding.is_continuous  # c begins now
            assert await received(client, server) == ["missed a", "missed b"]
        async with topics.forward(server, "a", "b", since=since["a"]) as forwarding:
            assert not forwarding.is_continuous  # of which topic?
            assert await received(client, server) == []
        async with topics.forward(server, "a", "b", since={**since, "a": "hello"}) as forwarding:
            assert not forwarding.is_continuous
            assert await received(client, server) == ["missed b"]
            await topics.publish("b", "once")
            assert await client.receive() == "once"


class CountingEngine(FaultyEngine):
    def __init__(self) -> None:
        super().__init__(HISTORY)
        self.reads = 0

    async def read(self, topic: str, after: Position, limit: int) -> Any:
        self.reads += 1
        return await super().read(topic, after, limit)


async def test_many_that_come_back_share_one_read() -> None:
    engine = CountingEngine()
    async with (
        anyws.open_topics(engine=engine) as topics,
        pairs(6) as (clients, servers),
        anyio.create_task_group() as tasks,
    ):
        first, *_ = await published(topics, *"012")
        release = anyio.Event()

        async def come_back(server: anyws.WebSocket, *, task_status: Any) -> None:
            async with topics.forward(server, "news", since=first):
                task_status.started()
                await release.wait()

        async with topics.forward(servers[0], "news"), anyio.create_task_group() as starting:
            for server in servers[1:]:
                starting.start_soon(tasks.start, come_back, server)
        for client in clients[1:]:
            assert [await client.receive(), await client.receive()] == ["1", "2"]
        assert engine.reads == 1
        release.set()


async def test_if_the_first_of_them_is_cancelled_the_others_go_on() -> None:
    engine = CountingEngine()
    async with (
        anyws.open_topics(engine=engine) as topics,
        pairs(2) as (clients, servers),
        topics.subscribe("news"),
        anyio.create_task_group() as tasks,
    ):
        first, *_ = await published(topics, *"012")
        await anyio.wait_all_tasks_blocked()
        engine.freeze()
        scope = anyio.CancelScope()

        async def give_up() -> None:
            with scope:
                async with topics.forward(servers[0], "news", since=first):
                    raise AssertionError("it was not cancelled")

        async def wait() -> None:
            async with topics.forward(servers[1], "news", since=first):
                assert [await clients[1].receive(), await clients[1].receive()] == ["1", "2"]

        tasks.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        engine.thaw()
    assert engine.reads == 1


async def test_the_history_passes_a_slow_client() -> None:
    """It has got a part, so it is not enough to say that it is not continuous: the gap decides."""
    async with anyws.open_topics(history=HISTORY, reconnect_spread=0) as topics:
        async with meeting("server", send_buffer=10) as (websocket, peer), anyio.create_task_group() as tasks:
            peer.stop_reading()
            first, *_ = await published(topics, *(str(number) * 20 for number in range(6)))
            entered: list[bool] = []

            async def come_back() -> None:
                async with topics.forward(websocket, "news", since=first) as forwarding:
                    entered.append(forwarding.is_continuous)

            tasks.start_soon(come_back)
            await anyio.wait_all_tasks_blocked()
            await published(topics, *"abcdefghijkl")
            await anyio.wait_all_tasks_blocked()
            peer.go_on_reading()
            for number in range(1, 6):
                assert await peer.frame() == Frame(TEXT, str(number).encode() * 20)
            assert (await peer.frame()).close_code == 1012
        assert entered == [False]


async def test_another_process_is_ahead() -> None:
    engine = FaultyEngine(HISTORY)
    async with (
        anyws.open_topics(engine=engine) as topics,
        anyws.open_topics(engine=FaultyEngine(beside=engine)) as others,
        pairs(2) as (clients, servers),
    ):
        async with topics.forward(servers[0], "news"), others.forward(servers[1], "news"):
            await published(others, "0")
            assert [await client.receive() for client in clients] == ["0", "0"]
            engine.delay()
            *_, last = await published(others, "1", "2")
            assert [await clients[1].receive() for _ in range(2)] == ["1", "2"]
        async with topics.subscribe("news"), topics.forward(servers[1], "news", since=last) as forwarding:
            assert forwarding.is_continuous
            assert forwarding.positions == {"news": last}
            engine.deliver()
            await published(others, "3")
            assert await clients[1].receive() == "3"
