"""The ways in which servers are deployed: passwords, permissions, TLS, unix sockets, sentinels and clusters."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import trustme
from anyio import to_thread

from anyws.exceptions import EngineUnavailable
from anyws.topics._redis.scripts import TopicKeys, slot_of
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine
from tests.topics.listeners import Recorder
from tests.topics.publisher import Publisher, check
from tests.topics.servers import RedisServer, cluster

from .engines import following, running

KEEPS = History(messages=1000, seconds=300)


async def try_it(engine: RedisEngine) -> None:
    """Use all that an engine can do."""
    listener = Recorder()
    async with running(engine, listener):
        (start,) = await engine.follow(["news"])
        position = await engine.publish("news", b"hello")
        assert await engine.follow(["news"]) == [position]
        assert await engine.read("news", start, 10) == [(position, b"hello")]
        await engine.unfollow(["news"])
    assert listener.messages == [("news", position, b"hello")]


async def test_a_unix_socket(server: RedisServer) -> None:
    await try_it(RedisEngine(f"unix://{server.socket}?db=3", history=KEEPS))


@pytest.fixture
def secured_server(program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A server with a password, and a user who may do what the documentation says."""
    server = RedisServer(program, tmp_path, {"requirepass": '"main secret"'})
    server.start()
    permissions = "~anyws:* &anyws:* -@all +hello +auth +client|setname +select +info +ping +eval +evalsha"
    commands = "+subscribe +unsubscribe +publish +hmget +hset +hincrby +del +pexpire +xadd +xrange"
    rules = f"reset on >p@ss/w {permissions} {commands}".split()
    assert server.command("ACL", "SETUSER", "chat", *rules, password="main secret").endswith("+OK\r\n")
    yield server
    server.kill()


async def test_passwords_and_permissions(secured_server: RedisServer) -> None:
    at = f"127.0.0.1:{secured_server.port}"
    await try_it(RedisEngine(f"redis://:main%20secret@{at}/2", history=KEEPS))
    await try_it(RedisEngine(f"redis://chat:p%40ss%2Fw@{at}", history=KEEPS))

    async def credentials() -> tuple[str, str]:
        return "chat", "p@ss/w"

    await try_it(RedisEngine(f"redis://{at}", history=KEEPS, credentials=credentials))
    for url in (f"redis://{at}", f"redis://chat:wrong@{at}"):
        with pytest.raises(EngineUnavailable, match=r"rejected HELLO.*give the user name and the password") as caught:
            await RedisEngine(url).run(Recorder())
        assert "wrong@" not in str(caught.value)
    secured_server.command("ACL", "SETUSER", "chat", "-info", password="main secret")
    with pytest.raises(EngineUnavailable, match=r"rejected INFO: NOPERM.*the permissions that topics need"):
        await RedisEngine(f"redis://chat:p%40ss%2Fw@{at}").run(Recorder())


async def test_topics_that_a_user_may_not_use_are_refused_one_by_one(secured_server: RedisServer) -> None:
    rules = ["resetkeys", "resetchannels", "~anyws:{open*", "&anyws:{open*"]
    secured_server.command("ACL", "SETUSER", "chat", *rules, password="main secret")
    async with running(RedisEngine(f"redis://chat:p%40ss%2Fw@127.0.0.1:{secured_server.port}")) as engine:
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match="NOPERM"):
                await engine.follow(["closed"])
            with pytest.raises(EngineUnavailable, match="NOPERM"):
                await engine.follow(["open", "closed"])
            with pytest.raises(EngineUnavailable, match="NOPERM"):
                await engine.publish("closed", b"")
            await engine.follow(["open"])
            await engine.publish("open", b"")


