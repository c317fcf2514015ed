"""Listening sockets: TCP on all addresses of a host, and unix sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from ipaddress import ip_address
from typing import Any

import anyio
from anyio.abc import SocketListener as AbstractSocketListener
from anyio.lowlevel import checkpoint, current_token

from .acceptor import Acceptor
from .connecting import resolve, unix_family
from .stream import SocketStream, set_no_delay

__all__ = ["SocketListener", "listen_on", "listen_tcp", "listen_unix"]

# How often to try another port if the one that was free on one address is in use on another.
_PORT_ATTEMPTS = 8
# How many connections to accept in a row before other tasks get a chance to run.
_MAX_IN_A_ROW = 16


class SocketListener(AbstractSocketListener):
    """A listener for one socket. It owns the socket, and for a unix socket also the file."""

    def __init__(self, listening: socket.socket, *, path: str | None = None) -> None:
        listening.setblocking(False)
        # On most systems, accepted sockets inherit TCP_NODELAY from the listening socket.
        self._inherits_no_delay: bool | None = None if set_no_delay(listening) else True
        self._socket = listening
        self._local_address = _common_address(listening)
        self._acceptor: Acceptor | None = None
        self._in_a_row = 0  # connections accepted since other tasks could run
        self._closed = False
        self._path = path
        self._inode = None if path is None else os.stat(path).st_ino
        self._guard = anyio.ResourceGuard("accepting connections from")

    @property
    def _raw_socket(self) -> socket.socket:
        return self._socket

    async def accept(self) -> SocketStream:
        """Return the next connection.

        Raises:
            ClosedResourceError: the listener was closed.
            OSError: accepting a connection failed, for example for lack of file descriptors. You can try again.
        """
        if self._in_a_row >= _MAX_IN_A_ROW:
            self._in_a_row = 0
            await checkpoint()
        with self._guard:
            while True:
                try:
                    accepted: tuple[socket.socket, Any] | None = self._socket.accept()
                except (BlockingIOError, InterruptedError):
                    accepted = None
                except OSError as exc:
                    if self._closed:
                        raise anyio.ClosedResourceError from exc
                    raise
                if accepted is None:
                    self._in_a_row = 0
                    accepted = await self._wait()
                if accepted is not None:
                    self._in_a_row += 1
                    connected, address = accepted
                    return SocketStream(
                        connected,
                        address,
                        local_address=self._local_address,
                        has_no_delay=self._has_no_delay(connected),
                    )

    async def _wait(self) -> tuple[socket.socket, Any] | None:
        """Wait for a connection; return it, or None if the caller still has to accept it."""
        acceptor = self._find_acceptor()
        if acceptor is not None:
            return await acceptor.accept()
        await anyio.wait_readable(self._socket)
        return None

    def _find_acceptor(self) -> Acceptor | None:
        """Return the fastest way to wait on this event loop; None if there is nothing better than AnyIO's."""
        if self._acceptor is None or self._acceptor.loop.is_closed():
            loop = current_token().native_token
            if not hasattr(loop, "add_reader"):  # trio
                return None
            try:
                self._acceptor = Acceptor(self._socket, loop)
            except NotImplementedError:
                return None
        return self._acceptor

    def _has_no_delay(self, connected: socket.socket) -> bool:
        if self._inherits_no_delay is None:
            try:
                self._inherits_no_delay = bool(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            except OSError:  # on some systems, because the client has disconnected
                return True
        return self._inherits_no_delay

    async def aclose(self) -> None:
        """Stop listening. Accepted connections stay open. A unix socket's file is removed unless it was replaced."""
        if not self._closed:
            self._closed = True
            if self._acceptor is None:
                anyio.notify_closing(self._socket)
            else:
                self._acceptor.close()
            self._socket.close()
            if self._path is not None:
                try:
                    if os.stat(self._path).st_ino == self._inode:
                        os.unlink(self._path)
                except FileNotFoundError:
                    pass
        await checkpoint()


def _common_address(listening: socket.socket) -> Any:
    """Return the local address of every accepted socket, which saves a system call for each; None if they differ."""
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    address = listening.getsockname()
    return None if ip_address(address[0].partition("%")[0]).is_unspecified else address


async def listen_tcp(
    host: str | None, port: int, *, backlog: int = 128, reuse_port: bool = False, ipv6_only: bool = True
) -> list[SocketListener]:
    """Listen on all addresses of a host, with the same port for each.

    Args:
        host: a name or an address; None or ``""`` for all addresses of this machine.
        port: the port; 0 for any free port.
        backlog: the maximum number of connections waiting to be accepted.
        reuse_port: whether several processes may listen on the same port.
        ipv6_only: whether a socket on all IPv6 addresses excludes IPv4.

    Raises:
        OSError: the host name cannot be resolved, or an address is unavailable or already in use.
        TypeError: the port is not an `int`.
        ValueError: the port is out of range, or the system does not support ``reuse_port``.
    """
    if not isinstance(port, int):
        raise TypeError(f"the port must be an int, not {type(port).__name__} ({port!r})")
    if not 0 <= port <= 65535:
        raise ValueError(f"invalid port {port}: expected 1 to 65535, or 0 for any free port")
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("option reuse_port: this system does not let processes share a port (SO_REUSEPORT)")
    addresses = list(dict.fromkeys(await resolve(host or None, port, flags=socket.AI_PASSIVE)))
    for attempt in range(_PORT_ATTEMPTS):
        listening: list[socket.socket] = []
        chosen = port
        try:
            for family, address in addresses:
                bound = _listening_socket(family, (address[0], chosen, *address[2:]), backlog, reuse_port, ipv6_only)
                if bound is not None:
                    listening.append(bound)
                    chosen = bound.getsockname()[1]
        except OSError as exc:
            for bound in listening:
                bound.close()
            if port == 0 and exc.errno == errno.EADDRINUSE and attempt < _PORT_ATTEMPTS - 1:
                continue
            raise
        if not listening:
            raise OSError(errno.EAFNOSUPPORT, f"no address of {host} is of a family that this machine supports")
        return [SocketListener(bound) for bound in listening]
    raise AssertionError("unreachable")


def listen_on(listening: socket.socket) -> SocketListener:
    """Return a listener for a socket that is already listening.

    Closing the listener closes the socket, but does not remove the file of a unix socket.

    Raises:
        ValueError: the socket is not a stream socket, or is not listening.
    """
    if listening.type != socket.SOCK_STREAM or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError(f"{listening} is not a listening stream socket")
    return SocketListener(listening)


async def listen_unix(path: str, *, backlog: int = 128) -> SocketListener:
    """Listen on a unix socket at this path. A socket file without a listening process is replaced.

    Raises:
        OSError: another process is listening on the path, it is not a socket, or it cannot be created.
    """
    listening = socket.socket(unix_family(), socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            os.unlink(path)
        listening.bind(path)
        listening.listen(backlog)
        return SocketListener(listening, path=path)
    except BaseException:
        listening.close()
        raise


def _listening_socket(
    family: int, address: tuple[Any, ...], backlog: int, reuse_port: bool, ipv6_only: bool
) -> socket.socket | None:
    """Return a listening socket; None if the machine does not support the address family."""
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        if exc.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        elif hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where another process could take the port over
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, True)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
        listening.bind(address)
        listening.listen(backlog)
    except OSError as exc:
        listening.close()
        raise OSError(exc.errno, f"{exc.strerror}: {address[0]} port {address[1]}") from exc
    return listening


def _is_abandoned(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(unix_family(), socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
