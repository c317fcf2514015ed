"""Sockets opened by systemd (socket activation, sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

from anyio.abc import SocketListener

from anyws._transport.listening import listen_on

__all__ = ["listeners_from_systemd"]

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


def listeners_from_systemd(name: str | None = None) -> list[SocketListener]:
    """Return the listeners that systemd, or a compatible service manager, has opened for this process.

    Pass them to `serve` as ``listeners``. The list is empty if the process was started in another way. Call this
    function once, or once for each name. Child processes do not inherit the sockets.

    Args:
        name: return only sockets with this ``FileDescriptorName=``, which is by default the name of the socket unit.
            None: return all.

    Raises:
        ValueError: a socket is not a listening stream socket (``Accept=yes`` passes connections instead), or the
            environment variables are inconsistent.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ["LISTEN_FDNAMES"].split(":") if "LISTEN_FDNAMES" in os.environ else ["unknown"] * count
    if len(names) != count:
        raise ValueError(f"LISTEN_FDS is {count}, but LISTEN_FDNAMES has {len(names)} names")
    with ExitStack() as on_failure:
        listeners: list[SocketListener] = []
        for index, socket_name in enumerate(names):
            if name in (None, socket_name):
                listeners.append(listen_on(on_failure.enter_context(_open_socket(_FIRST_DESCRIPTOR + index))))
        on_failure.pop_all()
    return listeners


def _open_socket(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=descriptor)
    except OSError as exc:
        raise ValueError(f"file descriptor {descriptor} is not a socket: {exc.strerror}") from exc
