"""The server side of a single connection: `accept`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Unpack

import anyio
from anyio.abc import ByteStream

from anyws._blocks import block
from anyws._checking import build_options, with_signature_of
from anyws._connection.establish import establish
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket, running
from anyws._deadlines import took_too_long
from anyws._logs import ConnectionLogger, connection_logger
from anyws._transport.ending import LINGER, STREAM_ERRORS, end_stream
from anyws._transport.given_streams import AnyStream, as_byte_stream
from anyws._transport.stream import send_eagerly
from anyws._transport.tls import TLSStream
from anyws.protocol.errors import HandshakeError, HandshakeRefused
from anyws.protocol.http11 import Response
from anyws.protocol.server_handshake import ServerHandshake

from .connection_limits import PendingHandshake
from .opening import Opening, lost_response
from .options import AcceptKeywords, AcceptOptions, RequestHook

__all__ = ["accept", "accept_stream", "hook_failure"]

_WRITE_SIZE = 16384  # bytes of a response written at a time, so that a slow client shows progress; as in a TLS record


@with_signature_of(AcceptOptions)
@block("accept()", "async with anyws.accept(stream) as websocket")
async def accept(stream: AnyStream, **options: Unpack[AcceptKeywords]) -> AsyncGenerator[WebSocket, None]:
    """Serve a connection on your own byte stream: ``async with anyws.accept(stream) as websocket``.

    The connection is closed on exit from the block, as in `connect`. The stream is closed in any case.

    Args:
        stream: an AnyIO byte stream, a trio stream (such as ``trio.SocketStream``) or a connected socket; with an
            ``ssl_context``, TLS is started on it.
        options: keyword arguments, documented in `AcceptOptions`.

    Raises:
        HandshakeRefused: the server rejected the handshake; the exception has the response. If ``on_request`` raised
            an exception, the status is 500 and that exception is the ``__cause__``.
        HandshakeError: the client closed or lost the connection first.
        ssl.SSLError: TLS failed.
        TimeoutError: the opening handshake took longer than ``open_timeout``.
        TypeError: the stream has the wrong type, or an option is unknown or has the wrong type.
        ValueError: an option has an invalid value.
    """
    settings = build_options(AcceptOptions, options, where="accept()")
    byte_stream = as_byte_stream(stream, "accept()")
    websocket, link = await accept_stream(byte_stream, settings, connection_logger("anyws.server", byte_stream))
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
    opening = Opening(stream, options, options.request_hooks if request_hooks is None else request_hooks, pending)
    try:
        if not opening.respond_at_once():
            with pending.interruptible(options.open_timeout) as scope:
                await opening.respond(tls_timeout=tls_timeout, on_secured=on_secured)
            if scope.cancelled_caught:
                if not pending.is_interrupted or pending.refusal is None:
                    raise took_too_long("the opening handshake", options.open_timeout)
                if not opening.is_secured:
                    raise HandshakeError("refused during the TLS handshake", response=pending.refusal)
                opening.refuse(pending.refusal)
        outcome = opening.outcome
        assert outcome is not None
        if isinstance(outcome, HandshakeRefused):
            pending.mark_decided()
            if on_failure is not None and (failure := hook_failure(outcome)) is not None:
                on_failure(failure)
            await _send_refusal(opening.stream, opening.handshake, outcome, options.close_timeout)
            raise outcome
    except BaseException:
        # It may be the exception, whose traceback refers to this frame: break the cycle.
        opening.outcome = outcome = None
        with anyio.CancelScope(shield=True):  # otherwise a cancellation would replace the exception
            await anyio.aclose_forcefully(opening.stream)
        raise
    finally:
        pending.mark_decided()
    handshake, accept_unmasked = opening.handshake, options.accept_unmasked
    return establish(handshake, outcome, opening.stream, options, logger, accept_unmasked=accept_unmasked)


def hook_failure(exc: Exception) -> Exception | None:
    """Return the exception of a request hook, if that is the reason for a response 500."""
    if isinstance(exc, HandshakeRefused) and exc.status == 500 and isinstance(exc.__cause__, Exception):
        return exc.__cause__
    return None


async def _send_refusal(
    stream: ByteStream, handshake: ServerHandshake, refused: HandshakeRefused, limit: float | None
) -> None:
    """Write the whole response, for as long as the client reads some of it every ``limit`` seconds."""
    data = memoryview(handshake.data_to_send(_with_date(refused.response)))
    for start in range(0, len(data), _WRITE_SIZE):
        with anyio.move_on_after(limit) as scope:
            try:
                await send_eagerly(stream, bytes(data[start : start + _WRITE_SIZE]))
            except STREAM_ERRORS as exc:
                raise lost_response(handshake, refused.response) from exc
        if scope.cancelled_caught:
            raise TimeoutError(f"the client read nothing of the response for {limit:g} s")
    with anyio.move_on_after(LINGER):
        await end_stream(stream)


def _with_date(response: Response) -> Response:
    """Return the response with a ``Date``, which RFC 9110, section 6.6.1, requires of a server with a clock."""
    if "date" in response.headers:
        return response
    from email.utils import formatdate

    headers = [*response.headers.multi_items(), ("Date", formatdate(usegmt=True))]
    return Response(response.status, headers, response.body, reason=response.reason)
