"""An exception raised in a block propagates unchanged, even if the close is cancelled. The peer never sends a Close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

import anyws
from anyws.testing import ScriptedPeer, scripted_server
from tests.harness import await_a_cancelled_task
from tests.peers import Peer

LIMIT = 0.05


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Run a server that never answers a Close."""

    async def be_silent(peer: ScriptedPeer) -> None:
        await anyio.sleep_forever()

    async with scripted_server(be_silent, grace=0) as uri:
        yield uri


@asynccontextmanager
async def connected() -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    async with silent_server() as uri:
        yield anyws.connect(uri, ping_interval=None)


@asynccontextmanager
async def connected_over_a_stream() -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    yield anyws.connect("ws://localhost/", stream=Peer("client").stream, ping_interval=None)


@asynccontextmanager
async def accepted() -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    yield anyws.accept(Peer("server").stream, ping_interval=None)


@asynccontextmanager
async def reconnected() -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    async with silent_server() as uri:
        async for connection in anyws.reconnecting(uri, ping_interval=None):
            yield connection
            break


@asynccontextmanager
async def connected_with_callbacks() -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    async with silent_server() as uri:
        host, port = uri.removeprefix("ws://").removesuffix("/").split(":")
        yield anyws.client_connect(secure=False, socket_options={"host": host, "port": int(port)}, ping_interval=None)


@asynccontextmanager
async def serving() -> AsyncIterator[AbstractAsyncContextManager[Any]]:
    """A server whose handler delays the shutdown."""

    async def stay(websocket: anyws.WebSocket) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(4 * LIMIT):
            await websocket.wait_closed()

    @asynccontextmanager
    async def served() -> AsyncIterator[None]:
        async with anyws.open_server(stay, "127.0.0.1", 0):
            yield

    yield served()


BLOCKS = [connected, connected_over_a_stream, accepted, reconnected, connected_with_callbacks, serving]


Begin = Callable[[], object]
"""Starts the timeout, once the block has been entered, which may take long on a busy machine."""


@asynccontextmanager
async def moving_on() -> AsyncIterator[Begin]:
    with anyio.move_on_after(None) as scope:
        yield lambda: setattr(scope, "deadline", anyio.current_time() + LIMIT)


@asynccontextmanager
async def failing_after() -> AsyncIterator[Begin]:
    with anyio.fail_after(None) as scope:
        yield lambda: setattr(scope, "deadline", anyio.current_time() + LIMIT)


@asynccontextmanager
async def with_asyncio_timeout() -> AsyncIterator[Begin]:
    async with asyncio.timeout(None) as timeout:
        yield lambda: timeout.reschedule(asyncio.get_running_loop().time() + LIMIT)


@asynccontextmanager
async def with_cancelled_task() -> AsyncIterator[Begin]:
    task = asyncio.current_task()
    assert task is not None
    try:
        yield lambda: asyncio.get_running_loop().call_later(LIMIT, task.cancel)
    finally:
        task.uncancel()


LIMITS = [moving_on, failing_after, with_asyncio_timeout, with_cancelled_task]
ASYNCIO_ONLY = [with_asyncio_timeout, with_cancelled_task]

Opened = Callable[[], AbstractAsyncContextManager[AbstractAsyncContextManager[Any]]]
Limited = Callable[[], AbstractAsyncContextManager[Begin]]


@pytest.mark.parametrize("limited", LIMITS)
@pytest.mark.parametrize("opened", BLOCKS)
async def test_raised_in_the_block_before_it_is_cancelled(
    opened: Opened, limited: Limited, anyio_backend_name: str
) -> None:
    if limited in ASYNCIO_ONLY and anyio_backend_name != "asyncio":
        pytest.skip("only on asyncio")
    error = KeyError("mine")
    async with opened() as block:
        with pytest.raises(KeyError) as raised:
            async with limited() as begin, block:
                begin()
                raise error
    assert raised.value is error


