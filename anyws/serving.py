"""The server: `serve` and `open_server`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Unpack

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute

from .accepting import open_link
from .admission import Entry
from .beside import beside
from .blocks import block
from .checking import build_options, with_signature_of
from .exceptions import ConnectionClosed
from .link import Link
from .logs import ConnectionLogger, connection_logger
from .options import RequestHook, ServeKeywords, ServerOptions
from .protocol.errors import HandshakeError, HandshakeRefused
from .servers import Server, StartedServer
from .transport.listening import listen_on, listen_tcp, listen_unix
from .websocket import WebSocket

__all__ = [
    "Handler",
    "is_closed",
    "log_failure",
    "log_no_connection",
    "open_listeners",
    "open_server",
    "own_hooks",
    "serve",
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
        host: a name or an address to listen on; None for all of the machine's.
        port: the TCP port; 0 for a free one, see `Server.addresses`.
        task_status: gets the `Server` once it listens.
        options: keywords, each documented in `ServerOptions`.

    Raises:
        OSError: the address or the port is not to be had.
        TypeError: an unknown option, or one of the wrong type.
        ValueError: an option out of its range.
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
    server = await _listen(handler, host, port, build_options(ServerOptions, options, where="open_server()"))
    async with beside(server.run):
        yield server
        await server.aclose()


async def open_listeners(
    host: str | None, port: int, options: ServerOptions, *, ipv6_only: bool = True
) -> list[Listener[Any]]:
    """Return the listeners that the options ask for."""
    if options.listeners is not None:
        if host is not None or options.path is not None:
            raise ValueError("listeners cannot be given together with host or path")
        if not options.listeners:
            raise ValueError("option listeners is empty: expected at least one")
        return [listen_on(given) if isinstance(given, socket.socket) else given for given in options.listeners]
    if options.path is not None:
        if host is not None:
            raise ValueError("path (a unix socket) cannot be given together with host")
        return [await listen_unix(options.path, backlog=options.backlog)]
    return list(
        await listen_tcp(host, port, backlog=options.backlog, reuse_port=options.reuse_port, ipv6_only=ipv6_only)
    )


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
    """Log why an opening handshake failed: in one line, unless it was our own side (500)."""
    if isinstance(exc, HandshakeRefused) and exc.status == 500 and exc.__cause__ is not None:
        logger.error("no connection: a hook failed", exc_info=exc.__cause__)
    elif isinstance(exc, HandshakeError | OSError):
        # A port scan, a health check, garbage, a client that went away.
        logger.info("no connection: %s", exc)
    else:
        logger.error("no connection", exc_info=exc)


def log_failure(logger: ConnectionLogger, exc: Exception, who: str) -> None:
    """Log what came out of user code: with its traceback, or in one line if it only says that the peer has gone."""
    if is_closed(exc):
        logger.info("%s ended with the connection: %s", who, _ended(exc))
    else:
        logger.error("%s failed; the connection is closed", who, exc_info=exc)


def _ended(exc: BaseException) -> str:
    """The close code, and what our own side says; the peer's reason is contents."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    assert isinstance(exc, ConnectionClosed)
    return f"{exc.detail} ({exc.code})" if exc.detail else str(exc.code)


def is_closed(exc: BaseException) -> bool:
    """Say whether an exception only says that the connection has ended."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(is_closed, exc.exceptions))
    return isinstance(exc, ConnectionClosed)


async def _listen(handler: Handler, host: str | None, port: int, options: ServerOptions) -> Server:
    if not callable(handler):
        raise TypeError(f"the handler is an async callable, not {type(handler).__name__}")

    options = dataclasses.replace(options, on_request=[*options.request_hooks, *own_hooks(handler)])
    listeners = await open_listeners(host, port, options)
    return Server(listeners, functools.partial(_serve_websocket, handler), with_default_hosts(options, listeners))


async def _serve_websocket(handler: Handler, server: Server, stream: ByteStream, entry: Entry) -> None:
    logger = connection_logger("anyws.server", stream)
    opened = await _open(server, stream, entry, logger)
    if opened is None:
        return
    logger.debug("open")
    try:
        async with server.connection(*opened) as websocket:
            serving = handler(websocket)
            if not inspect.isawaitable(serving):
                raise TypeError(f"the handler returned {type(serving).__name__}: it has to be an async function")
            await serving
    except Exception as exc:
        log_failure(logger, exc, "the handler")


async def _open(
    server: Server, stream: ByteStream, entry: Entry, logger: ConnectionLogger
) -> tuple[WebSocket, Link] | None:
    try:
        return await open_link(stream, server.options, logger, entry=entry)
    except Exception as exc:
        log_no_connection(logger, exc)
        return None
    finally:
        server.opened(entry)
