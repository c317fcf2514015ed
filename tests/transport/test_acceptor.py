"""Accepting connections with a registered callback, on asyncio event loops."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint, current_token

from anyws._transport.acceptor import Acceptor
from anyws._transport.listening import SocketListener


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(autouse=True)
def not_on_trio(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("only for asyncio event loops")


def connect(listening: socket.socket) -> socket.socket:
    return socket.create_connection(listening.getsockname())


class Loop:
    """An event loop that counts how often a reader is registered."""

    def __init__(self) -> None:
        loop: Any = current_token().native_token
        self._loop = loop
        self.create_future = self._loop.create_future
        self.registered = 0
        self.is_registered = False

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._loop.add_reader(descriptor, callback)
        self.registered += 1
        self.is_registered = True

    def remove_reader(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self.is_registered = False


async def test_one_registration_for_many_connections(listening: socket.socket) -> None:
    loop = Loop()
    acceptor = Acceptor(listening, loop)
    for _ in range(3):
        with connect(listening) as client:
            accepted, address = await acceptor.accept()
            accepted.close()
            assert address == client.getsockname()
    assert loop.registered == 1
    acceptor.close()
    assert not loop.is_registered


async def test_connections_stay_in_the_backlog_while_no_task_waits(listening: socket.socket) -> None:
    loop = Loop()
    acceptor = Acceptor(listening, loop)
    with connect(listening) as client:
        with anyio.fail_after(10):
            while loop.is_registered:
                await checkpoint()
        accepted, address = await acceptor.accept()
        accepted.close()
        assert address == client.getsockname()
    assert loop.registered == 2
    acceptor.close()


async def cancelled_too_late(
    waiting: Coroutine[Any, Any, object], listening: socket.socket, acceptor: Acceptor
) -> socket.socket:
    """Cancel a task just after it was given a connection; return the client's socket."""
    loop: Any = current_token().native_token
    task = loop.create_task(waiting)
    await checkpoint()
    client = connect(listening)
    acceptor._on_readable()
    task.cancel()
    await checkpoint()
    assert task.cancelled()
    return client


async def test_a_connection_accepted_for_a_cancelled_task_goes_to_the_next_task(listening: socket.socket) -> None:
    acceptor = Acceptor(listening, current_token().native_token)
    with await cancelled_too_late(acceptor.accept(), listening, acceptor) as client:
        accepted, address = await acceptor.accept()
        accepted.close()
        assert address == client.getsockname()
    acceptor.close()


async def test_a_connection_that_no_task_receives_is_closed(listening: socket.socket) -> None:
    listener = SocketListener(listening)
    with anyio.move_on_after(0):
        await listener.accept()  # this creates its acceptor
    assert listener._acceptor is not None
    with await cancelled_too_late(listener.accept(), listening, listener._acceptor) as client:
        await listener.aclose()
        client.settimeout(5)
        assert client.recv(1) == b""
