"""An AnyIO stream over a non-blocking socket, for TCP and unix sockets, on every backend.

Why not AnyIO's own: on asyncio that one reads without bound while data keeps coming, so a bounded receive buffer cannot
rest on it. This one reads when it is asked to, and the kernel's window does the rest.
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

__all__ = ["SocketStream", "receive_at_once", "send_at_once", "send_small_segments", "unacknowledged"]

_GATHERS = hasattr(socket.socket, "sendmsg")  # not on Windows
_MAX_BUFFERS = 1024  # of one sendmsg(), on Linux


class SocketStream(AbstractSocketStream):
    """A connected socket as a byte stream. It owns the socket.

    A cancelled `receive` loses nothing. A cancelled `send` may have sent a part: the stream is then of no more use.
    Both addresses stay known when the connection has ended.

    Args:
        connected: the socket.
        remote_address: the address of the peer; None to ask the socket.
        is_prepared: whether the socket sends small segments at once, or knows no others.
    """

    def __init__(self, connected: socket.socket, remote_address: Any = None, *, is_prepared: bool = False) -> None:
        connected.setblocking(False)
        if not is_prepared:
            send_small_segments(connected)
        self._socket = connected
        self.local_address: Any = _ask(connected.getsockname)
        self.remote_address: Any = _ask(connected.getpeername) if remote_address is None else remote_address
        self._closed = False
        self._waiting = 0  # tasks that wait for the socket
        self._is_receiving = False
        self._is_sending = False

    def configure(self, *, no_delay: bool, keep_alive: bool, keep_alive_delay: float | None) -> None:
        """Set what TCP sockets know; does nothing on a unix socket.

        Args:
            no_delay: send small segments at once (``TCP_NODELAY``).
            keep_alive: probe a silent peer (``SO_KEEPALIVE``).
            keep_alive_delay: seconds of silence before the first probe; None for the system's default.
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
        """Those of `anyio.abc.SocketAttribute`."""
        attributes: dict[Any, Callable[[], Any]] = {
            SocketAttribute.family: lambda: self._socket.family,
            SocketAttribute.raw_socket: lambda: self._socket,
        }
        for address, whole, port in (
            (self.local_address, SocketAttribute.local_address, SocketAttribute.local_port),
            (self.remote_address, SocketAttribute.remote_address, SocketAttribute.remote_port),
        ):
            if address is not None:
                attributes[whole] = functools.partial(_without_scope, address)
                if isinstance(address, tuple):
                    attributes[port] = functools.partial(int, address[1])
        return attributes

    @property
    def raw_socket(self) -> socket.socket:
        """The socket."""
        return self._socket

    def fileno(self) -> int:
        """Return the file descriptor; -1 once the stream is closed."""
        return self._socket.fileno()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has come, at least 1 byte and at most ``max_bytes``.

        Raises:
            EndOfStream: the peer has ended its side.
            BrokenResourceError: the connection is lost.
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
        """Wait, then receive: for who has seen that nothing has come. Returns and raises as `receive`."""
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
        """Return what has come, without waiting; raise as `receive`.

        Raises:
            WouldBlock: nothing has come.
        """
        try:
            data = self._socket.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            raise anyio.WouldBlock from None
        except OSError as exc:
            raise self._translated(exc) from exc
        if not data:
            raise anyio.EndOfStream
        return data

    def receive_into_nowait(self, buffer: memoryview) -> int:
        """Read what has come into a buffer; return how many bytes that were. Raise as `receive_nowait`."""
        try:
            count = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            raise anyio.WouldBlock from None
        except OSError as exc:
            raise self._translated(exc) from exc
        if not count:
            raise anyio.EndOfStream
        return count

    def send_nowait(self, items: Sequence[bytes | memoryview]) -> int:
        """Write as many of the bytes as the peer takes now, in one go; return their number; raise as `send`."""
        try:
            if len(items) > 1 and _GATHERS:
                return self._socket.sendmsg(items[:_MAX_BUFFERS])
            return self._socket.send(items[0] if len(items) == 1 else b"".join(items))
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            raise self._translated(exc) from exc

    async def send(self, item: bytes | memoryview) -> None:
        """Write all of the bytes.

        Raises:
            BrokenResourceError: the connection is lost.
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
        """Wait until the peer may take more bytes.

        Raises:
            ClosedResourceError: the stream was closed.
        """
        await self._wait(anyio.wait_writable)

    async def send_eof(self) -> None:
        """End our side; the peer's side stays open."""
        self._check_sendable()
        self.send_eof_nowait()
        await checkpoint()

    def send_eof_nowait(self) -> None:
        """End our side; raise as `send`."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise self._translated(exc) from exc

    def close(self) -> None:
        """Close both sides at once; also for the peer, if a forked child has inherited the socket."""
        if not self._closed:
            self._closed = True
            if self._waiting:
                anyio.notify_closing(self._socket)
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:  # the connection is lost
                pass
            self._socket.close()

    async def aclose(self) -> None:
        """Close both sides at once."""
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
            # On trio, to wake who waits for the socket to be readable wakes who waits to write as well.
        finally:
            self._waiting -= 1

    def _translated(self, exc: OSError) -> Exception:
        return anyio.ClosedResourceError() if self._closed else anyio.BrokenResourceError(str(exc))


def _ask(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except OSError:  # not connected any more
        return None


def _without_scope(address: Any) -> Any:
    """Return an address as AnyIO does: one of IPv6 as host and port, with the scope in the host."""
    if not isinstance(address, tuple) or len(address) != 4:
        return address
    host, port, _, scope = address
    return (f"{host.partition('%')[0]}%{scope}" if scope else host), port


def send_small_segments(any_socket: socket.socket) -> bool:
    """Let a socket of TCP send small segments at once; say whether it is one.

    Frames are written whole, so waiting for more to send would only add latency.
    """
    if any_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    any_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return True


def unacknowledged(raw_socket: socket.socket) -> int:
    """Return how many bytes the kernel has accepted and the peer has not acknowledged; 0 where it does not say."""
    try:
        return int.from_bytes(fcntl.ioctl(raw_socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (NameError, OSError, ValueError):  # Windows; a socket that is closed
        return 0


async def send_at_once(stream: ByteStream, data: bytes) -> None:
    """Write all of the bytes; wait only for a peer that does not take them, without a checkpoint if it does."""
    if data and isinstance(stream, SocketStream):
        data = data[stream.send_nowait([data]) :]
    if data:
        await stream.send(data)


async def receive_at_once(stream: ByteStream) -> bytes:
    """Return what has come, without a checkpoint if something has; raise as ``receive()`` of the stream.

    For what comes in one piece: with a peer that always has more, nobody else would have a turn.
    """
    if not isinstance(stream, SocketStream):
        return await stream.receive()
    try:
        return stream.receive_nowait(65536)
    except anyio.WouldBlock:
        return await stream.wait_and_receive()
