"""The connection as its user sees it: an AnyIO object stream of messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import ObjectStream
from anyio.lowlevel import checkpoint

from anyws._cancellation import is_cancelled_from_outside, is_stray
from anyws.exceptions import ConnectionClosed
from anyws.protocol.closing import CloseCode
from anyws.protocol.frames import Opcode
from anyws.protocol.http11 import Request, Response

from .link import Link
from .pumps import Background, open_background
from .receiving import MessageStream, Receiver
from .sending import Sendable, Sender

__all__ = ["Running", "WebSocket", "link_of", "running"]


class WebSocket(ObjectStream[str | bytes]):
    """An open WebSocket connection: an `anyio.abc.ObjectStream` of `str` (text) and `bytes` (binary) messages.

    It comes from `connect`, `serve` or `accept`, and lives as long as their block or handler. Any task may send while
    another receives; one task at a time may receive. Pings of the peer are answered and its Close is noticed also while
    nobody receives. ``extra()`` gives the typed attributes of the stream below, such as `anyio.abc.SocketAttribute` and
    `anyio.streams.tls.TLSAttribute`.

    A connection that is over raises `ConnectionClosed`, which is also an `anyio.EndOfStream` (a clean end, when
    receiving), an `anyio.BrokenResourceError` (any other end) or an `anyio.ClosedResourceError` (sending after our own
    close).

    Attributes:
        request: the request of the opening handshake.
        response: its response.
        subprotocol: the agreed subprotocol, or None.
    """

    _link: Link
    request: Request
    response: Response
    subprotocol: str | None

    def __init__(self, link: Link, request: Request, response: Response, subprotocol: str | None) -> None:
        self._link = link
        self.request = request
        self.response = response
        self.subprotocol = subprotocol
        self._inbox = link.inbox
        self._intake = link.intake
        self._outbox = link.outbox
        self._sender = Sender(link)
        self._receiver = Receiver(link)

    def __repr__(self) -> str:
        core = self._link.core
        code = "" if core.close_code is None else f" {core.close_code}"
        return f"<anyws.WebSocket {core.role.value} {self.request.path!r} {core.state.value}{code}>"

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes of the stream below; the addresses stay known when the connection has ended."""
        return {**self._link.stream.extra_attributes, **self._link.addresses}

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(
        self,
        item: Sendable | AsyncIterable[str] | AsyncIterable[bytes],
        *,
        fragment_size: int | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, or an async iterable of either as one fragmented message.

        Returns once the message is buffered; it is written in the background, in order. If more than ``send_buffer``
        is already buffered, waits, so a slow peer slows the sender down. An iterable sends each of its elements as a
        frame; Pings and Pongs pass between them, other messages wait. An iterable without elements sends nothing.

        When cancelled, nothing of a `str` or bytes message is sent. If an iterable raises or is cancelled after its
        first element, the message cannot be completed: the connection is closed with 1011.

        Args:
            item: the message.
            fragment_size: the largest payload of one frame, in bytes; None for one frame. Not for an iterable.
            compress: whether to compress it, if compression was agreed on; None leaves it to the ``threshold`` of
                `PerMessageDeflate`.

        Raises:
            ConnectionClosedLocally: after our own `aclose` or `send_eof`; an `anyio.ClosedResourceError`.
            ConnectionClosedError: the peer has closed, or the connection is lost; an `anyio.BrokenResourceError`.
            TypeError: the message is of another type.
            ValueError: ``fragment_size`` is below 1, or is given for an iterable.
        """
        if compress is None and fragment_size is None and self._outbox.put_message(item):
            if not self._outbox.is_flush_due:
                self._link.flush()
        else:
            await self._sender.send(item, fragment_size, compress)

    def send_nowait(self, item: Sendable, *, fragment_size: int | None = None, compress: bool | None = None) -> None:
        """Send a message without waiting; also from synchronous code, in the thread of the event loop.

        Args:
            item: the message.
            fragment_size: see `send`.
            compress: see `send`.

        Raises:
            anyio.WouldBlock: ``send_buffer`` is full, or a fragmented message is being sent; nothing was sent.
            ConnectionClosed: see `send`.
            TypeError: the message is neither `str` nor bytes.
            ValueError: ``fragment_size`` is below 1.
        """
        self._sender.send_nowait(item, None, fragment_size, compress)

    async def drain(self) -> None:
        """Wait until `send_nowait` does not block: until less than ``send_buffer`` is buffered.

        Raises:
            ConnectionClosed: the connection is closed or closing.
        """
        await self._sender.drain()

    async def send_eof(self) -> None:
        """Begin the closing handshake (1000), and go on receiving what the peer sent before its own Close.

        RFC 6455 has no half-close: a peer answers a Close with its own and sends nothing after it, so what comes is
        what was on its way. It may come for ``close_timeout``. Does not wait for the peer.
        """
        await checkpoint()
        self._link.begin_close(CloseCode.NORMAL_CLOSURE, "", discard=False)

    async def aclose(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close: write what was accepted and a Close, wait for the peer's Close, end TLS and TCP.

        Messages are delivered as long as the peer takes any bytes of them. Once ``close_timeout`` passes without
        progress, the connection is aborted; the peer has as long to answer after the last byte was written. Messages
        that have not been received are dropped. When cancelled, the connection is aborted at once. Only waits if a
        close was begun before.

        Args:
            code: the close code: 1000 to 1003, 1007 to 1014, 3000 to 4999; None for a Close without one.
            reason: cut at 123 bytes of UTF-8.

        Raises:
            ConnectionClosedError: messages were accepted that the peer has not taken; see
                `ConnectionClosed.undelivered`. Raised once for each connection.
            TypeError: the code is not an `int`, or the reason not a `str`.
            ValueError: the code cannot be sent.
        """
        self._link.begin_close(code, reason, discard=True)
        try:
            await self.wait_closed()
        except BaseException:
            self._link.abort()
            raise
        self._link.ending.check_delivered()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, TCP included; whoever closes it."""
        await checkpoint()
        await self._link.wait_over()

    async def ping(self, payload: bytes | None = None) -> float:
        """Send a Ping and wait for its Pong.

        A Pong that answers a later Ping answers this one too (RFC 6455, 5.5.3). There is no time limit: use
        `anyio.fail_after`.

        Args:
            payload: at most 125 bytes; by default 4 random ones.

        Returns:
            The latency, in seconds.

        Raises:
            ConnectionClosed: the connection has ended, before or while waiting.
            ValueError: more than 125 bytes of payload.
        """
        await checkpoint()
        return await self._link.ping(payload)

    def pong(self, payload: bytes = b"") -> None:
        """Send an unsolicited Pong (RFC 6455, section 5.5.3). Pings of the peer are answered automatically.

        Args:
            payload: at most 125 bytes.

        Raises:
            anyio.WouldBlock: ``send_buffer`` is full; nothing was sent.
            ConnectionClosed: the connection is closed or closing.
            ValueError: the payload has more than 125 bytes.
        """
        self._sender.send_nowait(payload, Opcode.PONG, None, None)

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message and return it: `str` for text, `bytes` for binary.

        ``async for message in websocket`` does this until a clean close. When cancelled, nothing is lost.

        Raises:
            ConnectionClosedOK: the peer closed with 1000, 1001 or no code; an `anyio.EndOfStream`.
            ConnectionClosedError: any other end; an `anyio.BrokenResourceError`.
            anyio.BusyResourceError: another task is receiving.
        """
        message = self._inbox.take_now()
        if message is None:
            return await self._receiver.receive()
        if self._intake.is_held_back:
            self._link.resume_reading()
        return message

    async def __anext__(self) -> str | bytes:
        """Wait for the next message and return it, until a clean close."""
        message = self._inbox.take_now()
        if message is not None:
            if self._intake.is_held_back:
                self._link.resume_reading()
            return message
        try:
            return await self._receiver.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def receive_stream(self) -> MessageStream:
        """Return the next message piece by piece, as it comes: an async iterator of `str` or of `bytes`.

        Memory stays within ``receive_buffer``, however large the message is; ``max_message_size`` still bounds the
        whole of it. An empty message is one empty piece. Leaving the loop early skips the rest of the message. When
        cancelled, nothing is lost.

        The iterator raises:
            ConnectionClosedOK: the connection was closed cleanly before the message began.
            ConnectionClosedError: any other end; also a clean close in the middle of the message.
            anyio.BusyResourceError: another task is receiving.
        """
        return MessageStream(self._receiver)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def close_code(self) -> int | None:
        """The received close code; 1005 when the Close had none, 1006 when the end came without a Close.

        None while the connection is open, and while our own Close has no answer.
        """
        code = self._link.core.close_code
        return None if code is None else int(code)

    @property
    def close_reason(self) -> str | None:
        """The received reason, empty when there was none; None as long as `close_code` is."""
        close = self._link.core.close_received
        return close.reason if close is not None else None if self.close_code is None else ""


def link_of(websocket: WebSocket) -> Link:
    """Return the running connection of a WebSocket."""
    return websocket._link  # pyright: ignore[reportPrivateUsage]


class Running:
    """Runs a connection as long as a block, and then closes it: ``async with Running(...) as websocket``.

    A block that ends closes with 1000. One that raises closes with 1011, and its exception propagates unchanged, even
    if the close is cancelled. One that is cancelled writes a Close 1001 if that needs no waiting, and aborts.

    Args:
        websocket: the connection.
        link: its link.
        background: outlives the connection.
    """

    __slots__ = ("_background", "_link", "_websocket")

    def __init__(self, websocket: WebSocket, link: Link, background: Background) -> None:
        self._websocket = websocket
        self._link = link
        self._background = background

    async def __aenter__(self) -> WebSocket:
        """Begin."""
        self._link.start(self._background)
        return self._websocket

    async def __aexit__(
        self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None
    ) -> None:
        """Close."""
        try:
            if exc is None:
                await self._websocket.aclose()
            elif isinstance(exc, Exception) or is_stray(exc):
                await self._close_for(exc)
            else:  # cancelled, or KeyboardInterrupt and the like
                await self._link.close_cancelled(CloseCode.GOING_AWAY)
        finally:
            if not self._link.is_over:
                with anyio.CancelScope(shield=True):
                    await self._link.wait_over()

    async def _close_for(self, exc: BaseException) -> None:
        """Close because the block raised; nothing takes the place of its exception."""
        try:
            if is_cancelled_from_outside():  # and the exception comes from a ``finally``
                await self._link.close_cancelled(CloseCode.INTERNAL_ERROR)
            else:
                await self._websocket.aclose(CloseCode.INTERNAL_ERROR)
        except ConnectionClosed as closed:
            self._link.logger.warning("%d bytes of messages were not delivered", closed.undelivered)
        except anyio.get_cancelled_exc_class():
            self._link.logger.debug("the close was cancelled, and the connection aborted")


@asynccontextmanager
async def running(websocket: WebSocket, link: Link) -> AsyncGenerator[WebSocket, None]:
    """Run a connection as `Running`, with a background of its own."""
    async with open_background() as background, Running(websocket, link, background):
        yield websocket
