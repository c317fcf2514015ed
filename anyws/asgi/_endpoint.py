"""An anyws handler as an ASGI application: `endpoint`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import anyio

from anyws._cancellation import refusing_stray_cancellation
from anyws._checking import with_signature_of
from anyws._connection.websocket import WebSocket
from anyws._logs import ConnectionLogger
from anyws._server.handlers import Handler, check_handler, handler_hooks
from anyws._server.opening import call_hooks
from anyws._server.options import RequestHook
from anyws._server.serve import log_failure, log_hook_failure, run_connection
from anyws.protocol.closing import CloseCode
from anyws.protocol.headers import Headers
from anyws.protocol.http11 import Request, Response
from anyws.protocol.origins import ForeignOrigin, OriginPolicy
from anyws.protocol.subprotocols import SubprotocolSelector, prefer

from ._channel import Channel
from ._options import EndpointKeywords, EndpointOptions, checked_options
from ._requests import Receive, Scope, Send, encoded, request_of, respond
from ._scope import EXTENSION, websocket_of
from ._websocket import MountedWebSocket

__all__ = ["Endpoint", "endpoint"]

_logger = logging.getLogger("anyws.server")


@dataclass(frozen=True, slots=True)
class _Terms:
    """What an endpoint does with each connection, prepared once."""

    handler: Handler
    options: EndpointOptions
    hooks: Sequence[RequestHook]
    origins: OriginPolicy
    select: SubprotocolSelector


class Endpoint:
    """A handler as an ASGI application: what `endpoint` returns.

    It is an object, because Starlette passes other arguments to functions.
    """

    def __init__(self, handler: Handler, options: EndpointOptions) -> None:
        self._terms = _Terms(
            handler,
            options,
            hooks=[*options.request_hooks, *handler_hooks(handler)],
            origins=OriginPolicy(options.origins, options.allowed_hosts),
            select=options.subprotocols if callable(options.subprotocols) else prefer(options.subprotocols),
        )

    def __repr__(self) -> str:
        return f"<anyws.asgi.endpoint({self._terms.handler!r})>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, respond to a plain HTTP request, or do nothing at startup and shutdown."""
        kind: str = scope["type"]
        if kind == "websocket":
            if (await receive())["type"] == "websocket.connect":
                await _Connection(self._terms, scope, receive, send).serve()
        elif kind == "http":
            await _Connection(self._terms, scope, receive, send).respond_to_plain_http()
        elif kind == "lifespan":
            await _do_nothing(receive, send)
        else:
            raise ValueError(f"scope type {kind!r}: expected 'websocket', 'http' or 'lifespan'")


@with_signature_of(EndpointOptions)
def endpoint(handler: Handler, **options: Unpack[EndpointKeywords]) -> Endpoint:
    """Return an ASGI application that serves WebSocket connections with a handler or an `anyws.routing.Router`.

    Mount it in an application of FastAPI, Starlette or Django Channels, or run it with an ASGI server, such as uvicorn,
    or Hypercorn on asyncio or trio::

        app = Starlette(routes=[WebSocketRoute("/echo", endpoint(echo)), Mount("/rooms", endpoint(router))])

    With `anyws.uvicorn.Protocol`, the handler gets the `WebSocket` itself. With other servers, it gets one that passes
    messages to the server and back. What the server owns then raises `NotImplementedError`: `WebSocket.ping`,
    `WebSocket.pong`, `WebSocket.receive_stream`, ``fragment_size``, ``compress``, `anyws.broadcast` and topics. An
    async iterable is joined before it is sent.

    If the handler raises an exception, it is logged and the connection is closed with 1011. If the ASGI server cancels
    it, the handler is cancelled, and the server closes the connection. ``request.path`` is relative to where the
    endpoint is mounted, and ``request.state["scope"]`` is the ASGI scope.

    Args:
        handler: see `anyws.serve`. If it has a method ``on_request``, that is called after the hooks given as the
            option ``on_request``.
        options: keyword arguments, documented in `EndpointOptions`.

    Raises:
        TypeError: the handler is not async or does not accept a single argument; or an option is unknown or has the
            wrong type, or only the ASGI server can have it.
        ValueError: an option has an invalid value.
    """
    check_handler(handler)
    return Endpoint(handler, checked_options(options))


