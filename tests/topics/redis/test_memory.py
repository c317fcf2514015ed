"""What nobody reads takes no more memory than its buffers, in one process and over real servers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import anyio
import pytest

import anyws
from anyws.topics import arrivals
from anyws.topics.engine import Position
from anyws.topics.forwarder import Slow
from tests.topics.followed import pairs, until
from tests.topics.servers import RedisServer

BUFFER = 10_000  # bytes
MESSAGE = "x" * 1000
KEEPS = anyws.History(messages=100, seconds=300)


@contextlib.asynccontextmanager
async def two_processes(url: str | None) -> AsyncGenerator[tuple[anyws.Topics, anyws.Topics], None]:
    """Topics that are followed, and topics that publish: over an engine, those of another process."""
    async with anyws.open_topics(url, history=KEEPS) as topics:
        if url is None:
            yield topics, topics
        else:
            async with anyws.open_topics(url, history=KEEPS) as others:
                yield topics, others


@pytest.mark.parametrize("slow", ["drop", "latest"])
async def test_who_does_not_read_keeps_no_more_than_the_buffers_in_one_process(slow: Slow) -> None:
    await check_buffers(None, slow)


@pytest.mark.parametrize("slow", ["drop", "latest"])
async def test_who_does_not_read_keeps_no_more_than_the_buffers_over_an_engine(server: RedisServer, slow: Slow) -> None:
    await check_buffers(server.url, slow)


async def check_buffers(url: str | None, slow: Slow) -> None:
    """Check all buffers after each of many messages."""
    async with (
        two_processes(url) as (topics, others),
        pairs(1) as ((_,), (websocket,)),
        topics.forward(websocket, "news", slow=slow) as forwarding,
        topics.subscribe("news", buffer=BUFFER, slow=slow) as unread,
        topics.subscribe("news", buffer=BUFFER) as disconnected,
        topics.subscribe("news", buffer=2**20, slow="drop") as read,
    ):
        while not forwarding.dropped:  # the client has a buffer as well
            await others.publish("news", MESSAGE)
            await read.receive()
        feed = topics._service.feeds["news"]
        for _ in range(300):
            await others.publish("news", MESSAGE)
            await read.receive()
            assert websocket._link.outbox.size <= websocket._link.options.send_buffer + len(MESSAGE) + 14
            assert len(forwarding._forwarder._waiting) <= (slow == "latest")
            for inbox in (unread._inbox, disconnected._inbox):
                assert inbox._size <= BUFFER
                assert sum(len(message.payload) for message in inbox._queue) <= BUFFER
                assert len(inbox._waiting) <= (slow == "latest")
            assert not feed._held
        assert unread.dropped >= 300 - BUFFER // len(MESSAGE)
        assert feed.is_live
        assert not topics._service.reads._in_progress


async def test_an_engine_stops_reading_while_much_waits(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is bounded by one read above the limit, whatever the others publish."""
    limit = 20_000
    monkeypatch.setattr(arrivals, "_SIZE", limit)
    sizes: list[int] = []
    arrived = arrivals.Arrivals.arrived

    def noted(self: arrivals.Arrivals, topic: str, position: Position, payload: bytes) -> None:
        arrived(self, topic, position, payload)
        sizes.append(self._size)

    monkeypatch.setattr(arrivals.Arrivals, "arrived", noted)
    async with (
        two_processes(server.url) as (topics, others),
        topics.subscribe("news", buffer=2**24) as messages,
    ):
        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(others.publish, "news", MESSAGE)
        for _ in range(1000):
            await messages.receive()
        await until(lambda: not topics._service.arrivals._queue)
    assert len(sizes) == 1000
    assert max(sizes) <= limit + 65_536 + len(MESSAGE) + 1000
