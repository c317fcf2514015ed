"""What the engine promises while the server works."""

from __future__ import annotations

import anyio
import pytest

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import Position
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine
from tests.topics.listeners import Recorder
from tests.topics.servers import RedisServer

from .engines import running

KEEPS = History(messages=1000, seconds=300)


async def test_messages_arrive_in_order_with_their_positions(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url), listener) as engine:
        (start,) = await engine.follow(["news"])
        positions = [await engine.publish("news", b"%d" % number) for number in range(10)]
        await listener.wait_until(lambda: len(listener.messages) == 10)
    assert positions == [(start.epoch, offset) for offset in range(1, 11)]
    assert listener.messages == [("news", position, b"%d" % n) for n, position in enumerate(positions)]
    assert listener.events == []


async def test_what_precedes_the_position_of_follow_has_arrived(server: RedisServer) -> None:
    """The reply of `follow` comes behind the messages before it, also when others publish all the time."""
    listener = Recorder()
    async with (
        running(RedisEngine(server.url), listener) as engine,
        running(RedisEngine(server.url)) as other,
        anyio.create_task_group() as tasks,
    ):

        async def publish() -> None:
            while True:
                await other.publish("news", b"x")

        await engine.follow(["news"])
        tasks.start_soon(publish)
        for _ in range(100):
            (position,) = await engine.follow(["news"])
            assert (listener.messages[-1][1].offset if listener.messages else 0) >= position.offset
        tasks.cancel_scope.cancel()


async def test_a_second_follow_subscribes_no_second_time(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.follow(["news"])
        await engine.follow(["news", "weather"])
        await engine.publish("news", b"once")
        await engine.follow(["news"])
    assert listener.payloads("news") == [b"once"]


async def test_after_unfollow_nothing_arrives(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.follow(["news", "weather"])
        await engine.unfollow(["news", "never followed"])
        await engine.publish("news", b"unheard")
        await engine.publish("weather", b"heard")
        await engine.follow(["weather"])
        assert [name for name, _, _ in listener.messages] == ["weather"]
        await engine.follow(["news"])
        await engine.publish("news", b"heard again")
        await engine.follow(["news"])
    assert listener.payloads("news") == [b"heard again"]


async def test_a_thousand_topics_are_followed_at_once(server: RedisServer) -> None:
    listener = Recorder()
    topics = [f"room:{number}" for number in range(1000)]
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.publish("room:321", b"before")
        positions = await engine.follow(topics)
        assert [position.offset for position in positions] == [int(topic == "room:321") for topic in topics]
        for topic in topics[::100]:
            await engine.publish(topic, topic.encode())
        await engine.follow(topics)
        await engine.unfollow(topics)
    assert [(topic, payload) for topic, _, payload in listener.messages] == [(t, t.encode()) for t in topics[::100]]


@pytest.mark.parametrize(
    "topic",
    ["", "a b", "{", "}", "}{", "{}", "{a}b", "a}b", "%7D", "ä\0\r\n", "*", "x" * 8000],
    ids=lambda topic: repr(topic)[:8],
)
async def test_a_topic_can_have_any_name(server: RedisServer, topic: str) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url, history=KEEPS), listener) as engine:
        (start,) = await engine.follow([topic])
        await engine.follow([f"{topic}:"])
        position = await engine.publish(topic, b"\0 \r\n")
        await engine.follow([topic])
        assert await engine.read(topic, start, 10) == [(position, b"\0 \r\n")]
    assert listener.messages == [(topic, position, b"\0 \r\n")]


async def test_a_name_that_is_too_long_or_no_text_is_refused(server: RedisServer) -> None:
    async with running(RedisEngine(server.url)) as engine:
        with pytest.raises(ValueError, match=r"has 9000 bytes as UTF-8.* at most 8192"):
            await engine.publish("x" * 9000, b"")
        with pytest.raises(ValueError, match="lone surrogate"):
            await engine.follow(["\ud800"])
        with pytest.raises(TypeError, match="a topic must be a str, not bytes"):
            await engine.publish(b"topic", b"")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
async def test_payloads_of_any_size(server: RedisServer, size: int) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url, history=KEEPS), listener) as engine:
        (start,) = await engine.follow(["news"])
        for _ in range(3):
            await engine.publish("news", b"\r" * size)
        await engine.follow(["news"])
        found = await engine.read("news", start, 10)
    assert found is not None
    assert [payload for _, payload in found] == listener.payloads("news") == [b"\r" * size] * 3


