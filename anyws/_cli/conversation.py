"""A conversation with a server: sends the input and shows the messages received."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio

import anyws

from .commands import HELP, Action, Close, Ping, Send, SendFile, parse_line
from .exit_status import ExitStatus
from .framing import IncompleteInput
from .printing import discard_output
from .screen import Screen
from .stopping import Stop

__all__ = ["Conversation", "ConversationOptions", "Message"]

Message = str | bytes | AsyncIterable[str] | AsyncIterable[bytes]
"""A message to send."""

_CHUNK = 65536  # bytes of a file that are sent in one frame


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationOptions:
    """Settings of a conversation. Times are in seconds.

    Attributes:
        is_interactive: whether lines that start with a slash are commands.
        idle_timeout: after the end of the input, close once nothing has been received for this long; 0: do not wait.
        count: close after this many messages; None for no limit.
        timeout: close after this long.
        ping_interval: how often to measure the latency; None for never.
    """

    is_interactive: bool = False
    idle_timeout: float = 0
    count: int | None = None
    timeout: float = math.inf
    ping_interval: float | None = None


class Conversation:
    """Sends the input and shows the messages received, until the connection ends.

    At the end of the input, the connection is closed. In order not to lose the responses, it first waits for the Pong
    to a Ping, which shows that the peer has read everything, and then until nothing has been received for a while.
    """

    def __init__(
        self,
        websocket: anyws.WebSocket,
        screen: Screen,
        source: AsyncIterator[Message] | None,
        options: ConversationOptions,
    ) -> None:
        """Create a conversation.

        Args:
            websocket: the connection.
            screen: shows the messages.
            source: the messages to send; None to send nothing.
            options: see `ConversationOptions`.
        """
        self._websocket = websocket
        self._screen = screen
        self._source = source
        self._options = options
        self._received = anyio.Event()
        self.remaining = options.count  # messages still to be received
        self.is_over = False  # our side has ended the conversation
        self.end: anyws.ConnectionClosed | None = None  # how the connection ended
        self._status: ExitStatus | None = None  # set by a failure on our side, which a normal closure must not hide
        self._close: Close | None = None  # the /close command, if given

    async def run(self, stop: Stop) -> ExitStatus:
        """Run until the connection ends; return the exit status."""
        status = ExitStatus.FAILED
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._send_all)
            tasks.start_soon(self._close_on_signal, stop)
            tasks.start_soon(self._close_after_timeout)
            tasks.start_soon(self._measure_latency)
            status = await self._show_messages()
            tasks.cancel_scope.cancel()
        if self._status is not None:
            return self._status
        return ExitStatus.FAILED if status is ExitStatus.OK and self.remaining else status

    async def _show_messages(self) -> ExitStatus:
        """Show messages; return how the connection ended."""
        try:
            while True:
                message = await self._websocket.receive()
                self._received.set()
                if self.remaining != 0:
                    await self._screen.show(message)
                if self.remaining:
                    self.remaining -= 1
                    if not self.remaining:
                        await self._end()
        except anyws.ConnectionClosed as exc:
            self.end = exc
            return await self._report_end(exc)
        except OSError as exc:
            if not isinstance(exc, BrokenPipeError):  # the reader of our output has exited, like `head`
                self._screen.note(f"anyws: cannot print: {exc}")
            discard_output()
            self.is_over = True
            return ExitStatus.FAILED

    async def _end(self) -> None:
        self.is_over = True
        await self._websocket.send_eof()

    async def _report_end(self, exc: anyws.ConnectionClosed) -> ExitStatus:
        if self._close is None:
            self._screen.note(_describe(exc))
            return ExitStatus.OK if isinstance(exc, anyws.ConnectionClosedOK) else ExitStatus.ABNORMAL
        await self._websocket.wait_closed()  # the response to the user's Close may still arrive
        code, reason = self._websocket.close_code, self._websocket.close_reason
        if code == anyws.CloseCode.ABNORMAL_CLOSURE:
            self._screen.note("connection lost: no Close received")
        else:
            self._screen.note(f"closed: {code}{f' ({reason})' if reason else ''}")
        return ExitStatus.OK if code == self._close.code else ExitStatus.ABNORMAL

    async def _send_all(self) -> None:
        try:
            if self._source is not None:
                self._screen.prompt()
                async for item in self._source:
                    await self._handle_input(item)
                    self._screen.prompt()
            await self._wait_until_idle()
        except anyws.ConnectionClosed:
            return  # reported by _show_messages
        except UnicodeDecodeError as exc:
            self._fail(f"a message is not valid {exc.encoding} ({exc.reason}); sending stopped")
        except IncompleteInput as exc:
            self._fail(str(exc))
        await self._end()

    def _fail(self, problem: str) -> None:
        self._status = ExitStatus.FAILED
        self._screen.note(f"anyws: {problem}")

    async def _handle_input(self, item: Message) -> None:
        if not (self._options.is_interactive and isinstance(item, str)):
            await self._websocket.send(item)
            return
        try:
            await self._execute(parse_line(item))
        except (ValueError, OSError) as exc:
            self._screen.note(f"anyws: {exc}")

    async def _execute(self, action: Action) -> None:
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
        self.is_over = True

        async def aclose() -> None:
            try:
                await self._websocket.aclose(close.code, close.reason)
            except ValueError as exc:
                self._close = None
                self.is_over = False
                self._screen.note(f"anyws: /close: {exc}")

        self._tasks.start_soon(aclose)

    async def _measure_latency(self) -> None:
        if self._options.ping_interval is None:
            return
        try:
            while True:
                self._screen.latency(await self._websocket.ping())
                await anyio.sleep(self._options.ping_interval)
        except anyws.ConnectionClosed:
            return

    async def _wait_until_idle(self) -> None:
        if not self._options.idle_timeout:
            return
        await self._websocket.ping()
        while True:
            self._received = anyio.Event()
            with anyio.move_on_after(self._options.idle_timeout) as scope:
                await self._received.wait()
            if scope.cancelled_caught:
                return

    async def _close_on_signal(self, stop: Stop) -> None:
        await stop.wait()
        await self._end()

    async def _close_after_timeout(self) -> None:
        await anyio.sleep(self._options.timeout)
        self._status = ExitStatus.TIMED_OUT
        self._screen.note(f"anyws: timed out after {self._options.timeout:g} s")
        await self._end()


def _describe(exc: anyws.ConnectionClosed) -> str:
    if isinstance(exc.__cause__, anyws.RemoteProtocolError):
        return f"failed: {exc.__cause__}"
    if exc.received is None:
        return f"connection lost: {exc.__cause__ or exc}"
    return f"closed: {'no code' if exc.code == anyws.CloseCode.NO_STATUS_RECEIVED else exc.received}"
