"""A broadcast in slices: other tasks run meanwhile, and each connection still gets the messages in order."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from anyws._connection import broadcast as module
from anyws.testing import websocket_pair
from tests.peers import cancelling_at, ended, meeting

CROWD = 8


@pytest.fixture(autouse=True)
def one_connection_per_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tasks run after each connection."""
    monkeypatch.setattr("anyws._slices.SLICE", 0)


@contextlib.asynccontextmanager
async def crowd(size: int = CROWD) -> AsyncGenerator[tuple[list[anyws.WebSocket], list[anyws.WebSocket]], None]:
    """Open connections; yields the clients and the servers."""
    async with contextlib.AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(websocket_pair()) for _ in range(size)]
        yield [client for client, _ in pairs], [server for _, server in pairs]
        assert not module._lines  # nobody is owed anything


async def received(client: anyws.WebSocket, server: anyws.WebSocket) -> list[Any]:
    """Return what a client has been sent so far."""
    await server.send("that is all")
    messages: list[Any] = []
    while (message := await client.receive()) != "that is all":
        messages.append(message)
    return messages


async def after_turns(count: int, call: Callable[[], Awaitable[object]]) -> None:
    """Call something after other tasks have had this many turns."""
    for _ in range(count):
        await checkpoint()
    await call()


async def test_other_tasks_run_between_any_two_connections() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with crowd() as (_, servers), anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        await checkpoint()
        before = turns
        assert await anyws.broadcast(servers, "news") == []
        assert turns - before >= CROWD
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("turns", range(CROWD + 2))
async def test_each_connection_gets_two_broadcasts_in_the_order_in_which_they_began(turns: int) -> None:
    async with crowd() as (clients, servers):
        async with anyio.create_task_group() as tasks:

            async def second() -> None:
                assert await anyws.broadcast(servers[:1:-1], "second") == []  # the other way round, without two

            tasks.start_soon(after_turns, turns, second)
            await checkpoint()
            assert await anyws.broadcast(servers, "first") == []
        for number, (client, server) in enumerate(zip(clients, servers, strict=True)):
            messages = await received(client, server)
            assert sorted(messages) == (["first"] if number < 2 else ["first", "second"])
            if turns > 1:  # the second began later on every event loop
                assert messages == sorted(messages)


async def test_many_broadcasts_at_once_arrive_in_the_same_order_everywhere() -> None:
    async with crowd() as (clients, servers):
        async with anyio.create_task_group() as tasks:
            for number in range(CROWD):
                everybody = servers[number:] + servers[:number]
                tasks.start_soon(anyws.broadcast, everybody, str(number))
        orders = [await received(*pair) for pair in zip(clients, servers, strict=True)]
        assert sorted(orders[0]) == [str(number) for number in range(CROWD)]
        assert orders == [orders[0]] * CROWD


async def test_what_the_same_task_sends_next_arrives_next() -> None:
    async with crowd() as (clients, servers):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyws.broadcast, servers, "other news")
            await anyws.broadcast(servers, "first")
            for server in servers:
                await server.send("second")
        for client, server in zip(clients, servers, strict=True):
            messages = await received(client, server)
            messages.remove("other news")
            assert messages == ["first", "second"]


async def test_a_small_broadcast_does_not_wait_for_a_large_one() -> None:
    done: list[str] = []

    async with crowd() as (clients, servers):

        async def large() -> None:
            await anyws.broadcast(servers[1:], "large")
            done.append("large")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(large)
            await checkpoint()
            await checkpoint()
            await anyws.broadcast([servers[0]], "small")
            done.append("small")
        assert done == ["small", "large"]
        assert await received(clients[0], servers[0]) == ["small"]


@pytest.mark.parametrize("step", range(CROWD + 1))
async def test_if_it_is_cancelled_those_before_have_the_message_and_those_after_have_not(step: int) -> None:
    async with crowd() as (clients, servers):
        with anyio.CancelScope() as scope:

            async def send() -> None:
                await anyws.broadcast(servers, "news")

            await cancelling_at(step, scope, send())
        assert scope.cancelled_caught
        for number, (client, server) in enumerate(zip(clients, servers, strict=True)):
            assert await received(client, server) == (["news"] if number < step else [])


