"""The socket: the same object for all hooks, even before it is open; and its end when it is cancelled."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute

import anyws
from tests.callbacks.peers import Calls, plain_client, plain_server
from tests.peers import TEXT, Peer, open_sockets

# -- one socket, all its life ------------------------------------------------------------------------------------------


async def test_all_hooks_get_the_same_socket() -> None:
    def on_connect(headers: anyws.Headers, socket: Any, ready: anyws.callbacks.Ready) -> None:
        socket.user = headers["id"]
        sockets.append(socket)
        ready()

    def on_open(err: Exception | None, socket: Any) -> None:
        sockets.append(socket)

    def on_message(message: str, socket: Any) -> None:
        sockets.append(socket)
        socket.message_send(f"{message} {socket.user}")

    sockets: list[Any] = []
    answers = Calls(1)
    hooks: dict[str, Any] = {"callback_connect": on_connect, "callback_open": on_open, "message_handler": on_message}
    async with (
        plain_server(**hooks) as server,
        plain_client(server, id="Ann", message_handler=answers) as one,
        plain_client(server, id="Bob", message_handler=answers) as two,
    ):
        for count, client in enumerate((one, two, one), 1):
            client.message_send("hello")
            await answers.wait(count)
        assert answers.seen == ["hello Ann", "hello Bob", "hello Ann"]
        assert server.connections == set(sockets)
    first, second = sockets[0], sockets[2]
    assert first is not second
    assert sockets == [first, first, second, second, first, second, first]


async def test_the_client_s_hooks_get_the_socket_of_the_block() -> None:
    opened, messages = Calls(), Calls()
    peer = Peer("client")
    async with anyws.client_connect(
        secure=False, stream=peer.stream, callback_open=opened, message_handler=messages, close_timeout=0.01
    ) as socket:
        peer.send(TEXT, b"hello")
        assert await messages.first() == ("hello", socket)
        assert opened.seen == [(None, socket)]


async def test_before_it_is_open() -> None:
    async def on_connect(headers: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        found["repr"] = repr(socket)
        found["address"] = anyws.get_address(socket)
        found["port"] = socket.extra(SocketAttribute.remote_port)
        found["target"] = socket.request.target
        for name, use in unusable.items():
            with pytest.raises(anyws.LocalProtocolError, match="callback_open"):
                await use(socket)
            found[name] = True
        with pytest.raises(AttributeError, match="'Socket' object has no attribute 'no_such_thing'"):
            _ = socket.no_such_thing
        ready()

    async def message_send(socket: anyws.callbacks.Socket) -> None:
        socket.message_send("too early")

    async def response(socket: anyws.callbacks.Socket) -> None:
        _ = socket.response

    async def close_code(socket: anyws.callbacks.Socket) -> None:
        _ = socket.close_code

    unusable: dict[str, Any] = {
        "message_send": message_send,
        "send": lambda socket: socket.send("too early"),
        "receive": lambda socket: socket.receive(),
        "ping": lambda socket: socket.ping(),
        "response": response,
        "close_code": close_code,
    }
    found: dict[str, Any] = {}
    async with plain_server(callback_connect=on_connect) as server, plain_client(server, resource="/x") as socket:
        assert found["repr"] == "<anyws.callbacks.Socket connecting>"
        ours, theirs = anyws.get_address(socket), found["address"]
        assert (theirs.local, theirs.remote) == (ours.remote, ours.local)
        assert found["port"] == socket.extra(SocketAttribute.local_port)
        assert found["target"] == "/x"
        assert unusable.keys() <= found.keys()
        assert repr(socket).startswith("<anyws.")


# -- cancellation ------------------------------------------------------------------------------------------------------


async def test_cancelling_both_blocks_leaves_no_resources() -> None:
    before = open_sockets()
    with anyio.CancelScope() as scope:
        async with plain_server() as server, plain_client(server) as socket:
            await socket.ping()
            scope.cancel()
            await anyio.sleep(math.inf)
    assert scope.cancelled_caught
    assert open_sockets() <= before


@pytest.mark.parametrize("hook", ["callback_connect", "callback_open", "message_handler"])
async def test_cancelling_in_the_middle_of_a_hook_leaves_no_resources(hook: str) -> None:
    async def hang() -> None:
        began.set()
        try:
            await anyio.sleep(math.inf)
        finally:
            ended.append(True)

    async def connect(server: anyws.Server) -> None:
        async with plain_client(server) as socket:
            socket.message_send("hello")
            await socket.wait_closed()

    before = open_sockets()
    began = anyio.Event()
    ended: list[bool] = []
    with anyio.CancelScope() as scope:
        hooks: dict[str, Any] = {hook: hang}
        async with plain_server(**hooks) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(connect, server)
            await began.wait()
            scope.cancel()
    assert ended == [True]
    assert open_sockets() <= before


@pytest.mark.parametrize("hook", ["callback_open", "message_handler"])
async def test_cancelling_a_hook_of_the_client_leaves_no_resources(hook: str) -> None:
    async def hang() -> None:
        began.set()
        await anyio.sleep(math.inf)

    async def cancel_when_it_hangs() -> None:
        await began.wait()
        scope.cancel()

    began = anyio.Event()
    peer = Peer("client")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_when_it_hangs)
        with anyio.CancelScope() as scope:
            async with anyws.client_connect({"secure": False, "stream": peer.stream, hook: hang}):
                peer.send(TEXT, b"hello")
                await anyio.sleep(math.inf)
    assert scope.cancelled_caught
    assert peer.stream.is_closed