async def test_tls(program: str, tmp_path: Path, certificate_authority: trustme.CA) -> None:
    pem, authority = tmp_path / "server.pem", tmp_path / "ca.pem"
    certificate_authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    certificate_authority.cert_pem.write_to_path(authority)
    options = {
        "port": 0,
        "tls-port": 0,
        "tls-cert-file": pem,
        "tls-key-file": pem,
        "tls-ca-cert-file": authority,
        "tls-auth-clients": "optional",
    }
    server = RedisServer(program, tmp_path, options)
    server.set_option("tls-port", server.port)
    try:
        server.start()
    except AssertionError as exc:
        if "TLS" in str(exc) or "tls" in str(exc):
            pytest.skip(f"{program} was built without TLS")
        raise
    try:
        await try_it(RedisEngine(f"rediss://localhost:{server.port}?ssl_ca_certs={authority}", history=KEEPS))
        context = ssl.create_default_context(cafile=authority)
        await try_it(RedisEngine(f"valkeys://localhost:{server.port}", history=KEEPS, ssl_context=context))
        with pytest.raises(EngineUnavailable, match=r"cannot connect.*certificate verify failed"):
            await RedisEngine(f"rediss://localhost:{server.port}").run(Recorder())
        with pytest.raises(EngineUnavailable, match=r"cannot connect.*IP address mismatch"):
            await RedisEngine(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={authority}").run(Recorder())
        with pytest.raises(EngineUnavailable, match="lost"):
            await RedisEngine(f"redis://localhost:{server.port}").run(Recorder())
    finally:
        server.kill()


@pytest.mark.usefixtures("short_limits")
async def test_tls_with_a_server_that_does_not_use_it(server: RedisServer) -> None:
    with pytest.raises(EngineUnavailable, match=r"did not accept a connection within 0\.25 seconds; does it use TLS\?"):
        await RedisEngine(f"rediss://127.0.0.1:{server.port}").run(Recorder())


class Replicated:
    """A primary, its replica, and a sentinel that makes the replica the primary when asked or when the primary dies."""

    def __init__(self, program: str, folder: Path) -> None:
        self.primary = RedisServer(program, folder / "primary", {"repl-diskless-sync-delay": 0})
        self.replica = RedisServer(program, folder / "replica", {"replicaof": f"127.0.0.1 {self.primary.port}"})
        self.sentinel = RedisServer(
            program,
            folder / "sentinel",
            {"sentinel monitor main 127.0.0.1": f"{self.primary.port} 1", "sentinel down-after-milliseconds main": 300},
            sentinel=True,
        )

    def start(self) -> None:
        """Start all three, and wait until they know each other."""
        self.primary.start()
        self.replica.start()
        self.replica.wait_for("INFO", "replication", until="master_link_status:up")
        self.sentinel.start()
        self.sentinel.wait_for("SENTINEL", "REPLICAS", "main", until=f"127.0.0.1:{self.replica.port}")
        self.sentinel.wait_for("SENTINEL", "REPLICAS", "main", until="master-link-status\r\n$2\r\nok")

    def wait_until_equal(self) -> None:
        """Wait until the replica has all that the primary has now."""
        reply = self.primary.command("XLEN", "anyws:{news}:stream", db=3).removeprefix("+OK\r\n")
        self.replica.wait_for("XLEN", "anyws:{news}:stream", until=reply, db=3)

    def kill(self) -> None:
        """Kill all three."""
        for server in (self.sentinel, self.replica, self.primary):
            server.kill()

    @property
    def url(self) -> str:
        """The URL for an engine. The first sentinel does not exist."""
        return f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/main/3"


@pytest.fixture
def replicated(program: str, tmp_path: Path) -> Iterator[Replicated]:
    """A replicated server."""
    servers = Replicated(program, tmp_path)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()


async def test_sentinels_name_the_primary(replicated: Replicated) -> None:
    await try_it(RedisEngine(replicated.url, history=KEEPS))
    with pytest.raises(EngineUnavailable, match=r"no sentinel named the primary of 'other'.*does not watch 'other'"):
        await RedisEngine(replicated.url.replace("main", "other")).run(Recorder())
    with pytest.raises(EngineUnavailable, match=r"is a sentinel; did you mean redis\+sentinel://"):
        await RedisEngine(replicated.sentinel.url).run(Recorder())
    with pytest.raises(EngineUnavailable, match="is a replica, expected a primary"):
        await RedisEngine(replicated.replica.url).run(Recorder())


async def test_after_a_failover_all_goes_on_at_the_replica(replicated: Replicated) -> None:
    async with following(replicated.url, history=KEEPS) as (engine, follower):
        publisher = Publisher(engine)
        await publisher.publish(20)
        await to_thread.run_sync(replicated.wait_until_equal)
        replicated.primary.kill()
        await follower.wait_until(lambda: "interrupted" in follower.events)
        await follower.wait_until(lambda: "restored" in follower.events)
        await publisher.publish(20)
        last = b"%d" % publisher.accepted[-1]
        await follower.wait_until(lambda: last in follower.received[-1:])
        check(follower.received, publisher.accepted, follower.losses)
    assert follower.losses == 0
    assert "role:master" in replicated.replica.command("INFO", "replication", whole=True)


@pytest.fixture(scope="module")
def servers(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """A cluster of three."""
    with cluster(program, tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


async def test_a_cluster(servers: list[RedisServer]) -> None:
    for server in servers:
        server.command("FLUSHALL")
    engine = RedisEngine(f"redis+cluster://127.0.0.1:1,127.0.0.1:{servers[1].port}", history=KEEPS)
    await try_it(engine)
    listener = Recorder()
    topics = [f"room:{number}" for number in range(60)]
    async with running(engine, listener), running(RedisEngine(engine_url(servers), history=KEEPS)) as other:
        starts = await engine.follow(topics)
        async with anyio.create_task_group() as tasks:
            for topic in topics:
                tasks.start_soon(other.publish, topic, topic.encode())
        positions = await engine.follow(topics)
        assert [(start.epoch, 1) for start in starts] == positions
        assert sorted(payload.decode() for _, _, payload in listener.messages) == sorted(topics)
        assert await other.read("room:7", starts[7], 10) == [(positions[7], b"room:7")]
        await engine.unfollow(topics)
    assert all(server.command("DBSIZE") not in (":0\r\n", ":1\r\n") for server in servers)
    with pytest.raises(EngineUnavailable, match=r"is part of a cluster; did you mean redis\+cluster://"):
        await RedisEngine(servers[0].url).run(Recorder())


async def test_a_single_server_is_no_cluster(server: RedisServer) -> None:
    with pytest.raises(EngineUnavailable, match=r"is not part of a cluster; did you mean redis://"):
        await RedisEngine(f"redis+cluster://127.0.0.1:{server.port}").run(Recorder())


def engine_url(servers: list[RedisServer]) -> str:
    return f"redis+cluster://127.0.0.1:{servers[0].port}"


def move_slot(servers: list[RedisServer], slot: int, source: int, target: int) -> None:
    """Move a slot with its keys from one server to another, as redis-cli does."""
    names = [server.command("CLUSTER", "MYID", whole=True).split("\r\n")[1] for server in servers]
    servers[target].command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", names[source])
    servers[source].command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", names[target])
    keys = servers[source].command("CLUSTER", "GETKEYSINSLOT", str(slot), "100", whole=True).split("\r\n")
    for key in filter(lambda key: key.startswith("anyws:"), keys):
        migrated = servers[source].command("MIGRATE", "127.0.0.1", str(servers[target].port), key, "0", "1000")
        assert migrated == "+OK\r\n"
    for server in (servers[target], servers[source], *servers):
        server.command("CLUSTER", "SETSLOT", str(slot), "NODE", names[target])


async def test_a_topic_that_the_cluster_moves_to_another_server(servers: list[RedisServer]) -> None:
    topic = "moving"
    slot = slot_of(TopicKeys.of(topic, 0).meta)
    source = slot * 3 // 16384
    target = (source + 1) % 3
    async with following(engine_url(servers), topic, history=KEEPS) as (engine, follower):
        publisher = Publisher(engine, topic)
        await publisher.publish(10)
        for start, end in ((source, target), (target, source)):
            await to_thread.run_sync(move_slot, servers, slot, start, end)
            await publisher.publish(10)
            last = b"%d" % publisher.accepted[-1]
            await follower.wait_until(functools.partial(follower.has_last, last))
            check(follower.received, publisher.accepted, follower.losses)
    assert follower.losses == 0
    assert publisher.failures == []


async def test_a_server_of_a_cluster_that_restarts(program: str, tmp_path: Path) -> None:
    with cluster(program, tmp_path) as servers:
        async with following(engine_url(servers), "news", history=KEEPS, check_interval=0.2) as (engine, follower):
            victim = servers[slot_of(TopicKeys.of("news", 0).meta) * 3 // 16384]
            publisher = Publisher(engine)
            await publisher.publish(5)
            victim.kill()
            await follower.wait_until(lambda: follower.events == ["interrupted"])
            assert not await publisher.try_once()
            await to_thread.run_sync(victim.start)  # without data
            await follower.wait_until(lambda: follower.events[-1] == "restored" and follower.losses >= 1)
            await publisher.publish(5)
            last = b"%d" % publisher.accepted[-1]
            await follower.wait_until(lambda: last in follower.received[-1:])
            check(follower.received, publisher.accepted, follower.losses)
