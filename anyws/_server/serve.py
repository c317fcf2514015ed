"""The server: `serve` and `open_server`."""

from __future__ import annotations

import dataclasses
import inspect
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_address
from typing import Any, Unpack

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.stapled import MultiListener

from anyws._background_task import background_task
from anyws._blocks import block
from anyws._cancellation import refusing_stray_cancellation
from anyws._checking import build_options, with_signature_of
from anyws._connection.websocket import WebSocket
from anyws._logs import ConnectionLogger, connection_logger
from anyws._transport.certificate import check_certificate
from anyws._transport.given_streams import TrioListener, as_socket
from anyws._transport.listening import listen_on, listen_tcp, listen_unix
from anyws.exceptions import ConnectionClosed
from anyws.protocol.errors import HandshakeError
from anyws.protocol.origins import ForeignOrigin

from .accept import accept_stream
from .connection_limits import PendingHandshake
from .handlers import Handler, check_handler, handler_hooks
from .options import ServeKeywords, ServerOptions
from .server import Server, StartedServer
from .stopping import check_main_thread, stopping_on_signals

__all__ = [
    "is_connection_closed",
    "log_failure",
    "log_handshake_failure",
    "log_hook_failure",
    "open_listeners",
    "open_server",
    "run_connection",
    "serve",
    "serve_with",
    "serving",
    "with_default_allowed_hosts",
]


@with_signature_of(ServerOptions)
async def serve(
    handler: Handler,
    host: str | None = None,
    port: int = 0,
    *,
    task_status: StartedServer = anyio.TASK_STATUS_IGNORED,
    **options: Unpack[ServeKeywords],
) -> None:
    """Serve WebSocket connections until cancelled, or until the server is closed.

    Example::

        async def echo(websocket: anyws.WebSocket) -> None:
            async for message in websocket:  # str is a text message, bytes a binary one
                await websocket.send(message)

        anyio.run(anyws.serve, echo, "127.0.0.1", 8765)  # trio.run() works as well

    ``server = await task_group.start(anyws.serve, handler, "127.0.0.1", 8765)`` starts it in an AnyIO task group or a
    trio nursery, and returns the `Server` once it is listening. If a handler raises an exception, it is logged and the
    connection is closed with 1011; the server keeps running.

    Args:
        handler: an async callable that receives the `WebSocket`; when it returns, the connection is closed with 1000.
            If it has a method ``on_request``, that is called after the hooks given as the option ``on_request``.
        host: a host name or an address to listen on; None or ``""`` for all interfaces.
        port: the TCP port; 0 for a free one, see `Server.addresses`.
        task_status: notified with the `Server` once it is listening.
        options: keyword arguments, documented in `ServerOptions`.

    Raises:
        OSError: the address is unavailable or already in use.
        TypeError: an option is unknown or has the wrong type, or the handler is not async or does not accept a single
            argument.
        ValueError: an option has an invalid value, or the TLS context cannot be used by a server: it is a client
            context, or has no certificate.
    """
    await serve_with(
        handler, host, port, build_options(ServerOptions, options, where="serve()"), task_status=task_status
    )


async def serve_with(
    handler: Handler, host: str | None, port: int, options: ServerOptions, *, task_status: StartedServer
) -> None:
    """Do what `serve` does, with options that have been checked."""
    server = await _listen(handler, host, port, options)
    async with stopping_on_signals(server):
        await server.run(task_status=task_status)


@with_signature_of(ServerOptions)
@block("open_server()", "async with anyws.open_server(...) as server")
async def open_server(
    handler: Handler, host: str | None = None, port: int = 0, **options: Unpack[ServeKeywords]
) -> AsyncGenerator[Server, None]:
    """Serve in the background of a block: ``async with anyws.open_server(handler, "127.0.0.1", 0) as server``.

    Use it where you have no task group. When the block ends, the server shuts down gracefully, as with `Server.aclose`.
    If the block raises or is cancelled, the server stops immediately, and the exception propagates unchanged. Otherwise
    it is the same as `serve`.

    Args:
        handler: see `serve`.
        host: see `serve`.
        port: see `serve`.
        options: keyword arguments, documented in `ServerOptions`.
    """
    settings = build_options(ServerOptions, options, where="open_server()")
    async with serving(handler, host, port, settings) as server:
        yield server


