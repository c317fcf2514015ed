"""An AnyIO stream over a non-blocking TCP or unix socket, for all backends.

AnyIO's own stream is not suitable: on asyncio it reads without limit while data arrives, so a bounded receive buffer
cannot be built on it. This stream reads only when asked to; TCP flow control then slows down the peer.
"""

from __future__ import annotations

import functools
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream as AbstractSocketStream
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

if sys.platform != "win32":
    import fcntl
    import termios

__all__ = [
    "SocketStream",
    "address_attributes",
    "receive_eagerly",
    "send_eagerly",
    "set_no_delay",
    "unacknowledged_bytes",
]

_GATHERS = hasattr(socket.socket, "sendmsg")  # not on Windows
_MORE: int = getattr(socket, "MSG_MORE", 0)
_MAX_BUFFERS = 1024  # per sendmsg() on Linux


class SocketStream(AbstractSocketStream):
    """A connected socket as a byte stream. It owns the socket.

    Cancelling `receive` loses no data. Cancelling `send` may have sent a part of the data, so do not use the stream any
    more. Both addresses remain available after the connection has ended.

    Args:
        connected: the socket.
        remote_address: the address of the peer; None to ask the socket.
        local_address: our address; None to ask the socket.
        has_no_delay: whether ``TCP_NODELAY`` is already set, or the socket is not a TCP socket.
    """

    def __init__(
        self,
        connected: socket.socket,
        remote_address: Any = None,
        *,
        local_address: Any = None,
        has_no_delay: bool = False,
    ) -> None:
        connected.setblocking(False)
        if not has_no_delay:
            set_no_delay(connected)
        self._socket = connected
        self.local_address: Any = _or_none(connected.getsockname) if local_address is None else local_address
        self.remote_address: Any = _or_none(connected.getpeername) if remote_address is None else remote_address
        self._closed = False
        self._has_sent_eof = False
        self._has_received_eof = False
        self._waiting = 0  # number of tasks waiting for the socket
        self._is_receiving = False
        self._is_sending = False

    def configure(self, *, no_delay: bool, keep_alive: bool, keep_alive_delay: float | None) -> None:
        """Set TCP socket options. This has no effect on unix sockets.

        Args:
            no_delay: whether to send small segments immediately (``TCP_NODELAY``).
            keep_alive: whether to probe an idle peer (``SO_KEEPALIVE``).
            keep_alive_delay: the idle time in seconds before the first probe; None for the system's default.
        """
        if self._socket.family not in (socket.AF_INET, socket.AF_INET6):
            return
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keep_alive)
        if keep_alive_delay is not None and hasattr(socket, "TCP_KEEPIDLE"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(keep_alive_delay)))

    @property
    def _raw_socket(self) -> socket.socket:
        return self._socket

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The attributes of `anyio.abc.SocketAttribute`."""
        attributes: dict[Any, Callable[[], Any]] = {
            SocketAttribute.family: lambda: self._socket.family,
            SocketAttribute.raw_socket: lambda: self._socket,
        }
        return {**attributes, **address_attributes(self.local_address, self.remote_address)}

    @property
    def raw_socket(self) -> socket.socket:
        """The underlying socket."""
        return self._socket

    def fileno(self) -> int:
        """Return the file descriptor; -1 once the stream is closed."""
        return self._socket.fileno()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive at least 1 and at most ``max_bytes`` bytes.

        Raises:
            EndOfStream: the peer has ended its side.
            BrokenResourceError: the connection was lost.
            ClosedResourceError: the stream was closed.
        """
        await checkpoint_if_cancelled()
        self._check_receivable()
        try:
            data = self.receive_nowait(max_bytes)
        except anyio.WouldBlock:
            return await self.wait_and_receive(max_bytes)
        await cancel_shielded_checkpoint()
        return data

    async def wait_and_receive(self, max_bytes: int = 65536) -> bytes:
        """Wait for data, then receive it, like `receive`. Use this if `receive_nowait` has raised `WouldBlock`."""
        self._check_receivable()
        self._is_receiving = True
        try:
            while True:
                await self._wait(anyio.wait_readable)
                try:
                    return self.receive_nowait(max_bytes)
                except anyio.WouldBlock:
                    pass
        finally:
            self._is_receiving = False

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Receive without waiting. Raises as `receive`, or `WouldBlock`.

        Raises:
            WouldBlock: no data is available.
        """
        try:
            data = self._socket.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            raise anyio.WouldBlock from None
        except OSError as exc:
            raise self.translated(exc) from exc
        if not data:
            self._has_received_eof = True
            raise anyio.EndOfStream
        return data

    def receive_into_nowait(self, buffer: memoryview) -> int:
        """Receive into a buffer without waiting; return the number of bytes. Raises as `receive_nowait`."""
        try:
            count = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            raise anyio.WouldBlock from None
        except OSError as exc:
            raise self.translated(exc) from exc
        if not count:
            raise anyio.EndOfStream
        return count

    def send_nowait(self, items: Sequence[bytes | memoryview], *, more_follows: bool = False) -> int:
        """Write as many bytes as possible with one system call; return their number. Raises as `send`.

        Args:
            items: the bytes.
            more_follows: whether more bytes or the end of our side follow immediately. On Linux, a small write then
                leaves with them in one segment, which saves this side and the peer the work for another one.
        """
        flags = _MORE if more_follows else 0
        try:
            if len(items) > 1 and _GATHERS:
                return self._socket.sendmsg(items[:_MAX_BUFFERS], (), flags)
            return self._socket.send(items[0] if len(items) == 1 else b"".join(items), flags)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            raise self.translated(exc) from exc

    async def send(self, item: bytes | memoryview) -> None:
        """Write all bytes.

        Raises:
            BrokenResourceError: the connection was lost.
            ClosedResourceError: the stream was closed.
        """
        await checkpoint_if_cancelled()
        self._check_sendable()
        rest = memoryview(item)[self.send_nowait([item]) :]
        if not rest:
            await cancel_shielded_checkpoint()
            return
        self._is_sending = True
        try:
            while rest:
                await self._wait(anyio.wait_writable)
                rest = rest[self.send_nowait([rest]) :]
        finally:
            self._is_sending = False

    async def wait_writable(self) -> None:
        """Wait until more bytes can be written.

        Raises:
            ClosedResourceError: the stream was closed.
        """
        await self._wait(anyio.wait_writable)

    async def send_eof(self) -> None:
        """End our side. The peer's side stays open."""
        self._check_sendable()
        self.send_eof_nowait()
        await checkpoint()

    def send_eof_nowait(self) -> None:
        """End our side without waiting. Raises as `send`."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise self.translated(exc) from exc
        self._has_sent_eof = True

    def close(self) -> None:
        """Close both sides immediately, even if a forked child process has inherited the socket."""
        if not self._closed:
            self._closed = True
            if self._waiting:
                anyio.notify_closing(self._socket)
            if not (self._has_sent_eof and self._has_received_eof):  # otherwise both sides have ended already
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:  # the connection was lost
                    pass
            self._socket.close()

    async def aclose(self) -> None:
        """Close both sides immediately."""
        self.close()
        await checkpoint()

    def _check_receivable(self) -> None:
        if self._is_receiving:
            raise anyio.BusyResourceError("reading from")

    def _check_sendable(self) -> None:
        if self._is_sending:
            raise anyio.BusyResourceError("writing to")

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        self._waiting += 1
        try:
            await wait(self._socket)
        except anyio.ClosedResourceError:
            if self._closed:
                raise
            # On trio, waking the task that waits to read also wakes the task that waits to write.
        finally:
            self._waiting -= 1

    def translated(self, exc: OSError) -> Exception:
        """Return an error of the socket as an exception of this stream."""
        return anyio.ClosedResourceError() if self._closed else anyio.BrokenResourceError(str(exc))


def _or_none(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except OSError:  # no longer connected
        return None


def address_attributes(local: Any, remote: Any) -> dict[Any, Callable[[], Any]]:
    """Return the attributes of `anyio.abc.SocketAttribute` for two addresses; None if one is unknown."""
    attributes: dict[Any, Callable[[], Any]] = {}
    for address, whole, port in (
        (local, SocketAttribute.local_address, SocketAttribute.local_port),
        (remote, SocketAttribute.remote_address, SocketAttribute.remote_port),
    ):
        if address is not None:
            attributes[whole] = functools.partial(anyio_address, address)
            if isinstance(address, tuple):
                attributes[port] = functools.partial(int, address[1])
    return attributes


def anyio_address(address: Any) -> Any:
    """Return an address in AnyIO's form: for IPv6, host and port with the scope in the host."""
    if not isinstance(address, tuple) or len(address) != 4:
        return address
    host, port, _, scope = address
    return (f"{host.partition('%')[0]}%{scope}" if scope else host), port


