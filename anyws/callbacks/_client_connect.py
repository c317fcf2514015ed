"""The client of the callback API: `client_connect`."""

from __future__ import annotations

import dataclasses
import functools
import socket as sockets_module
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Unpack

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from anyws._background_task import background_task
from anyws._blocks import block
from anyws._checking import build_options, merged, with_signature_of
from anyws._client.connect import connect_over_stream, connect_stream
from anyws._client.opening import connect_within
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket, running
from anyws._transport.connecting import connect_tcp
from anyws._transport.given_streams import as_byte_stream
from anyws._transport.securing import start_tls
from anyws._transport.stream import SocketStream
from anyws._transport.tls import TLSStream
from anyws._transport.turns import Turn
from anyws.protocol.headers import Headers
from anyws.protocol.hosts import bare_host, host_in_uri
from anyws.protocol.uri import WebSocketURI, parse_uri

from ._certificates import client_context
from ._hooks import wrap_hook
from ._messages import MessageHandler, handle_messages
from ._options import ClientConnectKeywords, ClientConnectOptions, ClientSocketOptions, IdentityCheck, sub_protocols
from ._socket import Socket

__all__ = ["client_connect"]


@with_signature_of(ClientConnectOptions)
@block("client_connect()", "async with anyws.client_connect(...) as socket")
async def client_connect(
    options: Mapping[str, Any] | None = None, /, **keywords: Unpack[ClientConnectKeywords]
) -> AsyncGenerator[Socket, None]:
    """Connect with callbacks: ``async with anyws.client_connect(message_handler=..., socket_options=...) as socket``.

    The body of the block starts once ``callback_open`` has returned. During the block, messages are passed to
    ``message_handler`` one at a time and in order; without one, they are discarded. When the peer closes the
    connection, the body continues: ``await socket.wait_closed()`` returns, and sending raises. An exception in a hook
    cancels the body, closes the connection with 1011 and propagates from the block.

    Args:
        options: the options as a mapping.
        keywords: the options as keyword arguments, documented in `ClientConnectOptions`. You can use both.

    Raises:
        OSError, ssl.SSLError, TimeoutError, HandshakeError: see `connect`; ``callback_open`` also receives the
            exception.
        TypeError: an option, also in ``socket_options``, is unknown or has the wrong type.
        ValueError: an option has an invalid value.
    """
    where = "client_connect()"
    settings = build_options(ClientConnectOptions, merged(options, keywords, where), where=where)
    socket_options = build_options(ClientSocketOptions, settings.socket_options, where=f"socket_options of {where}")
    on_open = wrap_hook(settings.callback_open, "callback_open", "err", "socket")
    handler = None if settings.message_handler is None else MessageHandler(settings.message_handler)
    try:
        socket, link = await _open(settings, socket_options)
    except Exception as exc:
        if on_open is not None:
            await on_open(exc, None)
        raise
    async with running(socket, link):
        if on_open is not None:
            await on_open(None, socket)
        async with background_task(lambda: handle_messages(socket, handler)):
            yield socket


async def _open(settings: ClientConnectOptions, socket_options: ClientSocketOptions) -> tuple[Socket, Link]:
    # Check the options before opening a stream.
    uri = _uri(settings, socket_options)
    native = _to_native_options(settings)
    context = _context(settings, socket_options) if settings.secure else None
    timeout = settings.open_timeout if socket_options.timeout is None else socket_options.timeout

    async def attempt(
        uri: WebSocketURI, options: ClientConnectOptions, turn: Turn
    ) -> tuple[Socket, tuple[WebSocket, Link]]:
        if options.stream is not None:
            stream = as_byte_stream(options.stream, "option stream")
        else:
            stream = await connect_stream(uri, options, turn, functools.partial(_connect_tcp, options, socket_options))
        if context is not None:
            hostname = socket_options.servername or settings.server_hostname or uri.host
            stream = await _start_tls(stream, context, hostname, socket_options.check_server_identity)
        return Socket(stream), await connect_over_stream(stream, uri, options)

    socket, (websocket, link) = await connect_within(timeout, uri, native, attempt)
    socket.open(websocket, link)
    return socket, link


def _uri(settings: ClientConnectOptions, socket_options: ClientSocketOptions) -> WebSocketURI:
    if settings.stream is None and socket_options.port is None and socket_options.path is None:
        raise ValueError("socket_options require a port or a path")
    authority = host_in_uri(socket_options.host, socket_options.port)
    uri = parse_uri(f"{'wss' if settings.secure else 'ws'}://{authority}{settings.resource}")
    return dataclasses.replace(uri, socket_path=socket_options.path)


def _to_native_options(settings: ClientConnectOptions) -> ClientConnectOptions:
    """Translate the options of the node:websocket proposal to native options."""
    named = {
        "Authorization": settings.authentication,
        "Proxy-Authorization": settings.proxy_authorization,
        "id": settings.id,
        "type": settings.type,
    }
    headers = [(name, value) for name, value in named.items() if value is not None]
    headers += Headers(settings.headers).multi_items()
    names = settings.subprotocols if settings.sub_protocol is None else sub_protocols(settings.sub_protocol)
    return dataclasses.replace(settings, headers=headers, subprotocols=names, sub_protocol=None)


def _context(settings: ClientConnectOptions, options: ClientSocketOptions) -> ssl.SSLContext:
    return settings.ssl_context or client_context(options, check_hostname=options.check_server_identity is None)


async def _connect_tcp(
    settings: ClientConnectOptions, options: ClientSocketOptions, host: str, port: int, turn: Turn | None = None
) -> SocketStream:
    families = {0: sockets_module.AF_UNSPEC, 4: sockets_module.AF_INET, 6: sockets_module.AF_INET6}
    local = None
    if options.local_address is not None:
        local = (options.local_address, options.local_port)
    elif settings.local_host is not None:
        local = (settings.local_host, settings.local_port)
    stream = await connect_tcp(
        host,
        port,
        local=local,
        family=families[options.family],
        happy_eyeballs_delay=settings.happy_eyeballs_delay,
        turn=turn,
    )
    try:
        stream.configure(
            no_delay=options.no_delay,
            keep_alive=options.keep_alive,
            keep_alive_delay=options.keep_alive_initial_delay,
        )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    return stream


async def _start_tls(
    stream: ByteStream, context: ssl.SSLContext, hostname: str, check: IdentityCheck | None
) -> ByteStream:
    secured = await start_tls(stream, context, hostname)
    if check is not None:
        try:
            problem = check(bare_host(hostname), _certificate(secured))
            if problem is not None:
                raise problem
        except BaseException:
            await anyio.aclose_forcefully(secured)
            raise
    return secured


def _certificate(stream: TLSStream) -> dict[str, Any]:
    certificate: dict[str, Any] | None = stream.extra(TLSAttribute.ssl_object).getpeercert()
    return certificate or {}