async def test_a_cancelled_one_leaves_the_others_in_order() -> None:
    async with crowd() as (clients, servers):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:

                async def send() -> None:
                    tasks.start_soon(anyws.broadcast, servers, "second")
                    await anyws.broadcast(servers, "first")

                await cancelling_at(3, scope, send())
            await anyws.broadcast(servers, "third")
        for client, server in zip(clients, servers, strict=True):
            messages = await received(client, server)
            assert messages in (["first", "second", "third"], ["second", "third"])


async def test_the_set_may_change_meanwhile() -> None:
    async with crowd() as (clients, servers):
        everybody = set(servers[:-1])
        async with anyio.create_task_group() as tasks:

            async def change() -> None:
                everybody.clear()
                everybody.add(servers[-1])

            tasks.start_soon(after_turns, 2, change)
            assert await anyws.broadcast(everybody, "news") == []
        assert everybody == {servers[-1]}
        for client, server in zip(clients, servers, strict=True):
            assert await received(client, server) == ([] if server is servers[-1] else ["news"])


async def test_connections_that_close_meanwhile_are_skipped() -> None:
    async with crowd() as (clients, servers):
        async with anyio.create_task_group() as tasks:

            async def close() -> None:
                tasks.start_soon(servers[-1].aclose)
                tasks.start_soon(ended, clients[-1])

            tasks.start_soon(after_turns, 1, close)
            await checkpoint()
            assert await anyws.broadcast(servers, "news") == [servers[-1]]
        for client, server in zip(clients[:-1], servers[:-1], strict=True):
            assert await received(client, server) == ["news"]


async def test_nobody_overtakes_a_message_that_waits_for_room() -> None:
    async with (
        meeting("server", send_buffer=10) as (slow, peer),
        crowd() as (clients, servers),
        anyio.create_task_group() as tasks,
    ):
        peer.stop_reading()
        for _ in range(2):
            await slow.send("x" * 20)
            await anyio.wait_all_tasks_blocked()
        missed: dict[str, list[anyws.WebSocket]] = {}

        async def send(message: str, how: Any) -> None:
            missed[message] = await anyws.broadcast([slow, *servers], message, slow=how)

        for message, how in [("first", "wait"), ("second", "drop"), ("third", "wait")]:
            tasks.start_soon(send, message, how)
            await anyio.wait_all_tasks_blocked()
        assert missed == {"second": [slow]}  # the others did not wait for the slow one
        for client, server in zip(clients, servers, strict=True):
            assert await received(client, server) == ["first", "second", "third"]
        peer.go_on_reading()
        frames = [(await peer.frame()).payload for _ in range(4)]
        assert frames == [b"x" * 20, b"x" * 20, b"first", b"third"]
        await anyio.wait_all_tasks_blocked()
        assert missed == {"first": [], "second": [slow], "third": []}


async def test_a_later_broadcast_sends_what_a_connection_was_waiting_for() -> None:
    async with meeting("server", send_buffer=10) as (slow, peer), crowd() as (_, servers):
        peer.stop_reading()
        for _ in range(2):
            await slow.send("x" * 20)
            await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                peer.go_on_reading()

            tasks.start_soon(after_turns, 2, read)
            tasks.start_soon(after_turns, 3, lambda: anyws.broadcast([slow], "second"))
            assert await anyws.broadcast([slow, *servers], "first") == []
        frames = [(await peer.frame()).payload for _ in range(4)]
        assert frames == [b"x" * 20, b"x" * 20, b"first", b"second"]


async def test_a_failure_is_raised_by_the_broadcast_that_it_belongs_to(monkeypatch: pytest.MonkeyPatch) -> None:
    send_nowait = anyws.WebSocket.send_nowait

    def failing(self: anyws.WebSocket, item: Any, **options: Any) -> None:
        if self is servers[-1]:
            raise ZeroDivisionError
        send_nowait(self, item, **options)

    async with crowd() as (clients, servers):
        monkeypatch.setattr(anyws.WebSocket, "send_nowait", failing)
        async with anyio.create_task_group() as tasks:

            async def send_another() -> None:
                assert await anyws.broadcast([servers[-1]], "good") == []

            tasks.start_soon(after_turns, 1, send_another)
            with pytest.raises(ZeroDivisionError):
                await anyws.broadcast(servers, "bad", compress=True)
        assert await received(clients[-1], servers[-1]) == ["good"]
