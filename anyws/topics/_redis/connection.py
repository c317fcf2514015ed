"""One connection to a server: commands go out in few writes, replies and messages come in as the server sent them."""

from __future__ import annotations

import math
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import ByteStream

from anyws._connection.wakeup import Wakeup
from anyws._transport.connecting import connect_tcp, connect_unix
from anyws._transport.tls import TLSStream
from anyws.exceptions import EngineUnavailable
from anyws.protocol.hosts import join_host_port

from .protocol import Push, Reader, RedisProtocolError, pack
from .settings import Address

__all__ = ["LIMIT", "LOST", "Command", "Connection", "open_stream", "shown"]

LIMIT = 5.0
"""How long a server may take to respond, in seconds."""

PING_INTERVAL = 4.0
"""After how many seconds without a byte from the server it is pinged. Together with `LIMIT` less than 10 seconds."""

_READ_SIZE = 65536
_PENDING = object()
_MAX_WRITE = 1 << 18  # bytes that are joined for a write; a longer batch takes several
LOST = (OSError, ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
_ACKNOWLEDGEMENTS = frozenset((b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"))


class Command:
    """A command for a server.

    Args:
        packed: the command as bytes.
        channels: how many channels it subscribes to or unsubscribes from. Such a command has no reply but one
            acknowledgement for each channel, among the messages; or a single error, which is a reply.
        is_optional: whether it need not be sent if the caller is cancelled before.
    """

    __slots__ = ("channels", "is_optional", "is_withdrawn", "packed", "reply")

    def __init__(self, packed: bytes, *, channels: int = 0, is_optional: bool = False) -> None:
        self.packed = packed
        self.channels = channels
        self.is_optional = is_optional
        self.is_withdrawn = False
        self.reply: object = _PENDING


class _Batch:
    """The commands of one pass of the event loop. They share a write and an event, which makes each one cheap."""

    __slots__ = ("answered", "commands", "done", "is_sent", "since")

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.answered = 0
        self.done = anyio.Event()
        self.is_sent = False
        self.since = anyio.current_time()


def shown(address: Address) -> str:
    """Return an address for messages."""
    if isinstance(address, str):
        return address
    return join_host_port(*address)


async def open_stream(address: Address, context: ssl.SSLContext | None) -> ByteStream:
    """Connect to a server.

    Raises:
        OSError: it cannot be reached, or TLS failed.
    """
    if isinstance(address, str):
        return await connect_unix(address)
    stream = await connect_tcp(*address)
    if context is None:
        return stream
    try:
        return await TLSStream.wrap(stream, context, server_side=False, hostname=address[0])
    except (anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        await anyio.aclose_forcefully(stream)
        raise ConnectionError("the connection was lost during the TLS handshake; does the server use TLS?") from exc
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


class Connection:
    """A connection. `run` has to run while it is used.

    Args:
        stream: a stream that is connected to the server.
        address: the address of the server, for messages.
        on_message: called with the channel and the payload of each published message.
        drain: awaited after each read; nothing more is read until it returns.
    """

    def __init__(
        self,
        stream: ByteStream,
        address: Address,
        *,
        on_message: Callable[[bytes, bytes], None] | None = None,
        drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.run_id: bytes = b""
        """Which run of which server this is; set by `greet`."""
        self._stream = stream
        self._address = address
        self._reader = Reader(on_message or _ignore, self._received)
        self._drain = drain
        self._open: _Batch | None = None  # what the next write sends
        self._sent: deque[_Batch] = deque()  # what has been written, and waits for replies
        self._work = Wakeup()
        self._last_read = anyio.current_time()
        self._is_draining = False
        self._failure: EngineUnavailable | None = None
        self._scope: anyio.CancelScope | None = None

    def __str__(self) -> str:
        return shown(self._address)

    async def call(self, *commands: Command) -> list[object]:
        """Send commands together, and return their replies; `ServerError` objects are replies as well.

        If cancelled, commands that are not optional are still sent.

        Raises:
            EngineUnavailable: the connection was lost. The message says whether the commands had been sent.
        """
        if self._failure is not None:
            raise EngineUnavailable(f"{self._failure}; nothing was sent")
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            self._work.set()
        batch.commands += commands
        try:
            await batch.done.wait()
        except BaseException:
            if not batch.is_sent:
                for command in commands:
                    command.is_withdrawn = command.is_optional
            raise
        if commands[-1].reply is _PENDING:
            outcome = "the command may have been carried out" if batch.is_sent else "nothing was sent"
            raise EngineUnavailable(f"{self._failure}; {outcome}")
        return [command.reply for command in commands]

    def lose(self, reason: BaseException) -> None:
        """End the connection; whoever waits for a reply gets an error. Only the first reason counts."""
        if self._failure is None:
            is_end = isinstance(reason, anyio.EndOfStream)
            text = "the server closed it" if is_end else str(reason) or type(reason).__name__
            self._failure = EngineUnavailable(f"the connection to {shown(self._address)} was lost: {text}")
            self._failure.__cause__ = reason
            if self._scope is not None:
                self._scope.cancel()

    async def run(self, greet: Callable[[], Awaitable[None]]) -> EngineUnavailable:
        """Read and write until the connection is lost; return why.

        Args:
            greet: runs first, and may call. If it raises EngineUnavailable, the connection ends.
        """
        try:
            async with anyio.create_task_group() as tasks:
                self._scope = tasks.cancel_scope
                for work in (self._read, self._write, self._watch, greet):
                    tasks.start_soon(self._until_lost, work)
        finally:
            if self._failure is None:
                self._failure = EngineUnavailable(f"the connection to {shown(self._address)} was closed")
            for batch in (*self._sent, *([self._open] if self._open else ())):
                batch.done.set()
            await anyio.aclose_forcefully(self._stream)
        return self._failure

    async def _until_lost(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except EngineUnavailable as exc:
            self._failure = self._failure or exc
            assert self._scope is not None
            self._scope.cancel()
        except (*LOST, RedisProtocolError) as exc:
            self.lose(exc)

    async def _read(self) -> None:
        while True:
            data = await self._stream.receive(_READ_SIZE)
            self._last_read = anyio.current_time()
            self._reader.feed(data)
            if self._drain is not None:
                self._is_draining = True
                await self._drain()
                self._is_draining = False
                self._last_read = anyio.current_time()

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            batch, self._open = self._open, None
            if batch is None:
                continue
            batch.commands = [command for command in batch.commands if not command.is_withdrawn]
            if not batch.commands:
                continue
            batch.is_sent = True
            self._sent.append(batch)
            packed = b"".join([command.packed for command in batch.commands])
            for start in range(0, len(packed), _MAX_WRITE):
                await self._stream.send(packed[start : start + _MAX_WRITE])

    async def _watch(self) -> None:
        """Ping a silent server, and give up one that does not respond."""
        while True:
            now = anyio.current_time()
            waiting = min((batch.since for batch in (*self._sent, self._open) if batch is not None), default=math.inf)
            if self._is_draining:  # we do not read, so that the server cannot be blamed
                pause = 1.0
            elif waiting < math.inf:
                pause = max(waiting, self._last_read) + LIMIT - now
                if pause <= 0:
                    self.lose(TimeoutError(f"no response for {LIMIT:g} seconds"))
                    return
            else:
                pause = self._last_read + PING_INTERVAL - now
                if pause <= 0:
                    self._ping()
                    continue
            await anyio.sleep(pause)

    def _ping(self) -> None:
        if self._open is None:
            self._open = _Batch()
            self._work.set()
        self._open.commands.append(Command(pack(b"PING")))

    def _received(self, value: object) -> None:
        if type(value) is Push:
            kind = value[0] if value else None
            if kind not in _ACKNOWLEDGEMENTS:
                return
            command = self._next()
            if command is None or not command.channels:  # a cluster has moved the slot of the channel to another server
                self.lose(EngineUnavailable("the server ended a subscription"))
                return
            command.channels -= 1
            if command.channels:
                return
            value = kind
        command = self._next()
        if command is None:
            raise RedisProtocolError(f"the server sent a reply to nothing: {value!r:.60}")
        command.reply = value
        batch = self._sent[0]
        batch.answered += 1
        if batch.answered == len(batch.commands):
            self._sent.popleft().done.set()

    def _next(self) -> Command | None:
        """Return the command that is answered next."""
        return self._sent[0].commands[self._sent[0].answered] if self._sent else None


def _ignore(*_: Any) -> None: ...
