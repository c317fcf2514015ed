"""`anyws serve topic`, and handlers that open topics themselves, as processes."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from anyws._cli.topic import TopicChat
from anyws.testing import FaultyEngine, connect_to_handler
from tests.harness import free_port
from tests.topics.servers import RedisServer, find_program

from .commands import LIMIT, ROOT, run_anyws, run_main, start_anyws
from .test_serve import exchange

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])

FACTORY = """\
import os
from contextlib import asynccontextmanager
import anyws

@asynccontextmanager
async def open_chat():
    async with anyws.open_topics(os.environ["ENGINE"]) as topics:
        async def handler(websocket):
            await websocket.send(str(os.getpid()))
            async with topics.forward(websocket, "room"):
                await websocket.send("ready")
                async for message in websocket:
                    await topics.publish("room", message)
        yield handler
    print("closed", flush=True)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that stores its data."""
    program = find_program("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(program, tmp_path / "redis", {"appendonly": "yes"})
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def connections(uri: str, count: int) -> AsyncIterator[list[anyws.WebSocket]]:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(anyws.connect(uri, max_connecting=None)) for _ in range(count)]
        for websocket in opened:
            await websocket.ping()
        yield opened


async def until(websocket: anyws.WebSocket, wanted: str) -> None:
    while await websocket.receive() != wanted:
        pass


async def have_all_followed(websockets: list[anyws.WebSocket]) -> None:
    """Wait until each of them gets what it publishes itself."""
    for number, websocket in enumerate(websockets):
        await websocket.send(f"ready {number}")
        await until(websocket, f"ready {number}")


@backends
def test_a_chat_in_one_process_has_a_topic_for_each_path(backend: str) -> None:
    async def talk(uri: str) -> None:
        with anyio.fail_after(LIMIT):
            async with connections(f"{uri}one", 2) as (first, second), connections(f"{uri}two", 1) as (other,):
                await have_all_followed([second, first])
                await other.send("elsewhere")
                assert await other.receive() == "elsewhere"
                await first.send(b"binary")
                await until(first, b"binary")  # type: ignore[arg-type]
                await until(second, b"binary")  # type: ignore[arg-type]

    with start_anyws("serve", "topic", "--port", 0, "--backend", backend) as process:
        anyio.run(talk, process.expect_line("ws://"))
        assert process.stop() == (0, "", "")


@backends
def test_two_workers_share_topics_over_an_engine(backend: str, engine: RedisServer) -> None:
    async def talk(uri: str) -> None:
        with anyio.fail_after(LIMIT):
            async with connections(uri, 12) as websockets:  # all in one process: once in 2000 runs
                await have_all_followed(websockets)
                for number, websocket in enumerate(websockets):
                    await websocket.send(f"hello {number}")
                    for other in websockets:
                        await until(other, f"hello {number}")
        assert "2" in engine.command("PUBSUB", "NUMSUB", "anyws:{chat}:channel:0", whole=True)

    arguments = ["serve", "topic", "--port", 0, "--workers", 2, "--engine", engine.url, "--backend", backend]
    with start_anyws(*arguments) as process:
        anyio.run(talk, process.expect_line("ws://"))
        assert process.stop(signal.SIGTERM) == (0, "", "")


def test_clients_resume_in_another_process(engine: RedisServer) -> None:
    async def talk(first: str, second: str) -> None:
        with anyio.fail_after(LIMIT):
            async with anyws.connect(f"{first}room/1") as websocket:
                await websocket.send('{"since": null}')
                start = json.loads(await websocket.receive())
                assert start["state"] == []
            async with anyws.connect(f"{second}room/1") as websocket:
                await websocket.send('{"since": null}')
                await websocket.receive()
                for message in ("one", b"two"):
                    await websocket.send(message)
                messages = [json.loads(await websocket.receive()) for _ in range(2)]
                assert [message.get("data") for message in messages] == ["one", None]
                assert messages[1]["base64"] == "dHdv"
                assert messages[1]["topic"] == "room/1"
            for since, expected in ((start["position"], messages), (messages[0]["position"], messages[1:])):
                async with anyws.connect(f"{first}room/1") as websocket:
                    await websocket.send(json.dumps({"since": since}))
                    assert [json.loads(await websocket.receive()) for _ in expected] == expected
            async with anyws.connect(f"{first}room/1") as websocket:
                await websocket.send('{"since": "of another life.7"}')
                assert json.loads(await websocket.receive())["state"] == []

    arguments = ["serve", "topic", "--resume", "--port", 0, "--engine", engine.url]
    with start_anyws(*arguments) as one, start_anyws(*arguments, "--backend", "trio") as other:
        anyio.run(talk, one.expect_line("ws://"), other.expect_line("ws://"))
        assert one.stop() == other.stop() == (0, "", "")


def test_the_url_of_the_engine_can_be_in_a_file(engine: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "engine").write_text(f"{engine.url}\n")
    arguments = ["serve", "topic", "--port", 0, "--workers", 2, "--engine", "@engine"]
    with start_anyws(*arguments, cwd=tmp_path) as process:
        process.expect_line("ws://")
        assert process.stop() == (0, "", "")


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_an_engine_that_cannot_be_reached_is_one_line_and_status_1(workers: list[str]) -> None:
    port = free_port()
    url = f"redis://:secret@127.0.0.1:{port}"
    status, out, err = run_anyws("serve", "topic", "--port", 0, *workers, "--engine", url)
    assert (status, out) == (1, "")
    assert err.startswith(f"anyws: cannot open topics: cannot connect to 127.0.0.1:{port}: ")
    assert err.count("\n") == 1
    assert "secret" not in err


def test_a_missing_file_of_the_engine_is_one_line_and_status_1() -> None:
    for engine, problem in {
        "@/none": "cannot read /none: No such file or directory",
        "rediss://h?ssl_ca_certs=/none": "cannot use the certificates that --engine names: No such file or directory",
    }.items():
        assert run_anyws("serve", "topic", "--engine", engine) == (1, "", f"anyws: {problem}\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("topic --workers 2", "argument --workers: workers share topics over a server: add --engine redis://HOST"),
        ("--engine redis://h", "argument --engine: requires 'anyws serve topic'"),
        ("--engine redis://h json:x", "your own handler opens its topics itself, see --factory"),
        ("--resume --echo", "argument --resume: requires 'anyws serve topic'"),
        ("topic --engine http://u:secret@h", "argument --engine: 'http://h' is not the URL of an engine: expected"),
        ("topic --factory", "argument --factory: requires MODULE:HANDLER"),
        ("--factory --echo", "argument --factory: requires MODULE:HANDLER"),
        ("--factory shutil:copy", "'shutil:copy': with --factory, it must be a function without arguments"),
        ("--factory json:__name__", "'json:__name__': with --factory, it must be a function without arguments"),
    ],
)
def test_wrong_usage_is_status_2(arguments: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "serve", *shlex.split(arguments))
    assert (status, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1


# -- what the handler says to clients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hello", ["", "hello", "[]", "{}", b"\xff", "[" * 100_000])
async def test_a_client_must_say_where_it_resumes(hello: str | bytes) -> None:
    async with anyws.open_topics() as topics, connect_to_handler(TopicChat(topics, resumes=True)) as websocket:
        await websocket.send(hello)
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
    assert (raised.value.code, raised.value.reason) == (
        1008,
        'expected {"since": POSITION} or {"since": null} first',
    )


async def test_the_name_of_a_topic_is_bounded() -> None:
    async with (
        anyws.open_topics() as topics,
        connect_to_handler(TopicChat(topics, resumes=False), "ws://test/" + "x" * 1025) as websocket,
    ):
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
    assert (raised.value.code, raised.value.reason) == (1008, "the topic's name is longer than 1024 bytes")


async def test_a_message_that_is_not_published_closes_the_connection() -> None:
    engine = FaultyEngine()
    async with (
        anyws.open_topics(engine=engine) as topics,
        connect_to_handler(TopicChat(topics, resumes=False)) as websocket,
    ):
        await websocket.send("hello")
        assert await websocket.receive() == "hello"
        engine.die()
        await websocket.send("lost")
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
    assert (raised.value.code, raised.value.reason) == (1013, "the engine of topics is unavailable")


# -- factories ---------------------------------------------------------------------------------------------------------


@backends
def test_a_factory_opens_topics_in_each_worker(
    backend: str, engine: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk(uri: str) -> None:
        with anyio.fail_after(LIMIT):
            async with AsyncExitStack() as stack:
                websockets: dict[Any, anyws.WebSocket] = {}
                while len(websockets) < 2:
                    websocket = await stack.enter_async_context(anyws.connect(uri, max_connecting=None))
                    websockets[await websocket.receive()] = websocket
                    assert await websocket.receive() == "ready"
                first, second = websockets.values()
                await first.send("hello")
                assert await second.receive() == "hello"

    monkeypatch.setenv("ENGINE", engine.url)
    (tmp_path / "chat.py").write_text(FACTORY)
    arguments = ["--port", 0, "--workers", 2, "--backend", backend, "--factory", "chat:open_chat"]
    with start_anyws("serve", *arguments, cwd=tmp_path) as process:
        anyio.run(talk, process.expect_line("ws://"))
        status, out, err = process.stop()
        assert (status, out.count("closed"), err) == (0, 2, "")


def test_the_factory_of_the_page(engine: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(
        r"^```python\n(# chat\.py\n.*?)^```$", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL | re.M
    )
    (tmp_path / "chat.py").write_text(block)
    monkeypatch.setenv("ENGINE", engine.url)
    with start_anyws("serve", "--port", 0, "--factory", "chat:open_chat", cwd=tmp_path) as process:
        assert exchange(process.expect_line("ws://"), "hello") == "hello"
        assert process.stop() == (0, "", "")


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_a_factory_whose_engine_cannot_be_reached_is_one_line(
    workers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE", f"redis://127.0.0.1:{free_port()}")
    (tmp_path / "chat.py").write_text(FACTORY)
    status, out, err = run_anyws("serve", "--port", 0, *workers, "--factory", "chat:open_chat", cwd=tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith("anyws: cannot open topics: cannot connect to ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        ("async def make(): yield", "returned an object of type async_generator: with --factory, it must return an "),
        ("async def make(): pass", "returned an object of type coroutine: with --factory, it must return an async"),
        ("def make(): return print", "decorate it with @contextlib.asynccontextmanager, and yield the handler"),
        (
            "import contextlib\n@contextlib.asynccontextmanager\nasync def make(): yield 7",
            "'made:make' does not yield a handler: the handler must be an async function, not int",
        ),
    ],
)
def test_a_factory_that_makes_no_handler_is_one_line_and_status_2(factory: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(f"{factory}\n")
    status, out, err = run_anyws("serve", "--port", 0, "--factory", "made:make", cwd=tmp_path)
    assert (status, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1
