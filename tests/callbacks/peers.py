"""Servers and clients on the local host for the tests of the callback API, and hooks that record their calls."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
from anyio.abc import SocketStream

import anyws
from tests.peers import REQUEST, StreamPeer
from tests.pems import Pems

__all__ = [
    "Calls",
    "answer",
    "client_until_closed",
    "plain_client",
    "plain_server",
    "raw_client",
    "tls_client",
    "tls_server",
]

Options = Mapping[str, Any]


class Calls:
    """A hook that remembers its calls: the one argument, or a tuple of them.

    Args:
        count: how many arguments it takes; None for all that are documented.
    """

    def __init__(self, count: int | None = None) -> None:
        self.seen: list[Any] = []
        self._count = count
        self._changed = anyio.Event()

    def __call__(self, *arguments: object) -> None:
        taken = arguments[: self._count]
        self.seen.append(taken[0] if len(taken) == 1 else taken)
        self._changed.set()
        self._changed = anyio.Event()

    async def wait(self, count: int = 1) -> list[Any]:
        """Wait until there were so many calls, and return all of them."""
        while len(self.seen) < count:
            await self._changed.wait()
        return self.seen

    async def first(self) -> Any:
        """Wait for the first call."""
        return (await self.wait())[0]


def plain_server(
    *, listener_options: Options | None = None, **options: Any
) -> AbstractAsyncContextManager[anyws.Server]:
    """Listen without TLS on a free port."""
    listening = {"host": "127.0.0.1"} if listener_options is None else listener_options
    return anyws.server({"secure": False, "listener_options": listening, **options})


def plain_client(
    server: anyws.Server, *, socket_options: Options | None = None, **options: Any
) -> AbstractAsyncContextManager[anyws.callbacks.Socket]:
    """Connect to a server without TLS."""
    return anyws.client_connect({"secure": False, "socket_options": _target(server, socket_options), **options})


def tls_server(
    pems: Pems, *, server_options: Options | None = None, **options: Any
) -> AbstractAsyncContextManager[anyws.Server]:
    """Listen with TLS on a free port."""
    tls = {"cert": pems.cert, "key": pems.key, **(server_options or {})}
    return anyws.server({"listener_options": {"host": "127.0.0.1"}, "server_options": tls, **options})


def tls_client(
    server: anyws.Server, pems: Pems | None, *, socket_options: Options | None = None, **options: Any
) -> AbstractAsyncContextManager[anyws.callbacks.Socket]:
    """Connect to a server with TLS; ``pems`` has the authority to trust."""
    trusted = {} if pems is None else {"ca": pems.ca}
    target = {**_target(server, trusted), **(socket_options or {})}
    return anyws.client_connect({"socket_options": target, **options})


async def raw_client(server: anyws.Server, request: bytes = REQUEST) -> SocketStream:
    """Open a TCP connection to a server, and write."""
    host, port = server.addresses[0][:2]
    stream = await anyio.connect_tcp(host, port)
    await stream.send(request)
    return stream


async def answer(server: anyws.Server, request: bytes = REQUEST) -> bytes:
    """Send a request and return all that comes back."""
    async with await raw_client(server, request) as stream:
        return await StreamPeer(stream, "server").rest()


def _target(server: anyws.Server, more: Options | None) -> dict[str, Any]:
    host, port = server.addresses[0][:2]
    return {"host": host, "port": port, **(more or {})}


async def client_until_closed(server: anyws.Server, closed: Calls, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Be connected until the server closes the connection, and call ``closed`` with the code."""
    async with plain_client(server) as socket:
        task_status.started()
        await socket.wait_closed()
        closed(socket.close_code)
