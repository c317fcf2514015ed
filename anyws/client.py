"""The client: `connect`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Unpack

import anyio
from anyio.abc import ByteStream

from .checking import build_options, with_signature_of
from .deadlines import deadline
from .link import Link
from .logs import connection_logger
from .options import ClientOptions, ConnectKeywords
from .protocol.client_handshake import ClientHandshake
from .protocol.connection import Connection, Role
from .protocol.errors import HandshakeError
from .protocol.http11 import Response
from .protocol.negotiation import as_extensions
from .protocol.uri import WebSocketURI, parse_uri
from .transport.connecting import connect_tcp, connect_unix
from .transport.ending import STREAM_ERRORS
from .transport.stream import send_at_once
from .transport.tls import TLSStream
from .transport.turns import Turn
from .websocket import WebSocket, running

__all__ = ["connect", "open_link", "start_tls"]


@with_signature_of(ClientOptions)
@asynccontextmanager
async def connect(uri: str, **options: Unpack[ConnectKeywords]) -> AsyncGenerator[WebSocket, None]:
    """Connect to a WebSocket server: ``async with anyws.connect("wss://example.com/chat") as websocket``.

    The connection is open when the block begins, and closed when it has ended: with 1000; with 1011 if the block raises
    (the exception comes out as it is); a cancelled block writes a Close 1001 if that needs no waiting, and cuts.

    Args:
        uri: ``ws://``, ``wss://``, ``http://``, ``https://``, or ``ws+unix:/the/socket:/resource``. A user name and a
            password in it are sent as Basic authentication.
        options: keywords, each documented in `ClientOptions`.

    Raises:
        OSError: there is no such host, or it does not take the connection.
        ssl.SSLError: TLS failed; `ssl.SSLCertVerificationError` when the certificate is not trusted.
        TimeoutError: all this took more than ``open_timeout``.
        HandshakeRefused: the server answered another HTTP status; the exception has the response and its body.
        HandshakeError: the server's answer is no valid opening handshake (RFC 6455, 4.1).
        InvalidURI: the URI is none.
        TypeError: an unknown option, or one of the wrong type.
        ValueError: an option out of its range.
    """
    settings = build_options(ClientOptions, options, where="connect()")
    target = parse_uri(uri)
    if settings.ssl_context is not None and not target.secure:
        raise ValueError("ssl_context is given, but the URI says no TLS: expected wss:// or https://")
    with (
        deadline(settings.open_timeout, f"connecting to {target.host_header}") as scope,
        Turn(settings.max_connecting, scope) as turn,
    ):
        stream = await _connect_stream(target, settings, turn) if settings.stream is None else settings.stream
        if target.secure:
            hostname = target.host if settings.server_hostname is None else settings.server_hostname
            stream = await start_tls(stream, settings.ssl_context or _default_context(), hostname)
        websocket, link = await open_link(stream, target, settings)
    async with running(websocket, link):
        yield websocket


async def open_link(stream: ByteStream, uri: WebSocketURI, options: ClientOptions) -> tuple[WebSocket, Link]:
    """Make the opening handshake on a stream, over TLS or not; raise as `connect`, with the stream closed."""
    try:
        handshake = ClientHandshake(
            uri,
            headers=options.headers,
            subprotocols=options.subprotocols,
            extensions=[*as_extensions(options.extensions), *options.deflate],
            origin=options.origin,
        )
        response = await _shake_hands(stream, handshake)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    core = Connection(
        Role.CLIENT,
        max_message_size=options.max_message_size,
        max_frame_size=options.max_frame_size,
        max_fragments=options.max_fragments,
        masking=options.masking,
        codecs=handshake.codecs,
        hold_failure=True,
    )
    link = Link(stream, core, options, connection_logger("anyws.client", stream))
    link.feed(handshake.trailing_data)
    return WebSocket(link, handshake.request, response, handshake.subprotocol), link


async def start_tls(stream: ByteStream, context: ssl.SSLContext, hostname: str) -> TLSStream:
    """Put TLS on a stream; if that fails, the stream is closed.

    Raises:
        ssl.SSLError: the two do not agree, or the certificate is not trusted.
        ConnectionError: the connection was lost.
    """
    try:
        return await TLSStream.wrap(stream, context, server_side=False, hostname=hostname)
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        await anyio.aclose_forcefully(stream)
        raise ConnectionError(f"the connection to {hostname} was lost during the TLS handshake") from exc
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


async def _connect_stream(uri: WebSocketURI, options: ClientOptions, turn: Turn) -> ByteStream:
    if uri.socket_path is not None:
        return await connect_unix(uri.socket_path)
    local = None if options.local_host is None else (options.local_host, options.local_port)
    return await connect_tcp(
        uri.host, uri.port, local=local, happy_eyeballs_delay=options.happy_eyeballs_delay, turn=turn
    )


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])  # a server that prefers HTTP/2 must know that we do not speak it
    return context


async def _shake_hands(stream: ByteStream, handshake: ClientHandshake) -> Response:
    try:
        await send_at_once(stream, handshake.data_to_send())
        while True:
            try:
                data = await stream.receive()
            except anyio.EndOfStream:
                data = b""
            response = handshake.receive_data(data)
            if response is not None:
                return response
    except STREAM_ERRORS as exc:
        raise HandshakeError("the connection was lost during the opening handshake", request=handshake.request) from exc
