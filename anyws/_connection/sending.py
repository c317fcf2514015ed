"""The sending half of a connection: which task may pass a message to the core, and when."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint

from anyws.protocol.closing import CloseCode
from anyws.protocol.connection import Role, State
from anyws.protocol.frames import Opcode, serialize_frame

from .link import Link

__all__ = ["PreparedMessage", "Sendable", "Sender", "check_payload", "checked_message"]


class PreparedMessage:
    """A message framed once and sent many times: ``await websocket.send(prepared)``, or see `broadcast`.

    A server sends the frame unchanged, because its frames are not masked (RFC 6455, section 5.1); ``compress=True``
    compresses it for each connection. A client masks it again each time.

    Args:
        message: `str` as text, bytes as binary.

    Attributes:
        message: the message.
        frame: its single frame, as a server sends it.

    Raises:
        TypeError: the message has the wrong type.
    """

    __slots__ = ("frame", "message")

    def __init__(self, message: str | bytes | bytearray | memoryview) -> None:
        self.message: str | bytes = checked_message(message)
        opcode = Opcode.TEXT if isinstance(self.message, str) else Opcode.BINARY
        self.frame: bytes = serialize_frame(opcode, self.message)


Sendable = str | bytes | bytearray | memoryview | PreparedMessage
"""A message to send: text, or binary."""

_MESSAGE = (str, bytes)
_OPCODES = tuple(opcode for opcode in Opcode if opcode is not Opcode.CONTINUATION)


class Sender:
    """Passes complete messages to the core of a link while there is room in the send buffer.

    A message is passed on without waiting in between, and only the link writes. So a send that is cancelled while it
    waits for room has sent nothing, and a message that was passed on is sent in full.
    """

    __slots__ = (
        "_link",
        "_turn",
    )

    def __init__(self, link: Link) -> None:
        self._link = link
        # Held by the task that waits for room or sends a fragmented message; others queue behind it, in order.
        self._turn: anyio.Lock | None = None  # created on demand: it takes more memory than everything else here

    async def send(
        self,
        item: Sendable | AsyncIterable[str] | AsyncIterable[bytes],
        fragment_size: int | None,
        compress: bool | None,
    ) -> None:
        """Send a message, or an iterable as the fragments of one; see `WebSocket.send`."""
        if isinstance(item, AsyncIterable):
            if fragment_size is not None:
                raise ValueError("fragment_size cannot be used with an async iterable: its elements are the fragments")
            await self._send_fragments(item, compress)
            return
        message = _checked_item(item, fragment_size)
        if self._link.outbox.budget <= 0:
            await self._link.checkpoint()
        self._link.outbox.budget -= 1
        if self._link.has_room and not self._link.outbox.is_reserved:
            self._queue_and_flush(message, fragment_size, compress)
        else:
            async with self._next_turn():
                await self._wait_for_room()
                self._queue_and_flush(message, fragment_size, compress)

    def send_nowait(self, item: Sendable, opcode: int | None, fragment_size: int | None, compress: bool | None) -> None:
        """Send a message or a control frame without waiting; see `WebSocket.send_nowait`.

        Args:
            item: the message, the payload of a Ping or Pong, or the reason of a Close (1000).
            opcode: an `Opcode`; None to infer it from the type of the message.
            fragment_size: see `WebSocket.send`.
            compress: see `WebSocket.send`.
        """
        kind = _checked_opcode(opcode)
        message = _checked_item(
            item.message if kind is not None and isinstance(item, PreparedMessage) else item, fragment_size
        )
        link = self._link
        link.check_sendable()
        if kind is Opcode.CLOSE:
            assert not isinstance(message, PreparedMessage)
            reason = message if isinstance(message, str) else message.decode()
            link.begin_close(CloseCode.NORMAL_CLOSURE, reason, discard=False)
            return
        if not link.has_room or link.core.sending_fragments:
            raise anyio.WouldBlock(f"send_buffer ({link.options.send_buffer} bytes) is full")
        if isinstance(message, PreparedMessage):
            self._queue(message, None, compress)
        elif kind is Opcode.PING or kind is Opcode.PONG:
            payload = message.encode() if isinstance(message, str) else message
            (link.core.send_ping if kind is Opcode.PING else link.core.send_pong)(payload)
        else:
            link.core.send_message(message, opcode=kind, fragment_size=fragment_size, compress=compress)
        link.flush()

    async def drain(self) -> None:
        """Wait until `send_nowait` does not block; see `WebSocket.drain`."""
        await checkpoint()
        async with self._next_turn():
            await self._wait_for_room()

    @asynccontextmanager
    async def _next_turn(self) -> AsyncGenerator[None, None]:
        """Queue behind tasks that wait for room or send fragments; nobody overtakes until the block ends."""
        if self._turn is None:
            self._turn = anyio.Lock()
        self._link.outbox.is_reserved = True
        try:
            async with self._turn:
                yield
        finally:
            self._link.outbox.is_reserved = self._turn.locked()

    async def _wait_for_room(self) -> None:
        """Wait until there is room; raise if nothing can be sent anymore. The caller has the turn."""
        self._link.check_sendable()
        while not self._link.has_room:
            await self._link.wait_for_progress()
            self._link.check_sendable()

    def _queue_and_flush(
        self, message: str | bytes | PreparedMessage, fragment_size: int | None, compress: bool | None
    ) -> None:
        self._link.check_sendable()
        self._queue(message, fragment_size, compress)
        self._link.flush()

    def _queue(self, message: str | bytes | PreparedMessage, fragment_size: int | None, compress: bool | None) -> None:
        core = self._link.core
        if not isinstance(message, PreparedMessage):
            core.send_message(message, fragment_size=fragment_size, compress=compress)
        elif compress or core.role is Role.CLIENT:
            core.send_message(message.message, compress=compress)
        else:
            core.send_prepared(message.frame)

    async def _send_fragments(
        self, fragments: AsyncIterable[str] | AsyncIterable[bytes], compress: bool | None
    ) -> None:
        async with self._next_turn():
            self._link.check_sendable()
            try:
                last: str | bytes | None = None
                async for fragment in fragments:
                    last = checked_message(fragment)
                    await self._queue_fragment(last, fin=False, compress=compress)
                if last is not None:
                    end = "" if isinstance(last, str) else b""
                    await self._queue_fragment(end, fin=True, compress=compress)
            finally:
                if self._link.core.sending_fragments and self._link.core.state is State.OPEN:
                    reason = "a fragmented message was not completed"
                    self._link.begin_close(CloseCode.INTERNAL_ERROR, reason, discard=False)
                if isinstance(fragments, AsyncGenerator):
                    await fragments.aclose()

    async def _queue_fragment(self, data: str | bytes, *, fin: bool, compress: bool | None) -> None:
        await self._wait_for_room()
        self._link.core.send_fragment(data, fin=fin, compress=compress)
        self._link.flush()


def check_payload(kind: str, payload: bytes | None) -> None:
    """Check the type of the payload of a Ping or Pong.

    Raises:
        TypeError: it is not bytes.
    """
    if payload is not None and not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"the payload of a {kind} must be bytes, not {type(payload).__name__}")


def _checked_item(item: object, fragment_size: int | None) -> str | bytes | PreparedMessage:
    """Check a message. A prepared one is a single frame, so its contents are returned if it is to be fragmented."""
    if fragment_size is not None and not isinstance(fragment_size, int):
        raise TypeError(f"fragment_size must be an int or None, not {type(fragment_size).__name__}")
    if fragment_size is not None and fragment_size < 1:
        raise ValueError(f"fragment_size is {fragment_size}: expected at least 1, or None")
    if isinstance(item, PreparedMessage):
        return item if fragment_size is None else item.message
    return checked_message(item)


def checked_message(message: object) -> str | bytes:
    """Return a message as `str` or `bytes`.

    Raises:
        TypeError: it has another type.
    """
    if isinstance(message, _MESSAGE):
        return message
    if isinstance(message, bytearray | memoryview):
        return bytes(message)
    hint = ""
    if isinstance(message, dict | list):
        hint = "; for JSON, send json.dumps(...)"
    elif isinstance(message, AsyncIterable):
        hint = "; only send() accepts an async iterable"
    raise TypeError(f"cannot send {type(message).__name__}: expected str, bytes or an async iterable of either{hint}")


def _checked_opcode(opcode: int | None) -> Opcode | None:
    if opcode is None:
        return None
    if opcode not in _OPCODES:
        raise ValueError(f"opcode {opcode}: expected {', '.join(f'{kind.value} ({kind.name})' for kind in _OPCODES)}")
    return Opcode(opcode)
