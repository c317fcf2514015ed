"""Sending a handshake request and waiting for the response, for the opening handshake and for proxies."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import anyio
from anyio.abc import ByteStream

from anyws._transport.ending import STREAM_ERRORS
from anyws._transport.stream import receive_eagerly, send_eagerly

__all__ = ["perform_handshake"]

T_co = TypeVar("T_co", covariant=True)
Receive = Callable[[], Awaitable[bytes]]

_BODY_TIMEOUT = 1
"""How long to wait for the body of a refusal, in seconds; or half of the remaining time, if that is less."""


class Handshake(Protocol[T_co]):
    """The common interface of `ClientHandshake` and `ProxyHandshake`."""

    @property
    def is_refused(self) -> bool:
        """Whether the head of a refusal has arrived, and more of its body may follow."""
        ...

    def data_to_send(self) -> bytes:
        """Return the bytes of the request. Only the first call returns any."""
        ...

    def receive_data(self, data: bytes, /) -> T_co:
        """Process bytes, or ``b""`` at their end. Return the response, or a false value; raise if it is a refusal."""
        ...


async def perform_handshake(handshake: Handshake[T_co], stream: ByteStream) -> T_co:
    """Send the request, wait for the response and return it.

    A refusal is raised within a second of its head, however slow, endless or broken its body is, and includes as much
    of the body as arrived in that time: the status is what matters.

    Raises:
        HandshakeError: see ``receive_data`` of the handshake.
        BrokenResourceError, OSError: the connection was lost before the head of the response arrived.
        ssl.SSLError: the server ended TLS with an alert, for example because it requires a client certificate
            (TLS 1.3).
    """
    response: T_co | None = None
    try:
        await send_eagerly(stream, handshake.data_to_send())
    except STREAM_ERRORS:
        # The peer may have responded before ending the connection. If receiving raises too, its error says more.
        with anyio.move_on_after(_BODY_TIMEOUT) as scope:
            response = await _receive_response(handshake, stream)
        if scope.cancelled_caught:
            raise
    else:
        response = await _receive_response(handshake, stream)
    if response:
        return response
    receive: Receive = stream.receive
    remaining = anyio.current_effective_deadline() - anyio.current_time()
    with anyio.move_on_after(min(_BODY_TIMEOUT, remaining / 2)):
        try:
            while True:
                handshake.receive_data(await _receive_or_end(receive))
        except STREAM_ERRORS:
            pass
    return handshake.receive_data(b"")


async def _receive_response(handshake: Handshake[T_co], stream: ByteStream) -> T_co | None:
    """Return the response; None if it is a refusal."""
    receive: Receive = functools.partial(receive_eagerly, stream)
    while not handshake.is_refused:
        if response := handshake.receive_data(await _receive_or_end(receive)):
            return response
        receive = stream.receive
    return None


async def _receive_or_end(receive: Receive) -> bytes:
    try:
        return await receive()
    except anyio.EndOfStream:
        return b""