def set_no_delay(any_socket: socket.socket) -> bool:
    """Set ``TCP_NODELAY``; return whether the socket is a TCP socket.

    Frames are written whole, so waiting for more data to send would only add latency.
    """
    if any_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    any_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return True


def unacknowledged_bytes(raw_socket: socket.socket) -> int:
    """Return the number of bytes in the kernel that the peer has not acknowledged; 0 if the system cannot tell."""
    try:
        return int.from_bytes(fcntl.ioctl(raw_socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (NameError, OSError, ValueError):  # on Windows, or if the socket is closed
        return 0


async def send_eagerly(stream: ByteStream, data: bytes) -> None:
    """Write all bytes, without a checkpoint unless it has to wait for the peer."""
    if data and isinstance(stream, SocketStream):
        data = data[stream.send_nowait([data]) :]
    if data:
        await stream.send(data)


async def receive_eagerly(stream: ByteStream) -> bytes:
    """Receive data, without a checkpoint if some is available. Raises as ``receive()`` of the stream.

    Use this only for short exchanges: if a peer kept sending, no other task would get a chance to run.
    """
    if not isinstance(stream, SocketStream):
        return await stream.receive()
    try:
        return stream.receive_nowait(65536)
    except anyio.WouldBlock:
        return await stream.wait_and_receive()
