"""Byte streams of trio as byte streams of AnyIO. It is loaded only by programs that use one."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
import trio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute

from .stream import SocketStream, anyio_address

__all__ = ["from_trio_listener", "from_trio_stream"]

_TLS_ATTRIBUTES: list[tuple[Any, str]] = [
    (TLSAttribute.alpn_protocol, "selected_alpn_protocol"),
    (TLSAttribute.cipher, "cipher"),
    (TLSAttribute.peer_certificate, "getpeercert"),
    (TLSAttribute.tls_version, "version"),
]


def from_trio_stream(stream: object) -> ByteStream | None:
    """Return a stream of trio as a byte stream, which owns it; None if it is not a stream of trio.

    The socket of a ``trio.SocketStream`` is taken out of it, because our own stream is faster.

    Raises:
        ClosedResourceError: the stream is closed.
    """
    if isinstance(stream, trio.SocketStream):
        return SocketStream(_taken_out(stream.socket))
    return _TrioStream(stream) if isinstance(stream, trio.abc.Stream) else None


def from_trio_listener(listener: object) -> socket.socket | None:
    """Return the socket of a ``trio.SocketListener``, taken out of it; None if it is none.

    Raises:
        ClosedResourceError: the listener is closed.
        TypeError: it is another listener of trio.
    """
    if isinstance(listener, trio.SocketListener):
        return _taken_out(listener.socket)
    if isinstance(listener, trio.SSLListener):
        raise TypeError(
            "option listeners contains a trio.SSLListener: pass its transport_listener instead, and the option "
            "ssl_context"
        )
    return None


def _taken_out(wrapped: trio.socket.SocketType) -> socket.socket:
    descriptor = wrapped.detach()
    if descriptor < 0:
        raise anyio.ClosedResourceError
    return socket.socket(fileno=descriptor)


class _TrioStream(ByteStream):
    """A stream of trio, such as ``trio.SSLStream``."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._attributes = {**_tls_attributes(stream), **_addresses(stream)}

    async def receive(self, max_bytes: int = 65536) -> bytes:
        with _translated():
            data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def send(self, item: bytes) -> None:
        with _translated():
            await self._stream.send_all(item)

    async def send_eof(self) -> None:
        if not isinstance(self._stream, trio.abc.HalfCloseableStream):
            raise NotImplementedError(f"{type(self._stream).__name__} has no half-close")
        with _translated():
            await self._stream.send_eof()

    async def aclose(self) -> None:
        with _translated():
            await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._attributes


@contextmanager
def _translated() -> Generator[None, None, None]:
    """Translate trio's exceptions to AnyIO's."""
    try:
        yield
    except trio.BrokenResourceError as exc:
        raise anyio.BrokenResourceError(str(exc)) from exc
    except trio.ClosedResourceError as exc:
        raise anyio.ClosedResourceError from exc


def _addresses(stream: trio.abc.Stream) -> dict[Any, Callable[[], Any]]:
    """Return the addresses, which the socket forgets when the connection ends."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return {}
    found: dict[Any, Callable[[], Any]] = {}
    for attribute, get in (
        (SocketAttribute.local_address, stream.socket.getsockname),
        (SocketAttribute.remote_address, stream.socket.getpeername),
    ):
        try:
            found[attribute] = functools.partial(anyio_address, get())
        except OSError:  # no longer connected
            pass
    return found


def _tls_attributes(stream: trio.abc.Stream) -> dict[Any, Callable[[], Any]]:
    if not isinstance(stream, trio.SSLStream):
        return {}
    return {attribute: functools.partial(_call, stream, name) for attribute, name in _TLS_ATTRIBUTES}


def _call(stream: trio.abc.Stream, name: str) -> Any:
    return getattr(stream, name)()  # trio looks up its methods only after the TLS handshake
