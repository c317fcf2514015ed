"""What the engine promises while servers and networks fail."""

from __future__ import annotations

import functools

import anyio
import pytest
from anyio import to_thread
from anyio.abc import ByteStream, SocketAttribute

from anyws._transport.listening import listen_tcp
from anyws.exceptions import EngineUnavailable
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine
from tests.harness import free_port, open_sockets
from tests.topics.faulty_network import faulty_network
from tests.topics.listeners import Follower, Recorder
from tests.topics.publisher import Publisher, check
from tests.topics.servers import RedisServer

from .engines import following, running

KEEPS = History(messages=1000, seconds=300)


async def all_received(follower: Follower, publisher: Publisher) -> None:
    """Publish until a number is received, and check all of them. Without history, some may be lost."""
    last = b""
    while last not in follower.received[-1:]:
        losses = follower.losses
        await publisher.publish()
        last = b"%d" % publisher.accepted[-1]
        await follower.wait_until(lambda: last in follower.received[-1:] or follower.losses > losses)  # noqa: B023
    check(follower.received, publisher.accepted, follower.losses)


async def until_restored(follower: Recorder, times: int = 1) -> None:
    await follower.wait_until(lambda: follower.events.count("restored") >= times)


async def test_a_server_that_is_killed_and_started_with_its_data(own_server: RedisServer) -> None:
    async with following(own_server.url, history=KEEPS) as (engine, follower):
        publisher = Publisher(engine)
        await publisher.publish(20)
        own_server.kill()
        await follower.wait_until(lambda: follower.events == ["interrupted"])
        assert not await publisher.try_once()
        await to_thread.run_sync(own_server.start)
        async with running(RedisEngine(own_server.url, history=KEEPS)) as other:  # before the subscriber is back, maybe
            early = Publisher(other)
            early._next = 1000
            await early.publish(5)
            publisher._next = 2000
            publisher.accepted += early.accepted
            await publisher.publish(20)
            await all_received(follower, publisher)
        assert follower.events == ["interrupted", "restored"]
    assert follower.losses == 0


@pytest.mark.parametrize("history", [KEEPS, None], ids=["history", "no_history"])
async def test_a_server_that_is_started_empty_is_a_loss_that_is_told(
    own_server: RedisServer, history: History | None
) -> None:
    async with following(own_server.url, history=history) as (engine, follower):
        publisher = Publisher(engine)
        await publisher.publish(5)
        own_server.kill()
        for path in own_server.folder.rglob("appendonly*"):
            if path.is_file():
                path.unlink()
        await to_thread.run_sync(own_server.start)
        await until_restored(follower)
        await follower.wait_until(lambda: follower.losses == 1)
        await publisher.publish(5)
        await all_received(follower, publisher)


@pytest.mark.usefixtures("short_limits")
async def test_a_frozen_server_is_noticed_and_nothing_is_lost(own_server: RedisServer) -> None:
    async with following(own_server.url, history=KEEPS) as (engine, follower):
        publisher = Publisher(engine)
        await publisher.publish(5)
        own_server.freeze()
        try:
            assert not await publisher.try_once()
            assert "no response for 0.3 seconds; the command may have been carried out" in str(publisher.failures[0])
            await follower.wait_until(lambda: follower.events == ["interrupted"])
        finally:
            own_server.thaw()
        await until_restored(follower)
        await all_received(follower, publisher)
    assert follower.losses == 0


@pytest.mark.usefixtures("short_limits")
async def test_a_partition_is_noticed_without_traffic(server: RedisServer) -> None:
    async with faulty_network(server.port) as network:
        async with following(f"redis://127.0.0.1:{network.port}", history=KEEPS) as (engine, follower):
            network.freeze()
            await follower.wait_until(lambda: follower.events == ["interrupted"])
            async with running(RedisEngine(server.url, history=KEEPS)) as other:
                publisher = Publisher(other)
                await publisher.publish(50)
            network.thaw()
            network.cut()
            await until_restored(follower)
            publisher._engine = engine
            await all_received(follower, publisher)
        assert follower.losses == 0


