"""The listening server, which owns the connections that it accepts: `Server`."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import anyio
from anyio import TypedAttributeProvider
from anyio.abc import AsyncResource, ByteStream, Listener, SocketListener, TaskGroup
from anyio.lowlevel import checkpoint

from anyws._cancellation import is_cancelled_from_outside
from anyws._connection.link import Link
from anyws._connection.pumps import Background, open_background
from anyws._connection.websocket import Running, WebSocket
from anyws._logs import connection_logger
from anyws._slices import in_slices
from anyws.protocol.closing import CloseCode

from .accept_failures import AcceptFailures
from .addresses import addresses_of, is_secure, port_of, uri_of
from .cohorts import Cohort, Cohorts
from .connection_limits import ConnectionLimits, PendingHandshake
from .options import ServerOptions
from .statistics import ServerStatistics, Totals

__all__ = ["Server", "StartedServer"]

_logger = logging.getLogger("anyws.server")


class StartedServer(Protocol):
    """The task status that `serve` notifies, of AnyIO or of trio."""

    def started(self, value: Server, /) -> None:
        """Report that the server is listening."""
        ...


class _StreamHandler(Protocol):
    """Performs the opening handshake on an accepted stream, and returns what serves the connection.

    These are two coroutines, because the first one would take memory as long as the connection lasts. The result is
    None if the opening handshake failed, or if the connection has already ended. Neither raises an `Exception`.
    """

    def __call__(
        self, server: Server, stream: ByteStream, pending: PendingHandshake, /
    ) -> Awaitable[Awaitable[None] | None]: ...


class Server(AsyncResource, TypedAttributeProvider):
    """A listening server, from `serve` or `open_server`.

    ``extra()`` returns the typed attributes of its first listener.
    """

    def __init__(
        self,
        listeners: Sequence[Listener[Any]],
        stream_handler: _StreamHandler,
        options: ServerOptions,
        host: str | None = None,
    ) -> None:
        if not isinstance(options, ServerOptions):
            raise TypeError("a Server comes from `async with anyws.open_server(...) as server`, or from serve()")
        self._listeners = listeners
        self._host = host
        self._addresses = addresses_of(self._listeners)
        self._stream_handler = stream_handler
        self._options = options
        self._links: dict[WebSocket, Link] = {}
        self._limits = ConnectionLimits(options)
        self._totals = Totals()
        self._accepting = anyio.CancelScope()
        self._serving = anyio.CancelScope()
        self._background: Background | None = None  # for its connections, while the server runs
        self._cohorts: Cohorts | None = None  # the tasks of its connections, while the server runs
        self._closing = False
        self._stopped = anyio.Event()

    def __repr__(self) -> str:
        try:
            where = self.uri
        except RuntimeError:
            where = "without an address"
        state = "closed" if self._stopped.is_set() else "closing" if self._closing else "open"
        return f"<anyws.Server {where} {state}, {len(self._links)} connections>"

    @property
    def uri(self) -> str:
        """The URI that a client on this machine connects to, with the path ``/``: ``ws://127.0.0.1:8765/``.

        ``wss:`` with TLS, and ``ws+unix:`` for a unix socket. It has the host name that you passed, if it was a name; a
        server on all interfaces has a loopback address. If there are several listeners, it is that of the first one. It
        remains available after the server is closed.

        Raises:
            RuntimeError: the listeners that you passed have no address, or no URI can express it.
        """
        secure = self._options.ssl_context is not None or any(map(is_secure, self._listeners[:1]))
        return uri_of(self._addresses, self._host, secure=secure)

    @property
    def port(self) -> int:
        """The TCP port that the server listens on. It remains available after the server is closed.

        Raises:
            RuntimeError: the server does not listen on TCP.
        """
        return port_of(self._addresses)

    @property
    def addresses(self) -> list[Any]:
        """The addresses that the server listens on, one for each listener, as from `socket.socket.getsockname`.

        ``(host, port)`` for IPv4, ``(host, port, flow information, scope)`` for IPv6, the path for a unix socket. Empty
        once the server is closed. To connect to the server, use `uri`.
        """
        return addresses_of(self._listeners)

    @property
    def connections(self) -> frozenset[WebSocket]:
        """The open connections."""
        return frozenset(self._links)

    @property
    def statistics(self) -> ServerStatistics:
        """How many connections were opened, refused and closed, and how much has been received and sent.

        Counting costs next to nothing, and cannot be turned off. Each access adds up the counts of all open
        connections: read it when metrics are collected, not for each message. It remains available after the server is
        closed.
        """
        return self._totals.with_open(self._links.values())

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes of the first listener."""
        return self._listeners[0].extra_attributes if self._listeners else {}

    @property
    def options(self) -> ServerOptions:
        """The options of the server."""
        return self._options

    async def aclose(self, grace: float = 3) -> None:
        """Shut down gracefully: stop accepting, close all connections with 1001, and wait for their handlers.

        After ``grace``, the remaining handlers are cancelled. Clients in the opening handshake get a response 503. In a
        handler, ``receive()`` raises once it has returned the messages received before, and ``send()`` raises. If
        cancelled, the handlers are cancelled immediately.

        Args:
            grace: how long to wait for the handlers, in seconds.
        """
        self._closing = True
        self._accepting.cancel()
        self._limits.refuse_all()
        try:
            await in_slices(list(self._links.values()), _close_for_shutdown)
            with anyio.move_on_after(grace) as scope:
                await self._stopped.wait()
            if scope.cancelled_caught and self._cohorts is not None:
                await self._cohorts.cancel()
        finally:
            self._serving.cancel()
        await self._stopped.wait()

    async def wait_closed(self) -> None:
        """Wait until the server has shut down and all handlers have finished, no matter what shuts it down."""
        await checkpoint()
        await self._stopped.wait()

    async def run(self, *, task_status: StartedServer = anyio.TASK_STATUS_IGNORED) -> None:
        """Accept and serve until cancelled or closed."""
        try:
            with self._serving:
                async with open_background() as self._background, anyio.create_task_group() as tasks:
                    self._cohorts = Cohorts(tasks)
                    try:
                        with self._accepting:
                            await self._accept(tasks, self._cohorts, task_status)
                    finally:
                        self._cohorts.close()
                        await self._close_listeners()
        finally:
            self._stopped.set()

    def running(self, websocket: WebSocket, link: Link) -> AbstractAsyncContextManager[WebSocket]:
        """Return a context manager that runs a connection of this server."""
        assert self._background is not None
        return _ServerConnection(websocket, link, self._background, self)

    def add_connection(self, websocket: WebSocket, link: Link) -> None:
        """Register a connection that has opened."""
        self._links[websocket] = link
        if self._closing:
            _close_for_shutdown(link)

    def remove_connection(self, websocket: WebSocket) -> None:
        """Unregister a connection that has ended."""
        self._totals.add_ended(self._links.pop(websocket))

    def handshake_failed(self, exc: Exception) -> None:
        """Count an opening handshake that has failed."""
        self._totals.add_failed(exc)

    async def _accept(self, tasks: TaskGroup, cohorts: Cohorts, task_status: StartedServer) -> None:
        async with anyio.create_task_group() as accepting:
            for listener in self._listeners:
                accepting.start_soon(self._accept_from, listener, tasks, cohorts)
            task_status.started(self)

    async def _accept_from(self, listener: Listener[Any], tasks: TaskGroup, cohorts: Cohorts) -> None:
        failures = AcceptFailures(connection_logger("anyws.server", listener))
        accept = listener.accept if isinstance(listener, SocketListener) else None
        while True:
            try:
                if accept is None:
                    await listener.serve(self._serve_stream, tasks)
                    return
                await cohorts.make_room()
                stream = await accept()
            except OSError as exc:
                await failures.wait_after(exc)
            else:
                failures.reset()
                cohort = cohorts.join()
                group = tasks if cohort is None else cohort.tasks
                group.start_soon(self._serve_stream, stream, cohort, name="anyws.connection")

    async def _serve_stream(self, stream: ByteStream, cohort: Cohort | None = None) -> None:
        pending = None
        try:
            pending = self._limits.add(stream)
            serving = await self._stream_handler(self, stream, pending)
            if serving is not None:
                await serving
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # On asyncio, this connection's task was cancelled, or something that it awaited. Raising would stop the
            # server. When asyncio.run() cancels all tasks at exit, the server is stopped through its own task.
            if is_cancelled_from_outside():
                _logger.info("the task of a connection was cancelled; closing the connection")
            else:
                _logger.exception("error while serving a stream")
        except Exception:
            _logger.exception("error while serving a stream")
            await anyio.aclose_forcefully(stream)
        except BaseExceptionGroup as group:
            # Raised on trio by a task group that fails while it is cancelled; such a failure must not stop the server.
            failures, rest = group.split(Exception)
            if failures is not None:
                _logger.error("error while serving a stream", exc_info=failures)
            if rest is not None:
                raise rest from None
        finally:
            if pending is not None:
                self._limits.remove(pending)
            if cohort is not None:
                cohort.leave()

    async def _close_listeners(self) -> None:
        with anyio.CancelScope(shield=True):
            for listener in self._listeners:
                await listener.aclose()


def _close_for_shutdown(link: Link) -> None:
    link.begin_close(CloseCode.GOING_AWAY, "the server is shutting down", discard=False)


class _ServerConnection(Running):
    """Runs a connection and registers it with its server."""

    __slots__ = ("_server",)

    def __init__(self, websocket: WebSocket, link: Link, background: Background, server: Server) -> None:
        super().__init__(websocket, link, background)
        self._server = server

    async def __aenter__(self) -> WebSocket:
        """Register and start the connection."""
        self._server.add_connection(self._websocket, self._link)
        return await super().__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        """Close and unregister the connection."""
        try:
            await super().__aexit__(*exc)
        finally:
            self._server.remove_connection(self._websocket)
