"""What is published goes out on all connections that it is forwarded to."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from tests.peers import BINARY, Frame, ended, meeting

from .followed import pairs, received, until


@pytest.mark.parametrize("message", ["news", "", b"\x00\xff", "ä" * 40_000])
async def test_all_get_the_message_and_the_publisher_as_well(message: Any) -> None:
    async with anyws.open_topics() as topics, pairs(3) as (clients, servers), contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(topics.forward(server, "news"))
        await topics.publish("other", "not for them")
        await topics.publish("news", message)
        for client in clients:
            assert await client.receive() == message


async def test_mutable_bytes_are_published_as_bytes() -> None:
    async with anyws.open_topics() as topics, topics.subscribe("news") as messages:
        for data in (bytearray(b"one"), memoryview(b"two")):
            await topics.publish("news", data)
        assert [(await messages.receive()).message for _ in range(2)] == [b"one", b"two"]


async def test_a_client_masks_what_is_forwarded_to_it() -> None:
    async with (
        anyws.open_topics() as topics,
        meeting("client") as (websocket, peer),
        topics.forward(websocket, "news"),
    ):
        await topics.publish("news", b"data")
        assert await peer.frame() == Frame(BINARY, b"data")  # the peer insists on a mask


async def test_a_message_is_encoded_and_framed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    framed: list[object] = []
    encoded: list[anyws.Published] = []

    def frame(*given: object) -> bytes:
        framed.append(given)
        return b"\x81\x02hi"

    def encode(published: anyws.Published) -> str:
        encoded.append(published)
        return f"{published.topic}: {published.message!s}"

    async with anyws.open_topics() as topics, pairs(4) as (clients, servers), contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(topics.forward(server, "news", encode=encode))
        with monkeypatch.context() as patch:
            patch.setattr("anyws._connection.sending.serialize_frame", frame)
            position = await topics.publish("news", "hello")
            assert [await client.receive() for client in clients] == ["hi"] * 4
    assert encoded == [anyws.Published("news", "hello", position)]
    assert len(framed) == 1


async def test_there_is_no_task_for_each_connection() -> None:
    async with anyws.open_topics() as topics, pairs(20) as (_, servers), contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(topics.forward(servers[0], "0"))
        before = len(anyio.get_running_tasks())
        for number, server in enumerate(servers):
            await stack.enter_async_context(topics.forward(server, str(number), "everybody"))
        await topics.publish("everybody", "news")
        assert len(anyio.get_running_tasks()) <= before


async def test_a_block_ends_at_once_and_in_any_order() -> None:
    async with anyws.open_topics() as topics, pairs(1) as ((client,), (server,)):
        one, other = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()
        await one.enter_async_context(topics.forward(server, "one"))
        await other.enter_async_context(topics.forward(server, "other"))
        await topics.publish("one", "accepted, but not delivered yet")
        await one.aclose()
        await topics.publish("one", "later")
        await topics.publish("other", "later")
        assert await client.receive() == "later"
        await other.aclose()
        assert await received(client, server) == []


async def test_what_several_blocks_send() -> None:
    async with (
        anyws.open_topics() as topics,
        pairs(1) as ((client,), (server,)),
        topics.forward(server, "news", "news", "other"),
        topics.forward(server, "news"),
    ):
        await topics.publish("news", "news")
        await topics.publish("other", "other")
        await until(lambda: not topics._service.arrivals._queue)
        await checkpoint()
        assert sorted(map(str, await received(client, server))) == ["news", "news", "other"]


async def test_in_the_middle_of_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves then gets nothing more, whoever joins begins after it, and whoever published may be cancelled."""
    monkeypatch.setattr("anyws._slices.SLICE", 0)  # after each connection, other tasks run
    order: list[int] = []

    async with anyws.open_topics() as topics, pairs(7) as (clients, servers), contextlib.AsyncExitStack() as stack:
        last, late = servers[5], servers[6]
        for server in servers[:5]:
            await stack.enter_async_context(topics.forward(server, "news"))
        leaving = contextlib.AsyncExitStack()
        await leaving.enter_async_context(topics.forward(last, "news"))
        with anyio.CancelScope() as scope:
            await topics.publish("news", "first")
            scope.cancel()
        assert await clients[0].receive() == "first"
        order.append(len(topics._service.arrivals._queue))
        await leaving.aclose()
        forwarding = await stack.enter_async_context(topics.forward(late, "news"))
        position = await topics.publish("news", "second")
        for client in clients[1:5]:
            assert await client.receive() == "first"
        for client in [*clients[:5], clients[6]]:
            assert await client.receive() == "second"
        assert await received(clients[5], last) == []
        assert forwarding.positions["news"].endswith(".1")
        assert position.endswith(".2")


