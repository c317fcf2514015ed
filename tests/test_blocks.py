"""Blocks are left in their own task, the last one first; what is left otherwise says so, and is still open."""

from __future__ import annotations

import contextvars
import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any

import anyio
import pytest

import anyws
from anyws._blocks import block
from anyws.testing import memory_stream_pair

from .peers import REQUEST, echo, uri_of

Open = Callable[[anyws.Server], AbstractAsyncContextManager[Any]]


def connecting(server: anyws.Server) -> AbstractAsyncContextManager[Any]:
    return anyws.connect(uri_of(server))


def with_callbacks(server: anyws.Server) -> AbstractAsyncContextManager[Any]:
    host, port = server.addresses[0][:2]
    return anyws.client_connect(secure=False, socket_options={"host": host, "port": port})


def serving(_: anyws.Server) -> AbstractAsyncContextManager[Any]:
    return anyws.open_server(echo, "127.0.0.1", 0)


def callback_serving(_: anyws.Server) -> AbstractAsyncContextManager[Any]:
    return anyws.server(secure=False, listener_options={"host": "127.0.0.1"})


every_block = pytest.mark.parametrize(
    ("opened", "name"),
    [
        (connecting, "connect()"),
        (with_callbacks, "client_connect()"),
        (serving, "open_server()"),
        (callback_serving, "server()"),
    ],
)


@every_block
async def test_left_out_of_order(opened: Open, name: str) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        outer, inner = opened(server), anyws.connect(uri_of(server))
        await outer.__aenter__()
        websocket = await inner.__aenter__()
        with pytest.raises(RuntimeError) as raised:
            await outer.__aexit__(None, None, None)
        assert f"{name} was exited before connect(), which is nested in it" in str(raised.value)
        assert "AsyncExitStack" in str(raised.value)
        await websocket.send("still open")
        assert await websocket.receive() == "still open"
        await inner.__aexit__(None, None, None)
        await outer.__aexit__(None, None, None)


@every_block
async def test_left_in_another_task(opened: Open, name: str) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        entered = opened(server)
        await entered.__aenter__()

        async def leave() -> None:
            with pytest.raises(RuntimeError, match="was exited in a different task than it was entered in") as raised:
                await entered.__aexit__(None, None, None)
            assert str(raised.value).startswith(f"{name} was exited")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
        await entered.__aexit__(None, None, None)


async def test_accept_and_reconnecting_say_it_too() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        near, far = memory_stream_pair()
        await far.send(REQUEST)
        connections = anyws.reconnecting(uri_of(server))
        for outer in (anyws.accept(near, close_timeout=0.01), await anext(aiter(connections))):
            await outer.__aenter__()
            async with anyws.connect(uri_of(server)):
                with pytest.raises(RuntimeError, match=r"(accept|reconnecting)\(\) was exited before"):
                    await outer.__aexit__(None, None, None)
            await outer.__aexit__(None, None, None)


async def test_the_exception_of_a_body_is_not_lost() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        async with AsyncExitStack() as stack:
            outer = anyws.connect(uri_of(server))
            await outer.__aenter__()
            stack.push_async_exit(outer)
            async with anyws.connect(uri_of(server)):
                with pytest.raises(RuntimeError, match="was exited before"):
                    await outer.__aexit__(None, None, None)
        with pytest.raises(ZeroDivisionError):
            async with anyws.connect(uri_of(server)), anyws.connect(uri_of(server)):
                raise ZeroDivisionError


async def test_any_order_in_tasks_of_their_own() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)):
        opened = anyio.Event()
        go_on = anyio.Event()

        async def outlives() -> None:
            async with anyws.connect(uri_of(server)) as websocket:
                opened.set()
                await go_on.wait()
                await websocket.send("hello")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outlives)
            await opened.wait()
            async with anyws.connect(uri_of(server)):
                pass
            go_on.set()


async def test_blocks_in_generators() -> None:
    async def feed(server: anyws.Server) -> AsyncGenerator[str | bytes, None]:
        async with anyws.connect(uri_of(server)) as websocket:
            await websocket.send("hello")
            async for message in websocket:
                yield message

    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        for _ in range(2):
            async with aclosing(feed(server)) as messages:
                assert await anext(messages) == "hello"
                async with anyws.connect(uri_of(server)):
                    pass


async def test_a_copied_context_does_not_keep_a_block() -> None:
    """A cancelled timer of asyncio keeps its context until its time."""

    @block("opened()", "async with opened()")
    async def opened() -> AsyncGenerator[None, None]:
        yield

    manager = opened()
    found = weakref.ref(manager)
    async with manager:
        context = contextvars.copy_context()
    del manager
    gc.collect()
    assert found() is None
    assert context
