"""One message to many connections: `broadcast`.

How this works: a broadcast sends in slices, so that other tasks run in between. Messages still arrive in order: each
connection has a line of the broadcasts that have not sent to it yet, in the order in which they began. Whichever of
them reaches the connection first sends the messages of the whole line. So no broadcast waits for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import anyio

from anyws._slices import in_slices
from anyws.exceptions import ConnectionClosed
from anyws.protocol.closing import CloseCode

from .sending import PreparedMessage, Sendable
from .websocket import WebSocket, link_of

__all__ = ["broadcast"]

_SLOW = ("wait", "drop", "disconnect")

_Line = tuple["_Broadcast", ...]
"""The broadcasts in progress that have not sent to a connection yet, in the order in which they began."""

# Of all event loops: a connection belongs to one of them.
_lines: dict[WebSocket, _Line] = {}


async def broadcast(
    websockets: Iterable[WebSocket],
    message: Sendable,
    *,
    compress: bool = False,
    slow: Literal["wait", "drop", "disconnect"] = "wait",
) -> list[WebSocket]:
    """Send one message to many connections: ``await anyws.broadcast(server.connections, "news")``.

    A server frames the message only once, because its frames are not masked (RFC 6455, section 5.1). A connection whose
    ``send_buffer`` is full never delays the others: they are sent the message first. Connections that are closed, or
    that close in the meantime, are skipped; those that open in the meantime do not get the message.

    Other tasks run every few milliseconds, however many connections there are. Each connection gets the messages of
    several broadcasts in the order in which the broadcasts began; a message that another task sends with
    `WebSocket.send` may arrive before or after. If cancelled, the connections that were sent the message get it, and
    the remaining ones do not.

    Args:
        websockets: the connections; each gets the message once.
        message: the message: `str` as text, bytes as binary.
        compress: whether to compress the message separately for each connection that has agreed on compression. By
            default it is sent uncompressed, which costs next to nothing.
        slow: what to do about a connection whose ``send_buffer`` is full, or which is in the middle of a fragmented
            message: ``"wait"`` for it; ``"drop"`` the message for it; or ``"disconnect"`` it: close it with 1013 (try
            again later), within ``close_timeout``.

    Returns:
        The connections that did not get the message, because they are closed, were disconnected, or were passed over.

    Raises:
        TypeError: the message or a connection has the wrong type.
        ValueError: ``slow`` is none of these.
    """
    if slow not in _SLOW:
        raise ValueError(f"slow is {slow!r}: expected {', '.join(map(repr, _SLOW))}")
    if isinstance(websockets, WebSocket):
        raise TypeError("broadcast() expects an iterable of connections; for one, use `await websocket.send()`")
    if isinstance(websockets, str | bytes):
        raise TypeError("broadcast() expects the connections first, and then the message")
    prepared = message if isinstance(message, PreparedMessage) else PreparedMessage(message)
    sending = _Broadcast(prepared, compress=compress, slow=slow)
    everybody = dict.fromkeys(websockets, (sending,))
    sending.join(everybody)
    try:
        await in_slices(everybody, sending.visit)
        if sending.behind:
            await sending.wait()
    except BaseException:
        sending.leave(everybody)
        if (wrong := next((each for each in everybody if not isinstance(each, WebSocket)), None)) is not None:
            raise TypeError(f"broadcast() expects WebSocket objects, not {type(wrong).__name__}") from None
        raise
    return [websocket for websocket in everybody if websocket in sending.missed] if sending.missed else []


class _Broadcast:
    """One call of `broadcast`.

    Args:
        prepared: the message.
        compress: whether to compress it.
        slow: see `broadcast`.

    Attributes:
        behind: the connections to wait for.
        missed: the connections that do not get the message.
    """

    __slots__ = ("_compress", "_failure", "_prepared", "_slow", "behind", "missed")

    def __init__(self, prepared: PreparedMessage, *, compress: bool, slow: str) -> None:
        self._prepared = prepared
        self._compress = compress
        self._slow = slow
        self._failure: Exception | None = None
        self.behind: list[WebSocket] = []
        self.missed: set[WebSocket] = set()

    def join(self, everybody: Mapping[WebSocket, _Line]) -> None:
        """Take the last place in the line of each connection.

        Args:
            everybody: for each connection, a line of this broadcast alone.
        """
        if not _lines or _lines.keys().isdisjoint(everybody):  # for speed: the usual case, without a loop
            _lines.update(everybody)
        else:
            for websocket, line in everybody.items():
                _lines[websocket] = _lines.get(websocket, ()) + line

    def visit(self, websocket: WebSocket) -> None:
        """Send all that a connection is owed, as far as it accepts that without waiting."""
        line = _lines.pop(websocket, ())
        # For speed: the usual case with the fewest calls.
        is_alone = len(line) == 1 and line[0] is self and not self._compress
        if is_alone and link_of(websocket).path.send_prepared(self._prepared.frame):
            return
        if not self._send_line(websocket, line):
            self._pass_over(websocket)
        if self._failure is not None:
            self._raise_failure()

    async def wait(self) -> None:
        """Wait for the connections that are behind."""
        async with anyio.create_task_group() as tasks:
            await in_slices(self.behind, lambda websocket: tasks.start_soon(self._wait_for, websocket))
        self._raise_failure()

    def leave(self, websockets: Iterable[WebSocket]) -> None:
        """Leave the lines of these connections: they do not get the message if they have not got it yet."""
        for websocket in websockets:
            if self._is_owed(websocket):
                rest = tuple(each for each in _lines.pop(websocket) if each is not self)
                if rest:
                    _lines[websocket] = rest

    def _is_owed(self, websocket: WebSocket) -> bool:
        return self in _lines.get(websocket, ())

    def _send_line(self, websocket: WebSocket, line: _Line) -> bool:
        """Send the messages of a line that was taken out, as far as possible; return whether ours is done."""
        while line and line[0]._send(websocket):
            line = line[1:]
        if not line:
            return True
        _lines[websocket] = line
        return self not in line

    def _send(self, websocket: WebSocket) -> bool:
        """Send this message only; return whether that is done, or impossible."""
        try:
            websocket.send_nowait(self._prepared, compress=self._compress)
        except anyio.WouldBlock:
            return False
        except ConnectionClosed:
            self.missed.add(websocket)
        except Exception as exc:  # raised later by our own task: another broadcast may have made this call
            self._failure = exc
        return True

    def _pass_over(self, websocket: WebSocket) -> None:
        """Decide what to do about a slow connection."""
        if self._slow == "wait":
            self.behind.append(websocket)
            return
        self.leave([websocket])
        self.missed.add(websocket)
        if self._slow == "disconnect":
            link_of(websocket).begin_close(CloseCode.TRY_AGAIN_LATER, "too slow", discard=True)

    async def _wait_for(self, websocket: WebSocket) -> None:
        try:
            while self._is_owed(websocket):
                await websocket.drain()
                self._send_line(websocket, _lines.pop(websocket, ()))
        except ConnectionClosed:
            self.leave([websocket])
            self.missed.add(websocket)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback refers to this frame: break the cycle
