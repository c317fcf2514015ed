"""Notices resets on event loops that do not tell of them.

libuv, which uvloop runs on, stops watching a socket once epoll reports an error for it, and calls back a last time. A
peer that sends something and then resets the connection causes one such call: the read that follows returns the data,
and nobody learns of the reset. So each socket is registered for errors alone with an epoll of its own as well, which
costs two system calls for each connection, and none for each message.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

__all__ = ["ResetWatch", "watch_resets"]


class ResetWatch:
    """The sockets of one event loop that are watched for errors.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None  # while there are sockets

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back once if a socket fails.

        Where the system has no descriptor to spare (EMFILE), the socket is not watched: the next Ping notices.
        """
        try:
            if self._epoll is None:
                self._epoll = select.epoll()
                self._loop.add_reader(self._epoll.fileno(), self._on_errors)
            self._epoll.register(descriptor, select.EPOLLET)  # errors are always reported
        except OSError:
            self._close_unless_used()
        else:
            self._callbacks[descriptor] = callback

    def remove(self, descriptor: int) -> None:
        """Forget a socket that is still open."""
        if self._callbacks.pop(descriptor, None) is None or self._epoll is None:
            return
        self._epoll.unregister(descriptor)
        self._close_unless_used()

    def _close_unless_used(self) -> None:
        if self._callbacks:
            return
        if self._epoll is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        _watches.pop(self._loop, None)

    def _on_errors(self) -> None:
        if self._epoll is not None:
            for descriptor, _ in self._epoll.poll(0):
                if (callback := self._callbacks.get(descriptor)) is not None:
                    callback()


_watches: dict[asyncio.AbstractEventLoop, ResetWatch] = {}  # of the loops that have sockets open


def watch_resets(loop: asyncio.AbstractEventLoop) -> ResetWatch | None:
    """Return what watches the sockets of an event loop; None where the loop itself tells of errors."""
    if not type(loop).__module__.startswith("uvloop") or not hasattr(select, "epoll"):
        return None
    return _watches.get(loop) or _watches.setdefault(loop, ResetWatch(loop))
