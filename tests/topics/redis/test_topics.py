"""What topics promise, over real servers that fail."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio import to_thread

import anyws
from anyws.topics import Position
from tests.topics.faulty_network import faulty_network
from tests.topics.followed import pairs, received
from tests.topics.servers import RedisServer

KEEPS = anyws.History(messages=1000, seconds=300)


@contextlib.asynccontextmanager
async def processes(
    *urls: str, history: anyws.History | None = KEEPS, publish_timeout: float = 5
) -> AsyncGenerator[list[anyws.Topics], None]:
    """Open topics as several processes would."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                anyws.open_topics(url, history=history, publish_timeout=publish_timeout, reconnect_spread=0)
            )
            for url in urls
        ]


async def publish_until_accepted(topics: anyws.Topics, message: str) -> str:
    """Publish a message for which the engine may not be ready."""
    while True:
        try:
            return await topics.publish("news", message)
        except anyws.EngineUnavailable:
            await anyio.sleep(0.02)


async def texts(messages: Any, count: int) -> list[str]:
    return [(await messages.receive()).message for _ in range(count)]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - the status has no event
        await anyio.sleep(0.01)


def remove_data(server: RedisServer) -> None:
    for path in server.folder.rglob("appendonly*"):
        if path.is_file():
            path.unlink()


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws.topics.following.CHECK_INTERVAL", 0.1)


async def test_one_order_for_all_and_the_publishers_included(server: RedisServer) -> None:
    async with (
        processes(server.url, server.url) as (one, other),
        pairs(2) as (clients, servers),
        one.forward(servers[0], "news"),
        other.forward(servers[1], "news"),
        one.subscribe("news") as ours,
        other.subscribe("news") as theirs,
    ):
        positions: dict[str, str] = {}

        async def publish(topics: anyws.Topics, name: str) -> None:
            for number in range(25):
                positions[f"{name}{number}"] = await topics.publish("news", f"{name}{number}")

        async with anyio.create_task_group() as tasks:
            for name in "abcd":
                tasks.start_soon(publish, one if name < "c" else other, name)
        seen = [await ours.receive() for _ in range(100)]
        assert [await theirs.receive() for _ in range(100)] == seen
        order = [published.message for published in seen]
        assert {str(published.message): published.position for published in seen} == positions
        for client, socket in zip(clients, servers, strict=True):
            assert await received(client, socket) == order
        for name in "abcd":
            assert [text for text in order if str(text).startswith(name)] == [f"{name}{n}" for n in range(25)]


@pytest.mark.usefixtures("short_checks")
async def test_a_message_lost_on_the_way_is_read_from_the_history_at_the_next_check(server: RedisServer) -> None:
    async with processes(server.url) as (topics,), topics.subscribe("news") as messages:
        lose_a_message(server)
        assert await texts(messages, 1) == ["lost on the way"]
        await topics.publish("news", "after")
        assert await texts(messages, 1) == ["after"]


@pytest.mark.usefixtures("short_checks")
async def test_a_message_that_nothing_has_is_told_at_the_next_check(server: RedisServer) -> None:
    async with (
        processes(server.url, history=None) as (topics,),
        pairs(1) as ((client,), (socket,)),
        topics.forward(socket, "news") as forwarding,
        topics.subscribe("news") as messages,
    ):
        lose_a_message(server, is_kept=False)
        with pytest.raises(anyws.ConnectionClosedError, match=r"1012 \(messages were missed\)"):
            await client.receive()
        with pytest.raises(anyws.MessagesMissed) as raised:
            await messages.receive()
        assert raised.value.last == forwarding.positions["news"]
        assert raised.value.new == raised.value.last[:-1] + "1"


def lose_a_message(server: RedisServer, *, is_kept: bool = True) -> None:
    """Publish a message that gets lost on the way to the subscribers."""
    server.command("HSET", "anyws:{news}:meta", "offset", "1")
    if is_kept:
        server.command("XADD", "anyws:{news}:stream", "1-0", "d", "tlost on the way")


