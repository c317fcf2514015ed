"""What the engine keeps, and when it says that something is missing."""

from __future__ import annotations

import pytest

from anyws.topics.engine import Position
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine
from tests.topics.listeners import Recorder
from tests.topics.servers import RedisServer

from .engines import running

KEEPS = History(messages=1000, seconds=300)
META, STREAM = "anyws:{news}:meta", "anyws:{news}:stream"


async def test_reading_returns_what_follows_a_position(server: RedisServer) -> None:
    async with running(RedisEngine(server.url, history=KEEPS)) as engine:
        (start,) = await engine.follow(["news"])
        published = [(await engine.publish("news", b"%d" % number), b"%d" % number) for number in range(10)]
        assert await engine.read("news", start, 100) == published
        assert await engine.read("news", start, 3) == published[:3]
        assert await engine.read("news", published[6][0], 100) == published[7:]
        assert await engine.read("news", published[-1][0], 100) == []


async def test_another_process_reads_the_same(server: RedisServer) -> None:
    async with (
        running(RedisEngine(server.url, history=KEEPS)) as engine,
        running(RedisEngine(server.url, history=KEEPS)) as other,
    ):
        (start,) = await engine.follow(["news"])
        position = await engine.publish("news", b"hello")
        assert await other.read("news", start, 9) == [(position, b"hello")]
        assert await other.follow(["news"]) == [position]


async def test_without_history_only_the_latest_position_is_whole(server: RedisServer) -> None:
    async with running(RedisEngine(server.url)) as engine:
        (start,) = await engine.follow(["news"])
        position = await engine.publish("news", b"hello")
        assert await engine.read("news", start, 9) is None
        assert await engine.read("news", position, 9) == []
    assert server.command("EXISTS", STREAM) == ":0\r\n"


@pytest.mark.parametrize("published", [1, 10, 150, 400])
async def test_trimming_never_claims_that_all_is_there(server: RedisServer, published: int) -> None:
    """A server trims roughly: what it keeps beyond the limit may be read, what it has dropped is missed."""
    async with running(RedisEngine(server.url, history=History(messages=10))) as engine:
        (start,) = await engine.follow(["news"])
        for number in range(published):
            await engine.publish("news", b"%d" % number)
        kept = int(server.command("XLEN", STREAM)[1:])
        assert kept >= min(published, 10)
        for after in range(published + 1):
            found = await engine.read("news", Position(start.epoch, after), 1000)
            if published - after > kept:
                assert found is None
            else:
                assert found is not None
                assert [int(payload) for _, payload in found] == list(range(after, published))


async def test_a_hole_is_seen(server: RedisServer) -> None:
    """A process without history publishes too: the entry is missing."""
    async with (
        running(RedisEngine(server.url, history=KEEPS)) as engine,
        running(RedisEngine(server.url)) as careless,
    ):
        (start,) = await engine.follow(["news"])
        await engine.publish("news", b"1")
        hole = await careless.publish("news", b"2")
        assert await engine.read("news", start, 9) is None
        await engine.publish("news", b"3")
        assert await engine.read("news", start, 9) is None
        found = await engine.read("news", hole, 9)
        assert found is not None
        assert [payload for _, payload in found] == [b"3"]


@pytest.mark.parametrize("lost", [META, STREAM])
async def test_an_expired_key_is_a_gap(server: RedisServer, lost: str) -> None:
    async with running(RedisEngine(server.url, history=KEEPS)) as engine:
        (start,) = await engine.follow(["news"])
        await engine.publish("news", b"1")
        server.command("DEL", lost)
        assert await engine.read("news", start, 9) is None
        await engine.publish("news", b"2")
        assert await engine.read("news", start, 9) is None


async def test_what_is_stored_expires_and_a_check_keeps_the_epoch(server: RedisServer) -> None:
    async with running(RedisEngine(server.url, history=History(seconds=60))) as engine:
        start = await engine.follow(["news"])
        await engine.publish("news", b"1")
        assert 50_000 < int(server.command("PTTL", STREAM)[1:]) <= 60_000
        assert 3_500_000 < int(server.command("PTTL", META)[1:]) <= 3_600_000
        server.command("PEXPIRE", META, "20000")
        await engine.follow(["news"])
        assert int(server.command("PTTL", META)[1:]) > 3_500_000
        server.command("DEL", STREAM)
        assert (await engine.follow(["news"]))[0].epoch == start[0].epoch


async def test_an_emptied_server_begins_another_epoch(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url, history=KEEPS), listener) as engine:
        await engine.follow(["news"])
        before = await engine.publish("news", b"1")
        server.command("FLUSHALL")
        (after,) = await engine.follow(["news"])
        assert after.epoch != before.epoch
        assert after.offset == 0
        assert await engine.read("news", before, 9) is None
        assert await engine.publish("news", b"2") == (after.epoch, 1)


async def test_data_of_another_run_continues_where_nothing_is_lost(server: RedisServer) -> None:
    """A server whose data came from its disk or from a replica begins an epoch: those who have seen more are told."""
    async with running(RedisEngine(server.url, history=KEEPS)) as engine:
        first = []
        for number in range(5):
            first.append(await engine.publish("news", b"%d" % number))
            if number == 2:  # the last that the server writes to its disk
                for key in (META, STREAM):
                    server.command("COPY", key, "disk:" + key)
        for key in (META, STREAM):
            server.command("COPY", "disk:" + key, key, "REPLACE")
        server.command("HSET", META, "run", "another")
        new = await engine.publish("news", b"new")
        assert new.offset == 4
        assert new.epoch != first[0].epoch
        assert await engine.read("news", first[4], 9) is None  # it saw a fifth message that nobody has any more
        assert await engine.read("news", first[3], 9) is None  # it saw another fourth message
        assert await engine.read("news", first[2], 9) == [(new, b"new")]
        assert await engine.read("news", new, 9) == []


async def test_a_stream_that_does_not_fit_is_dropped(server: RedisServer) -> None:
    async with running(RedisEngine(server.url, history=KEEPS)) as engine:
        first = await engine.publish("news", b"1")
        server.command("XADD", STREAM, "7-0", "d", "foreign")
        second = await engine.publish("news", b"2")
        server.command("SET", STREAM, "foreign")
        third = await engine.publish("news", b"3")
        assert await engine.read("news", first, 9) is None
        assert await engine.read("news", second, 9) == [(third, b"3")]


async def test_an_epoch_long_ago_is_a_gap(server: RedisServer) -> None:
    async with running(RedisEngine(server.url, history=KEEPS)) as engine:
        first = await engine.publish("news", b"0")
        for number in range(40):
            server.command("HSET", META, "run", f"another {number}")
            last = await engine.publish("news", b"x")
        assert await engine.read("news", first, 1000) is None
        assert await engine.read("news", last, 9) == []
        server.command("HSET", META, "run", "another")
        assert await engine.read("news", last, 9) == []
        assert len(server.command("HGET", META, "past")) < 450
