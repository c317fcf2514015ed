"""Which tasks a connection has: that of its handler, and others only while something has to be waited for."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from anyws._server.serve import Handler
from anyws._transport.connecting import connect_tcp
from anyws._transport.listening import listen_tcp
from anyws._transport.stream import SocketStream
from tests.peers import (
    CLOSE,
    PING,
    PONG,
    REQUEST,
    TEXT,
    StreamPeer,
    address_of,
    cancelling_at,
    close_payload,
    echo,
    on_mock_clock,
    open_sockets,
    uri_of,
)

MUCH = 20_000_000
"""Bytes: more than a peer that does not read lets its system take."""

Backend = tuple[str, dict[str, Any]]


def tasks() -> int:
    """Count the tasks of the event loop."""
    return len(anyio.get_running_tasks())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not condition():
        await checkpoint()


@asynccontextmanager
async def meeting_at(server: anyws.Server) -> AsyncIterator[StreamPeer]:
    """Connect a peer with a socket, which has no tasks of its own."""
    async with await connect_tcp(*server.addresses[0][:2]) as stream:
        peer = StreamPeer(stream, "server")
        await peer.open()
        yield peer


@asynccontextmanager
async def streams() -> AsyncIterator[tuple[SocketStream, SocketStream]]:
    """Connect two streams over TCP."""
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener, await connect_tcp(*address_of(listener)) as near, await listener.accept() as far:
        yield near, far


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[anyws.Server]:
    """Serve; at the end handlers that go on are cancelled at once."""
    async with anyws.open_server(handler, "127.0.0.1", 0, **options) as server:
        yield server
        await server.aclose(0)


async def never_receives(websocket: anyws.WebSocket) -> None:
    """Serve nothing."""
    await anyio.sleep_forever()


# -- idle --------------------------------------------------------------------------------------------------------------


async def check_idle_connections(pause: float) -> None:
    """Connect three peers, wait, and count the tasks."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(echo))
        await anyio.wait_all_tasks_blocked()
        before = tasks()
        for count in (1, 2, 3):
            peer = await stack.enter_async_context(meeting_at(server))
            for payload in (b"Hello", b"again"):
                await anyio.sleep(pause)
                assert tasks() == before + count
                await peer.send(TEXT, payload)
                assert (await peer.frame()).payload == payload


async def test_an_idle_connection_of_a_server_has_one_task() -> None:
    await check_idle_connections(0)


@on_mock_clock
async def test_an_idle_connection_of_a_server_has_one_task_also_after_a_while() -> None:
    await check_idle_connections(1)


@pytest.mark.parametrize("receives", [True, False])
async def test_the_block_of_a_connection_has_no_task_but_those_that_trio_needs(
    receives: bool, anyio_backend: Backend
) -> None:
    async with streams() as (near, far):
        before = tasks()
        await far.send(REQUEST)
        async with anyws.accept(near, close_timeout=0.05) as websocket, anyio.create_task_group() as group:
            if receives:
                group.start_soon(websocket.receive)
            else:
                peer = StreamPeer(far, "server")
                await peer.read_head()
                await peer.send(PING)
                assert (await peer.frame()).opcode == PONG
            await anyio.wait_all_tasks_blocked()
            # On trio there is one for the timers, and one that reads when nobody else does.
            needed = (1 if receives else 2) if anyio_backend[0] == "trio" else 0
            assert tasks() == before + receives + needed
            group.cancel_scope.cancel()
        assert tasks() == before


async def test_on_trio_a_connection_that_nobody_receives_from_has_a_task_more(anyio_backend: Backend) -> None:
    async with serving(never_receives) as server:
        await anyio.wait_all_tasks_blocked()
        before = tasks()
        async with meeting_at(server) as peer:
            await peer.send(PING, b"1")
            assert (await peer.frame()).opcode == PONG
            assert tasks() == before + (2 if anyio_backend[0] == "trio" else 1)


# -- nobody receives ---------------------------------------------------------------------------------------------------


async def test_who_never_receives_answers_pings_and_the_close() -> None:
    async with serving(never_receives) as server, meeting_at(server) as peer:
        for number in range(3):
            await peer.send(PING, b"%d" % number)
            frame = await peer.frame()
            assert (frame.opcode, frame.payload) == (PONG, b"%d" % number)
        await peer.send(CLOSE, close_payload(3000, ""))
        assert (await peer.frame()).close_code == 3000
        assert await peer.rest() == b""  # the server ends TCP first
        (websocket,) = server.connections
        await peer.stream.aclose()
        await websocket.wait_closed()
        assert websocket.close_code == 3000


