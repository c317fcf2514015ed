"""What the fixtures of the pytest plugin return. The plugin is a module outside this package, see there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, Unpack

import anyio
from anyio.abc import TaskGroup, TaskStatus

from anyws._checking import build_options
from anyws._client.connect import connect
from anyws._client.options import ConnectKeywords
from anyws._connection.websocket import WebSocket
from anyws._server.handlers import Handler
from anyws._server.options import ServeKeywords, ServerOptions
from anyws._server.serve import serving
from anyws._server.server import Server

from ._failures import raising
from ._own_task import in_own_task

__all__ = ["ClientFactory", "Connections", "ServerFactory", "open_connections"]

T = TypeVar("T")


class ServerFactory(Protocol):
    """The type of the fixture ``anyws_server``."""

    async def __call__(self, handler: Handler, /, **options: Unpack[ServeKeywords]) -> Server:
        """Serve a handler on a free port of the local host until the end of the test.

        When the test has ended, its clients are closed first, and then its servers, gracefully. An exception in a
        handler or in a request hook fails the test. A closed connection does not count as a handler failure.

        Args:
            handler: the handler, as for `anyws.serve`.
            options: options as for `anyws.serve`.

        Returns:
            The server; a client connects to its ``uri``.

        Raises:
            TypeError: an option is unknown or has the wrong type, or the handler is not async.
            ValueError: an option has an invalid value.
        """
        ...


class ClientFactory(Protocol):
    """The type of the fixture ``anyws_client``."""

    async def __call__(self, to: Handler | Server | str, /, **options: Unpack[ConnectKeywords]) -> WebSocket:
        """Connect a client, which is closed with 1000 at the end of the test.

        Args:
            to: a handler, which gets a server of its own as from ``anyws_server``; or a server; or a URI.
            options: options as for `anyws.connect`.

        Raises:
            TypeError: an option is unknown or has the wrong type, or ``to`` has.
            ValueError: an option has an invalid value.
            Exception: what `anyws.connect` raises if it cannot connect.
        """
        ...


class Connections:
    """The servers and clients of one test. Each lives in a task of its own, so that any task may open one."""

    def __init__(self, tasks: TaskGroup, failures: list[Exception]) -> None:
        self.failures = failures
        self._tasks = tasks
        self._opened: list[_Opened] = []

    async def serve(self, handler: Handler, /, **options: Unpack[ServeKeywords]) -> Server:
        """Do what `ServerFactory` says."""
        settings = build_options(ServerOptions, options, where="anyws_server()")
        host = "127.0.0.1" if settings.path is None and settings.listeners is None else None
        return await self._open(serving(handler, host, 0, settings, on_failure=self.failures.append))

    async def connect(self, to: Handler | Server | str, /, **options: Unpack[ConnectKeywords]) -> WebSocket:
        """Do what `ClientFactory` says."""
        if not isinstance(to, str | Server) and not callable(to):
            raise TypeError(f"anyws_client() got {type(to).__name__}: expected a handler, a server or a URI")
        server = await self.serve(to) if callable(to) else to
        return await self._open(connect(server.uri if isinstance(server, Server) else server, **options))

    def raise_failures(self, error: Exception | None = None) -> None:
        """Raise what handlers and hooks have raised until now, unless the test failed with an unrelated error."""
        with raising(self.failures):
            if error is not None:
                raise error

    async def aclose(self) -> None:
        """Close them, the last one first, so that a server's clients have left before it stops."""
        while self._opened:
            opened = self._opened.pop()
            opened.left.set()
            await opened.ended.wait()

    async def _open(self, block: AbstractAsyncContextManager[T]) -> T:
        opened = _Opened(block)
        value, failure = await self._tasks.start(self._hold, opened)
        if failure is not None:
            raise failure
        self._opened.append(opened)
        opened_value: T = value
        return opened_value

    async def _hold(self, opened: _Opened, *, task_status: TaskStatus[tuple[Any, Exception | None]]) -> None:
        is_open = False
        try:
            async with opened.block as value:
                task_status.started((value, None))
                is_open = True
                await opened.left.wait()
        except Exception as exc:
            if is_open:
                self.failures.append(exc)
            else:
                task_status.started((None, exc))  # not raised here, where it would cancel the other tasks
        finally:
            opened.ended.set()


class _Opened:
    """The block of a server or a client."""

    __slots__ = ("block", "ended", "left")

    def __init__(self, block: AbstractAsyncContextManager[Any]) -> None:
        self.block = block
        self.left = anyio.Event()
        self.ended = anyio.Event()


@in_own_task
async def open_connections() -> AsyncGenerator[Connections, None]:
    """Close the servers and clients of a test at its end, and raise the exceptions that handlers and hooks raised."""
    with raising([]) as failures:
        async with anyio.create_task_group() as tasks:
            connections = Connections(tasks, failures)
            yield connections
            await connections.aclose()
