"""Streams that callers bring: of AnyIO or trio, or a connected socket."""

from __future__ import annotations

import socket
import sys
from typing import Protocol, runtime_checkable

from anyio.abc import ByteStream

from .stream import SocketStream

__all__ = ["AnyStream", "TrioListener", "TrioStream", "as_byte_stream", "as_socket"]


@runtime_checkable
class TrioStream(Protocol):
    """A ``trio.abc.Stream``, such as ``trio.SocketStream`` or ``trio.SSLStream``."""

    async def send_all(self, data: bytes) -> None:
        """Send data."""
        ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive data."""
        ...

    async def aclose(self) -> None:
        """Close the stream."""
        ...


@runtime_checkable
class TrioListener(Protocol):
    """A ``trio.SocketListener``."""

    async def accept(self) -> TrioStream:
        """Accept a connection."""
        ...

    async def aclose(self) -> None:
        """Close the listener."""
        ...


AnyStream = ByteStream | TrioStream | socket.socket


def as_byte_stream(stream: AnyStream, where: str) -> ByteStream:
    """Return a stream as a byte stream, which owns it.

    Args:
        stream: an AnyIO byte stream, a stream of trio, or a connected socket.
        where: the function or option that accepts it, for error messages.

    Raises:
        TypeError: it is none of these.
        ValueError: it is a socket that is not a connected stream socket.
        ClosedResourceError: it is a closed stream of trio.
    """
    if isinstance(stream, ByteStream):
        return stream
    if isinstance(stream, socket.socket):
        _check_connected(stream, where)
        return SocketStream(stream)
    if "trio" in sys.modules and isinstance(stream, TrioStream):
        from .trio_streams import from_trio_stream

        adapted = from_trio_stream(stream)
        if adapted is not None:
            return adapted
    raise TypeError(
        f"{where}: expected an AnyIO byte stream, a trio stream or a connected socket, not {type(stream).__name__}"
    )


def as_socket(listener: object) -> socket.socket | None:
    """Return the socket of a ``trio.SocketListener``, taken out of it; None if it is not a listener of trio.

    Raises:
        ClosedResourceError: the listener is closed.
        TypeError: it is another listener of trio, whose socket cannot be used.
    """
    if "trio" not in sys.modules or not isinstance(listener, TrioListener):
        return None
    from .trio_streams import from_trio_listener

    return from_trio_listener(listener)


def _check_connected(given: socket.socket, where: str) -> None:
    if given.type != socket.SOCK_STREAM:
        raise ValueError(f"{where}: expected a stream socket (SOCK_STREAM), not {given.type.name}")
    try:
        given.getpeername()
    except OSError as exc:
        raise ValueError(f"{where}: the socket is not connected ({exc.strerror})") from exc
