"""What a `WebSocket` returns for `await` works wherever a coroutine does, on each event loop."""

from __future__ import annotations

import asyncio
import collections.abc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio

import anyws
from tests.peers import echo, uri_of


@asynccontextmanager
async def echoing() -> AsyncIterator[anyws.WebSocket]:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        yield websocket


def only_on(name: str, backend: tuple[str, Any]) -> None:
    if backend[0] != name:
        pytest.skip(f"for {name}")


async def test_tasks_are_started_with_the_methods() -> None:
    received: list[Any] = []

    async def receive(websocket: anyws.WebSocket) -> None:
        received.append(await websocket.receive())

    async with echoing() as websocket:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.send, "x")
            tasks.start_soon(receive, websocket)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.send, b"y")
            tasks.start_soon(websocket.receive)
    assert received == ["x"]


async def test_trio_nurseries_take_the_methods(anyio_backend: tuple[str, Any]) -> None:
    only_on("trio", anyio_backend)
    async with echoing() as websocket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.send, "x")
            nursery.start_soon(websocket.receive)
        with trio.move_on_after(0.01) as scope:
            await websocket.receive()
        assert scope.cancelled_caught


async def test_asyncio_takes_the_coroutines(anyio_backend: tuple[str, Any]) -> None:
    only_on("asyncio", anyio_backend)
    async with echoing() as websocket:
        task = asyncio.create_task(websocket.receive())
        assert "WebSocket.receive" in repr(task)
        await asyncio.create_task(websocket.send("x"))
        assert await asyncio.wait_for(task, 5) == "x"
        assert [*await asyncio.gather(websocket.send("y"), websocket.receive())] == [None, "y"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(websocket.receive(), 0.001)
        task = asyncio.ensure_future(websocket.receive())
        await asyncio.sleep(0)
        assert task.get_stack() is not None
        task.cancel("because")
        with pytest.raises(asyncio.CancelledError):
            await task
        await websocket.send("z")
        assert await anext(websocket) == "z"
        await asyncio.shield(websocket.send("!"))


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_asyncio_in_debug_mode(use_uvloop: bool, anyio_backend: tuple[str, Any]) -> None:
    options = anyio_backend[1]
    if anyio_backend[0] == "trio" or options.get("use_uvloop", False) is not use_uvloop:
        pytest.skip("for asyncio")

    async def main() -> None:
        async with echoing() as websocket:
            for number in range(200):
                await asyncio.gather(websocket.send(f"{number}"), websocket.receive())

    anyio.run(main, backend="asyncio", backend_options={"debug": True, "use_uvloop": use_uvloop})


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with echoing() as websocket:
        for number in range(20):
            await websocket.send(f"{number}")
            with anyio.CancelScope() as scope, anyio.move_on_after(0 if number % 2 else 0.0001):
                if number % 3:
                    scope.cancel()
                message = await websocket.receive()
                await websocket.send(message)  # once more, at the end
        seen = sorted([int(await websocket.receive()) for _ in range(20)])
        assert seen == list(range(20))


async def test_only_one_task_receives() -> None:
    async with echoing() as websocket, anyio.create_task_group() as tasks:
        tasks.start_soon(websocket.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await websocket.receive()
        await websocket.send("x")


async def test_they_are_coroutines() -> None:
    async with echoing() as websocket:
        for coroutine in (websocket.send("x"), websocket.receive(), websocket.__anext__()):
            assert isinstance(coroutine, collections.abc.Coroutine)
            coroutine.close()


async def test_whoever_forgets_await_is_warned() -> None:
    async with echoing() as websocket:
        with pytest.warns(RuntimeWarning, match=r"coroutine 'WebSocket\.send' was never awaited"):
            websocket.send("x")  # type: ignore[unused-coroutine]
        await websocket.send("y")
        assert await websocket.receive() == "y"
