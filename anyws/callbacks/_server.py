"""The server of the callback API: `server`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Never, Unpack

import anyio
from anyio.abc import ByteStream

from anyws._background_task import background_task
from anyws._blocks import block
from anyws._checking import build_options, merged, with_signature_of
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket
from anyws._logs import connection_logger
from anyws._server.accept import accept_stream
from anyws._server.connection_limits import PendingHandshake
from anyws._server.options import ServerOptions
from anyws._server.serve import (
    log_failure,
    log_handshake_failure,
    log_hook_failure,
    open_listeners,
    run_connection,
    with_default_allowed_hosts,
)
from anyws._server.server import Server
from anyws._server.stopping import check_main_thread, stopping_on_signals
from anyws._transport.certificate import check_certificate
from anyws._transport.stream import SocketStream
from anyws.protocol.closing import CloseCode
from anyws.protocol.errors import HandshakeError
from anyws.protocol.headers import HeadersLike
from anyws.protocol.http11 import Request, Response
from anyws.protocol.server_handshake import check_final_response

from ._certificates import server_context
from ._hooks import AsyncHook, wrap_hook
from ._messages import MessageHandler, handle_messages
from ._options import ListenerOptions, ServerKeywords, ServerSocketOptions, SocketServerOptions, sub_protocols
from ._socket import Socket

__all__ = ["Ready", "server"]


class Ready:
    """Completes or refuses an opening handshake. The first call decides; later calls do nothing."""

    def __init__(self) -> None:
        self._decided = anyio.Event()
        self._refusal: Response | None = None
        self._failure: Exception | None = None

    def __call__(self) -> None:
        """Complete the opening handshake."""
        self._decided.set()

    def refuse(self, status: int = 403, headers: HeadersLike = (), *, body: str | bytes = b"") -> None:
        """Refuse the opening handshake with an HTTP response, and close the connection.

        Args:
            status: the HTTP status.
            headers: the response headers.
            body: the response body.

        Raises:
            ValueError: the status is not from 200 to 599, or a header cannot be sent.
        """
        response = Response(status, headers, body)
        check_final_response(response)
        if not self._decided.is_set():
            self._refusal = response
            self._decided.set()

    def fail(self, failure: Exception) -> bool:
        """Fail the opening handshake with the exception of a hook; return False if it was already decided."""
        if self._decided.is_set():
            return False
        self._failure = failure
        self._decided.set()
        return True

    async def wait(self) -> Response | None:
        """Wait for the decision. Return None, or the response that refuses; raise the exception of the hook."""
        await self._decided.wait()
        if self._failure is not None:
            raise self._failure
        return self._refusal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Hooks:
    on_connect: AsyncHook | None
    on_open: AsyncHook | None
    on_message: MessageHandler | None


@with_signature_of(SocketServerOptions)
@block("server()", "async with anyws.server(...) as server")
async def server(
    options: Mapping[str, Any] | None = None, /, *misplaced: Never, **keywords: Unpack[ServerKeywords]
) -> AsyncGenerator[Server, None]:
    """Listen with callbacks: ``async with anyws.server(message_handler=..., listener_options=...) as server``.

    The server listens for the duration of the block and then shuts down gracefully (1001). A connection is dropped if
    its opening handshake, including TLS and ``callback_connect``, takes more than 5 seconds (``open_timeout``). All
    hooks of a connection receive the same `Socket`; its messages are passed on one at a time and in order. If a hook
    raises an exception, it is logged, and that connection is closed: with a response 500 before the opening handshake
    is complete, with 1011 after. An exception in ``callback_listener`` propagates from the block.

    Args:
        options: the options as a mapping.
        misplaced: nothing; for the error message if a handler is passed.
        keywords: the options as keyword arguments, documented in `SocketServerOptions`. You can use both.

    Raises:
        OSError: the address is unavailable or already in use, or a certificate file cannot be read.
        TypeError: an option, also in ``listener_options`` or ``server_options``, is unknown or has the wrong type.
        ValueError: an option has an invalid value.
    """
    where = "server()"
    if misplaced or callable(options):
        raise TypeError("server() is the callback API: to serve a handler, use open_server(handler, host, port)")
    settings = build_options(SocketServerOptions, merged(options, keywords, where), where=where)
    listener_options = build_options(ListenerOptions, settings.listener_options, where=f"listener_options of {where}")
    server_options = build_options(ServerSocketOptions, settings.server_options, where=f"server_options of {where}")
    on_listener = wrap_hook(settings.callback_listener, "callback_listener", "server")
    hooks = _Hooks(
        on_connect=wrap_hook(settings.callback_connect, "callback_connect", "header_values", "socket", "ready"),
        on_open=wrap_hook(settings.callback_open, "callback_open", "err", "socket"),
        on_message=None if settings.message_handler is None else MessageHandler(settings.message_handler),
    )
    check_main_thread(settings.stop_signals)
    native = _to_native_options(settings, listener_options, server_options)
    if native.ssl_context is not None:
        check_certificate(native.ssl_context)
    # Listening on all interfaces uses separate sockets for IPv4 and IPv6, so the IPv6 one must not take the IPv4 port.
    ipv6_only = listener_options.ipv6_only or not listener_options.host
    listeners = await open_listeners(listener_options.host, listener_options.port, native, ipv6_only=ipv6_only)

    async def serve_stream(server: Server, stream: ByteStream, pending: PendingHandshake) -> None:
        if isinstance(stream, SocketStream):
            try:
                stream.configure(
                    no_delay=server_options.no_delay,
                    keep_alive=server_options.keep_alive,
                    keep_alive_delay=server_options.keep_alive_initial_delay,
                )
            except OSError as exc:  # on some systems, because the client has disconnected
                server.handshake_failed(exc)
                log_handshake_failure(connection_logger("anyws.server", stream), exc)
                await anyio.aclose_forcefully(stream)
                return
        await _Connection(server, stream, pending, hooks, server_options.handshake_timeout).serve()

    listening_server = Server(
        listeners, serve_stream, with_default_allowed_hosts(native, listeners), listener_options.host
    )
    async with stopping_on_signals(listening_server), background_task(listening_server.run):
        if on_listener is not None:
            await on_listener(listening_server)
        yield listening_server
        await listening_server.aclose()


def _to_native_options(
    settings: SocketServerOptions, listener_options: ListenerOptions, server_options: ServerSocketOptions
) -> ServerOptions:
    """Translate the options of the node:websocket proposal to native options."""
    context = None
    if settings.secure:
        context = settings.ssl_context or server_context(
            server_options, request_cert=server_options.request_cert, sni_callback=server_options.sni_callback
        )
    names = settings.subprotocols if settings.sub_protocol is None else sub_protocols(settings.sub_protocol)
    return dataclasses.replace(
        settings,
        ssl_context=context,
        subprotocols=names,
        sub_protocol=None,
        path=listener_options.path or settings.path,
        backlog=settings.backlog if listener_options.backlog is None else listener_options.backlog,
        reuse_port=listener_options.reuse_port or settings.reuse_port,
    )


class _Connection:
    """One accepted stream, from its opening handshake to its end."""

    def __init__(
        self, server: Server, stream: ByteStream, pending: PendingHandshake, hooks: _Hooks, tls_timeout: float | None
    ) -> None:
        self._server = server
        self._stream = stream
        self._pending = pending
        self._hooks = hooks
        self._tls_timeout = tls_timeout
        self._logger = connection_logger("anyws.server", stream)
        self._socket = Socket(stream)
        self._ready = Ready()
        self._request: Request | None = None
        self._link: Link | None = None
        self._has_connect_failed = False

    async def serve(self) -> None:
        """Serve the stream; errors are logged."""
        if self._hooks.on_connect is None:
            await self._serve()
            return
        # callback_connect may continue after it has called ready(), so its task may last as long as the connection.
        async with anyio.create_task_group() as self._tasks:
            await self._serve()
            self._tasks.cancel_scope.cancel()

    async def _serve(self) -> None:
        try:
            self._link = await self._open()
        except Exception as exc:
            self._hook_failed(exc)
        else:
            if self._link is not None:
                running = self._server.running(self._socket, self._link)
                await run_connection(running, self._run, self._hook_failed, "a hook")

    async def _open(self) -> Link | None:
        try:
            try:
                websocket, link = await accept_stream(
                    self._stream,
                    self._server.options,
                    self._logger,
                    pending=self._pending,
                    request_hooks=[*self._server.options.request_hooks, self._on_request],
                    tls_timeout=self._tls_timeout,
                    on_secured=self._socket.set_tls_stream,
                    on_failure=functools.partial(log_hook_failure, self._logger),
                )
            finally:
                self._ready()  # from now on, an exception in callback_connect cannot change the response: it is logged
        except Exception as exc:
            self._server.handshake_failed(exc)
            log_handshake_failure(self._logger, exc)
            request = exc.request if isinstance(exc, HandshakeError) else self._request
            if request is not None and self._hooks.on_open is not None:
                await self._hooks.on_open(exc, None)
            return None
        self._socket.open(websocket, link)
        return link

    async def _on_request(self, request: Request) -> Response | None:
        if not request.is_websocket:
            return None
        self._request = request
        self._socket.set_request(request)
        if self._hooks.on_connect is None:
            return None
        self._tasks.start_soon(self._call_on_connect, self._hooks.on_connect, request)
        return await self._ready.wait()

    async def _call_on_connect(self, on_connect: AsyncHook, request: Request) -> None:
        try:
            await on_connect(request.headers, self._socket, self._ready)
        except Exception as exc:
            if not self._ready.fail(exc):
                log_failure(self._logger, exc, "callback_connect")
                self._has_connect_failed = True
                self._close_if_connect_failed()

    async def _run(self, _: WebSocket) -> None:
        self._close_if_connect_failed()
        if self._hooks.on_open is not None:
            await self._hooks.on_open(None, self._socket)
        await handle_messages(self._socket, self._hooks.on_message)

    def _hook_failed(self, exc: Exception) -> None:
        log_failure(self._logger, exc, "a hook")

    def _close_if_connect_failed(self) -> None:
        if self._has_connect_failed and self._link is not None:
            self._link.begin_close(CloseCode.INTERNAL_ERROR, "", discard=True)
