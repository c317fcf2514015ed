"""The server: `serve` and `open_server`."""

from __future__ import annotations

import dataclasses
import functools
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
from anyws._transport.listening import listen_on, listen_tcp, listen_unix
from anyws.exceptions import ConnectionClosed
from anyws.protocol.errors import HandshakeError
from anyws.protocol.origins import ForeignOrigin

from .accept import open_link
from .admission import Entry
from .options import RequestHook, ServeKeywords, ServerOptions
from .server import Server, StartedServer

__all__ = [
    "Handler",
    "check_handler",
    "is_closed",
    "log_failure",
    "log_hook_failure",
    "log_no_connection",
    "open_listeners",
    "open_server",
    "own_hooks",
    "run_connection",
    "serve",
    "serving",
    "with_default_hosts",
]

Handler = Callable[[WebSocket], Awaitable[object]]
"""What serves one connection; the connection is closed when it returns."""


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

    ``server = await task_group.start(anyws.serve, handler, "127.0.0.1", 8765)`` starts it, in an AnyIO task group as in
    a trio nursery, and gives the `Server` once it listens. An exception in a handler closes that connection with 1011
    and is logged; it never ends the server.

    Args:
        handler: an async callable that gets the `WebSocket`; when it returns, the connection is closed with 1000. Its
            method ``on_request``, if it has one, is called after the hooks of the option of this name.
        host: a name or an address to listen on; None or ``""`` for all of the machine's.
        port: the TCP port; 0 for a free one, see `Server.addresses`.
        task_status: gets the `Server` once it listens.
        options: keywords, each documented in `ServerOptions`.

    Raises:
        OSError: the address or the port is not to be had.
        TypeError: an unknown option, or one of the wrong type; or the handler cannot be called with the `WebSocket`
            alone, or is not async.
        ValueError: an option out of its range, or a TLS context that cannot serve: a client's, or one without a
            certificate.
    """
    server = await _listen(handler, host, port, build_options(ServerOptions, options, where="serve()"))
    await server.run(task_status=task_status)


@with_signature_of(ServerOptions)
@block("open_server()")
async def open_server(
    handler: Handler, host: str | None = None, port: int = 0, **options: Unpack[ServeKeywords]
) -> AsyncGenerator[Server, None]:
    """Serve in the background of a block: ``async with anyws.open_server(handler, "127.0.0.1", 0) as server``.

    For programs that have no task group at hand. When the block ends, the server is closed gracefully, as by
    `Server.aclose`; when it raises or is cancelled, at once, and the exception comes out as it is. All else is as in
    `serve`.

    Args:
        handler: see `serve`.
        host: see `serve`.
        port: see `serve`.
        options: keywords, each documented in `ServerOptions`.
    """
    settings = build_options(ServerOptions, options, where="open_server()")
    async with serving(handler, host, port, settings) as server:
        yield server


async def open_listeners(
    host: str | None, port: int, options: ServerOptions, *, ipv6_only: bool = True
) -> list[Listener[Any]]:
    """Return the listeners that the options ask for."""
    if options.listeners is not None:
        if host is not None or options.path is not None:
            raise ValueError("listeners cannot be given together with host or path")
        if not options.listeners:
            raise ValueError("option listeners is empty: expected at least one")
        return list(_each_listener(options.listeners))
    if options.path is not None:
        if host is not None:
            raise ValueError("path (a unix socket) cannot be given together with host")
        return [await listen_unix(options.path, backlog=options.backlog)]
    return list(
        await listen_tcp(host, port, backlog=options.backlog, reuse_port=options.reuse_port, ipv6_only=ipv6_only)
    )


def _each_listener(given: Iterable[Listener[Any] | socket.socket]) -> Generator[Listener[Any], None, None]:
    for each in given:
        if isinstance(each, MultiListener):
            yield from _each_listener(each.listeners)  # each goes on when another fails to accept
        else:
            yield listen_on(each) if isinstance(each, socket.socket) else each


def check_handler(handler: Handler) -> None:
    """Check that a handler can serve a connection, as far as that can be told without calling it.

    Raises:
        TypeError: it cannot be called with the connection alone, or is not async.
    """
    if inspect.iscoroutine(handler):
        handler.close()
        name = handler.__name__
        raise TypeError(f"the handler is a coroutine, expected an async function: pass {name}, not {name}(...)")
    if not callable(handler):
        raise TypeError(f"the handler is {type(handler).__name__}, expected an async function")
    name = getattr(handler, "__qualname__", type(handler).__qualname__)
    try:
        signature = inspect.signature(handler, follow_wrapped=False)  # a decorator may change the parameters
    except ValueError:  # some built-in functions do not tell
        return
    try:
        signature.bind(None)
    except TypeError as exc:
        raise TypeError(f"the handler {name} is called with the connection alone: {exc}") from exc
    function = _called_function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"the handler {name} is a generator, for it has a yield: expected an async function")
    # A decorated function has the annotations of another; a class has those of its __init__.
    says_so = inspect.isroutine(function) and not hasattr(function, "__wrapped__")
    if says_so and signature.return_annotation in (None, "None") and not inspect.iscoroutinefunction(function):
        raise TypeError(f"the handler {name} is not async: expected an async function")


def _called_function(handler: object) -> object:
    """The function that a call of the handler ends at: of a `functools.partial`, of an object with ``__call__``."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler if inspect.isroutine(handler) or inspect.isclass(handler) else type(handler).__call__


