"""The server side of a single connection: `accept`."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from email.utils import formatdate
from typing import Unpack

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from anyws._blocks import block
from anyws._cancellation import refusing_stray_cancellation
from anyws._checking import build_options, with_signature_of
from anyws._connection.establish import establish
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket, running
from anyws._deadlines import deadline, took_too_long
from anyws._logs import ConnectionLogger, connection_logger
from anyws._transport.ending import LINGER, STREAM_ERRORS, end_stream
from anyws._transport.securing import is_plain_peer
from anyws._transport.stream import receive_eagerly, send_eagerly
from anyws._transport.tls import TLSStream
from anyws.protocol.errors import HandshakeError, HandshakeRefused
from anyws.protocol.http11 import Request, Response
from anyws.protocol.server_handshake import ServerHandshake, begin_handshake, check_final_response

from .connection_limits import PendingHandshake
from .options import AcceptKeywords, AcceptOptions, RequestHook
from .virtual_hosts import is_misdirected

__all__ = ["accept", "accept_stream", "call_hooks", "hook_failure"]

_WRITE_SIZE = 16384  # bytes of a response written at a time, so that a slow client shows progress; as in a TLS record


@with_signature_of(AcceptOptions)
@block("accept()")
async def accept(stream: ByteStream, **options: Unpack[AcceptKeywords]) -> AsyncGenerator[WebSocket, None]:
    """Serve a connection on your own byte stream: ``async with anyws.accept(stream) as websocket``.

    The connection is closed on exit from the block, as in `connect`. The stream is closed in any case.

    Args:
        stream: any AnyIO byte stream; with an ``ssl_context``, TLS is started on it.
        options: keyword arguments, documented in `AcceptOptions`.

    Raises:
        HandshakeRefused: the server rejected the handshake; the exception has the response. If ``on_request`` raised
            an exception, the status is 500 and that exception is the ``__cause__``.
        HandshakeError: the client closed or lost the connection first.
        ssl.SSLError: TLS failed.
        TimeoutError: the opening handshake took longer than ``open_timeout``.
        TypeError: an option is unknown or has the wrong type.
        ValueError: an option has an invalid value.
    """
    settings = build_options(AcceptOptions, options, where="accept()")
    websocket, link = await accept_stream(stream, settings, connection_logger("anyws.server", stream))
    async with running(websocket, link):
        yield websocket


async def accept_stream(
    stream: ByteStream,
    options: AcceptOptions,
    logger: ConnectionLogger,
    *,
    pending: PendingHandshake | None = None,
    request_hooks: Sequence[RequestHook] | None = None,
    tls_timeout: float | None = None,
    on_secured: Callable[[TLSStream], None] | None = None,
    on_failure: Callable[[Exception], None] | None = None,
) -> tuple[WebSocket, Link]:
    """Perform the opening handshake within ``open_timeout``; raises like `accept`, and closes the stream.

    A response other than 101 is written for as long as the client reads some of it every ``close_timeout``.

    Args:
        stream: the byte stream.
        options: the server's options.
        logger: the connection's logger.
        pending: the handshake as counted by the connection limits, which may refuse it.
        request_hooks: the request hooks, instead of those in the options.
        tls_timeout: time limit for the TLS handshake, in seconds.
        on_secured: called with the stream once TLS is established.
        on_failure: called with the exception of a request hook, before the response 500 is sent.
    """
    pending = pending or PendingHandshake()
    hooks = options.request_hooks if request_hooks is None else request_hooks
    handshake: ServerHandshake | None = None
    outcome: Response | HandshakeRefused | None = None
    try:
        with pending.interruptible(options.open_timeout) as scope:
            if options.ssl_context is not None:
                stream = secured = await _start_tls(stream, options.ssl_context, tls_timeout)
                if on_secured is not None:
                    on_secured(secured)
            handshake = begin_handshake(options.terms)
            outcome = await _choose_response(stream, options.ssl_context, handshake, hooks, pending)
            if isinstance(outcome, Response):
                await _write(stream, handshake, outcome, handshake.data_to_send(outcome))
        if scope.cancelled_caught:
            if not pending.is_interrupted or pending.refusal is None:
                raise took_too_long("the opening handshake", options.open_timeout)
            if handshake is None:
                raise HandshakeError("refused during the TLS handshake", response=pending.refusal)
            outcome = _refused_with(handshake, pending.refusal)
        assert outcome is not None
        assert handshake is not None
        if isinstance(outcome, HandshakeRefused):
            pending.mark_decided()
            if on_failure is not None and (failure := hook_failure(outcome)) is not None:
                on_failure(failure)
            await _send_refusal(stream, handshake, outcome, options.close_timeout)
            raise outcome
    except BaseException:
        outcome = None  # may be the exception, whose traceback refers to this frame: break the cycle
        with anyio.CancelScope(shield=True):  # otherwise a cancellation would replace the exception
            await anyio.aclose_forcefully(stream)
        raise
    finally:
        pending.mark_decided()
    return establish(handshake, outcome, stream, options, logger, accept_unmasked=options.accept_unmasked)


async def _start_tls(stream: ByteStream, context: ssl.SSLContext, limit: float | None) -> TLSStream:
    try:
        if limit is None:
            return await TLSStream.wrap(stream, context, server_side=True)
        with deadline(limit, "the TLS handshake"):
            return await TLSStream.wrap(stream, context, server_side=True)
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        raise HandshakeError("the client closed the connection during the TLS handshake") from exc
    except ssl.SSLError as exc:
        if is_plain_peer(exc):
            exc.strerror = f"{exc.strerror}: the client does not speak TLS; should it use wss:// or https://?"
        if exc.reason in ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST"):
            await _respond_to_plain_http(stream)
        raise


async def _respond_to_plain_http(stream: ByteStream) -> None:
    """Tell a client without TLS what is wrong, as nginx and Go do; OpenSSL would only close the connection."""
    body = b"this port speaks TLS: use wss:// or https://\n"
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    try:
        await send_eagerly(stream, head % len(body) + body)
    except STREAM_ERRORS:
        pass


async def _choose_response(
    stream: ByteStream,
    context: ssl.SSLContext | None,
    handshake: ServerHandshake,
    request_hooks: Sequence[RequestHook],
    pending: PendingHandshake,
) -> Response | HandshakeRefused:
    """Read the request and call the hooks; return the response 101, or the reason to refuse."""
    try:
        request = await _read_request(stream, handshake)
    except HandshakeRefused as exc:
        return exc
    try:
        with refusing_stray_cancellation("a hook"):
            if context is not None and is_misdirected(context, stream.extra(TLSAttribute.ssl_object), request.host):
                return handshake.refusal(421, f"Host {request.host!r} does not match the host of the TLS connection")
            refusal = pending.refusal
            if refusal is None and request_hooks:
                refusal = await call_hooks(request_hooks, request)
            pending.mark_decided()
            return _accept_or_refuse(handshake, pending.refusal or refusal)
    except Exception as exc:
        # An error on our side: in a hook, or in the choice of a subprotocol.
        refused = handshake.refusal(500, "internal error")
        refused.__cause__ = exc
        return refused


def hook_failure(exc: Exception) -> Exception | None:
    """Return the exception of a request hook, if that is the reason for a response 500."""
    if isinstance(exc, HandshakeRefused) and exc.status == 500 and isinstance(exc.__cause__, Exception):
        return exc.__cause__
    return None


def _accept_or_refuse(handshake: ServerHandshake, refusal: Response | None) -> Response | HandshakeRefused:
    if refusal is not None:
        return _refused_with(handshake, refusal)
    try:
        return handshake.accept()
    except HandshakeRefused as exc:  # a request for plain HTTP
        return exc


def _refused_with(handshake: ServerHandshake, response: Response) -> HandshakeRefused:
    return HandshakeRefused(f"responded with {response.status}", response=response, request=handshake.request)


async def _send_refusal(
    stream: ByteStream, handshake: ServerHandshake, refused: HandshakeRefused, limit: float | None
) -> None:
    """Write the whole response, for as long as the client reads some of it every ``limit`` seconds."""
    data = memoryview(handshake.data_to_send(_with_date(refused.response)))
    for start in range(0, len(data), _WRITE_SIZE):
        with anyio.move_on_after(limit) as scope:
            await _write(stream, handshake, refused.response, bytes(data[start : start + _WRITE_SIZE]))
        if scope.cancelled_caught:
            raise TimeoutError(f"the client read nothing of the response for {limit:g} s")
    with anyio.move_on_after(LINGER):
        await end_stream(stream)


async def _read_request(stream: ByteStream, handshake: ServerHandshake) -> Request:
    has_begun = False
    while True:
        try:
            data = await (stream.receive() if has_begun else receive_eagerly(stream))
        except (anyio.EndOfStream, *STREAM_ERRORS) as exc:
            what = "in the middle of its request" if has_begun else "without a request"
            raise HandshakeError(f"the client closed the connection {what}") from exc
        has_begun = True
        request = handshake.receive_data(data)
        if request is not None:
            return request


def _with_date(response: Response) -> Response:
    """Return the response with a ``Date``, which RFC 9110, section 6.6.1, requires of a server with a clock."""
    if "date" in response.headers:
        return response
    headers = [*response.headers.multi_items(), ("Date", formatdate(usegmt=True))]
    return Response(response.status, headers, response.body, reason=response.reason)


async def call_hooks(request_hooks: Sequence[RequestHook], request: Request) -> Response | None:
    """Call request hooks, sync or async, until one returns a response."""
    for hook in request_hooks:
        response = hook(request)
        if inspect.isawaitable(response):
            response = await response
        if response is not None:
            if not isinstance(response, Response):
                raise TypeError(f"on_request returned {type(response).__name__}, expected an anyws.Response or None")
            check_final_response(response)
            return response
    return None


async def _write(stream: ByteStream, handshake: ServerHandshake, response: Response, data: bytes) -> None:
    try:
        await send_eagerly(stream, data)
    except STREAM_ERRORS as exc:
        problem = "the client closed the connection before the response was sent"
        raise HandshakeError(problem, request=handshake.request, response=response) from exc
