"""``message_handler``: sync hooks are called where a message is read, async ones by the connection's task."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import anyws
from anyws.protocol import speedups_in_use
from tests.callbacks.peers import Calls, plain_client, plain_server, raw_client, tls_client, tls_server
from tests.peers import BINARY, CLOSE, PING, PONG, TEXT, StreamPeer, frame_bytes
from tests.pems import Pems

Socket = anyws.callbacks.Socket


def echo(message: str | bytes, socket: Socket) -> None:
    socket.message_send(message)


async def echo_later(message: str | bytes, socket: Socket) -> None:
    await socket.message_send(message)


def echo_and_wait(message: str | bytes, socket: Socket) -> object:
    return socket.message_send(message)


every_echo = pytest.mark.parametrize("hook", [echo, echo_later, echo_and_wait])
MESSAGES: list[str | bytes] = [f"{number}" if number % 3 else b"%d" % number for number in range(500)]


@every_echo
async def test_messages_are_answered_in_order(hook: Callable[..., object]) -> None:
    answers = Calls(1)
    async with plain_server(message_handler=hook) as server, plain_client(server, message_handler=answers) as socket:
        for message in MESSAGES:
            await socket.message_send(message)
        assert await answers.wait(len(MESSAGES)) == MESSAGES


@every_echo
async def test_over_tls(hook: Callable[..., object], pems: Pems) -> None:
    answers = Calls(1)
    async with (
        tls_server(pems, message_handler=hook) as server,
        tls_client(server, pems, message_handler=answers) as socket,
    ):
        for message in [*MESSAGES, "x" * 20_000, b"y" * 200_000]:
            await socket.message_send(message)
        seen = await answers.wait(len(MESSAGES) + 2)
        assert seen[: len(MESSAGES)] == MESSAGES
        assert [len(message) for message in seen[len(MESSAGES) :]] == [20_000, 200_000]


@every_echo
async def test_everything_in_one_segment(hook: Callable[..., object]) -> None:
    """Messages, a Ping, and a fragmented message."""
    data = b"".join(frame_bytes(TEXT, b"%d" % number, masked=True) for number in range(200))
    data += frame_bytes(PING, b"?", masked=True) + frame_bytes(TEXT, b"a", fin=False, masked=True)
    data += frame_bytes(0, b"b", masked=True) + frame_bytes(BINARY, b"last", masked=True)
    async with plain_server(message_handler=hook) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await stream.send(data)
        frames = [await peer.frame() for _ in range(203)]
        expected = [b"%d" % number for number in range(200)] + [b"ab", b"last"]
        assert [frame.payload for frame in frames if frame.opcode in (TEXT, BINARY)] == expected
        assert [frame.payload for frame in frames if frame.opcode == PONG] == [b"?"]
        await peer.send(CLOSE, b"\x03\xe8")
        assert (await peer.frame()).close_code == 1000


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_hook_gets_as_many_arguments_as_it_accepts(count: int) -> None:
    opened = Calls()
    seen: list[Any] = []
    done = anyio.Event()

    def remember(*arguments: object) -> None:
        seen.append(arguments)
        done.set()

    hooks: list[Callable[..., None]] = [
        lambda: remember(),  # noqa: PLW0108  its number of arguments counts
        lambda message: remember(message),  # noqa: PLW0108
        lambda message, socket: remember(message, socket),  # noqa: PLW0108
    ]
    async with (
        plain_server(message_handler=hooks[count], callback_open=opened) as server,
        plain_client(server) as socket,
    ):
        await socket.message_send("x")
        await done.wait()
    assert seen == [("x", opened.seen[0][1])[:count]]


async def test_a_sync_hook_runs_outside_of_a_task_with_the_context_of_the_connection(
    anyio_backend: tuple[str, Any],
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    tasks: list[object] = []
    values: list[str] = []

    def on_open(err: object, socket: object) -> None:
        variable.set("connection")

    def hook(message: str, socket: Socket) -> None:
        if anyio_backend[0] == "asyncio":
            tasks.append(asyncio.current_task())
        values.append(variable.get())
        anyio.Event().set()
        anyio.current_time()
        done()

    done = Calls(0)
    async with (
        plain_server(message_handler=hook, callback_open=on_open) as server,
        plain_client(server) as socket,
    ):
        for count in range(1, 4):
            await socket.message_send("x")
            await done.wait(count)
    assert set(values) == {"connection"}
    if anyio_backend[0] == "asyncio" and speedups_in_use:
        assert tasks[-1] is None


async def test_a_sync_hook_starts_tasks() -> None:
    done = Calls(1)

    async def work(message: str, socket: Socket) -> None:
        await anyio.lowlevel.checkpoint()
        await socket.message_send(message)

    async with (
        anyio.create_task_group() as tasks,
        plain_server(message_handler=lambda m, s: tasks.start_soon(work, m, s)) as server,
        plain_client(server, message_handler=done) as socket,
    ):
        for number in range(10):
            await socket.message_send(f"{number}")
        assert sorted(await done.wait(10)) == [f"{number}" for number in range(10)]


# -- exceptions --------------------------------------------------------------------------------------------------------


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [repr(r.exc_info[1]) for r in caplog.records if r.levelno == logging.ERROR and r.exc_info is not None]


every_exception = pytest.mark.parametrize(
    "error", [LookupError("x"), anyio.EndOfStream(), anyio.BrokenResourceError()], ids=repr
)


@every_exception
@pytest.mark.parametrize("position", [0, 1, 70])
async def test_an_exception_closes_the_connection_on_a_server(
    error: Exception, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def hook(message: str) -> None:
        seen.append(message)
        if message == f"{position}":
            raise error

    async with plain_server(message_handler=hook) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await stream.send(b"".join(frame_bytes(TEXT, b"%d" % number, masked=True) for number in range(100)))
        assert (await peer.frame()).close_code == 1011
        await peer.send(CLOSE, b"\x03\xf3")
        assert await peer.rest() == b""
    assert seen == [f"{number}" for number in range(position + 1)]
    assert errors(caplog) == [repr(error)]


@every_exception
async def test_an_exception_is_raised_from_the_block_on_a_client(error: Exception) -> None:
    def hook(message: str) -> None:
        raise error

    def welcome(err: object, socket: Socket) -> None:
        socket.message_send("welcome")

    async with plain_server(callback_open=welcome) as server:
        with pytest.raises(type(error)) as raised:
            async with plain_client(server, message_handler=hook):
                await anyio.sleep_forever()
        assert raised.value is error


async def test_a_hook_that_answers_a_peer_that_has_just_left_does_not_fail(caplog: pytest.LogCaptureFixture) -> None:
    def hook(message: str, socket: Socket) -> None:
        seen.append(message)
        socket.message_send(message)

    seen: list[str] = []
    data = frame_bytes(TEXT, b"a", masked=True) + frame_bytes(TEXT, b"b", masked=True)
    async with plain_server(message_handler=hook) as server:
        for ending in (frame_bytes(CLOSE, b"\x03\xe9", masked=True), frame_bytes(CLOSE, masked=True)):
            async with await raw_client(server) as stream:
                peer = StreamPeer(stream, "server")
                await peer.read_head()
                await stream.send(data + ending)
                await peer.rest()
    assert len(seen) >= 2
    assert errors(caplog) == []


async def test_a_hook_that_sends_after_its_own_close_is_closed_with_its_code() -> None:
    def hook(message: str, socket: Socket) -> None:
        socket.message_send("bye", opcode=CLOSE)
        try:
            socket.message_send(message)
        except anyws.ConnectionClosed as exc:
            raised.append(exc)
            raise

    raised: list[Exception] = []
    async with plain_server(message_handler=hook) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await peer.send(TEXT, b"x")
        assert (await peer.frame()).payload == b"\x03\xe8bye"
        await peer.send(CLOSE, b"\x03\xe8")
        assert await peer.rest() == b""
    assert [isinstance(exc, anyio.ClosedResourceError) for exc in raised] == [True]


async def test_a_hook_that_closes_gets_no_more_messages() -> None:
    def hook(message: str, socket: Socket) -> None:
        seen.append(message)
        if message == "5":
            socket.message_send("", opcode=CLOSE)

    seen: list[str] = []
    async with plain_server(message_handler=hook) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        await stream.send(b"".join(frame_bytes(TEXT, b"%d" % number, masked=True) for number in range(20)))
        assert (await peer.frame()).close_code == 1000
        await peer.send(CLOSE, b"\x03\xe8")
        await peer.rest()
    assert seen[:6] == [f"{number}" for number in range(6)]


# -- back-pressure -----------------------------------------------------------------------------------------------------


async def test_a_sync_hook_that_sends_to_a_slow_peer_is_told() -> None:
    would_block = anyio.Event()

    def hook(message: bytes, socket: Socket) -> None:
        try:
            for _ in range(20):
                socket.message_send(message * 20)
        except anyio.WouldBlock:
            would_block.set()

    async with plain_server(message_handler=hook) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                while True:
                    await peer.send(BINARY, b"x" * 1000)

            tasks.start_soon(send)
            await would_block.wait()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("hook", [echo_later, echo_and_wait])
async def test_a_hook_whose_result_is_awaited_slows_the_peer_down_and_loses_nothing(
    hook: Callable[..., object],
) -> None:
    count, size = 300, 20_000
    async with plain_server(message_handler=hook) as server, await raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.read_head()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                for number in range(count):
                    await peer.send(BINARY, number.to_bytes(4, "big") * (size // 4))

            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            for number in range(count):
                frame = await peer.frame()
                assert frame.payload == number.to_bytes(4, "big") * (size // 4)


async def test_sync_and_async_results_keep_the_order() -> None:
    """A hook that is sometimes sync and sometimes not."""
    seen: list[str] = []
    done = anyio.Event()

    async def later(message: str) -> None:
        for _ in range(int(message) % 4):
            await anyio.lowlevel.checkpoint()
        seen.append(message)

    def hook(message: str) -> object:
        if message == "end":
            done.set()
        elif int(message) % 3 == 0:
            return later(message)
        else:
            seen.append(message)
        return None

    async with plain_server(message_handler=hook) as server, plain_client(server) as socket:
        for number in range(300):
            await socket.message_send(f"{number}")
        await socket.message_send("end")
        await done.wait()
    assert seen == [f"{number}" for number in range(300)]
