"""Where exceptions of hooks and of the block propagate; a close by the peer is not one."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import anyws
from tests.callbacks.peers import Calls, client_until_closed, plain_client, plain_server, raw_client
from tests.peers import CLOSE, TEXT, Peer, StreamPeer


def fail(*_arguments: object) -> None:
    raise LookupError("from the hook")


async def fail_later(*_arguments: object) -> None:
    await anyio.lowlevel.checkpoint()
    raise LookupError("from the hook")


def errors(caplog: pytest.LogCaptureFixture) -> list[BaseException | None]:
    """Return the exceptions that were logged as errors."""
    return [
        record.exc_info[1]
        for record in caplog.records
        if record.levelno == logging.ERROR and record.exc_info is not None
    ]


# -- exceptions of hooks, on the client --------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", [fail, fail_later])
async def test_an_exception_in_message_handler_propagates_unchanged(hook: Any) -> None:
    peer = Peer("client")
    cancelled = False
    with pytest.raises(LookupError, match="from the hook"):
        async with anyws.client_connect(
            secure=False, stream=peer.stream, message_handler=hook, close_timeout=0.01
        ) as socket:
            peer.send(TEXT, b"hello")
            try:
                await anyio.sleep(math.inf)
            except anyio.get_cancelled_exc_class():
                cancelled = True
                raise
    assert cancelled
    frame = await peer.frame()
    assert (frame.opcode, frame.close_code) == (CLOSE, 1011)
    assert peer.stream.is_closed
    with pytest.raises(anyws.ConnectionClosed):
        socket.message_send("too late")


@pytest.mark.parametrize("hook", [fail, fail_later])
async def test_an_exception_in_callback_open_propagates_unchanged(hook: Any) -> None:
    peer = Peer("client")
    with pytest.raises(LookupError, match="from the hook"):
        async with anyws.client_connect(secure=False, stream=peer.stream, callback_open=hook, close_timeout=0.01):
            pytest.fail("the body does not begin")
    assert (await peer.frame()).close_code == 1011
    assert peer.stream.is_closed


async def test_an_exception_in_the_block_propagates_unchanged() -> None:
    peer = Peer("client")
    with pytest.raises(LookupError, match="from the body"):
        async with anyws.client_connect(secure=False, stream=peer.stream, close_timeout=0.01):
            raise LookupError("from the body")
    assert (await peer.frame()).close_code == 1011


async def test_the_end_of_the_block_cancels_a_busy_handler() -> None:
    async def on_message() -> None:
        began.set()
        try:
            await anyio.sleep(math.inf)
        finally:
            ended.append(True)

    peer = Peer("client")
    began = anyio.Event()
    ended: list[bool] = []
    async with anyws.client_connect(secure=False, stream=peer.stream, message_handler=on_message, close_timeout=0.01):
        peer.send(TEXT, b"hello")
        await began.wait()
    assert ended == [True]
    assert (await peer.frame()).close_code == 1000


# -- exceptions of hooks, on the server --------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", [fail, fail_later])
async def test_an_exception_in_message_handler_closes_only_that_connection(
    hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_message(message: str, socket: anyws.callbacks.Socket) -> None:
        if message == "fail":
            await fail_later()
        socket.message_send(message)

    echoes = Calls(1)
    async with (
        plain_server(message_handler=on_message) as server,
        plain_client(server) as one,
        plain_client(server, message_handler=echoes) as other,
    ):
        one.message_send("fail")
        await one.wait_closed()
        assert one.close_code == 1011
        other.message_send("hello")
        assert await echoes.first() == "hello"
        async with plain_client(server) as third:
            assert await third.ping() >= 0
    assert [str(exc) for exc in errors(caplog)] == ["from the hook"]


@pytest.mark.parametrize("hook", [fail, fail_later])
async def test_an_exception_in_callback_open_closes_only_that_connection(
    hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with plain_server(callback_open=hook) as server, plain_client(server) as one, plain_client(server) as other:
        for socket in (one, other):
            await socket.wait_closed()
            assert socket.close_code == 1011
    assert [str(exc) for exc in errors(caplog)] == ["from the hook"] * 2


async def test_an_exception_of_callback_open_about_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    def on_open(err: Exception | None, socket: anyws.callbacks.Socket | None) -> None:
        if err is not None:
            fail()

    async with plain_server(callback_open=on_open) as server:
        async with await raw_client(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") as stream:
            assert (await StreamPeer(stream, "server").rest()).startswith(b"HTTP/1.1 426 ")
        async with plain_client(server) as socket:
            assert await socket.ping() >= 0
    assert [str(exc) for exc in errors(caplog)] == ["from the hook"]


def replying_too_late(handled: anyio.Event) -> Callable[[str, anyws.callbacks.Socket], Awaitable[None]]:
    """Return a handler that replies once the connection is closed."""

    async def on_message(message: str, socket: anyws.callbacks.Socket) -> None:
        await socket.wait_closed()
        try:
            socket.message_send("too late")
        except anyws.ConnectionClosed:
            handled.set()
            raise

    return on_message


async def test_a_closed_connection_in_a_handler_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    handled = anyio.Event()
    caplog.set_level(logging.INFO)
    async with plain_server(message_handler=replying_too_late(handled)) as server:
        async with plain_client(server) as socket:
            socket.message_send("hello")
        await handled.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_closed_connection_in_a_handler_of_a_client_is_not_an_error() -> None:
    """The peer may go at any time after its message; the body finds out when it wants to know."""

    async def on_open(err: Exception | None, socket: anyws.callbacks.Socket) -> None:
        await socket.send("hello")
        await socket.aclose()

    handled = anyio.Event()
    async with plain_server(callback_open=on_open) as server:
        client = plain_client(server, message_handler=replying_too_late(handled))
        async with client as socket:
            await handled.wait()
            await anyio.wait_all_tasks_blocked()
            assert socket.close_code == 1000


async def test_an_open_connection_does_not_excuse_connection_closed() -> None:
    """Another connection's end is an exception as any other."""

    async def on_message(message: str, socket: anyws.callbacks.Socket) -> None:
        raise anyws.ConnectionClosedError(received=None, sent=None)

    async with plain_server(callback_open=lambda err, socket: socket.message_send("hello")) as server:
        with pytest.raises(anyws.ConnectionClosedError):
            async with plain_client(server, message_handler=on_message):
                await anyio.sleep_forever()


