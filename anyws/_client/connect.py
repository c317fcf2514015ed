"""The client: `connect`."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Unpack

import anyio
from anyio.abc import ByteStream

from anyws._blocks import block
from anyws._checking import build_options, with_signature_of
from anyws._connection.establish import establish
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket, running
from anyws._logs import connection_logger
from anyws._transport.connecting import connect_tcp, connect_unix
from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.given_streams import as_byte_stream
from anyws._transport.securing import default_context, start_tls
from anyws._transport.stream import SocketStream
from anyws._transport.turns import Turn
from anyws.protocol.client_handshake import ClientHandshake
from anyws.protocol.errors import HandshakeError, HandshakeRefused
from anyws.protocol.http11 import Response
from anyws.protocol.negotiation import as_extensions
from anyws.protocol.uri import WebSocketURI, parse_uri

from .cookies import store_cookies
from .handshakes import perform_handshake
from .opening import connect_within, request_headers
from .options import ClientOptions, ConnectKeywords
from .proxies import choose_proxy, connect_through

__all__ = ["connect", "connect_over_stream", "connect_stream", "open_connection"]


@with_signature_of(ClientOptions)
@block(
    "connect()",
    "async with anyws.connect(...) as websocket",
    repeat="; to reconnect, use `async for connection in anyws.reconnecting(...)`",
)
async def connect(uri: str, **options: Unpack[ConnectKeywords]) -> AsyncGenerator[WebSocket, None]:
    """Connect to a WebSocket server: ``async with anyws.connect("wss://example.com/chat") as websocket``.

    Example::

        async with anyws.connect("wss://example.com/chat", open_timeout=5) as websocket:
            await websocket.send("hello")  # str is a text message, bytes a binary one
            async for message in websocket:  # until the server closes; one message: await websocket.receive()
                print(message)

    The connection is open inside the block and closed on exit, with code 1000. If the block raises, it is closed with
    1011, and the exception propagates unchanged. If the block is cancelled, a Close 1001 is sent if that is possible
    without waiting, and the connection is aborted.

    Args:
        uri: ``ws://``, ``wss://``, ``http://``, ``https://``, or ``ws+unix:/the/socket:/resource``. A user name and
            password in the URI are sent as Basic authentication, unless ``headers`` includes ``Authorization``.
        options: keyword arguments, documented in `ClientOptions`.

    Raises:
        OSError: the host name cannot be resolved, or the host or proxy refuses the connection.
        ssl.SSLError: TLS failed; `ssl.SSLCertVerificationError` if the certificate is not trusted.
        TimeoutError: connecting took longer than ``open_timeout``.
        HandshakeRefused: the server rejected the handshake with an HTTP status other than 101; the exception has the
            response and its body.
        HandshakeError: the server's response is not a valid opening handshake (RFC 6455, section 4.1).
        RedirectError: a redirect was not followed although ``max_redirects`` is not 0; a `HandshakeRefused`.
        ProxyError: the proxy refuses the connection or sends an invalid response.
        InvalidURI: the URI, or the proxy's URI, is invalid; the message says why.
        ImportError: the proxy is a SOCKS proxy, and python-socks is not installed.
        TypeError: an option is unknown or has the wrong type.
        ValueError: an option has an invalid value.
    """
    settings = build_options(ClientOptions, options, where="connect()")
    websocket, link = await open_connection(parse_uri(uri), settings)
    async with running(websocket, link):
        yield websocket


async def open_connection(uri: WebSocketURI, options: ClientOptions) -> tuple[WebSocket, Link]:
    """Connect and return the connection; raises the same errors as `connect`."""
    return await connect_within(options.open_timeout, uri, options, _connect_once)


async def _connect_once(uri: WebSocketURI, options: ClientOptions, turn: Turn) -> tuple[WebSocket, Link]:
    if options.stream is not None:
        stream = as_byte_stream(options.stream, "option stream")
    else:
        local = None if options.local_host is None else (options.local_host, options.local_port)
        connect = functools.partial(connect_tcp, local=local, happy_eyeballs_delay=options.happy_eyeballs_delay)
        stream = await connect_stream(uri, options, turn, connect)
    if uri.secure:
        hostname = uri.host if options.server_hostname is None else options.server_hostname
        stream = await start_tls(stream, options.ssl_context or default_context(), hostname)
    return await connect_over_stream(stream, uri, options)


async def connect_stream(
    uri: WebSocketURI, options: ClientOptions, turn: Turn, connect: Callable[..., Awaitable[SocketStream]]
) -> ByteStream:
    """Connect to the server, through a proxy if there is one.

    Args:
        uri: the server.
        options: the client's options, for the choice of a proxy.
        turn: the turn to wait for before connecting.
        connect: `connect_tcp` with its options.
    """
    if uri.socket_path is not None:
        return await connect_unix(uri.socket_path)
    proxy = choose_proxy(options.proxy, uri)
    if proxy is not None:
        return await connect_through(proxy, uri, connect, turn, options.proxy_ssl_context, options.user_agent)
    return await connect(uri.host, uri.port, turn=turn)


async def connect_over_stream(stream: ByteStream, uri: WebSocketURI, options: ClientOptions) -> tuple[WebSocket, Link]:
    """Perform the opening handshake on a stream, with or without TLS; raises like `connect`, and closes the stream."""
    try:
        handshake = ClientHandshake(
            uri,
            headers=request_headers(uri, options),
            subprotocols=options.subprotocols,
            extensions=[*as_extensions(options.extensions), *options.deflate],
            origin=options.origin,
            user_agent=options.user_agent,
        )
        response = await _perform(stream, handshake)
        store_cookies(options.cookies, uri, response.headers)
    except HandshakeRefused as exc:
        store_cookies(options.cookies, uri, exc.response.headers)
        await anyio.aclose_forcefully(stream)
        raise
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    logger = connection_logger("anyws.client", stream)
    return establish(handshake, response, stream, options, logger, masking=options.masking)


async def _perform(stream: ByteStream, handshake: ClientHandshake) -> Response:
    try:
        response = await perform_handshake(handshake, stream)
    except ssl.SSLError:
        raise
    except STREAM_ERRORS as exc:
        raise HandshakeError("the connection was lost during the opening handshake", request=handshake.request) from exc
    assert response is not None
    return response