@pytest.mark.parametrize("limited", LIMITS)
@pytest.mark.parametrize("opened", BLOCKS)
async def test_raised_in_a_finally_while_the_block_is_cancelled(
    opened: Opened, limited: Limited, anyio_backend_name: str
) -> None:
    if limited in ASYNCIO_ONLY and anyio_backend_name != "asyncio":
        pytest.skip("only on asyncio")
    error = KeyError("mine")
    async with opened() as block:
        with pytest.raises(KeyError) as raised:
            async with limited() as begin, block:
                begin()
                try:
                    await anyio.sleep_forever()
                finally:
                    raise error
    assert raised.value is error


async def test_an_exception_in_a_handler_is_logged_even_if_the_server_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered = anyio.Event()

    async def fail_at_the_end(websocket: anyws.WebSocket) -> None:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("of the handler")

    with anyio.CancelScope() as scope:
        async with (
            anyws.open_server(fail_at_the_end, "127.0.0.1", 0) as server,
            anyws.connect("ws://{}:{}/".format(*server.addresses[0])),
        ):
            await entered.wait()
            scope.cancel()
            await anyio.sleep_forever()
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


# -- what asyncio adds -------------------------------------------------------------------------------------------------


async def fail() -> None:
    await asyncio.sleep(0)
    raise KeyError


async def fail_a_task_group() -> None:
    """Before Python 3.13, this may leave ``Task.cancelling()`` at 1 (python/cpython#116720)."""
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            tasks.create_task(asyncio.sleep(1))


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("opened", [block for block in BLOCKS if block is not reconnected])
async def test_after_a_task_group_of_asyncio_has_failed_in_the_block(
    opened: Opened, raises: bool, anyio_backend_name: str
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("only on asyncio")
    raised: list[type[BaseException]] = []
    is_completed = False

    async def run() -> None:
        nonlocal is_completed
        async with opened() as block:
            try:
                async with block as entered:
                    await fail_a_task_group()
                    if isinstance(entered, anyws.WebSocket):
                        entered._link.abort()
                    if raises:
                        raise ValueError
                is_completed = True
            except BaseException as exc:
                raised.append(type(exc))

    await asyncio.create_task(run())
    assert raised == ([ValueError] if raises else [])
    assert is_completed is not raises


async def test_a_stray_cancelled_error_closes_with_1011(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("only on asyncio")
    codes: list[int | None] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        with pytest.raises(asyncio.CancelledError):
            async with anyws.connect("ws://{}:{}/".format(*server.addresses[0])):
                await await_a_cancelled_task()
    assert codes == [1011]


async def test_a_stray_cancelled_error_in_a_message_handler_ends_the_block(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("only on asyncio")

    async def greet(websocket: anyws.WebSocket) -> None:
        await websocket.send("hi")
        await websocket.wait_closed()

    async def on_message(message: str | bytes) -> None:
        await await_a_cancelled_task()

    async with anyws.open_server(greet, "127.0.0.1", 0) as server:
        host, port = server.addresses[0]
        with pytest.raises(RuntimeError, match="awaited a task that was cancelled"):
            async with anyws.client_connect(
                message_handler=on_message, secure=False, socket_options={"host": host, "port": port}
            ) as socket:
                await socket.wait_closed()


Cancel = Callable[["asyncio.Task[Any]"], Awaitable[None]]


@pytest.mark.parametrize("opened", [connected, connected_over_a_stream, accepted, connected_with_callbacks])
async def test_a_second_cancellation_never_hangs(opened: Opened, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("only on asyncio")
    entered = asyncio.Event()

    async def run(block: AbstractAsyncContextManager[Any]) -> None:
        async with block as websocket:
            stream = websocket._link.stream
            if hasattr(stream, "is_reading"):
                stream.is_reading = False
            entered.set()
            await anyio.sleep_forever()

    async with opened() as block:
        task = asyncio.create_task(run(block))
        await entered.wait()
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        done, _ = await asyncio.wait([task], timeout=5)
        assert done
        assert task.cancelled()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws")
