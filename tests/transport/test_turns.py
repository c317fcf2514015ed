"""``max_connecting=1``: "There MUST be no more than one connection in a CONNECTING state" (RFC 6455, section 4.1)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import anyws
from anyws._transport import turns
from anyws._transport.listening import listen_tcp
from anyws._transport.turns import Turn
from tests.peers import address_of, cancelling_at, on_mock_clock, resolve_to


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


async def test_with_a_limit_of_one_connections_to_an_address_open_in_turn() -> None:
    now: list[anyws.Request] = []
    at_once: list[int] = []

    async def on_request(request: anyws.Request) -> None:
        now.append(request)
        at_once.append(len(now))
        for _ in range(20):  # the others would use this time if they did not wait
            await anyio.lowlevel.checkpoint()
        now.remove(request)

    async with (
        anyws.open_server(echo, "127.0.0.1", on_request=on_request) as server,
        anyio.create_task_group() as tasks,
    ):
        port = server.addresses[0][1]
        all_open = anyio.Event()
        opened: list[anyws.WebSocket] = []

        async def connect(host: str) -> None:
            async with anyws.connect(f"ws://{host}:{port}", max_connecting=1) as websocket:
                opened.append(websocket)
                if len(opened) == 4:
                    all_open.set()
                await all_open.wait()  # open connections do not block others

        for host in ("127.0.0.1", "localhost", "127.0.0.1", "localhost"):
            tasks.start_soon(connect, host)
    assert at_once == [1, 1, 1, 1]


async def test_by_default_connections_open_concurrently() -> None:
    inside: list[anyws.Request] = []
    all_inside = anyio.Event()

    async def on_request(request: anyws.Request) -> None:
        inside.append(request)
        if len(inside) == 3:
            all_inside.set()
        await all_inside.wait()

    async with anyws.open_server(echo, "127.0.0.1", on_request=on_request) as server:

        async def connect() -> None:
            async with anyws.connect(f"ws://127.0.0.1:{server.addresses[0][1]}"):
                pass

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(connect)


async def test_by_default_a_hook_may_connect_to_its_own_server() -> None:
    async def on_request(request: anyws.Request) -> None:
        if request.path == "/outer":
            async with anyws.connect(f"{uri}/inner") as websocket:
                await websocket.send("who is there?")
                request.state["answer"] = await websocket.receive()

    async def tell(websocket: anyws.WebSocket) -> None:
        await websocket.send(websocket.request.state.get("answer") or str(await websocket.receive()))

    async with anyws.open_server(tell, "127.0.0.1", on_request=on_request) as server:
        uri = f"ws://127.0.0.1:{server.addresses[0][1]}"
        async with anyws.connect(f"{uri}/outer") as websocket:
            assert await websocket.receive() == "who is there?"


@on_mock_clock
async def test_by_default_a_hanging_connection_does_not_delay_others() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)  # accepts connections and never responds
    ends: list[float] = []
    start = anyio.current_time()

    async def connect() -> None:
        with pytest.raises(TimeoutError):
            async with anyws.connect("ws://{}:{}".format(*address_of(listener)), open_timeout=10):
                pass
        ends.append(round(anyio.current_time() - start))

    async with listener, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(connect)
    assert ends == [10, 10, 10]


@on_mock_clock
async def test_waiting_for_a_turn_does_not_count_towards_open_timeout() -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)  # accepts connections and never responds
    ends: list[float] = []
    start = anyio.current_time()

    async def connect() -> None:
        with pytest.raises(TimeoutError):
            async with anyws.connect("ws://{}:{}".format(*address_of(listener)), open_timeout=10, max_connecting=1):
                pass
        ends.append(round(anyio.current_time() - start))

    async with listener, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(connect)
    assert ends == [10, 20, 30]


async def test_other_addresses_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.CancelScope() as scope:
        with Turn(1, scope) as first, Turn(1, scope) as second:
            await first.wait([("192.0.2.1", 80), ("192.0.2.2", 80)])
            await second.wait([("192.0.2.1", 81), ("192.0.2.3", 80)])
            with Turn(1, scope) as third, anyio.move_on_after(0) as waiting:
                await third.wait([("192.0.2.3", 80)])
            assert waiting.cancelled_caught
    assert not turns._queues()


async def test_a_cancelled_or_failed_connection_lets_the_next_one_proceed() -> None:
    order: list[str] = []
    begun = anyio.Event()
    go_on = anyio.Event()

    async def first() -> None:
        with anyio.CancelScope() as scope, pytest.raises(OSError, match="failed"), Turn(1, scope) as turn:
            await turn.wait(["there"])
            begun.set()
            await go_on.wait()
            order.append("first")
            raise OSError("failed")

    async def other(name: str, scope: anyio.CancelScope) -> None:
        with scope, Turn(1, scope) as turn:
            await turn.wait(["there"])
            order.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await begun.wait()
        scopes = {name: anyio.CancelScope() for name in ("second", "third", "fourth")}
        for name, scope in scopes.items():
            tasks.start_soon(other, name, scope)
            await anyio.wait_all_tasks_blocked()
        scopes["second"].cancel()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert order == ["first", "third", "fourth"]
    assert not turns._queues()


async def test_a_connection_cancelled_at_any_point_blocks_no_other() -> None:
    async def take(*addresses: Any) -> None:
        with anyio.CancelScope() as scope, Turn(1, scope) as turn:
            await turn.wait(addresses)

    for step in range(20):
        with anyio.CancelScope() as scope:
            await cancelling_at(step, scope, take("one", "two"))
        assert not turns._queues()
        if not scope.cancel_called:
            break
    else:
        raise AssertionError("it never ends")


async def test_a_limit_of_several() -> None:
    now = 0
    most = 0

    async def connecting() -> None:
        nonlocal now, most
        with anyio.CancelScope() as scope, Turn(3, scope) as turn:
            await turn.wait(["there"])
            now += 1
            most = max(most, now)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            now -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(connecting)
    assert most == 3


async def test_the_limit_applies_to_the_resolved_address_not_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    (listener,) = await listen_tcp("127.0.0.1", 0)
    resolve_to(monkeypatch, address_of(listener))
    async with listener, anyio.create_task_group() as tasks:

        async def connect(name: str) -> None:
            async with anyws.connect(f"ws://{name}.example", max_connecting=1):
                raise AssertionError("no server responds")

        tasks.start_soon(connect, "one")
        tasks.start_soon(connect, "other")
        async with await listener.accept():
            with anyio.move_on_after(0.1) as waiting:
                await listener.accept()
            assert waiting.cancelled_caught
        tasks.cancel_scope.cancel()