async def test_who_received_once_and_then_no_more_answers_pings_and_the_close() -> None:
    async def receives_once(websocket: anyws.WebSocket) -> None:
        await websocket.send(await websocket.receive())
        await anyio.sleep_forever()

    async with serving(receives_once) as server, meeting_at(server) as peer:
        await peer.send(TEXT, b"Hello")
        assert (await peer.frame()).payload == b"Hello"
        for _ in range(3):
            await peer.send(PING)
            assert (await peer.frame()).opcode == PONG
        await peer.send(CLOSE, close_payload(3000, ""))
        assert (await peer.frame()).close_code == 3000
        assert await peer.rest() == b""


async def test_who_only_waits_for_a_pong_gets_it_at_once() -> None:
    async with serving(echo) as server, anyws.connect(uri_of(server)) as websocket:
        for _ in range(3):
            assert await websocket.ping() < 10
        await websocket.send("still open")
        assert await websocket.receive() == "still open"


@on_mock_clock
async def test_receiving_and_not_receiving_in_turns() -> None:
    """Whoever reads, every message comes once and in order."""
    async with serving(echo) as server, anyws.connect(uri_of(server)) as websocket:
        for number, pause in enumerate([0, 0.06, 0, 0, 0.12, 0.03, 0]):
            await websocket.send(str(number))
            await anyio.sleep(pause)
            assert await websocket.receive() == str(number)
            with anyio.move_on_after(pause / 2):
                await websocket.receive()


# -- writing -----------------------------------------------------------------------------------------------------------


async def test_a_write_that_waits_has_a_task_as_long_as_it_does() -> None:
    async def sends_much(websocket: anyws.WebSocket) -> None:
        await websocket.send(b"x" * MUCH)
        await echo(websocket)

    async with serving(sends_much) as server:
        await anyio.wait_all_tasks_blocked()
        before = tasks()
        async with meeting_at(server) as peer:
            await until(lambda: tasks() == before + 2)
            await peer.send(TEXT, b"Hello")
            assert len((await peer.frame()).payload) == MUCH
            assert (await peer.frame()).payload == b"Hello"
            await until(lambda: tasks() == before + 1)


@pytest.mark.parametrize("how", ["the handler goes on", "the server stops"])
async def test_a_write_that_waits_ends_with_the_connection(how: str) -> None:
    async def sends_much(websocket: anyws.WebSocket) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await websocket.send(b"x" * MUCH)
            await websocket.wait_closed()
        await checkpoint()

    scopes: list[anyio.CancelScope] = []
    async with serving(sends_much, close_timeout=0.1) as server:
        await anyio.wait_all_tasks_blocked()
        before = tasks()
        async with meeting_at(server):
            await until(lambda: tasks() >= before + 2)
            if how == "the handler goes on":
                scopes[0].cancel()  # and it closes, which takes too long
            else:
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await server.aclose()
            await until(lambda: tasks() <= before and not server.connections)


async def test_a_close_that_begins_while_one_task_receives_and_a_write_waits_loses_nothing() -> None:
    async def sends_much(websocket: anyws.WebSocket) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(echo, websocket)
            await anyio.wait_all_tasks_blocked()
            await websocket.send(b"x" * MUCH)
            await anyio.wait_all_tasks_blocked()
            await websocket.send_eof()

    async with serving(sends_much) as server, meeting_at(server) as peer:
        await anyio.wait_all_tasks_blocked()
        assert len((await peer.frame()).payload) == MUCH
        assert (await peer.frame()).close_code == 1000


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_write_that_has_to_wait_in_a_program_that_anyio_does_not_run(loop: str) -> None:
    """It is tried when no task runs: there AnyIO is not to be asked which event loop this is."""
    size = 60_000

    async def answers_one_of_two(websocket: anyws.WebSocket) -> None:
        await websocket.receive()
        await websocket.send(b"x" * size)  # goes out with what else is sent before the second one is taken
        await asyncio.sleep(3600)

    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        opened = anyws.open_server(answers_one_of_two, listeners=[listener])
        async with asyncio.timeout(10), opened as server, meeting_at(server) as peer:
            await peer.stream.send(2 * b"\x81\x80abcd")
            assert len((await peer.frame()).payload) == size
            raise ZeroDivisionError  # so that the handler is cancelled

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(ZeroDivisionError):
        runner.run(main())


# -- closing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("receives", [True, False])
async def test_a_server_closes_connections_that_have_no_task_of_their_own(receives: bool) -> None:
    async with serving(echo if receives else never_receives) as server:
        async with meeting_at(server) as peer, anyio.create_task_group() as group:
            (websocket,) = server.connections
            group.start_soon(server.aclose, 3 if receives else 0.2)
            assert (await peer.frame()).close_code == 1001
            await peer.send(CLOSE, close_payload(1001, ""))
            assert await peer.rest() == b""
        assert websocket.close_code == 1001


async def test_a_server_cuts_connections_whose_peers_do_not_answer() -> None:
    async with serving(echo, close_timeout=0.05) as server, meeting_at(server) as peer:
        await server.aclose()
        assert (await peer.frame()).close_code == 1001
        assert await peer.rest() == b""