async def test_exactly_once_while_connections_are_killed(server: RedisServer) -> None:
    async with (
        processes(server.url, server.url) as (one, other),
        pairs(1) as ((client,), (socket,)),
        one.forward(socket, "news"),
        one.subscribe("news", buffer=2**20) as messages,
    ):
        sent: list[str] = []

        async def publish(tasks: Any) -> None:
            while True:
                await other.publish("news", str(len(sent)))
                sent.append(str(len(sent)))
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish, tasks)
            for _ in range(6):
                await until_interrupted(one, server)
            tasks.cancel_scope.cancel()
        await other.publish("news", "end")
        got = [message async for message in until_end(messages)]
        assert got[: len(sent)] == sent
        assert got[len(sent) :] in ([], [str(len(sent))])  # the call that was cancelled
        assert [message for message in await received(client, socket) if message != "end"] == got


async def until_interrupted(topics: anyws.Topics, server: RedisServer) -> None:
    """Kill the connections of subscribers until topics notice it, and wait until they are back."""
    while topics.status == "connected":
        await to_thread.run_sync(server.command, "CLIENT", "KILL", "TYPE", "pubsub")
        with anyio.move_on_after(0.02):
            await until(lambda: topics.status == "interrupted")
    await until(lambda: topics.status == "connected")


async def until_end(messages: Any) -> AsyncGenerator[str, None]:
    while (message := (await messages.receive()).message) != "end":
        yield message


@pytest.mark.parametrize("at", [0, 1, 3, 8])
async def test_exactly_once_when_the_network_is_cut_in_a_message(server: RedisServer, at: int) -> None:
    async with (
        faulty_network(server.port) as network,
        processes(f"redis://127.0.0.1:{network.port}", server.url) as (one, other),
        pairs(1) as ((client,), (socket,)),
        one.forward(socket, "news"),
        one.subscribe("news") as messages,
    ):
        network.cut_within(b" t1002\r\n", at)
        sent = [str(number) for number in range(1000, 1010)]
        for text in sent:
            await other.publish("news", text)
        assert await texts(messages, 10) == sent
        assert await received(client, socket) == sent


@pytest.mark.parametrize("is_early", [True, False], ids=["published_before_it_is_back", "nothing_published"])
async def test_a_server_with_its_data_is_no_gap(own_server: RedisServer, is_early: bool) -> None:
    """It begins another epoch, in which the positions of the former one are good."""
    async with (
        processes(own_server.url) as (topics,),
        pairs(1) as ((client,), (socket,)),
        topics.forward(socket, "news") as forwarding,
        topics.subscribe("news") as messages,
    ):
        first = await topics.publish("news", "before")
        assert await texts(messages, 1) == ["before"]
        own_server.kill()
        await until(lambda: topics.status == "interrupted")
        with pytest.raises(anyws.EngineUnavailable):
            await topics.publish("news", "refused")
        await to_thread.run_sync(own_server.start)
        if is_early:
            async with processes(own_server.url) as (other,):
                await publish_until_accepted(other, "early")
        await until(lambda: topics.status == "connected")
        new = await publish_until_accepted(topics, "after")
        expected = ["early", "after"] if is_early else ["after"]
        assert await texts(messages, len(expected)) == expected
        assert Position.parse(new).epoch != Position.parse(first).epoch
        assert Position.parse(new).offset == 1 + len(expected)
        assert forwarding.is_continuous
        assert await received(client, socket) == ["before", *expected]


