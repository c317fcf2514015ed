"""A client that reconnects: `reconnecting`.

How this works: the loop yields context managers, not connections. Each connection lives in its own ``async with``, so
it is closed however the block is left. An ``async for`` over connections could not guarantee that, because an iterator
isn't notified when its loop exits by ``break`` or an exception.
"""

from __future__ import annotations

import inspect
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Unpack

import anyio
from anyio.lowlevel import checkpoint

from anyws._blocks import block
from anyws._checking import build_options, with_signature_of
from anyws._connection.link import Link
from anyws._connection.websocket import WebSocket, running
from anyws._logs import ConnectionLogger
from anyws._transport.ending import STREAM_ERRORS
from anyws.exceptions import ConnectionClosed
from anyws.protocol.errors import (
    HandshakeError,
    HandshakeRefused,
    ProxyError,
    RemoteProtocolError,
    WebSocketError,
    in_one_line,
)
from anyws.protocol.exchange import HeadEnded
from anyws.protocol.uri import WebSocketURI, parse_uri

from .backoff import jittered_delay, retry_after
from .connect import open_connection
from .outages import Outage
from .reconnect_options import ReconnectKeywords, ReconnectOptions

__all__ = ["is_fatal", "reconnecting"]

# HTTP statuses of temporary failures (RFC 9110, sections 15.5 and 15.6; RFC 8470, section 5.2).
_TEMPORARY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
# Network failures behind the proxy: SOCKS5 (RFC 1928, section 6), and "request rejected or failed" of SOCKS4.
_TEMPORARY_SOCKS_REPLIES = (1, 3, 4, 5, 6, 0x5B)
# Close codes that reject this client or its messages (RFC 6455, section 7.4.1), and IANA's Unauthorized and Forbidden.
_FATAL_CODES = (1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003)
_CONNECTION_LOST = (HeadEnded, anyio.EndOfStream, *STREAM_ERRORS)


@with_signature_of(ReconnectOptions)
def reconnecting(
    uri: str, **options: Unpack[ReconnectKeywords]
) -> AsyncIterator[AbstractAsyncContextManager[WebSocket]]:
    """Connect, and reconnect whenever connecting fails or a connection ends.

    ::

        async for connection in anyws.reconnecting("wss://example.com/feed"):
            async with connection as websocket:
                async for message in websocket:
                    ...

    Entering the inner block connects, retrying with a delay until that succeeds. Leaving it closes the connection, as
    with `connect`, whether by ``break``, ``return``, an exception or cancellation. If the block ends normally, or with
    a `ConnectionClosed` of its own connection (or an exception group of nothing else), the loop continues with the next
    connection; any other exception propagates unchanged.

    The delay is random, between 0 and an upper bound that doubles with each failure, from ``initial_delay`` to
    ``max_delay`` (exponential backoff with full jitter). The ``Retry-After`` of a 429 or 503 is added to it. A
    connection that stays open for ``reset_after`` resets the bound.

    Some failures are fatal and raised, unless ``on_disconnect`` decides otherwise: HTTP statuses other than 408, 425,
    429, 500, 502, 503 and 504, from the server or a proxy; responses that are not HTTP or not a valid opening
    handshake; untrusted certificates; a SOCKS proxy that denies access; the close codes 1002, 1003, 1007, 1008, 1009,
    1010, 3000 and 3003; and connections failed because the server violated the protocol or exceeded a limit. After any
    other `OSError` from `connect`, such as a refused connection, an unknown host or a timeout, and any other end of a
    connection, it reconnects.

    Args:
        uri: see `connect`.
        options: keyword arguments, documented in `ReconnectOptions`. ``open_timeout`` applies to each attempt.

    Raises:
        InvalidURI, TypeError, ValueError: immediately, as in `connect`.
    """
    settings = build_options(ReconnectOptions, options, where="reconnecting()")
    return _Reconnecting(parse_uri(uri), settings)


