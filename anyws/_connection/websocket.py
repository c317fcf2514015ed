"""The public connection object, `WebSocket`: an AnyIO object stream of messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import ObjectStream, SocketAttribute
from anyio.lowlevel import checkpoint

from anyws._cancellation import is_cancelled_from_outside, is_stray
from anyws.exceptions import ConnectionClosed
from anyws.protocol.closing import CloseCode
from anyws.protocol.connection import State
from anyws.protocol.frames import Opcode
from anyws.protocol.http11 import Request, Response

from .coroutines import implemented_by
from .link import Link
from .peers_names import PeersNames
from .pumps import Background, open_background
from .receiving import MessageStream, Receiver, reject_message
from .sending import Sendable, Sender, check_payload

__all__ = ["Running", "WebSocket", "link_of", "running"]


def _send(
    websocket: WebSocket,
    item: Sendable | AsyncIterable[str] | AsyncIterable[bytes],
    *,
    fragment_size: int | None = None,
    compress: bool | None = None,
) -> Coroutine[Any, Any, None]:
    if compress is None and fragment_size is None:
        return websocket._path.send(item)  # pyright: ignore[reportPrivateUsage]
    return websocket._sender.send(item, fragment_size, compress)  # pyright: ignore[reportPrivateUsage]


def _receive(websocket: WebSocket) -> Coroutine[Any, Any, str | bytes]:
    return websocket._path.receive()  # pyright: ignore[reportPrivateUsage]


def _next(websocket: WebSocket) -> Coroutine[Any, Any, str | bytes]:
    return websocket._path.next()  # pyright: ignore[reportPrivateUsage]


# Only a program that creates a WebSocket itself, which is an error, passes no request.
_OF_LINK: Any = None


class WebSocket(PeersNames, ObjectStream[str | bytes]):
    """An open WebSocket connection: an `anyio.abc.ObjectStream` of `str` (text) and `bytes` (binary) messages.

    You get one from `connect`, `serve` or `accept`; it is open for the duration of the block or handler. Any number of
    tasks may send, but only one task at a time may receive. Pings are answered and a Close is noticed even when your
    code isn't receiving. ``extra()`` returns the typed attributes of the underlying stream, such as
    `anyio.abc.SocketAttribute` and `anyio.streams.tls.TLSAttribute`.

    Once the connection is closed, its methods raise `ConnectionClosed`, which is also an `anyio.EndOfStream` (receiving
    after a normal closure), an `anyio.ClosedResourceError` (sending after you closed it) or an
    `anyio.BrokenResourceError` (everything else).

    Attributes:
        request: the request of the opening handshake.
        response: the response to it.
        subprotocol: the agreed subprotocol, or None.
    """

    _link: Link
    request: Request
    response: Response
    subprotocol: str | None

    def __init__(
        self, link: Link, request: Request = _OF_LINK, response: Response = _OF_LINK, subprotocol: str | None = None
    ) -> None:
        if not isinstance(link, Link):
            raise TypeError("a WebSocket comes from `async with anyws.connect(...) as websocket`, or from a server")
        self._link = link
        self.request = request
        self.response = response
        self.subprotocol = subprotocol
        self._sender = Sender(link)
        self._receiver = Receiver(link)
        self._path = link.path
        link.path.sender, link.path.receiver = self._sender, self._receiver

    def __repr__(self) -> str:
        core = self._link.core
        code = "" if core.close_code is None else f" {core.close_code}"
        return f"<anyws.WebSocket {core.role.value} {self.request.path!r} {core.state.value}{code}>"

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes of the underlying stream; the addresses stay available after the connection ends."""
        return {**self._link.stream.extra_attributes, **self._link.addresses}

    # -- sending -------------------------------------------------------------------------------------------------------

    @implemented_by(_send)
    async def send(
        self,
        item: Sendable | AsyncIterable[str] | AsyncIterable[bytes],
        *,
        fragment_size: int | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, or an async iterable of either as one fragmented message.

        Returns once the message is buffered; it is written in the background, in order. If more than ``send_buffer`` is
        already buffered, waits, so a slow peer slows the sender down. An iterable sends each of its elements as a
        frame; Pings and Pongs can go between them, other messages wait. An empty iterable sends nothing.

        If cancelled, no part of a `str` or bytes message is sent. If an iterable raises or is cancelled after its first
        element, the message cannot be completed, and the connection is closed with 1011.

        Args:
            item: the message.
            fragment_size: maximum payload of each frame, in bytes; None sends a single frame. Not for an iterable.
            compress: whether to compress the message, if compression was agreed on; None leaves it to the
                ``threshold`` of `PerMessageDeflate`.

        Raises:
            ConnectionClosedLocally: you have called `aclose` or `send_eof`; an `anyio.ClosedResourceError`.
            ConnectionClosedError: the peer has closed, or the connection is lost; an `anyio.BrokenResourceError`.
            TypeError: the message has the wrong type.
            ValueError: ``fragment_size`` is less than 1, or is given for an iterable.
        """
        raise NotImplementedError

    def send_nowait(self, item: Sendable, *, fragment_size: int | None = None, compress: bool | None = None) -> None:
        """Send a message without waiting. Works from synchronous code, in the event loop's thread.

        Args:
            item: the message.
            fragment_size: see `send`.
            compress: see `send`.

        Raises:
            anyio.WouldBlock: ``send_buffer`` is full, or a fragmented message is being sent; nothing was sent.
            ConnectionClosed: see `send`.
            TypeError: the message is neither `str` nor bytes.
            ValueError: ``fragment_size`` is less than 1.
        """
        self._sender.send_nowait(item, None, fragment_size, compress)

    async def drain(self) -> None:
        """Wait until `send_nowait` can send, that is, until less than ``send_buffer`` is buffered.

        Raises:
            ConnectionClosed: the connection is closed or closing.
        """
        await self._sender.drain()

    async def send_eof(self) -> None:
        """Begin the closing handshake (1000); you can still receive what the peer sends before its own Close.

        Does not wait for the peer. RFC 6455 has no half-close: the peer responds with its own Close and sends nothing
        after it, so you receive only what was already on its way, for up to ``close_timeout``.
        """
        await checkpoint()
        self._link.begin_close(CloseCode.NORMAL_CLOSURE, "", discard=False)

    async def aclose(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection: write buffered messages and a Close, wait for the peer's Close, shut down TLS and TCP.

        Messages are delivered as long as the peer keeps reading. If it reads nothing for ``close_timeout``, the
        connection is aborted; after the last byte is written, it has the same time to respond. Messages that you have
        not received yet are discarded. If cancelled, the connection is aborted immediately. If a close has already
        begun, only waits for it to finish.

        Args:
            code: the close code: 1000 to 1003, 1007 to 1014, or 3000 to 4999; None for a Close without a code.
            reason: the close reason, truncated to 123 bytes of UTF-8.

        Raises:
            ConnectionClosedError: some buffered messages were not delivered; see `ConnectionClosed.undelivered`. Raised
                only once for each connection.
            TypeError: the code is not an `int`, or the reason is not a `str`.
            ValueError: the code cannot be sent.
        """
        self._link.begin_close(code, reason, discard=True)
        try:
            await self._link.wait_closed()
        except BaseException:
            self._link.abort()
            raise
        self._link.ending.check_delivered()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, including TCP, no matter which side closes it."""
        await checkpoint()
        if not self._link.is_over:
            await self._link.wait_closed()

    async def ping(self, payload: bytes | None = None) -> float:
        """Send a Ping and wait for its Pong.

        A Pong for a later Ping also counts for this one (RFC 6455, section 5.5.3). There is no timeout: use
        `anyio.fail_after`.

        Args:
            payload: at most 125 bytes; by default 4 random bytes.

        Returns:
            The latency, in seconds.

        Raises:
            ConnectionClosed: the connection is closed, or was closed while waiting.
            TypeError: the payload is not bytes.
            ValueError: the payload has more than 125 bytes.
        """
        check_payload("Ping", payload)
        await checkpoint()
        return await self._link.ping(payload)

    def pong(self, payload: bytes = b"") -> None:
        """Send an unsolicited Pong (RFC 6455, section 5.5.3). The peer's Pings are answered automatically.

        Args:
            payload: at most 125 bytes.

        Raises:
            anyio.WouldBlock: ``send_buffer`` is full; nothing was sent.
            ConnectionClosed: the connection is closed or closing.
            TypeError: the payload is not bytes.
            ValueError: the payload has more than 125 bytes.
        """
        check_payload("Pong", payload)
        self._sender.send_nowait(payload, Opcode.PONG, None, None)

    # -- receiving -----------------------------------------------------------------------------------------------------

    @implemented_by(_receive)
    async def receive(self) -> str | bytes:
        """Wait for the next message and return it: `str` for text, `bytes` for binary.

        ``async for message in websocket`` does this until a normal closure. If cancelled, no message is lost.

        Raises:
            ConnectionClosedOK: the peer closed with 1000, 1001 or no code; an `anyio.EndOfStream`.
            ConnectionClosedError: the connection ended in any other way; an `anyio.BrokenResourceError`.
            anyio.BusyResourceError: another task is receiving.
        """
        raise NotImplementedError

    @implemented_by(_next)
    async def __anext__(self) -> str | bytes:
        """Wait for the next message and return it; stop at a normal closure."""
        raise NotImplementedError

    async def receive_text(self) -> str:
        """Wait for the next message, which must be text, and return it.

        A binary message closes the connection with 1003 (unsupported data), and the messages after it are discarded.
        Otherwise the same as `receive`.

        Raises:
            ConnectionClosedError: the message is binary; its ``__cause__`` is an `UnsupportedData`.
        """
        message = await self.receive()
        if not isinstance(message, str):
            raise reject_message(self._link, message)
        return message

    async def receive_bytes(self) -> bytes:
        """Wait for the next message, which must be binary, and return it. A text message is rejected with 1003.

        Otherwise the same as `receive_text`.
        """
        message = await self.receive()
        if isinstance(message, str):
            raise reject_message(self._link, message)
        return message

    def receive_stream(self) -> MessageStream:
        """Receive the next message piece by piece as it arrives: an async iterator of `str` or of `bytes`.

        Memory use stays within ``receive_buffer``, however large the message is; ``max_message_size`` still limits the
        whole message. An empty message yields one empty piece. If you leave the loop early, the next receive skips the
        rest of the message. If cancelled, nothing is lost.

        The iterator raises:
            ConnectionClosedOK: the connection was closed normally before the message began.
            ConnectionClosedError: the connection ended in any other way, or in the middle of the message.
            anyio.BusyResourceError: another task is receiving.
        """
        return MessageStream(self._receiver)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """``OPEN``, ``CLOSING`` once nothing more can be sent, or ``CLOSED`` once TCP is closed."""
        if self._link.is_over:
            return State.CLOSED
        is_open = self._link.core.state is State.OPEN and self._link.ending.error is None
        return State.OPEN if is_open else State.CLOSING

    @property
    def remote_address(self) -> tuple[str, int] | str | None:
        """The address of the peer or of the proxy in between, as ``(host, port)`` or the path of a unix socket.

        The host of an IPv6 address includes its zone, if there is one. The path is empty if the peer's socket has none,
        which is usual for clients. None if the stream has no address. It remains available after the connection is
        closed.
        """
        return self.extra(SocketAttribute.remote_address, None)

    @property
    def local_address(self) -> tuple[str, int] | str | None:
        """The address of this side; see `remote_address`."""
        return self.extra(SocketAttribute.local_address, None)

    @property
    def close_code(self) -> int | None:
        """The received close code; 1005 if the Close had no code, 1006 if the connection ended without a Close.

        None while the connection is open, and while your own Close is unanswered.
        """
        code = self._link.core.close_code
        return None if code is None else int(code)

    @property
    def close_reason(self) -> str | None:
        """The close reason received, empty if there was none; None while `close_code` is None."""
        close = self._link.core.close_received
        return close.reason if close is not None else None if self.close_code is None else ""


def link_of(websocket: WebSocket) -> Link:
    """Return the link behind a `WebSocket`."""
    return websocket._link  # pyright: ignore[reportPrivateUsage]


class Running:
    """Runs a connection for the duration of a block and then closes it: ``async with Running(...) as websocket``.

    When the block ends, the connection is closed with 1000. If the block raises, it is closed with 1011, and the
    exception propagates unchanged even if the close is cancelled. If the block is cancelled, a Close 1001 is sent if
    that is possible without waiting, and the connection is aborted.

    Args:
        websocket: the connection.
        link: its link.
        background: where its tasks and timers run; must outlive the connection.
    """

    __slots__ = ("_background", "_link", "_websocket")

    def __init__(self, websocket: WebSocket, link: Link, background: Background) -> None:
        self._websocket = websocket
        self._link = link
        self._background = background

    async def __aenter__(self) -> WebSocket:
        """Start the connection."""
        self._link.start(self._background)
        return self._websocket

    async def __aexit__(
        self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None
    ) -> None:
        """Close the connection."""
        try:
            if exc is None:
                await self._websocket.aclose()
            elif isinstance(exc, Exception) or is_stray(exc):
                await self._close_for(exc)
            else:  # cancelled, or KeyboardInterrupt and the like
                await self._link.abort_with_close(CloseCode.GOING_AWAY)
        finally:
            if not self._link.is_over:
                with anyio.CancelScope(shield=True):
                    await self._link.wait_closed()

    async def _close_for(self, exc: BaseException) -> None:
        """Close because the block raised; no other exception may replace the block's."""
        try:
            if is_cancelled_from_outside():  # the block was cancelled, and then raised in a ``finally``
                await self._link.abort_with_close(CloseCode.INTERNAL_ERROR)
            else:
                await self._websocket.aclose(CloseCode.INTERNAL_ERROR)
        except ConnectionClosed as closed:
            self._link.logger.warning("%d bytes of messages were not delivered", closed.undelivered)
        except anyio.get_cancelled_exc_class():
            self._link.logger.debug("the close was cancelled; the connection is aborted")


@asynccontextmanager
async def running(websocket: WebSocket, link: Link) -> AsyncGenerator[WebSocket, None]:
    """Run a connection like `Running`, with its own background tasks and timers."""
    async with open_background() as background, Running(websocket, link, background):
        yield websocket