def own_hooks(handler: Handler) -> list[RequestHook]:
    """Return the request hook that a handler has as its method, if it has one."""
    hook: RequestHook | None = getattr(handler, "on_request", None)
    return [] if hook is None else [hook]


def with_default_hosts(options: ServerOptions, listeners: list[Listener[Any]]) -> ServerOptions:
    """Let a server on loopback answer only pages that know it as ``localhost``, against DNS rebinding."""
    addresses = [listener.extra(SocketAttribute.local_address, None) for listener in listeners]
    on_loopback = all(isinstance(address, tuple) and ip_address(address[0]).is_loopback for address in addresses)
    if options.allowed_hosts is None and addresses and on_loopback:
        return dataclasses.replace(options, allowed_hosts=("localhost",))
    return options


def log_no_connection(logger: ConnectionLogger, exc: Exception) -> None:
    """Log why an opening handshake failed: in one line, unless it was our own side."""
    if isinstance(exc.__cause__, ForeignOrigin) and exc.__cause__.is_news:
        logger.warning("no connection: %s", exc)  # mostly a page under development, which is not told why
    elif isinstance(exc, HandshakeError | OSError):
        # A port scan, a health check, garbage, a client that went away; or a hook that failed, of which a line tells.
        logger.info("no connection: %s", exc)
    else:
        logger.error("no connection", exc_info=exc)


def log_hook_failure(logger: ConnectionLogger, exc: Exception) -> None:
    """Log what a hook raised in the opening handshake, with its traceback."""
    logger.error("no connection: a hook failed", exc_info=exc)


async def run_connection(
    connection: AbstractAsyncContextManager[WebSocket],
    call: Callable[[WebSocket], Awaitable[object]],
    failed: Callable[[Exception], None],
) -> None:
    """Run a connection as long as a call of user code; raise no `Exception`.

    Args:
        connection: the connection, which its block closes.
        call: the user code.
        failed: gets what the call raises, before the peer hears of it: a client in the same program may then stop the
            server, and this task with it. Or what the close raises.
    """
    failure: Exception | None = None
    try:
        async with connection as websocket:
            try:
                await call(websocket)
            except Exception as exc:
                failure = exc
                failed(exc)
                raise
            except BaseExceptionGroup as group:
                # On trio, of a task group that fails while it is cancelled.
                failures, rest = group.split(Exception)
                if failures is not None:
                    failed(failures)
                if rest is not None:
                    raise rest from None
    except Exception as exc:
        if exc is not failure:
            failed(exc)
    finally:
        del failure  # it has this frame in its traceback


def log_failure(logger: ConnectionLogger, exc: Exception, who: str) -> None:
    """Log what user code raised: with its traceback, or in one line if it only says that the connection has ended."""
    if is_closed(exc):
        closed = _first_of(exc)
        # Without the peer's reason, which is contents.
        code = f"{closed.detail} ({closed.code})" if closed.detail else closed.code
        logger.info("%s ended with the connection: %s", who, code)
        if closed.undelivered:
            logger.warning("%d bytes of messages were not delivered", closed.undelivered)
    else:
        logger.error("%s failed; the connection is closed", who, exc_info=exc)


def _first_of(exc: BaseException) -> ConnectionClosed:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    assert isinstance(exc, ConnectionClosed)
    return exc


def is_closed(exc: BaseException) -> bool:
    """Say whether an exception only says that the connection has ended."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(is_closed, exc.exceptions))
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
        on_failure: gets what handlers and hooks raise, the end of a connection aside, before the client hears of it.
    """
    server = await _listen(handler, host, port, options, on_failure)
    async with background_task(server.run):
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
    if options.ssl_context is not None:
        check_certificate(options.ssl_context)
    options = dataclasses.replace(options, on_request=[*options.request_hooks, *own_hooks(handler)])
    listeners = await open_listeners(host, port, options)

    async def serve_stream(server: Server, stream: ByteStream, entry: Entry) -> None:
        logger = connection_logger("anyws.server", stream)
        await _Connection(server, handler, logger, on_failure).serve(stream, entry)

    return Server(listeners, serve_stream, with_default_hosts(options, listeners))


class _Connection:
    """One accepted stream, from its opening handshake to its end; what goes wrong is logged."""

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

    async def serve(self, stream: ByteStream, entry: Entry) -> None:
        try:
            opened = await open_link(
                stream, self._server.options, self._logger, entry=entry, on_failure=self._hook_failed
            )
        except Exception as exc:
            log_no_connection(self._logger, exc)
            return
        self._logger.debug("open")
        await run_connection(self._server.connection(*opened), self._call, self._handler_failed)

    async def _call(self, websocket: WebSocket) -> None:
        with refusing_stray_cancellation("the handler"):
            serving = self._handler(websocket)
            if not inspect.isawaitable(serving):
                raise TypeError(f"the handler returned {type(serving).__name__}: it has to be an async function")
            await serving

    def _hook_failed(self, exc: Exception) -> None:
        log_hook_failure(self._logger, exc)
        if self._on_failure is not None:
            self._on_failure(exc)

    def _handler_failed(self, exc: Exception) -> None:
        log_failure(self._logger, exc, "the handler")
        if self._on_failure is not None and not is_closed(exc):
            self._on_failure(exc)