class _Connection:
    """One request, and the connection that it opens."""

    def __init__(self, terms: _Terms, scope: Scope, receive: Receive, send: Send) -> None:
        self._terms = terms
        self._options = terms.options
        self._scope = scope
        self._receive = receive
        self._send = send
        self._extension: Mapping[str, Any] | None = (scope.get("extensions") or {}).get(EXTENSION)
        self._request: Request = request_of(scope)
        client = scope.get("client")
        self._logger = ConnectionLogger(_logger, client and tuple(client))
        self._subprotocol: str | None = None

    async def respond_to_plain_http(self) -> None:
        """Respond as a hook says; without one, with 426."""
        request = self._request
        if request.method not in ("GET", "HEAD"):
            response = Response(405, [("Allow", "GET, HEAD")], f"method {request.method}, expected GET or HEAD\n")
        else:
            upgrade = [("Upgrade", "websocket")] if request.http_version.startswith("1") else []
            missing = Response(426, upgrade, "expected a WebSocket opening handshake\n")
            response = await self._call_hooks() or missing
        await respond(self._scope, self._send, response)

    async def serve(self) -> None:
        """Accept or refuse the connection, and run the handler."""
        refusal = self._check_origin() or await self._call_hooks() or self._select_subprotocol()
        try:
            if refusal is not None:
                self._logger.info("opening handshake failed: refused with %d", refusal.status)
                await respond(self._scope, self._send, refusal)
                return
            response = await self._accept()
        except OSError:
            self._logger.info("opening handshake failed: the client closed the connection")
            return
        if self._extension is not None:
            websocket = websocket_of(self._scope)
            websocket.request = self._request  # what hooks have stored in its state
            await self._run(websocket)
            return
        channel = Channel(self._receive, self._send, self._options)
        mounted = MountedWebSocket(channel, self._options, self._request, response, self._subprotocol)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.run_receiving)
            tasks.start_soon(channel.run_sending)
            await self._run(mounted)
            tasks.cancel_scope.cancel()

    def _check_origin(self) -> Response | None:
        """Check the origin of a browser's request (RFC 6455, section 10.2)."""
        headers = self._request.headers
        origin = headers.get("origin")
        if origin is not None:
            try:
                self._terms.origins.check(origin, headers.get("host", ""))
            except ForeignOrigin as exc:
                log = self._logger.warning if exc.is_first_rejection else self._logger.info
                log("opening handshake failed: %s", exc)
                return Response(403, body=f"{exc}\n")
        return None

    async def _call_hooks(self) -> Response | None:
        try:
            with refusing_stray_cancellation("a hook"):
                return await call_hooks(self._terms.hooks, self._request)
        except Exception as exc:
            log_hook_failure(self._logger, exc)
            return Response(500, body="internal error\n")

    def _select_subprotocol(self) -> Response | None:
        offered = tuple(self._scope.get("subprotocols") or ())
        if not offered:
            return None
        try:
            selected = self._terms.select(offered)
            if isinstance(selected, Response):
                return selected
            if selected is not None and selected not in offered:
                raise ValueError(f"subprotocol {selected!r} was selected, but is not one of the {len(offered)} offered")
        except Exception as exc:
            log_hook_failure(self._logger, exc)
            return Response(500, body="internal error\n")
        self._subprotocol = selected
        return None

    async def _accept(self) -> Response:
        """Accept the connection; return the response, as far as it is decided here."""
        options = self._options
        if self._extension is not None:
            self._extension["limit"](
                max_message_size=options.max_message_size,
                receive_buffer=options.receive_buffer,
                send_buffer=options.send_buffer,
                close_timeout=options.close_timeout,
            )
        headers = Headers(options.headers)
        await self._send({"type": "websocket.accept", "subprotocol": self._subprotocol, "headers": encoded(headers)})
        pairs = headers.multi_items()
        if self._subprotocol is not None:
            pairs = [("Sec-WebSocket-Protocol", self._subprotocol), *pairs]
        return Response(101, pairs)

    async def _run(self, websocket: WebSocket) -> None:
        self._logger.debug("open")
        await run_connection(_closing(websocket), self._call, self._failed, "the handler")

    def _call(self, websocket: WebSocket) -> Awaitable[object]:
        serving = self._terms.handler(websocket)
        if not inspect.isawaitable(serving):
            raise TypeError(f"the handler must be an async function: it returned {type(serving).__name__}")
        return serving

    def _failed(self, exc: Exception) -> None:
        log_failure(self._logger, exc, "the handler")


@asynccontextmanager
async def _closing(websocket: WebSocket) -> AsyncGenerator[WebSocket, None]:
    """Close a connection on exit: with 1000, or with 1011 after an exception. After a cancellation, the server does."""
    try:
        yield websocket
    except Exception:
        await websocket.aclose(CloseCode.INTERNAL_ERROR)
        raise
    await websocket.aclose()


async def _do_nothing(receive: Receive, send: Send) -> None:
    """Start and stop without doing anything, for servers that run the endpoint itself."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
