"""Sockets that systemd has opened for us (socket activation, sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

from anyio.abc import SocketListener

from anyws._transport.listening import listen_on

__all__ = ["listeners_from_systemd"]

_FIRST = 3  # SD_LISTEN_FDS_START


def listeners_from_systemd(name: str | None = None) -> list[SocketListener]:
    """Return the listeners that systemd, or another manager of its kind, has opened for this process.

    They are for the option ``listeners`` of `serve`. The list is empty where the process was started in another way.
    Call it once, or once for each name; child processes do not inherit the sockets.

    Args:
        name: only those that have this ``FileDescriptorName=``, which is by default the name of the socket unit. None:
            all.

    Raises:
        ValueError: what was handed over is no stream socket that listens (``Accept=yes`` hands over connections), or is
            not described as it should be.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ["LISTEN_FDNAMES"].split(":") if "LISTEN_FDNAMES" in os.environ else ["unknown"] * count
    if len(names) != count:
        raise ValueError(f"LISTEN_FDS is {count}, but LISTEN_FDNAMES has {len(names)} names")
    with ExitStack() as on_failure:
        listeners: list[SocketListener] = []
        for index, given in enumerate(names):
            if name in (None, given):
                listeners.append(listen_on(on_failure.enter_context(_take(_FIRST + index))))
        on_failure.pop_all()
    return listeners


def _take(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=descriptor)
    except OSError as exc:
        raise ValueError(f"file descriptor {descriptor} is no socket: {exc.strerror}") from exc