async def test_subscribers_whose_connections_are_killed_all_the_time(server: RedisServer) -> None:
    async with (
        running(RedisEngine(server.url, history=KEEPS)) as other,
        following(server.url, history=KEEPS) as (_, follower),
    ):
        publisher = Publisher(other)

        def is_interrupted(times: int) -> bool:
            return follower.events.count("interrupted") >= times

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publisher.run, 0.001)
            for times in range(1, 9):
                while not is_interrupted(times):  # the connection may not be subscribed yet
                    await to_thread.run_sync(server.command, "CLIENT", "KILL", "TYPE", "pubsub")
                    with anyio.move_on_after(0.02):
                        await follower.wait_until(functools.partial(is_interrupted, times))
                await until_restored(follower, times)
            tasks.cancel_scope.cancel()
        await all_received(follower, publisher)
    assert publisher.failures == []
    assert follower.losses == 0
    assert len(follower.received) > 8


@pytest.mark.parametrize("at", [0, 1, 3, 8])
async def test_a_network_that_is_cut_in_a_message(server: RedisServer, at: int) -> None:
    async with (
        faulty_network(server.port) as network,
        running(RedisEngine(server.url, history=KEEPS)) as other,
        following(f"redis://127.0.0.1:{network.port}", history=KEEPS) as (_, follower),
    ):
        publisher = Publisher(other)
        await publisher.publish(13)
        network.cut_within(b" 1012\r\n", at)  # the payload, and a part of its frame
        publisher._next = 1010
        await publisher.publish(10)
        await all_received(follower, publisher)
        await until_restored(follower)
    assert follower.losses == 0
    assert follower.received[13:16] == [b"1010", b"1011", b"1012"]


async def test_without_history_a_cut_is_a_loss_that_is_told(server: RedisServer) -> None:
    async with (
        faulty_network(server.port) as network,
        running(RedisEngine(server.url)) as other,
        following(f"redis://127.0.0.1:{network.port}") as (_, follower),
    ):
        publisher = Publisher(other)
        await publisher.publish(5)
        network.cut()
        await publisher.publish(5)
        await until_restored(follower)
        await follower.wait_until(lambda: follower.losses == 1 or len(follower.received) == 10)
        await all_received(follower, publisher)


async def test_a_message_that_was_dropped_on_the_way_is_missed_at_the_next_check(server: RedisServer) -> None:
    """`follow` says where a topic stands, also on a connection that looks well."""
    async with following(server.url, history=KEEPS, check_interval=0.05) as (engine, follower):
        server.command("HSET", "anyws:{news}:meta", "offset", "1")
        server.command("XADD", "anyws:{news}:stream", "1-0", "d", "0")  # as if published, but nobody received it
        await follower.wait_until(lambda: follower.received == [b"0"])
        publisher = Publisher(engine)
        publisher._next = 1
        await all_received(follower, publisher)


async def test_a_publish_whose_reply_is_lost_is_not_repeated(server: RedisServer) -> None:
    async with (
        faulty_network(server.port) as network,
        running(RedisEngine(f"redis://127.0.0.1:{network.port}", history=KEEPS)) as engine,
    ):
        epoch = (await engine.publish("news", b"1")).epoch
        network.cut_within(f"{epoch} 2".encode(), 0)
        with pytest.raises(EngineUnavailable, match="the command may have been carried out"):
            await engine.publish("news", b"2")
    assert "2" in server.command("HGET", "anyws:{news}:meta", "offset")
    assert server.command("XLEN", "anyws:{news}:stream") == ":2\r\n"


async def test_each_publisher_gets_its_own_error(server: RedisServer) -> None:
    server.command("SET", "anyws:{broken}:meta", "not a hash")
    outcomes: dict[str, object] = {}
    async with running(RedisEngine(server.url)) as engine:

        async def publish(topic: str) -> None:
            try:
                outcomes[topic] = (await engine.publish(topic, b"")).offset
            except EngineUnavailable as exc:
                outcomes[topic] = str(exc)

        async with anyio.create_task_group() as tasks:
            for topic in ("a", "broken", "b"):
                tasks.start_soon(publish, topic)
        assert "WRONGTYPE" in str(outcomes.pop("broken"))
        assert outcomes == {"a": 1, "b": 1}
        with pytest.raises(EngineUnavailable, match="WRONGTYPE"):
            await engine.follow(["a", "broken"])
        await engine.follow(["a", "b"])