async def open_listeners(
    host: str | None, port: int, options: ServerOptions, *, ipv6_only: bool = True
) -> list[Listener[Any]]:
    """Return the listeners for the options."""
    if options.listeners is not None:
        if host is not None or options.path is not None:
            raise ValueError("listeners cannot be given together with host or path")
        if not options.listeners:
            raise ValueError("option listeners is empty: expected at least one")
        return list(_flatten(options.listeners))
    if options.path is not None:
        if host is not None:
            raise ValueError("path (a unix socket) cannot be given together with host")
        return [await listen_unix(options.path, backlog=options.backlog)]
    return list(
        await listen_tcp(host, port, backlog=options.backlog, reuse_port=options.reuse_port, ipv6_only=ipv6_only)
    )


def _flatten(given: Iterable[Listener[Any] | TrioListener | socket.socket]) -> Generator[Listener[Any], None, None]:
    for each in given:
        if isinstance(each, MultiListener):
            yield from _flatten(each.listeners)  # so that each continues when another fails to accept
        elif isinstance(each, Listener):
            yield each
        elif (listening := each if isinstance(each, socket.socket) else as_socket(each)) is not None:
            yield listen_on(listening)
        else:
            raise TypeError(
                f"option listeners contains {type(each).__name__}: expected listening sockets, or listeners of AnyIO "
                "or trio"
            )


def with_default_allowed_hosts(options: ServerOptions, listeners: list[Listener[Any]]) -> ServerOptions:
    """Restrict a server on loopback to the host name ``localhost``, to protect against DNS rebinding."""
    addresses = [listener.extra(SocketAttribute.local_address, None) for listener in listeners]
    on_loopback = all(isinstance(address, tuple) and ip_address(address[0]).is_loopback for address in addresses)
    if options.allowed_hosts is None and addresses and on_loopback:
        return dataclasses.replace(options, allowed_hosts=("localhost",))
    return options


def log_handshake_failure(logger: ConnectionLogger, exc: Exception) -> None:
    """Log why an opening handshake failed: in one line, or with a traceback if it is an error on our side."""
    if isinstance(exc.__cause__, ForeignOrigin) and exc.__cause__.is_first_rejection:
        logger.warning("opening handshake failed: %s", exc)  # often a page in development; browsers do not show why
    elif isinstance(exc, HandshakeError | OSError):
        # A port scan, a health check, garbage, a client that disconnected; or a failed hook, logged separately.
        logger.info("opening handshake failed: %s", exc)
    else:
        logger.error("opening handshake failed", exc_info=exc)


def log_hook_failure(logger: ConnectionLogger, exc: Exception) -> None:
    """Log the exception of a hook in the opening handshake, with its traceback."""
    logger.error("opening handshake failed: a hook raised an exception", exc_info=exc)


async def run_connection(
    connection: AbstractAsyncContextManager[WebSocket],
    call: Callable[[WebSocket], Awaitable[object]],
    failed: Callable[[Exception], None],
    who: str,
) -> None:
    """Run a connection for the duration of a call of user code. Raises no `Exception`.

    Args:
        connection: the connection, as a context manager that closes it.
        call: the user code.
        failed: called with what the user code raises, before the peer learns of it, because a client in the same
            program might then stop the server and with it this task; or with what closing raises.
        who: the user code, for error messages; for example ``the handler``.
    """
    failure: Exception | None = None
    try:
        async with connection as websocket:
            try:
                with refusing_stray_cancellation(who):
                    await call(websocket)
            except Exception as exc:
                failure = exc
                failed(exc)
                raise
            except BaseExceptionGroup as group:
                # Raised on trio by a task group that fails while it is cancelled.
                failures, rest = group.split(Exception)
                if failures is not None:
                    failed(failures)
                if rest is not None:
                    raise rest from None
    except Exception as exc:
        if exc is not failure:
            failed(exc)
    finally:
        del failure  # its traceback refers to this frame: break the cycle


