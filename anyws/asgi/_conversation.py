"""The messages of ASGI: what an application receives and sends on one WebSocket connection.

The rule of this file: which messages an application may send when, and what it receives at the end, is decided here.

    CONNECTING  -- 'websocket.accept' ----------------> OPEN
    CONNECTING  -- 'websocket.http.response.start' ---> RESPONDING
    CONNECTING  -- 'websocket.close' -----------------> CLOSED (403)
    RESPONDING  -- the last 'websocket.http.response.body' -> CLOSED
    OPEN        -- 'websocket.close' -----------------> CLOSED
    any         -- the application returns -----------> CLOSED

See https://asgi.readthedocs.io/en/latest/specs/www.html#websocket.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import anyio
from anyio.lowlevel import checkpoint

from anyws._connection.establish import new_core
from anyws._connection.options import ConnectionOptions
from anyws._connection.pumps import Background, TransportStream
from anyws._connection.pumps.transports import TransportPump
from anyws._connection.websocket import WebSocket
from anyws._logs import connection_logger
from anyws.exceptions import ConnectionClosed
from anyws.protocol.closing import CloseCode
from anyws.protocol.connection import State
from anyws.protocol.http11 import Response
from anyws.protocol.server_handshake import ServerHandshake, check_final_response

from ._link import ServedLink

__all__ = ["Conversation", "Phase", "Server"]

Message = Mapping[str, Any]
Pairs = Iterable[tuple[bytes, bytes]]


class Phase(enum.Enum):
    """What the application has decided so far."""

    CONNECTING = enum.auto()
    RESPONDING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class Server(Protocol):
    """The ASGI server."""

    @property
    def disconnected(self) -> type[OSError]:
        """The exception for an application that sends to a client that is gone."""
        ...

    @property
    def default_headers(self) -> Pairs:
        """The headers of every response."""
        ...

    def accepted(self, pump: TransportPump) -> None:
        """Log that the application has accepted, and forward the calls of the transport to the pump from now on."""

    def refused(self, status: int) -> None:
        """Log that the application has refused with a status."""


class Conversation:
    """One connection as an ASGI application sees it.

    Args:
        server: the ASGI server.
        stream: the connection.
        handshake: the opening handshake, which has a valid request.
        options: the limits and timeouts.
        background: where the timers of the connection run.
    """

    __slots__ = (
        "_background",
        "_body",
        "_changed",
        "_early",
        "_end",
        "_handshake",
        "_has_announced",
        "_head",
        "_is_lost",
        "_is_paused",
        "_options",
        "_server",
        "_stream",
        "_turn",
        "link",
        "phase",
        "websocket",
    )

    def __init__(
        self,
        server: Server,
        stream: TransportStream,
        handshake: ServerHandshake,
        options: ConnectionOptions,
        background: Background,
    ) -> None:
        self._server = server
        self._stream = stream
        self._handshake = handshake
        self._options = options
        self._background = background
        self.phase: Phase = Phase.CONNECTING
        self.link: ServedLink | None = None
        """The connection, once it is accepted."""
        self.websocket: WebSocket | None = None
        """The connection, once it is accepted."""
        self._early = bytearray(handshake.trailing_data)  # frames that arrived before the application has accepted
        self._is_lost = False  # before the application has accepted
        self._is_paused = False  # reading, because so much has arrived before the application has accepted
        self._has_announced = False  # whether the application has received 'websocket.connect'
        self._changed: anyio.Event | None = None  # set when a task that waits for the decision should look again
        self._turn: anyio.Event | None = None  # set when another task may receive
        self._head: tuple[int, list[tuple[str, str]]] | None = None  # of a denial response
        self._body = bytearray()
        self._end: Message | None = None  # what to receive at the end, if not what the Close says

    # -- for the application -------------------------------------------------------------------------------------------

    def limit(self, **options: Any) -> None:
        """Replace some of the limits and timeouts, before the connection is accepted."""
        self._options = dataclasses.replace(self._options, **options)

    async def receive(self) -> dict[str, Any]:
        """Wait for the next message. If cancelled, no message is lost. Several tasks may wait, one gets each message.

        After the end, it always returns 'websocket.disconnect'.
        """
        if self.websocket is None or not self._has_announced:
            event = await self._receive_opening()
            if event is not None:
                return event
        assert self.link is not None
        inbox = self.link.inbox
        while inbox.is_receiving:
            self._turn = self._turn or anyio.Event()
            await self._turn.wait()
        try:
            message = await self.link.path.receive()
        except ConnectionClosed:
            await checkpoint()  # a program that ignores the end must not block the event loop
            return self._disconnect()
        finally:
            if self._turn is not None:
                self._turn.set()
                self._turn = None
        return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

    async def send(self, message: Message) -> None:
        """Send a message; waits while the client does not read. If cancelled while it waits, nothing is sent.

        Raises:
            OSError: the client is gone; the class is ``disconnected`` of the server.
            RuntimeError: the message is unknown, or not possible now.
            ValueError: a header, the subprotocol or the close code is invalid.
        """
        kind = message["type"]
        if kind != "websocket.send" or self.phase is not Phase.OPEN:
            self._decide(kind, message)
            return
        data = message.get("bytes")
        if data is None:
            data = message.get("text")
            if data is None:
                raise RuntimeError("ASGI message 'websocket.send' has neither 'bytes' nor 'text'.")
        assert self.link is not None
        if not self.link.path.send_now(data):
            assert self.websocket is not None
            try:
                await self.websocket.send(data)
            except ConnectionClosed as exc:
                raise self._server.disconnected from exc

    async def _receive_opening(self) -> dict[str, Any] | None:
        """Receive what there is before the connection is accepted; return None once it is."""
        if not self._has_announced:
            self._has_announced = True
            return {"type": "websocket.connect"}
        while self.websocket is None:
            if self.phase is Phase.CLOSED:
                await checkpoint()
                return self._disconnect()
            self._changed = self._changed or anyio.Event()
            await self._changed.wait()
        return None

    def _disconnect(self) -> dict[str, Any]:
        if self._end is not None:
            return {"type": "websocket.disconnect", **self._end}
        # Whoever began to close: the other side repeats the code.
        close = None if self.link is None else self.link.core.close_sent
        if close is None:
            return {"type": "websocket.disconnect", "code": int(CloseCode.ABNORMAL_CLOSURE)}
        return {"type": "websocket.disconnect", "code": int(close.code), "reason": close.reason}

    # -- decisions of the application ----------------------------------------------------------------------------------

    def _decide(self, kind: str, message: Message) -> None:
        """Process any message but 'websocket.send' on an open connection."""
        if self._is_gone:
            raise self._server.disconnected
        if self.phase is Phase.CONNECTING:
            if kind == "websocket.accept":
                self._accept(message)
            elif kind == "websocket.close":
                self._server.refused(403)
                self._respond(Response(403))
            elif kind == "websocket.http.response.start":
                self._begin_response(message)
            else:
                raise RuntimeError(
                    "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' "
                    f"but got '{kind}'."
                )
        elif self.phase is Phase.RESPONDING:
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body' but got '{kind}'.")
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._end_response()
        elif self.phase is Phase.CLOSED:
            raise RuntimeError(f"Unexpected ASGI message '{kind}', after sending 'websocket.close'.")
        elif kind == "websocket.close":
            self._close(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
        else:
            raise RuntimeError(f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'.")

    @property
    def _is_gone(self) -> bool:
        """Whether the client is gone, or has closed the connection."""
        if self.link is not None:
            return self.link.is_over or (self.phase is Phase.OPEN and self.link.core.state is not State.OPEN)
        return self._is_lost or (self.phase is not Phase.CLOSED and self._stream.transport.is_closing())

    def _accept(self, message: Message) -> None:
        headers = [*_decoded(self._server.default_headers), *_decoded(message.get("headers") or ())]
        response = self._handshake.accept(headers, subprotocol=message.get("subprotocol") or None)
        assert self._handshake.request is not None
        self._stream.transport.write(self._handshake.data_to_send(response))
        logger = connection_logger("anyws.server", self._stream)
        self.link = ServedLink(self._stream, new_core(self._handshake, self._options), self._options, logger)
        if self._early:
            self.link.feed_first(bytes(self._early))
            self._early.clear()
        if self._is_paused:
            self._stream.transport.resume_reading()
        self.websocket = WebSocket(self.link, self._handshake.request, response, self._handshake.subprotocol)
        self._server.accepted(self.link.pump)
        self.link.start(self._background)
        self._change(Phase.OPEN)

    def _begin_response(self, message: Message) -> None:
        status = message["status"]
        if not 200 <= status <= 599:
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response: expected 200 to 599.")
        self._head = status, _decoded(message.get("headers") or ())
        self._server.refused(status)
        self._change(Phase.RESPONDING)

    def _end_response(self) -> None:
        assert self._head is not None
        response = Response(*self._head, bytes(self._body))
        check_final_response(response)
        self._respond(response)

    def _respond(self, response: Response) -> None:
        """Send a response other than a 101, and close the connection."""
        self.phase = Phase.CLOSED
        missing = [pair for pair in _decoded(self._server.default_headers) if pair[0] not in response.headers]
        headers = [*missing, *response.headers.multi_items()]
        whole = Response(response.status, headers, response.body)
        self._stream.transport.write(self._handshake.data_to_send(whole))
        self._stream.transport.close()
        self._change(Phase.CLOSED)

    def _close(self, code: int, reason: str) -> None:
        assert self.link is not None
        self.link.close(code, reason)
        self._change(Phase.CLOSED)

    def _change(self, phase: Phase) -> None:
        self.phase = phase
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # -- for the server ------------------------------------------------------------------------------------------------

    def receive_early(self, data: bytes) -> None:
        """Keep data that arrives before the application has decided, up to ``receive_buffer``."""
        self._early += data
        if len(self._early) >= self._options.receive_buffer and not self._is_paused:
            self._is_paused = True
            self._stream.transport.pause_reading()

    def fail(self) -> None:
        """Respond with 500, if the application has not decided yet."""
        if self.phase in (Phase.CONNECTING, Phase.RESPONDING) and not self._stream.transport.is_closing():
            self._respond(Response(500, (), "Internal Server Error"))

    def finish(self) -> None:
        """End what the application has left undone when it returns."""
        if self.phase is Phase.OPEN:
            assert self.link is not None
            self.link.hang_up()
            self.link.intake.stop()
            self._change(Phase.CLOSED)
        elif self.phase is Phase.RESPONDING and not self._is_gone:
            try:
                self._end_response()
            except ValueError:  # it has announced more than it has sent
                self.fail()
        else:
            self.fail()

    def shut_down(self) -> None:
        """Close the connection because the server shuts down (1012), or stop waiting for a close in progress."""
        if self.link is None:
            self.fail()
        elif self.link.core.state is State.OPEN:
            self._end = {"code": int(CloseCode.SERVICE_RESTART)}
            self.link.close(CloseCode.SERVICE_RESTART, "")
        elif self.link.core.state is State.CLOSING and self.link.pump.has_written:
            self.link.abort()  # the client has had its time to respond

    def lost(self) -> None:
        """Note that the transport is closed, before the application has accepted."""
        self._is_lost = True
        self._change(Phase.CLOSED)


def _decoded(headers: Pairs) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
