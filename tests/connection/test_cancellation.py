"""Cancelled anywhere: nothing is lost or half-sent, and no task and no socket stays behind."""

from __future__ import annotations

import itertools
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import anyws
from anyws.testing import websocket_pair
from tests.peers import BINARY, TEXT, Frame, Peer, Side, cancelling_at, echo, meeting, open_sockets, uri_of


async def cancelled_everywhere(make_block: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[bool]:
    """Run a block again and again, cancelled where it suspends first, second and so on, until it comes to its end.

    Yields:
        After each run, whether it came to its end.
    """
    for step in itertools.count():
        assert step < 500, "the block does not come to an end"
        with anyio.CancelScope() as scope, anyio.fail_after(5):
            await cancelling_at(step, scope, make_block())
        yield not scope.cancel_called
        if not scope.cancel_called:
            assert step > 0
            return


# -- messages ----------------------------------------------------------------------------------------------------------


async def cancelled(step: int, block: Coroutine[Any, Any, None]) -> None:
    """Run a block, and cancel it where it suspends for the n-th time."""
    with anyio.CancelScope() as scope:
        await cancelling_at(step, scope, block)


async def test_a_cancelled_receive_loses_nothing(ours: Side) -> None:
    received: list[str | bytes] = []
    count = 0

    async def receive() -> None:
        received.append(await websocket.receive())

    async with meeting(ours) as (websocket, peer):
        for before, step in itertools.product((True, False), range(6)):
            # The message comes before the receiver, or while it waits.
            async with anyio.create_task_group() as tasks:
                if not before:
                    tasks.start_soon(cancelled, step, receive())
                    await checkpoint()
                peer.send(TEXT, str(count).encode())
                if before:
                    await checkpoint()
                    tasks.start_soon(cancelled, step, receive())
            count += 1
            while len(received) < count:
                await receive()
            assert received == [str(number) for number in range(count)]


async def test_a_receive_that_is_cancelled_while_messages_come_loses_nothing(ours: Side) -> None:
    received: list[str | bytes] = []
    total = 60

    async def receive_all() -> None:
        while True:
            received.append(await websocket.receive())

    async with meeting(ours, receive_buffer=300) as (websocket, peer), anyio.create_task_group() as tasks:

        async def send_all() -> None:
            for number in range(total):
                frame = peer.frame_bytes(BINARY, bytes([number]) * 50)
                peer.send_bytes(frame[:7])
                await checkpoint()
                peer.send_bytes(frame[7:])

        tasks.start_soon(send_all)
        for ticks in itertools.cycle(range(12)):
            if len(received) == total:
                break
            async with anyio.create_task_group() as receiving:
                receiving.start_soon(receive_all)
                for _ in range(ticks):
                    await checkpoint()
                receiving.cancel_scope.cancel()
    assert [message[0] for message in received] == list(range(total))


@pytest.mark.parametrize("full", [False, True])
async def test_a_cancelled_send_sends_all_or_nothing(ours: Side, full: bool) -> None:
    completed: list[str] = []

    async def send(message: str, ended: anyio.Event) -> None:
        try:
            await websocket.send(message)
            completed.append(message)
        finally:
            ended.set()

    async with meeting(ours, send_buffer=10) as (websocket, peer):
        if full:
            peer.stop_reading()
            await websocket.send(b"is being written")
            await websocket.send(b"waits for room")
            await anyio.wait_all_tasks_blocked()
        for step in itertools.count():
            ended = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancelled, step, send(f"message {step}", ended))
                await anyio.wait_all_tasks_blocked()
                if not ended.is_set():  # it waits for room, and was cancelled wherever it suspends before
                    peer.go_on_reading()
            if completed:
                break
        peer.go_on_reading()
        await websocket.send(b"end")
        sent = []
        while (frame := await peer.frame()) != Frame(BINARY, b"end"):
            if frame.opcode == TEXT:
                sent.append(frame.payload.decode())
        assert sent == completed
        assert completed == [f"message {step}"]
        assert step > 0 or not full  # where there is room, a message is handed over at once


async def test_messages_go_on_after_a_cancelled_send_to_a_peer_that_did_not_read() -> None:
    async with meeting("client", send_buffer=10) as (websocket, peer):
        peer.stop_reading()
        for _ in range(10):
            with anyio.move_on_after(0.001):
                await websocket.send("x" * 100)
        peer.go_on_reading()
        await websocket.send("end")
        while (frame := await peer.frame()).payload != b"end":
            assert frame == Frame(TEXT, b"x" * 100)


# -- connections -------------------------------------------------------------------------------------------------------


def opened_on(peer: Peer) -> AbstractAsyncContextManager[anyws.WebSocket]:
    """Return what opens our side of a connection to the peer."""
    if peer.ours == "client":
        return anyws.connect("ws://localhost/", stream=peer.stream)
    return anyws.accept(peer.stream)


