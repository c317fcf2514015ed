"""The connection that a handler gets in an ASGI server without anyws."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from functools import partial
from typing import Any

from anyio import EndOfStream
from anyio.abc import SocketAttribute
from anyio.lowlevel import checkpoint

from anyws._connection.link import Link
from anyws._connection.receiving import MessageStream
from anyws._connection.sending import PreparedMessage, Sendable, checked_message
from anyws._connection.websocket import WebSocket
from anyws.exceptions import ConnectionClosedError
from anyws.protocol.closing import CloseCode
from anyws.protocol.connection import State
from anyws.protocol.errors import UnsupportedData
from anyws.protocol.http11 import Request, Response

from ._channel import Channel
from ._options import EndpointOptions

__all__ = ["MountedWebSocket"]

_WITH_ANYWS = "or run the application with 'uvicorn --ws anyws.uvicorn:Protocol', which has this"


class MountedWebSocket(WebSocket):
    """A `WebSocket` over the messages of an ASGI server, which owns frames, Pings and compression.

    Args:
        channel: the messages.
        options: the options of the endpoint.
        request: the request.
        response: the response that accepts, as far as the endpoint decides about it.
        subprotocol: the agreed subprotocol.
    """

    def __init__(
        self, channel: Channel, options: EndpointOptions, request: Request, response: Response, subprotocol: str | None
    ) -> None:  # not that of the base class, which needs a link
        self._channel = channel
        self._options = options
        self.request = request
        self.response = response
        self.subprotocol = subprotocol

    def __repr__(self) -> str:
        code = "" if self.close_code is None else f" {self.close_code}"
        return f"<anyws.WebSocket server {self.request.path!r} {self.state.value}{code}>"

    @property
    def _link(self) -> Link:  # type: ignore[override]  # there is none; broadcast() and topics ask for it
        raise _unavailable("broadcast() and topics need", "send to each connection")

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The addresses, as far as the server knows them."""
        scope = self.request.state["scope"]
        sides = ((SocketAttribute.remote_address, "client"), (SocketAttribute.local_address, "server"))
        return {attribute: partial(_address, scope[side]) for attribute, side in sides if scope.get(side)}

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(
        self,
        item: Sendable | AsyncIterable[str] | AsyncIterable[bytes],
        *,
        fragment_size: int | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message. The elements of an async iterable are joined, up to ``max_message_size``."""
        _check_frame_options(fragment_size, compress)
        if isinstance(item, AsyncIterable):
            joined = await self._joined(item)
            if joined is None:
                return
            item = joined
        await self._channel.send(_payload(item))

    def send_nowait(self, item: Sendable, *, fragment_size: int | None = None, compress: bool | None = None) -> None:
        """Send a message without waiting."""
        _check_frame_options(fragment_size, compress)
        self._channel.send_nowait(_payload(item))

    async def drain(self) -> None:
        """Wait until `send_nowait` can send."""
        await self._channel.drain()

    async def send_eof(self) -> None:
        """Close the connection (1000). You can still receive what has arrived."""
        await checkpoint()
        self._channel.begin_close(CloseCode.NORMAL_CLOSURE, "", discard=False)

    async def aclose(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection, and wait until the server has accepted the Close."""
        self._channel.begin_close(code, reason, discard=True)
        await self._channel.wait_closed(self._options.close_timeout)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, no matter which side closes it."""
        await self._channel.wait_closed()

    async def ping(self, payload: bytes | None = None) -> float:
        """Raise `NotImplementedError`."""
        raise _unavailable("only the ASGI server can send Pings, so ping() needs", "measure with a message")

    def pong(self, payload: bytes = b"") -> None:
        """Raise `NotImplementedError`."""
        raise _unavailable("only the ASGI server can send Pongs, so pong() needs", "send a message")

    async def _joined(self, parts: AsyncIterable[str] | AsyncIterable[bytes]) -> str | bytes | None:
        """Join the elements of a message; None if there is none."""
        limit = self._options.max_message_size
        texts: list[str] = []
        binaries: list[bytes] = []
        size = 0
        try:
            async for part in parts:
                self._channel.check_sendable()
                data = _payload(part)
                if isinstance(data, str):
                    texts.append(data)
                else:
                    binaries.append(data)
                if texts and binaries:
                    raise TypeError("a message cannot contain both str and bytes")
                size += len(data.encode() if isinstance(data, str) else data)
                if limit is not None and size > limit:
                    raise ValueError(
                        f"the elements of this message have more than {limit} bytes (max_message_size): an ASGI server "
                        "sends whole messages, so they are joined first; send several messages, or raise the option"
                    )
        finally:
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()
        return "".join(texts) if texts else b"".join(binaries) if binaries else None

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message and return it: `str` for text, `bytes` for binary."""
        return await self._channel.receive()

    async def __anext__(self) -> str | bytes:
        """Wait for the next message and return it; stop at a normal closure."""
        try:
            return await self._channel.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def receive_text(self) -> str:
        """Wait for the next message, which must be text, and return it."""
        message = await self.receive()
        if not isinstance(message, str):
            raise self._rejected("binary", "text")
        return message

    async def receive_bytes(self) -> bytes:
        """Wait for the next message, which must be binary, and return it."""
        message = await self.receive()
        if isinstance(message, str):
            raise self._rejected("text", "binary")
        return message

    def _rejected(self, received: str, expected: str) -> ConnectionClosedError:
        return self._channel.fail(UnsupportedData(f"received a {received} message, expected a {expected} one"))

    def receive_stream(self) -> MessageStream:
        """Raise `NotImplementedError`."""
        raise _unavailable("an ASGI server delivers whole messages, so receive_stream() needs", "use receive()")

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """``OPEN``, ``CLOSING`` once nothing more can be sent, or ``CLOSED``."""
        if self._channel.is_over:
            return State.CLOSED
        return State.OPEN if self._channel.sent is None else State.CLOSING

    @property
    def close_code(self) -> int | None:
        """The close code that the server reports; None while the connection is open."""
        received = self._channel.received
        if received is not None:
            return received.code
        return int(CloseCode.ABNORMAL_CLOSURE) if self._channel.is_over else None

    @property
    def close_reason(self) -> str | None:
        """The close reason that the server reports; None while the connection is open."""
        received = self._channel.received
        return received.reason if received is not None else "" if self._channel.is_over else None


def _unavailable(needs: str, instead: str) -> NotImplementedError:
    return NotImplementedError(
        f"{needs} a connection of anyws, but this one belongs to the ASGI server: {instead}, {_WITH_ANYWS}"
    )


def _check_frame_options(fragment_size: int | None, compress: bool | None) -> None:
    if fragment_size is not None:
        raise _unavailable("fragment_size needs", "leave it out, because the server splits messages into frames")
    if compress is not None:
        raise _unavailable("compress needs", "leave it out, because the server decides about compression")


def _payload(item: Sendable) -> str | bytes:
    """Check a message, and return what to send."""
    return item.message if isinstance(item, PreparedMessage) else checked_message(item)


def _address(address: Any) -> tuple[str, int] | str:
    """Return an address of a scope: a host and port, or for a unix socket, its path."""
    host, port = address
    return str(host) if port is None else (str(host), int(port))
