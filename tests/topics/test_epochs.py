"""A topic that begins another epoch with its data is continuous for all who have received no more than it has."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import anyio
import pytest

import anyws
from anyws.testing import FaultyEngine
from anyws.topics import Position
from tests.harness import on_mock_clock

from .followed import pairs, received, until


@contextlib.asynccontextmanager
async def two_processes(
    history: anyws.History | None = anyws.History(),  # noqa: B008 - frozen
) -> AsyncGenerator[tuple[FaultyEngine, anyws.Topics, anyws.Topics], None]:
    engine = FaultyEngine(history)
    async with (
        anyws.open_topics(engine=engine, reconnect_spread=0) as topics,
        anyws.open_topics(engine=FaultyEngine(beside=engine), reconnect_spread=0) as others,
    ):
        yield engine, topics, others


@pytest.mark.parametrize("meanwhile", [0, 1, 3])
async def test_what_was_missed_is_read_from_the_new_epoch(meanwhile: int) -> None:
    async with (
        two_processes() as (engine, topics, others),
        pairs(1) as ((client,), (server,)),
        topics.forward(server, "news") as forwarding,
        topics.subscribe("news") as messages,
    ):
        first = await topics.publish("news", "before")
        await messages.receive()
        engine.die()
        engine.restart(lost=0)
        for number in range(meanwhile):
            await others.publish("news", f"meanwhile {number}")
        await others.publish("news", "after")
        missed = [await messages.receive() for _ in range(meanwhile + 1)]
        assert [each.message for each in missed] == [*(f"meanwhile {number}" for number in range(meanwhile)), "after"]
        assert Position.parse(missed[0].position).epoch != Position.parse(first).epoch
        assert await received(client, server) == ["before", *(each.message for each in missed)]
        assert forwarding.is_continuous


@on_mock_clock
async def test_an_epoch_without_a_message_is_no_gap() -> None:
    """Neither at the check, nor for the message after it, although no history could fill a gap."""
    async with (
        two_processes(None) as (engine, topics, _),
        pairs(1) as ((client,), (server,)),
        topics.forward(server, "news") as forwarding,
        topics.subscribe("news") as messages,
    ):
        await topics.publish("news", "before")
        engine.die()
        engine.restart(lost=0)
        await anyio.sleep(6)
        await topics.publish("news", "after")
        assert [(await messages.receive()).message for _ in range(2)] == ["before", "after"]
        assert [await client.receive(), await client.receive()] == ["before", "after"]
        assert forwarding.is_continuous


async def test_who_has_received_what_the_engine_has_lost_is_told() -> None:
    async with (
        two_processes() as (engine, topics, others),
        topics.subscribe("news") as messages,
    ):
        kept = await others.publish("news", "kept")
        lost = await others.publish("news", "lost")
        assert [(await messages.receive()).position for _ in range(2)] == [kept, lost]
        engine.die()
        engine.restart(lost=1)
        new = await others.publish("news", "another second message")
        with pytest.raises(anyws.MessagesMissed) as raised:
            await messages.receive()
        assert raised.value.last == lost
        assert raised.value.new in (new, new[:-1] + "1")
        async with topics.subscribe("news", since=kept) as again:
            assert (await again.receive()).position == new
        async with topics.subscribe("news", since=lost) as again:
            with pytest.raises(anyws.MessagesMissed):
                await again.receive()


@pytest.mark.parametrize("missed", [0, 2])
@pytest.mark.parametrize("knows", [True, False], ids=["knows_the_new_epoch", "follows_the_topic_anew"])
async def test_since_of_a_former_epoch(missed: int, knows: bool) -> None:
    async with (
        two_processes() as (engine, topics, others),
        pairs(1) as ((client,), (server,)),
        contextlib.AsyncExitStack() as stack,
    ):
        if knows:
            messages = await stack.enter_async_context(topics.subscribe("news"))
        since = await others.publish("news", "before")
        engine.die()
        engine.restart(lost=0)
        sent = [str(number) for number in range(missed)]
        for message in sent:
            await others.publish("news", message)
        if knows:
            for _ in range(missed + 1):
                await messages.receive()
        async with (
            topics.forward(server, "news", since=since) as forwarding,
            topics.subscribe("news", since=since) as again,
        ):
            assert forwarding.is_continuous
            reading = [*sent, "after"]
            await others.publish("news", "after")
            assert [(await again.receive()).message for _ in reading] == reading
            await others.publish("news", "later")
            assert (await again.receive()).message == "later"
            assert await received(client, server) == [*reading, "later"]


async def test_messages_held_back_in_a_former_epoch_are_not_delivered_a_second_time() -> None:
    """The history of the new epoch has them as well."""
    async with two_processes() as (engine, topics, _), topics.subscribe("news") as messages:
        feed = topics._service.feeds["news"]
        await topics.publish("news", "0")
        engine.drop()
        await topics.publish("news", "1")
        await messages.receive()
        engine.freeze()  # so that the repair cannot read
        engine._delayed = None
        async with anyio.create_task_group() as tasks:
            engine._store.publish("news", b"t2")
            await until(lambda: not feed.is_live)
            await anyio.wait_all_tasks_blocked()
            engine._is_dead = True
            engine.thaw()
            await until(lambda: not feed.is_being_repaired)
            engine.restart(lost=0)
            tasks.cancel_scope.cancel()
        await topics.publish("news", "3")
        assert [(await messages.receive()).message for _ in range(3)] == ["1", "2", "3"]
        await topics.publish("news", "4")
        assert (await messages.receive()).message == "4"