async def test_databases_are_apart(server: RedisServer) -> None:
    """Channels of Redis do not belong to a database; ours do."""
    listener = Recorder()
    async with (
        running(RedisEngine(f"{server.url}/1"), listener) as engine,
        running(RedisEngine(f"{server.url}/2")) as other,
    ):
        await engine.follow(["news"])
        await other.publish("news", b"elsewhere")
        await engine.publish("news", b"here")
        await engine.follow(["news"])
    assert listener.payloads("news") == [b"here"]


async def test_concurrent_publishers_share_their_writes(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from anyws._transport.stream import SocketStream

    writes: list[int] = []
    send = SocketStream.send

    async def counting(self: SocketStream, item: bytes) -> None:
        writes.append(item.count(b"EVALSHA"))
        await send(self, item)

    async with running(RedisEngine(server.url)) as engine:
        await engine.publish("news", b"the server learns the script")
        monkeypatch.setattr(SocketStream, "send", counting)
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(engine.publish, "news", b"%d" % number)
        monkeypatch.undo()
    assert sum(writes) == 50
    assert len(writes) <= 2  # a ping may come first


async def test_a_cancelled_publisher_disturbs_no_other(server: RedisServer) -> None:
    listener = Recorder()
    positions: dict[int, Position] = {}
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.follow(["news"])

        async def publish(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                positions[number] = await engine.publish("news", b"%d" % number)

        scopes = [anyio.CancelScope() for _ in range(30)]
        async with anyio.create_task_group() as tasks:
            for number, scope in enumerate(scopes):
                tasks.start_soon(publish, number, scope)
            await anyio.wait_all_tasks_blocked()
            for scope in scopes[::3]:
                scope.cancel()
        await engine.follow(["news"])
    assert set(positions) >= {number for number in range(30) if number % 3}
    arrived = {int(payload): position for _, position, payload in listener.messages}
    assert all(arrived[number] == position for number, position in positions.items())


async def test_a_publisher_cancelled_before_the_write_publishes_nothing(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.follow(["news"])
        with anyio.CancelScope() as scope:
            scope.cancel()
            await engine.publish("news", b"cancelled")
        await engine.publish("news", b"published")
        await engine.follow(["news"])
    assert listener.payloads("news") == [b"published"]


async def test_a_server_that_forgets_its_scripts_gets_them_again(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url, history=KEEPS), listener) as engine:
        (start,) = await engine.follow(["news"])
        for number in range(4):
            server.command("SCRIPT", "FLUSH")
            await engine.publish("news", b"%d" % number)
            server.command("SCRIPT", "FLUSH")
            await engine.follow(["news"])
            server.command("SCRIPT", "FLUSH")
            assert await engine.read("news", Position(start.epoch, number), 9) == [
                ((start.epoch, number + 1), b"%d" % number)
            ]
    assert listener.payloads("news") == [b"0", b"1", b"2", b"3"]


async def test_what_another_program_publishes_is_ignored(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.follow(["news"])
        server.command("PUBLISH", "anyws:{news}:channel:0", "hello")
        await engine.publish("news", b"ours")
        await engine.follow(["news"])
    assert listener.payloads("news") == [b"ours"]
    assert "another program has published" in caplog.text


async def test_a_listener_that_waits_stops_the_reading_and_no_publisher(server: RedisServer) -> None:
    """Nothing is queued between the socket and the listener but what one read has brought."""
    listener = Recorder()
    async with (
        running(RedisEngine(server.url), listener) as engine,
        running(RedisEngine(server.url)) as other,
    ):
        await engine.follow(["news"])
        listener.drained = anyio.Event()
        await other.publish("news", b"x" * 60_000)
        await listener.wait_until(lambda: len(listener.messages) > 0)
        for _ in range(50):
            await other.publish("news", b"x" * 60_000)
            await engine.publish("weather", b"")
        assert len(listener.messages) <= 2
        listener.drained.set()
        await listener.wait_until(lambda: len(listener.messages) == 51)


async def test_an_engine_runs_once_at_a_time_and_again_later(server: RedisServer) -> None:
    engine = RedisEngine(server.url)
    with pytest.raises(EngineUnavailable, match="the engine is not running"):
        await engine.publish("news", b"")
    with pytest.raises(EngineUnavailable, match="the engine is not running"):
        await engine.follow(["news"])
    await engine.unfollow(["news"])
    for _ in range(2):
        async with running(engine):
            with pytest.raises(RuntimeError, match="already running"):
                await engine.run(Recorder())
            await engine.publish("news", b"")
    with pytest.raises(EngineUnavailable, match="the engine is not running"):
        await engine.publish("news", b"")
