"""One connection between a user, or the standard input and output, and a peer."""

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
"""What is sent."""

_CHUNK = 65536  # bytes of a file that are sent as one frame
_PINGS = 5.0  # seconds between two Pings that only measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a conversation keeps to. Times are in seconds.

    Attributes:
        is_typed: lines that start with a slash are commands.
        patience: how much silence after the end of the input ends the connection; 0: do not wait.
        count: end after so many messages; None for no such end.
        timeout: how long it may take.
        ping_interval: how often the latency is measured; None for never.
    """

    is_typed: bool = False
    patience: float = 0
    count: int | None = None
    timeout: float = math.inf
    ping_interval: float | None = None


class Conversation:
    """Sends the input, and shows what comes, until the connection ends.

    The end of the input begins the close. In order not to lose the answers, it waits first: for the Pong to a Ping,
    which tells that the peer has read all that was sent; then, until nothing has come for some seconds.
    """

    def __init__(
        self, websocket: anyws.WebSocket, screen: Screen, source: AsyncIterator[Message] | None, terms: Terms
    ) -> None:
        """Prepare it.

        Args:
            websocket: the connection.
            screen: where messages go.
            source: what is sent; None for nothing.
            terms: see `Terms`.
        """
        self._websocket = websocket
        self._screen = screen
        self._source = source
        self._terms = terms
        self._came = anyio.Event()
        self._missing = terms.count  # messages
        self._status: Status | None = None  # what our own side says; then a clean close is no success
        self._close: Close | None = None  # that the user asked for

    async def run(self, stop: Stop) -> Status:
        """Talk until the end; return the exit status."""
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
        """Show what comes; return how the connection ended."""
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
            if not isinstance(exc, BrokenPipeError):  # the reader of our output has left, as `head` does
                self._screen.note(f"anyws: cannot print: {exc}")
            give_up_output()
            return Status.FAILED

    async def _tell_end(self, exc: anyws.ConnectionClosed) -> Status:
        if self._close is None:
            self._screen.note(_describe(exc))
            return Status.OK if isinstance(exc, anyws.ConnectionClosedOK) else Status.ABNORMAL
        await self._websocket.wait_closed()  # the Close that the user asked for may be answered yet
        code, reason = self._websocket.close_code, self._websocket.close_reason
        if code == anyws.CloseCode.ABNORMAL_CLOSURE:
            self._screen.note("lost: no Close received")
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
            return  # _show_messages tells
        except UnicodeDecodeError as exc:
            self._fail(f"a message is not {exc.encoding} ({exc.reason}); nothing more is sent")
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
        return f"lost: {exc.__cause__ or exc}"
    return f"closed: {'no code' if exc.code == anyws.CloseCode.NO_STATUS_RECEIVED else exc.received}"