@pytest.mark.parametrize("missed", [0, 2])
async def test_since_of_before_a_restart_on_another_process(own_server: RedisServer, missed: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        (one,) = await stack.enter_async_context(processes(own_server.url))
        since = await one.publish("news", "before")
        own_server.kill()
        await to_thread.run_sync(own_server.start)
        (other,) = await stack.enter_async_context(processes(own_server.url))
        sent = [str(number) for number in range(missed)]
        for text in sent:
            await other.publish("news", text)
        (client,), (socket,) = await stack.enter_async_context(pairs(1))
        async with (
            other.forward(socket, "news", since=since) as forwarding,
            other.subscribe("news", since=since) as messages,
        ):
            assert forwarding.is_continuous
            await publish_until_accepted(one, "after")
            assert await texts(messages, missed + 1) == [*sent, "after"]
            assert await received(client, socket) == [*sent, "after"]


@pytest.mark.parametrize("history", [KEEPS, None], ids=["history", "no_history"])
async def test_an_empty_server_is_a_gap_that_is_told(own_server: RedisServer, history: anyws.History | None) -> None:
    async with (
        processes(own_server.url, history=history) as (topics,),
        pairs(2) as (clients, sockets),
        topics.forward(sockets[0], "news"),
        topics.forward(sockets[1], "news", gap="continue") as going_on,
        topics.subscribe("news") as messages,
    ):
        last = await topics.publish("news", "before")
        assert await texts(messages, 1) == ["before"]
        own_server.kill()
        remove_data(own_server)
        await to_thread.run_sync(own_server.start)
        assert await clients[0].receive() == "before"
        with pytest.raises(anyws.ConnectionClosedError, match="1012"):
            await clients[0].receive()
        with pytest.raises(anyws.MessagesMissed) as raised:
            await messages.receive()
        assert raised.value.last == last
        await publish_until_accepted(topics, "after")
        assert [await clients[1].receive(), await clients[1].receive()] == ["before", "after"]
        assert not going_on.is_continuous
        async with topics.forward(sockets[1], "news", since=last) as again:
            assert not again.is_continuous


async def test_a_frozen_server(own_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`publish` raises within its timeout, the status says so, and nothing is lost when the server goes on."""
    monkeypatch.setattr("anyws.topics._redis.connection.LIMIT", 0.5)
    monkeypatch.setattr("anyws.topics._redis.connection.PING_INTERVAL", 0.2)
    monkeypatch.setattr("anyws.topics._redis.link.CONNECT_LIMIT", 0.25)
    async with (
        processes(own_server.url, publish_timeout=0.1) as (topics,),
        pairs(1) as ((client,), (socket,)),
        topics.forward(socket, "news"),
        topics.subscribe("news") as messages,
    ):
        await topics.publish("news", "before")
        own_server.freeze()
        try:
            with pytest.raises(anyws.EngineUnavailable, match=r"within 0\.1 s; it may have been published"):
                await topics.publish("news", "uncertain")
            await until(lambda: topics.status == "interrupted")
        finally:
            own_server.thaw()
        await until(lambda: topics.status == "connected")
        await publish_until_accepted(topics, "after")
        got: list[str | bytes] = []
        while got[-1:] != ["after"]:
            got.append((await messages.receive()).message)
        assert [text for text in got if text != "uncertain"] == ["before", "after"]
        assert await received(client, socket) == got


async def test_a_client_goes_on_with_another_process(server: RedisServer) -> None:
    def encode(published: anyws.Published) -> str:
        return f"{published.position} {published.message!s}"

    async with processes(server.url, server.url) as (one, other), pairs(2) as (clients, sockets):
        async with one.forward(sockets[0], "news", encode=encode):
            await other.publish("news", "0")
            await one.publish("news", "1")
            seen = [str(await clients[0].receive()).split() for _ in range(2)]
        await one.publish("news", "2")
        await other.publish("news", "3")
        async with other.forward(sockets[1], "news", since=seen[-1][0], encode=encode) as forwarding:
            assert forwarding.is_continuous
            await one.publish("news", "4")
            seen += [str(await clients[1].receive()).split() for _ in range(3)]
        assert [text for _, text in seen] == [*"01234"]
        assert len({position for position, _ in seen}) == 5


@pytest.mark.parametrize("call", ["publish", "forward", "subscribe", "since"])
async def test_cancelled_while_the_server_does_not_respond(server: RedisServer, call: str) -> None:
    async with (
        faulty_network(server.port) as network,
        processes(f"redis://127.0.0.1:{network.port}") as (topics,),
        pairs(1) as ((client,), (socket,)),
    ):
        since = await topics.publish("news", "0")

        async def enter(block: Any) -> None:
            async with block:
                await anyio.sleep_forever()

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "publish": lambda: topics.publish("news", "cancelled"),
            "forward": lambda: enter(topics.forward(socket, "news")),
            "subscribe": lambda: enter(topics.subscribe("news")),
            "since": lambda: enter(topics.forward(socket, "news", since=since)),
        }
        for _ in range(3):
            network.freeze()
            with anyio.move_on_after(0.05):
                await calls[call]()
            network.thaw()
            async with topics.subscribe("other") as messages:
                await topics.publish("other", "works")
                assert await texts(messages, 1) == ["works"]
        assert await received(client, socket) == []
        assert not topics._service.followers
