"""Detects connection resets on event loops that do not report them.

libuv, on which uvloop is based, stops watching a socket once epoll reports an error for it, and calls back one last
time. If a peer sends data and then resets the connection, the read in this callback returns the data, and the reset
goes unnoticed. Therefore each socket is also registered with a second epoll, for errors only. This takes two system
calls per connection and none per message; a connection that ends within `_DELAY` costs none.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

__all__ = ["ResetWatch", "watch_resets"]

# When a socket is registered, in seconds. epoll then reports an error that has occurred before.
_DELAY = 0.05


class ResetWatch:
    """Watches the sockets of one event loop for errors.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._new: set[int] = set()  # the sockets that are not registered yet
        self._timer: asyncio.TimerHandle | None = None  # registers them
        self._epoll: select.epoll | None = None  # None while no sockets are registered

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once if the socket has an error.

        If there are no file descriptors left (EMFILE), the socket is not watched, and only the next Ping detects a
        reset.
        """
        self._callbacks[descriptor] = callback
        self._new.add(descriptor)
        if self._timer is None:
            self._timer = self._loop.call_later(_DELAY, self._register)

    def remove(self, descriptor: int) -> None:
        """Stop watching a socket. Call this before you close it."""
        if self._callbacks.pop(descriptor, None) is None:
            return
        if descriptor in self._new:
            self._new.remove(descriptor)
        elif self._epoll is not None:
            self._epoll.unregister(descriptor)
        self._close_unless_used()

    def _register(self) -> None:
        self._timer = None
        new, self._new = self._new, set()
        for descriptor in new:
            try:
                if self._epoll is None:
                    self._epoll = select.epoll()
                    self._loop.add_reader(self._epoll.fileno(), self._on_errors)
                self._epoll.register(descriptor, select.EPOLLET)  # errors are always reported
            except OSError:
                del self._callbacks[descriptor]
        self._close_unless_used()

    def _close_unless_used(self) -> None:
        if self._callbacks:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
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


_watches: dict[asyncio.AbstractEventLoop, ResetWatch] = {}  # only for event loops with watched sockets


def watch_resets(loop: asyncio.AbstractEventLoop) -> ResetWatch | None:
    """Return the watch for the sockets of an event loop; None if the event loop reports errors itself."""
    if not type(loop).__module__.startswith("uvloop") or not hasattr(select, "epoll"):
        return None
    return _watches.get(loop) or _watches.setdefault(loop, ResetWatch(loop))
