"""What is published, for code."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from anyws.topics import Position, Subscription

from .followed import until


async def test_it_is_an_object_receive_stream() -> None:
    async with anyws.open_topics() as topics:
        async with topics.subscribe("a", "b") as messages:
            assert isinstance(messages, anyio.abc.ObjectReceiveStream)
            position = await topics.publish("a", "one")
            await topics.publish("c", "not for us")
            await topics.publish("b", b"two")
            found = [await messages.receive() for _ in range(2)]
            assert found[0] == anyws.Published("a", "one", position)
            assert (found[1].topic, found[1].message) == ("b", b"two")
            await topics.publish("a", "unread")
        with pytest.raises(anyio.ClosedResourceError, match="its block has ended"):
            await receive_all(messages)


async def receive_all(messages: Subscription) -> list[str | bytes]:
    return [published.message async for published in messages]


async def test_closing_it_drops_what_is_left() -> None:
    async with anyws.open_topics() as topics, topics.subscribe("a") as messages:
        await topics.publish("a", "unread")
        await until(lambda: messages._inbox._queue)
        await messages.aclose()
        with pytest.raises(anyio.ClosedResourceError, match="it was closed"):
            await messages.receive()


@pytest.mark.parametrize("slow", ["disconnect", "drop", "latest"])
async def test_a_full_buffer(slow: Any) -> None:
    async with anyws.open_topics() as topics, topics.subscribe("a", "b", buffer=300, slow=slow) as messages:
        for number in range(5):
            positions = [await topics.publish(topic, str(number)) for topic in ("a", "b")]
        await until(lambda: not topics._service.arrivals._queue)
        if slow == "disconnect":
            assert [(await messages.receive()).message for _ in range(2)] == ["0", "0"]
            with pytest.raises(anyws.MessagesMissed, match="more than 300 bytes were waiting") as raised:
                await messages.receive()
            epoch, _ = Position.parse(positions[0])
            assert (raised.value.last, raised.value.new) == (f"{epoch}.1", f"{epoch}.2")
            with pytest.raises(anyws.MessagesMissed):
                await messages.receive()
        elif slow == "drop":
            assert messages.dropped == 8
            assert [(await messages.receive()).message for _ in range(2)] == ["0", "0"]
        else:
            assert messages.dropped == 6
            found = [await messages.receive() for _ in range(4)]
            assert [(each.topic, each.message) for each in found] == [("a", "0"), ("b", "0"), ("a", "4"), ("b", "4")]
            await topics.publish("a", "5")
            assert (await messages.receive()).message == "5"


async def test_a_message_larger_than_the_buffer_is_received() -> None:
    async with anyws.open_topics() as topics, topics.subscribe("a", buffer=10) as messages:
        await topics.publish("a", "x" * 1000)
        assert (await messages.receive()).message == "x" * 1000


@pytest.mark.parametrize("buffer", [1, 65536])
async def test_what_was_missed_comes_first(buffer: int) -> None:
    async with anyws.open_topics(history=anyws.History()) as topics:
        first, *_ = [await topics.publish("a", str(number)) for number in range(6)]
        async with topics.subscribe("a", since=first, buffer=buffer) as messages:
            await topics.publish("a", "6")
            assert [(await messages.receive()).message for _ in range(6)] == [*"123456"]
            await topics.publish("a", "7")
            assert (await messages.receive()).message == "7"


@pytest.mark.parametrize("since", ["hello", "0123456789abcdef.1", 5, {"a": ""}])
async def test_what_is_not_kept_is_told(since: Any) -> None:
    async with anyws.open_topics(history=anyws.History()) as topics, topics.subscribe("a", since=since) as messages:
        await topics.publish("a", "x")
        with pytest.raises(anyws.MessagesMissed):
            await messages.receive()


async def test_the_history_cannot_be_read_at_the_moment() -> None:
    engine = FaultyEngine(anyws.History())
    async with anyws.open_topics(engine=engine) as topics, topics.subscribe("a"):
        first, _ = [await topics.publish("a", str(number)) for number in range(2)]
        async with topics.subscribe("a", since=first) as messages:
            engine.die()
            with pytest.raises(anyws.EngineUnavailable, match="the history of topic 'a' cannot be read"):
                await messages.receive()
            engine.restart()
            assert (await messages.receive()).message == "1"


async def test_only_one_task_may_receive() -> None:
    async with anyws.open_topics() as topics, topics.subscribe("a") as messages, anyio.create_task_group() as tasks:
        tasks.start_soon(messages.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await messages.receive()
        tasks.cancel_scope.cancel()


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with anyws.open_topics() as topics, topics.subscribe("a") as messages:
        with anyio.CancelScope() as scope:
            await topics.publish("a", "x")
            scope.cancel()
            await messages.receive()
        assert scope.cancelled_caught
        assert (await messages.receive()).message == "x"


async def test_a_payload_of_another_program_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with anyws.open_topics(history=anyws.History()) as topics, topics.subscribe("a") as messages:
        first = await topics.publish("a", "first")
        await topics._engine.publish("a", b"{}")
        await topics.publish("a", "last")
        assert [(await messages.receive()).message for _ in range(2)] == ["first", "last"]
        async with topics.subscribe("a", since=first) as again:
            assert (await again.receive()).message == "last"
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
