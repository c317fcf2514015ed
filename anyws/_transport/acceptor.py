"""Waits for connections on an asyncio event loop by registering a listening socket once, not once per connection."""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

import anyio

__all__ = ["Acceptor"]


class Acceptor:
    """The incoming connections of a listening socket.

    When a connection arrives, the event loop calls back, and the callback accepts the connection immediately.

    Args:
        listening: the listening socket.
        loop: an asyncio event loop.

    Raises:
        NotImplementedError: the event loop does not support ``add_reader``, like the default one on Windows.
    """

    def __init__(self, listening: socket.socket, loop: Any) -> None:
        self.loop = loop
        self._listening = listening
        self._descriptor = listening.fileno()
        self._waiter: Any = None  # a future, while a task is waiting
        self._unclaimed: deque[tuple[socket.socket, Any]] = deque()  # accepted for a task that was then cancelled
        self._is_registered = False
        self._register()

    async def accept(self) -> tuple[socket.socket, Any]:
        """Wait for a connection; return its socket and the client's address. Cancellation does not lose a connection.

        Raises:
            OSError: accepting failed.
            ClosedResourceError: `close` was called.
        """
        if self._unclaimed:
            return self._unclaimed.popleft()
        self._register()
        self._waiter = waiter = self.loop.create_future()
        try:
            accepted: tuple[socket.socket, Any] = await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._unclaimed.append(waiter.result())
            raise
        finally:
            self._waiter = None
        return accepted

    def close(self) -> None:
        """Stop waiting, and close the accepted connections that no task has received."""
        self._unregister()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(anyio.ClosedResourceError())
        while self._unclaimed:
            self._unclaimed.popleft()[0].close()

    def _register(self) -> None:
        if not self._is_registered:
            self.loop.add_reader(self._descriptor, self._on_readable)
            self._is_registered = True

    def _unregister(self) -> None:
        if self._is_registered:
            self._is_registered = False
            self.loop.remove_reader(self._descriptor)

    def _on_readable(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._unregister()  # further connections wait in the backlog
            return
        try:
            self._waiter.set_result(self._listening.accept())
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:
            self._waiter.set_exception(exc)