async def test_a_connection_that_is_cancelled_anywhere_closes_its_stream_and_leaves_no_task(ours: Side) -> None:
    peers: list[Peer] = []

    async def converse() -> None:
        peers.append(peer := Peer(ours))
        async with opened_on(peer) as websocket:
            await websocket.send("hello")
            peer.send(TEXT, b"hello")
            assert await websocket.receive() == "hello"
            peer.send_close()
            peer.send_eof()

    tasks_before = len(anyio.get_running_tasks())
    async for _ in cancelled_everywhere(converse):
        assert peers[-1].stream.is_closed
        assert len(anyio.get_running_tasks()) == tasks_before
    assert len(peers) > 5


async def test_a_close_that_is_cancelled_anywhere_cuts(ours: Side) -> None:
    async def close() -> None:
        await websocket.aclose()

    for stuck in (False, True):
        peer = Peer(ours)
        async with opened_on(peer) as websocket:
            if stuck:
                peer.stop_reading()
            with anyio.CancelScope() as scope, anyio.fail_after(5):
                await cancelling_at(0, scope, close())  # it waits only once
            assert scope.cancelled_caught
            await websocket.wait_closed()
            assert peer.stream.is_closed
            assert websocket.close_code == 1006


async def test_a_cancelled_block_writes_a_close_and_cuts(ours: Side) -> None:
    peer = Peer(ours)
    with anyio.CancelScope() as scope, anyio.fail_after(5):
        async with opened_on(peer) as websocket:
            await websocket.send("last words")
            assert await peer.frame() == Frame(TEXT, b"last words")
            scope.cancel()
            await websocket.receive()
    assert scope.cancelled_caught
    assert (await peer.frame()).close_code == 1001
    assert peer.stream.is_closed
    assert websocket.close_code == 1006


async def test_a_cancelled_block_does_not_wait_for_a_peer_that_does_not_read(ours: Side) -> None:
    peer = Peer(ours)
    with anyio.CancelScope() as scope, anyio.fail_after(2):
        async with opened_on(peer) as websocket:
            peer.stop_reading()
            await websocket.send(b"x" * 100_000)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await checkpoint()
    assert scope.cancelled_caught
    assert peer.stream.is_closed
    assert not peer.frames


async def test_a_cancelled_block_with_much_to_write_is_cut_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    """More than one batch waits: the Close is not written beside the writer."""
    with anyio.CancelScope() as scope, anyio.fail_after(5):
        async with websocket_pair(client_options={"send_buffer": 1_000_000}, capacity=1000) as (client, _):
            for _ in range(5):
                client.send_nowait(b"x" * 60_000)
            scope.cancel()
            await checkpoint()
    assert scope.cancelled_caught
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_block_that_is_cancelled_while_closing_writes_one_close_only(ours: Side) -> None:
    peer = Peer(ours)
    with anyio.CancelScope() as scope, anyio.fail_after(5):
        async with opened_on(peer) as websocket, anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.aclose, 3000)
            assert (await peer.frame()).close_code == 3000
            scope.cancel()
    assert not peer.frames
    assert peer.stream.is_closed


# -- sockets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_client_that_is_cancelled_anywhere_leaves_no_socket(
    tls: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    async def converse() -> None:
        uri = uri_of(server, scheme="wss" if tls else "ws")
        async with anyws.connect(uri, ssl_context=client_ssl_context if tls else None) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"

    sockets_before = open_sockets()
    tasks_before = len(anyio.get_running_tasks())
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context if tls else None) as server:
        async for _ in cancelled_everywhere(converse):
            pass
    assert open_sockets() <= sockets_before
    assert len(anyio.get_running_tasks()) == tasks_before


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_program_that_is_cancelled_at_any_time_leaves_no_socket_and_no_task(
    tls: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """The cancellation comes from outside, after so and so many rounds of the event loop, and meets all tasks."""
    completed = False

    async def program() -> None:
        nonlocal completed
        async with anyio.create_task_group() as tasks:
            server: anyws.Server = await tasks.start(serve)
            uri = uri_of(server, scheme="wss" if tls else "ws")
            async with anyws.connect(uri, ssl_context=client_ssl_context if tls else None) as websocket:
                await websocket.send(b"x" * 100_000)
                assert len(await websocket.receive()) == 100_000
            await server.aclose()
        completed = True

    async def serve(*, task_status: anyio.abc.TaskStatus[anyws.Server]) -> None:
        context = server_ssl_context if tls else None
        await anyws.serve(echo, "127.0.0.1", 0, ssl_context=context, task_status=task_status)

    sockets_before = open_sockets()
    tasks_before = len(anyio.get_running_tasks())
    # With TLS there are many more rounds.
    for rounds in itertools.count(0, 5 if tls else 1):
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(program)
                for _ in range(rounds):
                    await checkpoint()
                tasks.cancel_scope.cancel()
        assert open_sockets() <= sockets_before
        assert len(anyio.get_running_tasks()) == tasks_before
        if completed:
            break
        assert rounds < 5000
    assert rounds > 10


async def test_a_server_that_is_cancelled_anywhere_stops_listening() -> None:
    addresses: list[Any] = []

    async def run() -> None:
        async with anyws.open_server(echo, "127.0.0.1", 0) as server:
            addresses.extend(server.addresses)

    sockets_before = open_sockets()
    async for _ in cancelled_everywhere(run):
        assert open_sockets() <= sockets_before
    assert addresses
