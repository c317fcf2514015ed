"""`anyws connect --reconnect`, as a process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

import anyws
from anyws._cli.replay import replayable
from tests.harness import free_port

from .commands import run_anyws, start_anyws

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def run_beside(*arguments: object) -> tuple[int, str, str]:
    """Run the command beside a server in this process."""
    return await anyio.to_thread.run_sync(lambda: run_anyws("connect", "--reconnect", *arguments))


@backends
async def test_messages_of_several_connections_are_counted_together(backend: str) -> None:
    numbers = iter(range(10))

    async def greet(websocket: anyws.WebSocket) -> None:
        await websocket.send(f"hello {next(numbers)}")

    async with anyws.open_server(greet, "127.0.0.1", 0) as server:
        status, out, err = await run_beside("--backend", backend, "-n", 2, server.uri)
    assert (status, out) == (0, "hello 0\nhello 1\n")
    assert err.count("connected to ws://127.0.0.1") == 2
    assert err.count("closed: 1000") == 2
    assert err.count("reconnecting in ") == 1


async def test_a_busy_server_is_tried_again() -> None:
    answers = iter([anyws.Response(503), None])

    async def echo(websocket: anyws.WebSocket) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=lambda request: next(answers)) as server:
        status, out, err = await run_beside("--send", "hello", "--one", server.uri)
    assert (status, out) == (0, "hello\n")
    assert "503 Service Unavailable\nreconnecting in " in err


async def test_a_rejection_is_final() -> None:
    async def never(websocket: anyws.WebSocket) -> None:
        pytest.fail("connected")

    async with anyws.open_server(never, "127.0.0.1", 0, on_request=lambda request: anyws.Response(404)) as server:
        status, _, err = await run_beside(server.uri)
    assert status == 4
    assert err.count("404 Not Found") == 1
    assert "reconnecting" not in err


async def test_a_close_code_that_rejects_the_client_is_final() -> None:
    async def reject(websocket: anyws.WebSocket) -> None:
        await websocket.aclose(1008, "go away")

    async with anyws.open_server(reject, "127.0.0.1", 0) as server:
        status, _, err = await run_beside("--wait", "inf", server.uri)
    assert status == 5
    assert err.count("connected to") == err.count("closed: 1008 (go away)") == 1


def test_the_time_limit_holds_while_there_is_no_connection() -> None:
    status, _, err = run_anyws("connect", "--reconnect", "--timeout", 1, f"127.0.0.1:{free_port()}")
    assert status == 6
    assert "cannot connect to ws://127.0.0.1" in err
    assert "reconnecting in" in err
    assert err.endswith("anyws: timed out after 1 s\n")


def test_a_signal_ends_the_delay() -> None:
    with start_anyws("connect", "--reconnect", f"127.0.0.1:{free_port()}") as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("reconnecting"):
            pass
        status, _, err = process.stop()
    assert status == 1
    assert err.endswith("anyws: interrupted\n")


def test_a_message_that_is_sent_piece_by_piece_cannot_be_sent_again() -> None:
    status, _, err = run_anyws("connect", "--reconnect", "--input", "whole", ":1")
    assert status == 2
    assert "argument --reconnect: not allowed with argument --input whole" in err


async def letters() -> AsyncIterator[str]:
    for letter in "abc":
        yield letter


async def test_a_replay_continues_where_the_last_connection_ended() -> None:
    async with replayable(letters()) as replay:
        replay.rewind()
        assert await anext(replay) == "a"
        assert await anext(replay) == "b"
        replay.rewind()  # "b" was not sent
        assert [each async for each in replay] == ["b", "c"]
        replay.rewind()
        assert [each async for each in replay] == []


async def test_a_replay_survives_cancellation() -> None:
    writer, reader = anyio.create_memory_object_stream[str](1)
    async with writer, reader, replayable(reader) as replay:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anext, replay)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        replay.rewind()
        await writer.send("a")
        assert await anext(replay) == "a"
