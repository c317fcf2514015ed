"""The socket of the callback API: a `WebSocket` that exists before its opening handshake has ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import anyio
from anyio.abc import ByteStream

from anyws._connection.link import Link
from anyws._connection.sending import Sendable
from anyws._connection.websocket import WebSocket
from anyws.exceptions import ConnectionClosed
from anyws.protocol.errors import LocalProtocolError
from anyws.protocol.http11 import Request

from ._hooks import AsyncHook

__all__ = ["Backpressure", "Socket", "handle_messages"]


class Socket(WebSocket):
    """A `WebSocket` with `message_send`: the same object from ``callback_connect`` on, for as long as it lives.

    Before ``callback_open`` only ``extra()``, `get_address` and, on a server, ``request`` work. Attributes of your own
    may be set on it.
    """

    def __init__(self, stream: ByteStream) -> None:
        # WebSocket.__init__ follows in open(): there is no link before the opening handshake has ended.
        self._transport = stream
        self._opened = False

    def __getattr__(self, name: str) -> Any:
        if name in ("_inbox", "_link", "_outbox", "_receiver", "_sender", "request", "response", "subprotocol"):
            raise LocalProtocolError("the opening handshake has not ended; wait for callback_open")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return super().__repr__() if self._opened else "<anyws.callbacks.Socket connecting>"

    def secured(self, stream: ByteStream) -> None:
        """Take the stream with TLS on it, before the request has come."""
        self._transport = stream

    def began(self, request: Request) -> None:
        """Take the request, before it is answered."""
        self.request = request

    def open(self, websocket: WebSocket, link: Link) -> None:
        """Become the open connection."""
        super().__init__(link, websocket.request, websocket.response, websocket.subprotocol)
        self._opened = True

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes of the stream below."""
        return super().extra_attributes if self._opened else self._transport.extra_attributes

    def message_send(
        self, message: Sendable, opcode: int | None = None, fragment_size: int | None = None
    ) -> Backpressure:
        """Queue a message, from a sync hook or an async one.

        The message is accepted as a whole or not at all. In an async function, ``await socket.message_send(...)`` goes
        on when there is room for the next one; so one task that always awaits never finds the buffer full.

        Args:
            message: `str` for text, bytes for binary.
            opcode: an `Opcode`: ``TEXT`` or ``BINARY`` where the type of the message should not decide; ``PING`` or
                ``PONG`` with the message as payload; ``CLOSE`` to begin the closing handshake (1000) with the message
                as reason.
            fragment_size: the largest payload of one frame, in bytes; None for one frame.

        Raises:
            anyio.WouldBlock: ``send_buffer`` is full; the message was not accepted.
            ConnectionClosed: the connection is closed or closing.
            LocalProtocolError: the opening handshake has not ended.
            TypeError: the message is neither `str` nor bytes.
            ValueError: an opcode or a fragment size that cannot be sent; text that is not UTF-8.
        """
        self._sender.send_nowait(message, opcode, fragment_size, None)
        return Backpressure(self)


class Backpressure:
    """What `Socket.message_send` returns: await it to wait until there is room for the next message."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def __await__(self) -> Generator[Any, Any, None]:
        return self._socket.drain().__await__()


async def handle_messages(socket: Socket, on_message: AsyncHook | None) -> None:
    """Give each message to the handler until the connection ends; the end itself is no error here."""
    while True:
        try:
            message = await socket.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return
        if on_message is not None:
            try:
                await on_message(message, socket)
            except ConnectionClosed:
                # A handler that answers a peer which has just gone is not at fault.
                if socket.close_code is None:
                    raise
                return