def log_failure(logger: ConnectionLogger, exc: Exception, who: str) -> None:
    """Log an exception from user code with its traceback, or in one line if the connection has just ended."""
    if is_connection_closed(exc):
        closed = _first_closed(exc)
        # Without the peer's reason: contents are not logged.
        code = f"{closed.detail} ({closed.code})" if closed.detail else closed.code
        logger.info("%s ended with the connection: %s", who, code)
        if closed.undelivered:
            logger.warning("%d bytes of messages were not delivered", closed.undelivered)
    else:
        logger.error("%s failed; the connection is closed", who, exc_info=exc)


def _first_closed(exc: BaseException) -> ConnectionClosed:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    assert isinstance(exc, ConnectionClosed)
    return exc


def is_connection_closed(exc: BaseException) -> bool:
    """Return whether an exception only means that the connection has ended."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(is_connection_closed, exc.exceptions))
    return isinstance(exc, ConnectionClosed)


@asynccontextmanager
async def serving(
    handler: Handler,
    host: str | None,
    port: int,
    options: ServerOptions,
    *,
    on_failure: Callable[[Exception], None] | None = None,
) -> AsyncGenerator[Server, None]:
    """Serve in the background of a block, see `open_server`.

    Args:
        handler: see `serve`.
        host: see `serve`.
        port: see `serve`.
        options: the options.
        on_failure: called with exceptions from handlers and hooks, except a closed connection, before the client
            learns of them.
    """
    server = await _listen(handler, host, port, options, on_failure)
    async with stopping_on_signals(server), background_task(server.run):
        yield server
        await server.aclose()


async def _listen(
    handler: Handler,
    host: str | None,
    port: int,
    options: ServerOptions,
    on_failure: Callable[[Exception], None] | None = None,
) -> Server:
    check_handler(handler)
    check_main_thread(options.stop_signals)
    if options.ssl_context is not None:
        check_certificate(options.ssl_context)
    options = dataclasses.replace(options, on_request=[*options.request_hooks, *handler_hooks(handler)])
    listeners = await open_listeners(host, port, options)

    def open_stream(server: Server, stream: ByteStream, pending: PendingHandshake) -> Awaitable[Awaitable[None] | None]:
        logger = connection_logger("anyws.server", stream)
        return _Connection(server, handler, logger, on_failure).open(stream, pending)

    return Server(listeners, open_stream, with_default_allowed_hosts(options, listeners), host)


class _Connection:
    """One accepted stream, from its opening handshake to its end. Errors are logged."""

    __slots__ = ("_handler", "_logger", "_on_failure", "_server")

    def __init__(
        self,
        server: Server,
        handler: Handler,
        logger: ConnectionLogger,
        on_failure: Callable[[Exception], None] | None,
    ) -> None:
        self._server = server
        self._handler = handler
        self._logger = logger
        self._on_failure = on_failure

    async def open(self, stream: ByteStream, pending: PendingHandshake) -> Awaitable[None] | None:
        """Perform the opening handshake; return what serves the connection, or None if it failed."""
        try:
            opened = await accept_stream(
                stream, self._server.options, self._logger, pending=pending, on_failure=self._hook_failed
            )
        except Exception as exc:
            self._server.handshake_failed(exc)
            log_handshake_failure(self._logger, exc)
            return None
        self._logger.debug("open")
        return run_connection(self._server.running(*opened), self._call, self._handler_failed, "the handler")

    def _call(self, websocket: WebSocket) -> Awaitable[object]:
        serving = self._handler(websocket)
        if not inspect.isawaitable(serving):
            raise TypeError(f"the handler must be an async function: it returned {type(serving).__name__}")
        return serving

    def _hook_failed(self, exc: Exception) -> None:
        log_hook_failure(self._logger, exc)
        if self._on_failure is not None:
            self._on_failure(exc)

    def _handler_failed(self, exc: Exception) -> None:
        log_failure(self._logger, exc, "the handler")
        if self._on_failure is not None and not is_connection_closed(exc):
            self._on_failure(exc)
