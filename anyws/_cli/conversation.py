"""A conversation with a server: sends the input and shows the messages received."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio

import anyws

from .commands import HELP, Action, Close, Ping, Send, SendFile, parse_line
from .framing import IncompleteInput
from .screen import Screen, give_up_output
from .statuses import Status
from .stopping import Stop

__all__ = ["Conversation", "Message", "Terms"]

Message = str | bytes | AsyncIterable[str] | AsyncIterable[bytes]
"""A message to send."""

_CHUNK = 65536  # bytes of a file that are sent in one frame
_PINGS = 5.0  # seconds between two Pings that only measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Settings of a conversation. Times are in seconds.

    Attributes:
        is_typed: whether lines that start with a slash are commands.
        patience: after the end of the input, close once nothing has been received for this long; 0: do not wait.
        count: close after this many messages; None for no limit.
        timeout: close after this long.
        ping_interval: how often to measure the latency; None for never.
    """

    is_typed: bool = False
    patience: float = 0
    count: int | None = None
    timeout: float = math.inf
    ping_interval: float | None = None


class Conversation:
    """Sends the input and shows the messages received, until the connection ends.

    At the end of the input, the connection is closed. In order not to lose the responses, it first waits for the Pong
    to a Ping, which shows that the peer has read everything, and then until nothing has been received for a while.
    """

    def __init__(
        self, websocket: anyws.WebSocket, screen: Screen, source: AsyncIterator[Message] | None, terms: Terms
    ) -> None:
        """Create a conversation.

        Args:
            websocket: the connection.
            screen: shows the messages.
            source: the messages to send; None to send nothing.
            terms: see `Terms`.
        """
        self._websocket = websocket
        self._screen = screen
        self._source = source
        self._terms = terms
        self._came = anyio.Event()
        self._missing = terms.count  # messages still to be received
        self._status: Status | None = None  # set by a failure on our side, which a normal closure must not hide
        self._close: Close | None = None  # the /close command, if given

    async def run(self, stop: Stop) -> Status:
        """Run until the connection ends; return the exit status."""
        status = Status.FAILED
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._send_all)
            tasks.start_soon(self._close_when_asked, stop)
            tasks.start_soon(self._close_after_timeout)
            tasks.start_soon(self._measure)
            status = await self._show_messages()
            tasks.cancel_scope.cancel()
        await self._screen.finish()
        if self._status is not None:
            return self._status
        return Status.FAILED if status is Status.OK and self._missing else status

    async def _show_messages(self) -> Status:
        """Show messages; return how the connection ended."""
        try:
            while True:
                message = await self._websocket.receive()
                self._came.set()
                if self._missing != 0:
                    await self._screen.show(message)
                if self._missing:
                    self._missing -= 1
                    if not self._missing:
                        await self._websocket.send_eof()
        except anyws.ConnectionClosed as exc:
            return await self._tell_end(exc)
        except OSError as exc:
            if not isinstance(exc, BrokenPipeError):  # the reader of our output has exited, like `head`
                self._screen.note(f"anyws: cannot print: {exc}")
            give_up_output()
            return Status.FAILED

    async def _tell_end(self, exc: anyws.ConnectionClosed) -> Status:
        if self._close is None:
            self._screen.note(_describe(exc))
            return Status.OK if isinstance(exc, anyws.ConnectionClosedOK) else Status.ABNORMAL
        await self._websocket.wait_closed()  # the response to the user's Close may still arrive
        code, reason = self._websocket.close_code, self._websocket.close_reason
        if code == anyws.CloseCode.ABNORMAL_CLOSURE:
            self._screen.note("connection lost: no Close received")
        else:
            self._screen.note(f"closed: {code}{f' ({reason})' if reason else ''}")
        return Status.OK if code == self._close.code else Status.ABNORMAL

    async def _send_all(self) -> None:
        try:
            if self._source is not None:
                self._screen.prompt()
                async for item in self._source:
                    await self._take(item)
                    self._screen.prompt()
            await self._wait_for_silence()
        except anyws.ConnectionClosed:
            return  # reported by _show_messages
        except UnicodeDecodeError as exc:
            self._fail(f"a message is not valid {exc.encoding} ({exc.reason}); sending stopped")
        except IncompleteInput as exc:
            self._fail(str(exc))
        await self._websocket.send_eof()

    def _fail(self, problem: str) -> None:
        self._status = Status.FAILED
        self._screen.note(f"anyws: {problem}")

    async def _take(self, item: Message) -> None:
        if not (self._terms.is_typed and isinstance(item, str)):
            await self._websocket.send(item)
            return
        try:
            await self._do(parse_line(item))
        except (ValueError, OSError) as exc:
            self._screen.note(f"anyws: {exc}")

    async def _do(self, action: Action) -> None:
        match action:
            case Send(message):
                await self._websocket.send(message)
            case SendFile(path):
                size = await self._send_file(path)
                self._screen.note(f"sent {size} bytes")
            case Ping(payload):
                self._tasks.start_soon(self._ping, payload)
            case Close():
                self._begin_close(action)
            case _:
                for line in HELP.splitlines():
                    self._screen.note(line)

    async def _send_file(self, path: Path) -> int:
        size = 0
        async with await anyio.open_file(path, "rb") as file:

            async def chunks() -> AsyncGenerator[bytes, None]:
                nonlocal size
                while chunk := await file.read(_CHUNK):
                    size += len(chunk)
                    yield chunk

            await self._websocket.send(chunks())
        if not size:
            await self._websocket.send(b"")
        return size

    async def _ping(self, payload: bytes | None) -> None:
        try:
            latency = await self._websocket.ping(payload)
        except anyws.ConnectionClosed:
            return
        self._screen.note(f"pong: {latency * 1000:.3f} ms")

    def _begin_close(self, close: Close) -> None:
        self._close = close

        async def aclose() -> None:
            try:
                await self._websocket.aclose(close.code, close.reason)
            except ValueError as exc:
                self._close = None
                self._screen.note(f"anyws: /close: {exc}")

        self._tasks.start_soon(aclose)

    async def _measure(self) -> None:
        if self._terms.ping_interval is None:
            return
        try:
            while True:
                self._screen.latency(await self._websocket.ping())
                await anyio.sleep(self._terms.ping_interval)
        except anyws.ConnectionClosed:
            return

    async def _wait_for_silence(self) -> None:
        if not self._terms.patience:
            return
        await self._websocket.ping()
        while True:
            self._came = anyio.Event()
            with anyio.move_on_after(self._terms.patience) as silence:
                await self._came.wait()
            if silence.cancelled_caught:
                return

    async def _close_when_asked(self, stop: Stop) -> None:
        await stop.wait()
        await self._websocket.send_eof()

    async def _close_after_timeout(self) -> None:
        await anyio.sleep(self._terms.timeout)
        self._status = Status.TIMED_OUT
        self._screen.note(f"anyws: timed out after {self._terms.timeout:g} s")
        await self._websocket.send_eof()


def _describe(exc: anyws.ConnectionClosed) -> str:
    if isinstance(exc.__cause__, anyws.RemoteProtocolError):
        return f"failed: {exc.__cause__}"
    if exc.received is None:
        return f"connection lost: {exc.__cause__ or exc}"
    return f"closed: {'no code' if exc.code == anyws.CloseCode.NO_STATUS_RECEIVED else exc.received}"
