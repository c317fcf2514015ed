"""One connection between the standard input and output and a peer."""

from __future__ import annotations

import anyio

import anyws

from .lines import Lines
from .screen import Screen
from .stopping import Stop

__all__ = ["Conversation"]


class Conversation:
    """Sends the lines of stdin, and prints what comes, until the connection ends.

    The end of the input begins the close. In order not to lose the answers, it waits first: for the Pong to a Ping,
    which tells that the peer has read all that was sent; then, until nothing has come for some seconds.
    """

    def __init__(self, websocket: anyws.WebSocket, screen: Screen, lines: Lines | None, *, patience: float) -> None:
        """Prepare it.

        Args:
            websocket: the connection.
            screen: where messages go.
            lines: what is sent; None for nothing.
            patience: how many seconds of silence after the end of the input end the connection; 0: do not wait.
        """
        self._websocket = websocket
        self._screen = screen
        self._lines = lines
        self._patience = patience
        self._came = anyio.Event()
        self._failed = False  # on our own side: then a clean close is no success

    async def run(self, stop: Stop) -> int:
        """Talk until the end; return the exit status."""
        is_clean = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_lines)
            tasks.start_soon(self._close_when_asked, stop)
            is_clean = await self._print_messages()
            tasks.cancel_scope.cancel()
        self._screen.forget_typed()
        return 0 if is_clean and not self._failed else 1

    async def _print_messages(self) -> bool:
        """Print what comes; return whether the connection was closed cleanly."""
        try:
            while True:
                message = await self._websocket.receive()
                self._came.set()
                await self._screen.show(message)
        except anyws.ConnectionClosed as exc:
            self._screen.note(_describe(exc))
            return isinstance(exc, anyws.ConnectionEnded)
        except OSError as exc:
            if not isinstance(exc, BrokenPipeError):  # the reader of our output has left, as `head` does
                self._screen.note(f"anyws: cannot print: {exc}")
            self._screen.give_up()
            return False

    async def _send_lines(self) -> None:
        try:
            if self._lines is not None:
                self._screen.prompt()
                async for line in self._lines:
                    await self._websocket.send(line)
                    self._screen.prompt()
            await self._wait_for_silence()
        except anyws.ConnectionClosed:
            return  # _print_messages tells
        except UnicodeDecodeError as exc:
            self._failed = True
            self._screen.note(f"anyws: a line is not {exc.encoding} ({exc.reason}); nothing more is sent")
        await self._websocket.send_eof()

    async def _wait_for_silence(self) -> None:
        if not self._patience:
            return
        await self._websocket.ping()
        while True:
            self._came = anyio.Event()
            with anyio.move_on_after(self._patience) as silence:
                await self._came.wait()
            if silence.cancelled_caught:
                return

    async def _close_when_asked(self, stop: Stop) -> None:
        await stop.wait()
        await self._websocket.send_eof()


def _describe(exc: anyws.ConnectionClosed) -> str:
    if isinstance(exc.__cause__, anyws.RemoteProtocolError):
        return f"failed: {exc.__cause__}"
    if exc.received is None:
        return f"lost: {exc.__cause__ or exc}"
    return f"closed: {'no code' if exc.code == anyws.CloseCode.NO_STATUS_RECEIVED else exc.received}"