class _Reconnecting:
    """The loop. It owns no resources, so it can be left at any time."""

    def __init__(self, uri: WebSocketURI, options: ReconnectOptions) -> None:
        self._uri = uri
        self._options = options
        self._logger = ConnectionLogger(logging.getLogger("anyws.client"), uri.host_header)
        self._failures = 0
        self._connect_at = -float("inf")  # when to connect, on the clock of the event loop
        self._last_duration: float | None = None  # how long the last connection was open, if its block ended normally

    def __aiter__(self) -> _Reconnecting:
        return self

    async def __anext__(self) -> AbstractAsyncContextManager[WebSocket]:
        await checkpoint()
        duration, self._last_duration = self._last_duration, None
        # Only now is it certain that the loop was not left.
        if duration is not None and not await self._should_reconnect(None, duration):
            raise StopAsyncIteration
        return self._connection()

    @block("reconnecting()")
    async def _connection(self) -> AsyncGenerator[WebSocket, None]:
        websocket, link = await self._open()
        opened_at = anyio.current_time()
        duration = 0.0
        has_ended = False
        try:
            async with running(websocket, link):
                try:
                    yield websocket
                finally:
                    duration = anyio.current_time() - opened_at
                    has_ended = _has_ended(link)
        except Exception as exc:
            closed = _find_closed(exc) if has_ended else None
            if closed is None or not await self._should_reconnect(closed, duration):
                raise
        else:
            self._last_duration = duration

    async def _open(self) -> tuple[WebSocket, Link]:
        while True:
            await anyio.sleep(max(0, self._connect_at - anyio.current_time()))
            try:
                return await open_connection(self._uri, self._options)
            except (OSError, WebSocketError) as exc:
                if not await self._should_reconnect(exc, None):
                    raise

    async def _should_reconnect(self, exc: Exception | None, duration: float | None) -> bool:
        """Decide whether to reconnect after an outage, and when."""
        options = self._options
        if duration is not None and duration >= options.reset_after:
            self._failures = 0
        self._failures += 1
        retry_delay = retry_after(exc.response) if isinstance(exc, HandshakeError) else 0
        outage = Outage(
            exception=exc,
            duration=duration,
            attempt=self._failures,
            delay=retry_delay + jittered_delay(self._failures, options.initial_delay, options.max_delay),
            is_fatal=exc is not None and is_fatal(exc),
        )
        decision = options.on_disconnect(outage) if options.on_disconnect is not None else None
        if inspect.isawaitable(decision):
            decision = await decision
        reconnects = not outage.is_fatal if decision is None else decision
        if reconnects:
            self._connect_at = anyio.current_time() + outage.delay
            why = "the block has ended" if exc is None else in_one_line(f"{type(exc).__name__}: {exc}")
            self._logger.info("reconnecting in %.1f s (%s)", outage.delay, why)
        return reconnects


def is_fatal(exc: Exception) -> bool:
    """Return whether reconnecting would most likely fail in the same way."""
    if isinstance(exc, HandshakeRefused):
        return exc.status not in _TEMPORARY_STATUSES
    if isinstance(exc, ProxyError) and exc.status is not None:
        return exc.status not in (_TEMPORARY_SOCKS_REPLIES if exc.response is None else _TEMPORARY_STATUSES)
    if isinstance(exc, HandshakeError):
        return not isinstance(exc.__cause__, _CONNECTION_LOST)
    if isinstance(exc, ConnectionClosed):
        return isinstance(exc.__cause__, RemoteProtocolError) or exc.code in _FATAL_CODES
    return isinstance(exc, ssl.SSLCertVerificationError) or not isinstance(exc, OSError)


def _has_ended(link: Link) -> bool:
    """Return whether a connection has ended or is ending, so that an exception may be about it."""
    try:
        link.check_sendable()
    except ConnectionClosed:
        return True
    return False


def _find_closed(exc: Exception) -> ConnectionClosed | None:
    """Return the exception if it is a `ConnectionClosed`, or the first one of a group of only these; otherwise None."""
    if isinstance(exc, ExceptionGroup):
        found = [_find_closed(each) for each in exc.exceptions]
        return None if None in found else found[0]
    return exc if isinstance(exc, ConnectionClosed) else None