async def test_once_it_is_restored_everything_can_be_called(own_server: RedisServer) -> None:
    """Topics that missed something read the history at once; they would be told of a failure only at the next check."""
    listener = Recorder()
    async with running(RedisEngine(own_server.url, history=KEEPS), listener) as engine:
        (position,) = await engine.follow(["news"])
        for times in range(1, 4):
            own_server.kill()
            await listener.wait_until(lambda: listener.events[-1:] == ["interrupted"])
            await to_thread.run_sync(own_server.start)
            await until_restored(listener, times)
            before, position = position, await engine.publish("news", b"%d" % times)
            assert await engine.read("news", before, 9) == [(position, b"%d" % times)]
            assert await engine.follow(["news"]) == [position]
        assert listener.events == ["interrupted", "restored"] * 3


async def test_without_the_connection_for_publishers_it_is_interrupted(server: RedisServer) -> None:
    listener = Recorder()
    async with running(RedisEngine(server.url), listener) as engine:
        await engine.follow(["news"])
        server.command("CLIENT", "KILL", "TYPE", "normal")
        await until_restored(listener)
        await engine.publish("news", b"")
        assert listener.events == ["interrupted", "restored"]


async def test_no_server_at_the_start() -> None:
    engine = RedisEngine(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(EngineUnavailable, match=r"cannot connect to 127.0.0.1:.* Connection refused"):
        await engine.run(Recorder())
    engine = RedisEngine("unix:///nowhere/socket")
    with pytest.raises(EngineUnavailable, match="cannot connect to /nowhere/socket"):
        await engine.run(Recorder())


@pytest.mark.usefixtures("short_limits")
async def test_a_server_that_does_not_respond_at_the_start(own_server: RedisServer) -> None:
    own_server.freeze()
    try:
        with pytest.raises(EngineUnavailable, match=r"but did not respond within 0\.25 seconds"):
            await RedisEngine(own_server.url).run(Recorder())
    finally:
        own_server.thaw()


async def test_a_peer_that_is_no_redis() -> None:
    async def serve(client: ByteStream) -> None:
        async with client:
            await client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await client.receive()

    (listener,) = await listen_tcp("127.0.0.1", 0)
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        with pytest.raises(EngineUnavailable, match="the server sent b'H', which does not begin a value of RESP3"):
            await RedisEngine(f"redis://127.0.0.1:{port}").run(Recorder())
        tasks.cancel_scope.cancel()


async def test_cancelling_at_any_time_leaves_nothing_behind(server: RedisServer) -> None:
    """While it connects, greets, runs, and connects again."""
    before = len(open_sockets())
    async with faulty_network(server.port) as network:
        for passes in range(40):
            engine = RedisEngine(f"redis://127.0.0.1:{network.port}")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.run, Recorder())
                for _ in range(passes):
                    await anyio.lowlevel.checkpoint()
                if passes % 4 == 3:
                    network.cut()
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
    await anyio.wait_all_tasks_blocked()
    assert len(open_sockets()) == before


@pytest.mark.parametrize("call", ["publish", "follow", "read", "unfollow"])
async def test_a_cancelled_call_leaves_the_engine_in_order(server: RedisServer, call: str) -> None:
    listener = Recorder()
    async with (
        faulty_network(server.port) as network,
        running(RedisEngine(f"redis://127.0.0.1:{network.port}", history=KEEPS), listener) as engine,
    ):
        (start,) = await engine.follow(["news"])
        calls = {
            "publish": lambda: engine.publish("news", b"cancelled"),
            "follow": lambda: engine.follow(["news", "weather"]),
            "read": lambda: engine.read("news", start, 10),
            "unfollow": lambda: engine.unfollow(["news"]),
        }
        for passes in range(8):
            network.freeze()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(calls[call])
                for _ in range(passes):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            network.thaw()
            await engine.follow(["news", "weather"])
            position = await engine.publish("weather", b"%d" % passes)
            assert position.offset == passes + 1
            found = await engine.read("weather", position._replace(offset=passes), 10)
            assert found == [(position, b"%d" % passes)]
        await engine.follow(["news", "weather"])
    assert listener.payloads("weather") == [b"%d" % passes for passes in range(8)]