async def test_an_exception_in_the_block_of_the_server_propagates_unchanged() -> None:
    async with anyio.create_task_group() as tasks:
        closed = Calls()

        with pytest.raises(LookupError, match="from the body"):
            async with plain_server() as server:
                await tasks.start(client_until_closed, server, closed)
                raise LookupError("from the body")
        assert await closed.first() in (1001, 1006)


# -- the peer closes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
async def test_the_body_is_not_cancelled_when_the_peer_closes(code: int) -> None:
    peer = Peer("client")
    async with anyws.client_connect(secure=False, stream=peer.stream) as socket:
        peer.send_close(code, "bye")
        peer.send_eof()
        await socket.wait_closed()
        await anyio.wait_all_tasks_blocked()
        assert (socket.close_code, socket.close_reason) == (code, "bye")
        with pytest.raises(anyws.ConnectionClosed):
            socket.message_send("too late")
        with pytest.raises(anyws.ConnectionClosed):
            await socket.send("too late")
        with pytest.raises(anyws.ConnectionClosed):
            await socket.ping()


async def test_the_body_is_not_cancelled_when_the_connection_is_lost() -> None:
    peer = Peer("client")
    async with anyws.client_connect(secure=False, stream=peer.stream) as socket:
        peer.cut()
        await socket.wait_closed()
        await anyio.wait_all_tasks_blocked()
        assert socket.close_code == 1006
        with pytest.raises(anyws.ConnectionClosedError):
            socket.message_send("too late")


async def test_messages_before_the_peer_s_close_reach_the_handler() -> None:
    messages = Calls(1)
    peer = Peer("client")
    async with anyws.client_connect(secure=False, stream=peer.stream, message_handler=messages) as socket:
        for number in range(5):
            peer.send(TEXT, str(number).encode())
        peer.send_close()
        peer.send_eof()
        await socket.wait_closed()
        assert await messages.wait(5) == ["0", "1", "2", "3", "4"]
