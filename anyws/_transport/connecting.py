"""Opens connections: TCP with Happy Eyeballs (RFC 8305), and unix sockets."""

from __future__ import annotations

import errno
import os
import re
import socket
from itertools import chain, zip_longest
from typing import Any

import anyio

from .stream import SocketStream
from .turns import Turn

__all__ = ["connect_tcp", "connect_unix", "resolve", "unix_family"]

_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_Address = tuple[socket.AddressFamily, Any]


async def connect_tcp(
    host: str,
    port: int,
    *,
    local: tuple[str, int] | None = None,
    family: int = socket.AF_UNSPEC,
    happy_eyeballs_delay: float = 0.25,
    turn: Turn | None = None,
) -> SocketStream:
    """Connect to the first address of the host that accepts the connection.

    The addresses are tried one after another, alternating between IPv6 and IPv4. The next attempt starts when the
    previous one has failed or has taken ``happy_eyeballs_delay`` seconds. If you pass a ``turn``, the function waits
    for it first. Cancellation closes all sockets.

    Raises:
        OSError: the host name cannot be resolved, or no address accepts the connection.
    """
    addresses = _interleaved(await resolve(host, port, family))
    bind_to = dict(await resolve(*local, family)) if local is not None else {}
    if local is not None:
        addresses = [address for address in addresses if address[0] in bind_to]
        if not addresses:
            raise OSError(errno.EADDRNOTAVAIL, f"{local[0]} is not of the same address family as {host}")
    if turn is not None:
        await turn.wait(address[:2] for _, address in addresses)
    if len(addresses) == 1:
        family, address = addresses[0]
        return SocketStream(await _connect_socket(family, address, bind_to.get(family)), address)
    winner: list[SocketStream] = []
    errors: list[OSError] = []

    async def attempt(address: _Address, ended: anyio.Event) -> None:
        try:
            connected = await _connect_socket(*address, bind_to.get(address[0]))
        except OSError as exc:
            errors.append(exc)
        else:
            if winner:
                connected.close()
            else:
                winner.append(SocketStream(connected, address[1]))
                attempts.cancel_scope.cancel()
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                ended = anyio.Event()
                attempts.start_soon(attempt, address, ended)
                with anyio.move_on_after(happy_eyeballs_delay):
                    await ended.wait()
        if winner:
            return winner[0]
    except BaseException:
        for stream in winner:
            stream.close()
        raise
    try:
        raise _combined(host, errors)
    finally:
        errors.clear()  # avoid a reference cycle: the tracebacks refer to this list


async def connect_unix(path: str) -> SocketStream:
    """Connect to the unix socket at this path.

    Raises:
        OSError: the socket does not exist, or no process is listening on it.
    """
    return SocketStream(await _connect_socket(unix_family(), path, None))


def unix_family() -> socket.AddressFamily:
    """Return the address family of unix sockets.

    Raises:
        OSError: Python has none on this system, such as Windows.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "Python does not support unix sockets on this system: use TCP")
    return socket.AF_UNIX


async def resolve(host: str | None, port: int, family: int = socket.AF_UNSPEC, flags: int = 0) -> list[_Address]:
    """Resolve the addresses of a host.

    Raises:
        OSError: the host name cannot be resolved.
    """
    try:
        if host is not None and _ADDRESS.fullmatch(host):  # needs no thread
            flags |= socket.AI_NUMERICHOST
            found: list[Any] = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
        else:
            found = await anyio.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror as exc:
        raise socket.gaierror(exc.errno, f"{exc.strerror}: {host}") from exc
    return [(socket.AddressFamily(family), address) for family, _, _, _, address in found]


def _interleaved(addresses: list[_Address]) -> list[_Address]:
    """Alternate between the two address families, starting with the resolver's first (RFC 8305, section 4)."""
    if not addresses:
        return []
    same = [address for address in addresses if address[0] == addresses[0][0]]
    other = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(same, other)) if address is not None]


async def _connect_socket(family: socket.AddressFamily, address: Any, local_address: Any) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        if local_address is not None:
            connecting.bind(local_address)
        error = connecting.connect_ex(address)
        if _is_in_progress(error) and _is_connected(connecting):
            error = 0
        elif _is_in_progress(error):
            await anyio.wait_writable(connecting)
            error = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            shown = f"{address[0]} port {address[1]}" if isinstance(address, tuple) else address
            raise OSError(error, f"{_error_text(error)}: {shown}")
    except BaseException:
        connecting.close()
        raise
    return connecting


def _is_in_progress(error: int) -> bool:
    """Return whether connecting continues in the background; Windows has an error of its own for that."""
    return error in (errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))


def _error_text(error: int) -> str:
    """Describe an error of a socket; on Windows, `os.strerror` does not know those."""
    texts: dict[int, str] = getattr(socket, "errorTab", {})
    return texts.get(error) or os.strerror(error)


def _is_connected(connecting: socket.socket) -> bool:
    """Return whether the socket is already connected; on loopback it is when connect(2) returns."""
    try:
        connecting.getpeername()
    except OSError:
        return False
    return True


def _combined(host: str, errors: list[OSError]) -> OSError:
    """Combine the errors of all addresses, keeping their class if it is the same; they are its ``__cause__``."""
    if len(errors) == 1:
        return errors[0]
    numbers = {error.errno for error in errors}
    number = numbers.pop() if len(numbers) == 1 else None
    text = "; ".join(str(error.strerror) for error in errors)
    combined = OSError(f"no address of {host}: {text}") if number is None else OSError(number, text)
    combined.__cause__ = ExceptionGroup(f"all addresses of {host} failed", errors) if errors else None
    return combined