async def test_a_connection_that_closes_leaves() -> None:
    async with anyws.open_topics() as topics, pairs(2) as (clients, servers), contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(topics.forward(server, "news"))
        await clients[0].aclose()
        await ended(servers[0])
        await topics.publish("news", "hello")
        assert await clients[1].receive() == "hello"
        assert len(topics._service.followers) == 1


async def test_on_a_connection_that_is_closed_already() -> None:
    async with anyws.open_topics(history=anyws.History()) as topics, pairs(1) as (_, (server,)):
        position = await topics.publish("news", "one")
        await topics.publish("news", "two")
        await server.aclose()
        async with topics.forward(server, "news", since=position):
            await topics.publish("news", "three")


@pytest.mark.parametrize("fault", ["raises", "wrong type"])
async def test_an_encode_that_fails(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    def encode(published: anyws.Published) -> Any:
        return 1 / 0 if fault == "raises" else 5

    async with (
        anyws.open_topics() as topics,
        pairs(2) as (clients, servers),
        topics.forward(servers[0], "news", encode=encode),
        topics.forward(servers[1], "news"),
    ):
        await topics.publish("news", "hello")
        assert await clients[1].receive() == "hello"
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await clients[0].receive()
    assert raised.value.code == 1011
    assert "a message of topic 'news' cannot be sent to 1 connections" in caplog.text


async def test_a_payload_of_another_program(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        anyws.open_topics() as topics,
        pairs(1) as (_, (server,)),
        topics.forward(server, "news"),
        topics.subscribe("news") as messages,
    ):
        await topics._engine.publish("news", b"{}")
        await topics.publish("news", "hello")
        assert (await messages.receive()).message == "hello"
        with pytest.raises(anyws.ConnectionClosed):
            while True:
                await server.send("x")
                await checkpoint()
    assert "does another program use this topic?" in caplog.text


async def test_when_topics_close_first_all_are_told() -> None:
    async with pairs(1) as ((client,), (server,)), contextlib.AsyncExitStack() as stack:
        async with anyws.open_topics() as topics:
            await stack.enter_async_context(topics.forward(server, "news"))
            messages = await stack.enter_async_context(topics.subscribe("news"))
        with pytest.raises(anyws.ConnectionClosedError, match="1012"):
            await client.receive()
        with pytest.raises(anyio.ClosedResourceError, match="the topics are closed"):
            await messages.receive()
        for use in (topics.publish("news", "x"), topics.forward(server, "news").__aenter__()):
            with pytest.raises(anyio.ClosedResourceError, match=r"open_topics\(\) has ended"):
                await use


async def test_topics_that_nobody_follows_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with anyws.open_topics() as topics, pairs(1) as ((client,), (server,)):
        for number in range(50):
            async with topics.forward(server, f"topic {number}"):
                await topics.publish(f"topic {number}", "hello")
                assert await client.receive() == "hello"
        await until(lambda: not topics._service.feeds)
        await until(lambda: not len(topics._engine._store))  # type: ignore[attr-defined]
        assert not topics._service.followers
    assert not caplog.text


async def test_wrong_use() -> None:
    async with anyws.open_topics() as topics, pairs(1) as (_, (server,)):
        uses: list[tuple[Any, type[Exception], str]] = [
            (lambda: topics.publish("", "x"), ValueError, "must not be empty"),
            (lambda: topics.publish(b"a", "x"), TypeError, "a topic must be a str, not bytes"),  # type: ignore[arg-type]
            (lambda: topics.publish("a", 5), TypeError, "cannot publish int"),  # type: ignore[arg-type]
            (lambda: topics.publish("a", "\ud800"), UnicodeEncodeError, "surrogates"),
            (lambda: topics.forward(server).__aenter__(), TypeError, "one or more topics"),
            (lambda: topics.forward("a").__aenter__(), TypeError, "a WebSocket and then topics"),  # type: ignore[arg-type]
            (lambda: topics.forward(server, "a", slow="wait").__aenter__(), ValueError, "slow is 'wait'"),  # type: ignore[arg-type]
            (lambda: topics.forward(server, "a", gap="").__aenter__(), ValueError, "expected 'close', 'continue'"),  # type: ignore[arg-type]
            (lambda: topics.forward(server, "a", encode=5).__aenter__(), TypeError, "a callable"),  # type: ignore[arg-type]
            (lambda: topics.subscribe("a", buffer=0).__aenter__(), ValueError, "buffer is 0"),
        ]
        for use, error, match in uses:
            with pytest.raises(error, match=match):
                await use()
        assert not topics._service.feeds
