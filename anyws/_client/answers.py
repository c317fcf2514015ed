"""The answer to the request of an opening handshake, or to a CONNECT: waited for by every client in the same way."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import anyio
from anyio.abc import ByteStream

from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.stream import receive_at_once, send_at_once

__all__ = ["answer_to"]

T_co = TypeVar("T_co", covariant=True)
Receive = Callable[[], Awaitable[bytes]]

_BODY_TIME = 1
"""How long the body of a refusal may take, in seconds; or half of what is left of the time, if that is less."""


class Handshake(Protocol[T_co]):
    """What a `ClientHandshake` and a `ProxyHandshake` have in common."""

    @property
    def is_refused(self) -> bool:
        """Whether the head of a refusal has come, and more of its body may follow."""
        ...

    def data_to_send(self) -> bytes:
        """Return the bytes of the request, once."""
        ...

    def receive_data(self, data: bytes, /) -> T_co:
        """Add bytes, or ``b""`` for their end; return the answer, or what is false; raise when refused."""
        ...


async def answer_to(handshake: Handshake[T_co], stream: ByteStream) -> T_co:
    """Send the request, and return the answer once it is there.

    The status says all: a refusal is told within a second of its head, however slow, endless or broken its body is,
    and has as much of the body as came in that time.

    Raises:
        HandshakeError: as ``receive_data`` of the handshake.
        BrokenResourceError, OSError: the connection was lost before the head of the answer had come.
        ssl.SSLError: the server ended TLS with an alert, as one that wants a client certificate does (TLS 1.3).
    """
    answer: T_co | None = None
    try:
        await send_at_once(stream, handshake.data_to_send())
    except STREAM_ERRORS:
        # The peer may have answered before it ended the connection. If receiving raises too, that says what is wrong.
        with anyio.move_on_after(_BODY_TIME) as scope:
            answer = await _head(handshake, stream)
        if scope.cancelled_caught:
            raise
    else:
        answer = await _head(handshake, stream)
    if answer:
        return answer
    receive: Receive = stream.receive
    left = anyio.current_effective_deadline() - anyio.current_time()
    with anyio.move_on_after(min(_BODY_TIME, left / 2)):
        try:
            while True:
                handshake.receive_data(await _received(receive))
        except STREAM_ERRORS:
            pass
    return handshake.receive_data(b"")


async def _head(handshake: Handshake[T_co], stream: ByteStream) -> T_co | None:
    """Return the answer; None if it is a refusal."""
    receive: Receive = functools.partial(receive_at_once, stream)
    while not handshake.is_refused:
        if answer := handshake.receive_data(await _received(receive)):
            return answer
        receive = stream.receive
    return None


async def _received(receive: Receive) -> bytes:
    try:
        return await receive()
    except anyio.EndOfStream:
        return b""
