"""Messages between a handler and an ASGI server, with buffers in between.

How this works: one task receives from the server and another one sends to it, for as long as the handler runs. So a
handler that only sends learns that the client is gone, nothing is lost or sent in part if the handler is cancelled,
and `send_nowait` needs no waiting. What waits is woken by a single event whenever anything changes, and looks again.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from anyws._connection.receiving import other_task_receives
from anyws.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedLocally,
    ConnectionClosedOK,
    is_clean,
)
from anyws.protocol.closing import Close, CloseCode, check_close_code, check_close_reason, parse_close, serialize_close
from anyws.protocol.errors import LimitExceeded, RemoteProtocolError

from ._options import EndpointOptions
from ._requests import Message, Receive, Send

__all__ = ["Channel"]

C = TypeVar("C", bound=ConnectionClosed)


class Channel:
    """The messages of one accepted connection.

    Args:
        receive: receives from the ASGI server.
        send: sends to the ASGI server.
        options: the sizes of the buffers, and the limits.

    Attributes:
        received: the Close of the client, as the server reports it; None if there was none.
        sent: our Close; None if there was none.
        is_over: whether the server has reported the end of the connection, or has failed.
    """

    def __init__(self, receive: Receive, send: Send, options: EndpointOptions) -> None:
        self._receive = receive
        self._send = send
        self._options = options
        self._inbox: deque[str | bytes] = deque()
        self._inbox_size = 0
        self._outbox: deque[Message] = deque()
        self._outbox_size = 0
        self._turn = anyio.Lock(fast_acquire=True)  # held by the task that waits for room; others queue behind it
        self._is_receiving = False
        self._is_discarding = False  # whether what arrives is of no interest anymore
        self._changed: anyio.Event | None = None
        self._failure: Exception | None = None  # what the client has violated, or what the server has raised
        self.received: Close | None = None
        self.sent: Close | None = None
        self.is_over: bool = False

    # -- the two tasks -------------------------------------------------------------------------------------------------

    async def run_receiving(self) -> None:
        """Receive from the server until the connection is over."""
        while not self.is_over:
            while self._inbox_size >= self._options.receive_buffer:
                await self._wait()
            try:
                message = await self._receive()
            except Exception as exc:
                self._end(None, exc)
                return
            if message["type"] == "websocket.disconnect":
                code = int(message.get("code") or CloseCode.NO_STATUS_RECEIVED)
                is_lost = code == CloseCode.ABNORMAL_CLOSURE
                self._end(None if is_lost else Close(code, message.get("reason") or ""), None)
            elif not self._is_discarding:
                text = message.get("text")
                self._feed(message["bytes"] if text is None else text)

    async def run_sending(self) -> None:
        """Send to the server until our Close is sent."""
        while not self.is_over:
            while not self._outbox:
                await self._wait()
            message = self._outbox[0]
            try:
                await self._send(message)
            except Exception as exc:  # the client is gone; if not, the server rejects the message
                self._end(None, exc)
                return
            self._outbox.popleft()
            self._outbox_size -= _size_of(message)
            self._wake()

    def _feed(self, message: str | bytes) -> None:
        limit = self._options.max_message_size
        if limit is not None and (size := _length_of(message, limit)) > limit:
            self.fail(LimitExceeded("max_message_size", limit, size))
            return
        self._inbox.append(message)
        self._inbox_size += sys.getsizeof(message)
        self._wake()

    def _end(self, close: Close | None, failure: Exception | None) -> None:
        if not self.is_over:
            self.is_over = True
            self.received = close
            self._failure = self._failure or failure
            self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _wait(self) -> None:
        self._changed = self._changed or anyio.Event()
        await self._changed.wait()

    # -- for the handler -----------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message; see `WebSocket.receive`."""
        if self._is_receiving:
            raise other_task_receives()
        self._is_receiving = True
        try:
            await checkpoint()
            while not self._inbox:
                if self.is_over or self._is_discarding or self._has_sent_close:
                    raise self._for_receiver()
                await self._wait()
        finally:
            self._is_receiving = False
        message = self._inbox.popleft()
        self._inbox_size -= sys.getsizeof(message)
        self._wake()
        return message

    async def send(self, data: str | bytes) -> None:
        """Wait for room and queue a message; see `WebSocket.send`."""
        await checkpoint()
        async with self._turn:
            await self._wait_for_room()
            self._queue(data)

    def send_nowait(self, data: str | bytes) -> None:
        """Queue a message; see `WebSocket.send_nowait`."""
        self.check_sendable()
        if not self._has_room or self._turn.locked():
            raise anyio.WouldBlock(f"send_buffer ({self._options.send_buffer} bytes) is full")
        self._queue(data)

    async def drain(self) -> None:
        """Wait until `send_nowait` does not block; see `WebSocket.drain`."""
        await checkpoint()
        async with self._turn:
            await self._wait_for_room()

    def check_sendable(self) -> None:
        """Check that messages can be sent.

        Raises:
            ConnectionClosed: the connection is closed or closing.
        """
        if self.sent is not None and self._failure is None:
            raise self._exception(ConnectionClosedLocally)
        if self.sent is not None or self.is_over:
            raise self._exception(ConnectionClosedError)

    def begin_close(self, code: int | None, reason: str, *, discard: bool) -> None:
        """Queue a Close; see `WebSocket.aclose`. Does nothing if a close has begun.

        Args:
            code: the code; None for the server's default, which is 1000.
            reason: the reason.
            discard: whether to discard the messages that were not received yet.
        """
        code = int(CloseCode.NORMAL_CLOSURE) if code is None else code
        check_close_code(code)
        check_close_reason(reason)
        if discard:
            self._is_discarding = True
            self._inbox.clear()
            self._inbox_size = 0
        if self.sent is None and not self.is_over:
            self.sent = parse_close(serialize_close(Close(code, reason)))  # truncates the reason
            close = {"type": "websocket.close", "code": int(code), "reason": self.sent.reason}
            self._outbox.append(close)
        self._wake()

    def fail(self, problem: RemoteProtocolError) -> ConnectionClosedError:
        """Close the connection because of what the client has sent; return the exception to raise."""
        self._is_discarding = True
        if self.sent is None and not self.is_over:
            self._failure = problem
        self.begin_close(problem.close_code, problem.reason, discard=False)
        closed = self._exception(ConnectionClosedError)
        closed.__cause__ = problem
        return closed

    async def wait_closed(self, limit: float | None = None) -> None:
        """Wait until the connection is over, or the server has accepted our Close.

        Raises:
            ConnectionClosedError: the server has accepted nothing for ``limit`` seconds.
        """
        await checkpoint()
        while not self.is_over and not self._has_sent_close:
            with anyio.move_on_after(limit) as scope:
                await self._wait()
            if scope.cancelled_caught:
                lost, detail = self._outbox_size, f"the server accepted no message for {limit:g} s"
                raise self._exception(ConnectionClosedError, detail=detail, undelivered=lost)

    @property
    def _has_sent_close(self) -> bool:
        return self.sent is not None and not self._outbox

    @property
    def _has_room(self) -> bool:
        return self._outbox_size < self._options.send_buffer

    async def _wait_for_room(self) -> None:
        self.check_sendable()
        while not self._has_room:
            await self._wait()
            self.check_sendable()

    def _queue(self, data: str | bytes) -> None:
        message: Message = {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}
        self._outbox.append(message)
        self._outbox_size += _size_of(message)
        self._wake()

    def _for_receiver(self) -> ConnectionClosed:
        decisive = self.received if self.is_over else self.sent
        return self._exception(ConnectionClosedOK if is_clean(decisive) else ConnectionClosedError)

    def _exception(self, exception: type[C], **details: Any) -> C:
        closed = exception(received=self.received, sent=self.sent, **details)
        closed.__cause__ = self._failure
        return closed


def _size_of(message: Message) -> int:
    """Return the memory that a queued message takes; nothing for a Close."""
    data = message.get("text", message.get("bytes"))
    return 0 if data is None else sys.getsizeof(data)


def _length_of(message: str | bytes, limit: int) -> int:
    """Return the length of a message in bytes; at least, whether it exceeds the limit."""
    is_certain = isinstance(message, bytes) or message.isascii() or len(message) > limit
    return len(message) if is_certain or isinstance(message, bytes) else len(message.encode())