async def closes(websocket: anyws.WebSocket) -> None:
    """Close in a call."""
    await websocket.aclose()


async def leaves(websocket: anyws.WebSocket) -> None:
    """Close by the end."""


@pytest.mark.parametrize("how", [closes, leaves])
async def test_a_close_that_is_cancelled_wherever_it_waits_cuts(
    how: Callable[[anyws.WebSocket], Awaitable[None]],
) -> None:
    """Over TCP, to a peer that does not answer."""
    tasks_before, sockets_before = tasks(), open_sockets()
    for step in itertools.count():
        assert step < 50
        async with streams() as (near, far):
            await far.send(REQUEST)
            websocket: anyws.WebSocket | None = None

            async def converse(near: SocketStream = near) -> None:
                nonlocal websocket
                async with anyws.accept(near, close_timeout=0.05) as websocket:
                    await how(websocket)

            with anyio.CancelScope() as scope, anyio.fail_after(5):
                await cancelling_at(step, scope, converse())
            assert near.fileno() == -1
            assert tasks() == tasks_before
            if websocket is not None:
                await websocket.wait_closed()
                assert websocket.close_code == 1006
        assert open_sockets() <= sockets_before
        if not scope.cancel_called:
            assert step > 1
            return


async def test_a_close_is_cut_when_its_server_is_cancelled() -> None:
    closing = anyio.Event()

    async def closes_slowly(websocket: anyws.WebSocket) -> None:
        closing.set()
        await websocket.aclose()

    async with anyio.create_task_group() as group:
        server: anyws.Server = await group.start(anyws.serve, closes_slowly, "127.0.0.1", 0)
        async with meeting_at(server) as peer:
            await closing.wait()
            assert (await peer.frame()).close_code == 1000
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(5):
                assert await peer.rest() == b""
    assert not server.connections


@on_mock_clock
async def test_a_task_that_waits_for_the_end_may_be_cancelled_and_the_connection_goes_on() -> None:
    async with serving(echo) as server, anyws.connect(uri_of(server)) as websocket:
        for number in range(3):
            with anyio.move_on_after(0.06):
                await websocket.wait_closed()
            await websocket.send(str(number))
            assert await websocket.receive() == str(number)


async def test_messages_reach_who_receives_though_another_waited_for_the_end_before() -> None:
    """On trio the one who waits reads for both, also once the timer has passed that looks whether somebody reads."""
    async with (
        serving(echo) as server,
        anyws.connect(uri_of(server)) as websocket,
        anyio.create_task_group() as tasks,
    ):

        async def ask() -> None:
            for _ in range(3):
                await anyio.sleep(0.06)
                await websocket.send("hello")

        tasks.start_soon(websocket.wait_closed)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask)
        with anyio.fail_after(5):
            for _ in range(3):
                assert await websocket.receive() == "hello"
        tasks.cancel_scope.cancel()


@on_mock_clock
async def test_who_receives_is_not_left_alone_when_who_read_for_it_is_cancelled() -> None:
    received: list[str | bytes] = []

    async with serving(never_receives) as server, meeting_at(server) as peer:
        (websocket,) = server.connections

        async def receive() -> None:
            received.append(await websocket.receive())

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as waiting:
                    waiting.start_soon(websocket.wait_closed)
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(receive)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            begun = anyio.current_time()
            await peer.send(TEXT, b"Hello")
        assert received == ["Hello"]
        assert anyio.current_time() == begun


async def test_two_tasks_close_and_one_is_cancelled() -> None:
    """It cuts; the other returns."""
    async with serving(never_receives) as server, meeting_at(server) as peer:
        (websocket,) = server.connections
        async with anyio.create_task_group() as group:
            group.start_soon(websocket.aclose)
            assert (await peer.frame()).close_code == 1000
            with anyio.move_on_after(0.01):
                await websocket.aclose()
        assert websocket.close_code == 1006
        assert await peer.rest() == b""


async def test_connections_that_are_over_need_no_garbage_collector() -> None:
    ended: list[weakref.ref[anyws.WebSocket]] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        ended.append(weakref.ref(websocket))
        await echo(websocket)

    gc.collect()
    gc.disable()
    try:
        async with anyws.open_server(handler, "127.0.0.1", 0) as server:
            async with anyws.connect(uri_of(server)) as websocket:
                await websocket.send("text")
                assert await websocket.receive() == "text"
                ended.append(weakref.ref(websocket))
            del websocket
            await until(lambda: not server.connections)
            await until(lambda: not any(each() for each in ended))
        assert len(ended) == 2
    finally:
        gc.enable()


async def test_a_time_limit_that_has_passed_when_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, close_timeout=1e-9) as server,
        meeting_at(server),
    ):
        [websocket] = server.connections
        await websocket.send_eof()
        await websocket.aclose()
        assert websocket.close_code == 1006
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
