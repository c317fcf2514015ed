"""The socket of the callback API: a `WebSocket` that exists before its opening handshake is complete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any

from anyio.abc import ByteStream

from anyws._connection.link import Link
from anyws._connection.sending import Sendable
from anyws._connection.websocket import WebSocket
from anyws.protocol.errors import LocalProtocolError
from anyws.protocol.http11 import Request

__all__ = ["Backpressure", "Socket"]


class Socket(WebSocket):
    """A `WebSocket` with the method `message_send`. All hooks of a connection receive the same object.

    Before ``callback_open``, only ``extra()``, `get_address` and, on a server, ``request`` work. You may set your own
    attributes on it.
    """

    def __init__(self, stream: ByteStream) -> None:
        # WebSocket.__init__ is called in open(): there is no link before the opening handshake is complete.
        self._transport = stream
        self._is_open = False

    def __getattr__(self, name: str) -> Any:
        if name in ("_link", "_path", "_receiver", "_sender", "request", "response", "subprotocol"):
            raise LocalProtocolError("the opening handshake is not complete; wait for callback_open")
        return super().__getattribute__(name)  # raises an error that may name another attribute

    def __repr__(self) -> str:
        return super().__repr__() if self._is_open else "<anyws.callbacks.Socket connecting>"

    def set_tls_stream(self, stream: ByteStream) -> None:
        """Replace the stream by its TLS stream, before the request arrives."""
        self._transport = stream

    def set_request(self, request: Request) -> None:
        """Set the request, before the response is sent."""
        self.request = request

    def open(self, websocket: WebSocket, link: Link) -> None:
        """Become the open connection."""
        super().__init__(link, websocket.request, websocket.response, websocket.subprotocol)
        self._is_open = True

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes of the underlying stream."""
        return super().extra_attributes if self._is_open else self._transport.extra_attributes

    @property
    def has_room(self) -> bool:
        """Whether the next message need not wait."""
        return self._link.has_room and not self._link.outbox.is_reserved

    def deliver(
        self, function: Callable[[str | bytes], Awaitable[None] | None]
    ) -> Coroutine[Any, Any, Awaitable[None]]:
        """Pass each message to a function until it returns something; return that. Raises as `receive`."""
        return self._path.deliver(function)

    def message_send(
        self, message: Sendable, opcode: int | None = None, fragment_size: int | None = None
    ) -> Backpressure:
        """Queue a message, from a sync or an async hook.

        The message is queued completely or not at all. In an async function, ``await socket.message_send(...)`` waits
        until there is room for the next message, so a task that always awaits never finds the buffer full.

        Args:
            message: `str` for text, bytes for binary.
            opcode: an `Opcode`: ``TEXT`` or ``BINARY`` to override the type of the message; ``PING`` or ``PONG`` with
                the message as payload; ``CLOSE`` to begin the closing handshake (1000) with the message as reason.
            fragment_size: maximum payload of each frame, in bytes; None sends a single frame.

        Raises:
            anyio.WouldBlock: ``send_buffer`` is full; the message was not queued.
            ConnectionClosed: the connection is closed or closing.
            LocalProtocolError: the opening handshake is not complete.
            TypeError: the message is neither `str` nor bytes.
            ValueError: the opcode or fragment size is invalid, or text is not valid UTF-8.
        """
        if opcode is not None or fragment_size is not None or not self._path.send_now(message):
            self._sender.send_nowait(message, opcode, fragment_size, None)
        return Backpressure(self)


class Backpressure:
    """The result of `Socket.message_send`; await it to wait until there is room for the next message."""

    __slots__ = ("_socket",)

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    @property
    def is_over(self) -> bool:
        """Whether there is room already."""
        return self._socket.has_room

    def __await__(self) -> Generator[Any, Any, None]:
        return self._socket.drain().__await__()
