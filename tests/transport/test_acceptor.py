"""What a listening socket gets, on event loops that call when there is something."""

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
        pytest.skip("its event loop does not call")


def connect(listening: socket.socket) -> socket.socket:
    return socket.create_connection(listening.getsockname())


class Loop:
    """An event loop on which it is counted how often something is registered."""

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


async def test_where_nobody_waits_those_that_come_stay_with_the_system(listening: socket.socket) -> None:
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
    """Cancel a task, as asyncio does it, when it has just been given a connection; return the client's end."""
    loop: Any = current_token().native_token
    task = loop.create_task(waiting)
    await checkpoint()
    client = connect(listening)
    acceptor._on_readable()
    task.cancel()
    await checkpoint()
    assert task.cancelled()
    return client


async def test_one_that_was_accepted_for_a_task_that_is_cancelled_is_for_the_next(listening: socket.socket) -> None:
    acceptor = Acceptor(listening, current_token().native_token)
    with await cancelled_too_late(acceptor.accept(), listening, acceptor) as client:
        accepted, address = await acceptor.accept()
        accepted.close()
        assert address == client.getsockname()
    acceptor.close()


async def test_one_that_nobody_takes_is_closed(listening: socket.socket) -> None:
    listener = SocketListener(listening)
    with anyio.move_on_after(0):
        await listener.accept()  # which makes its acceptor
    assert listener._acceptor is not None
    with await cancelled_too_late(listener.accept(), listening, listener._acceptor) as client:
        await listener.aclose()
        client.settimeout(5)
        assert client.recv(1) == b""
