"""What a mistake is told: what was given, what was expected, and what to do. One row for each mistake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import anyws
from anyws.testing import memory_stream_pair

from .peers import echo

URI = "ws://127.0.0.1:1/"  # never connected to

CONNECT = "use `async with anyws.connect(...) as websocket`"
RECONNECTING = "use `async for connection in anyws.reconnecting(...)`"

Call = Callable[[], Awaitable[object]]


async def awaited(made: Any) -> None:
    await made


async def in_async_with(made: Any) -> None:
    async with made:
        pass


async def in_async_for(made: Any) -> None:
    async for _ in made:
        pass


async def in_with(made: Any) -> None:
    with made:
        pass


async def in_for(made: Any) -> None:
    for _ in made:
        pass


async def used(made: Any) -> None:
    made.send("hello")


@pytest.mark.parametrize(
    ("use", "made", "message"),
    [
        (awaited, anyws.connect(URI), f"connect() cannot be awaited: {CONNECT}"),
        (in_with, anyws.connect(URI), f"connect() cannot be used in a plain `with`: {CONNECT}"),
        (in_for, anyws.connect(URI), f"connect() cannot be used in a plain `for`: {CONNECT}"),
        (
            in_async_for,
            anyws.connect(URI),
            f"connect() cannot be used in `async for`: {CONNECT}; to reconnect, {RECONNECTING}",
        ),
        (used, anyws.connect(URI), f"connect() has no attribute 'send': {CONNECT}"),
        (awaited, anyws.open_server(echo), "use `async with anyws.open_server(...) as server`"),
        (in_async_for, anyws.open_server(echo), "use `async with anyws.open_server(...) as server`"),
        (awaited, anyws.accept(memory_stream_pair()[0]), "use `async with anyws.accept(stream) as websocket`"),
        (awaited, anyws.client_connect(), "use `async with anyws.client_connect(...) as socket`"),
        (awaited, anyws.server(), "use `async with anyws.server(...) as server`"),
        (awaited, anyws.reconnecting(URI), f"reconnecting() cannot be awaited: {RECONNECTING}"),
        (in_async_with, anyws.reconnecting(URI), f"reconnecting() cannot be used in `async with`: {RECONNECTING}"),
        (in_with, anyws.reconnecting(URI), RECONNECTING),
        (in_for, anyws.reconnecting(URI), RECONNECTING),
        (used, anyws.reconnecting(URI), f"reconnecting() has no attribute 'send': {RECONNECTING}"),
    ],
)
async def test_blocks_show_their_use(use: Callable[[Any], Awaitable[None]], made: Any, message: str) -> None:
    with pytest.raises((TypeError, AttributeError)) as raised:
        await use(made)
    assert message in str(raised.value)


async def test_a_connection_of_reconnecting_is_entered() -> None:
    async for connection in anyws.reconnecting(URI):
        with pytest.raises(AttributeError, match="no attribute 'send': use `async with connection as websocket`"):
            await used(connection)
        break


async def test_a_block_is_entered_once() -> None:
    opened = anyws.open_server(echo, "127.0.0.1", 0)
    async with opened:
        pass
    with pytest.raises(RuntimeError, match=r"this open_server\(\) was entered before: call it again"):
        await in_async_with(opened)
    assert not hasattr(opened, "__deepcopy__")  # Python looks for such methods
