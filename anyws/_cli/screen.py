"""What `anyws connect` shows: messages on stdout; in a terminal, with a prompt that they do not disturb."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from typing import Protocol

import anyio

from .framing import framed
from .looks import Looks
from .notes import note

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

__all__ = ["PlainScreen", "Screen", "give_up_output", "is_terminal"]


class Screen(Protocol):
    """Where a conversation is shown."""

    def prompt(self) -> None:
        """Ask for a line, if there is somebody to ask."""

    async def show(self, message: str | bytes) -> None:
        """Print one message that came.

        Raises:
            OSError: it cannot be written; `BrokenPipeError` when nobody reads any more.
        """

    def note(self, text: str) -> None:
        """Print a line about the connection."""

    def latency(self, seconds: float) -> None:
        """Show how long a Ping of ours took, if we send them by ourselves."""

    async def finish(self) -> None:
        """Take the prompt away, and drop what was typed and not sent, lest the shell takes it."""


def is_terminal() -> bool:
    """Say whether somebody types and reads."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def give_up_output() -> None:
    """Send what is still to be written nowhere: Python must not complain of a closed pipe when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class PlainScreen:
    """A screen that needs no package, for pipes and files as well.

    In a terminal, a message is inserted above the line that the user is typing, marked ``<``, with control characters
    written out. Otherwise text comes as it is.
    """

    def __init__(self, looks: Looks = Looks(), output: str = "line") -> None:  # noqa: B008, it cannot be changed
        """Prepare it.

        Args:
            looks: how messages look.
            output: how they are set apart where no people read, see `framing`.
        """
        self._looks = looks
        self._output = output
        self._is_terminal = is_terminal()
        self._is_read_by_people = sys.stdout is not None and sys.stdout.isatty()
        self._is_dumb = os.environ.get("TERM") in (None, "", "dumb")
        self._clear_line = "\n" if self._is_dumb else "\r\x1b[K"
        self._has_prompt = False
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # what the encoding of the output does not have

    def prompt(self) -> None:
        """See `Screen`."""
        if self._is_terminal:
            self._has_prompt = True
            _write("\r> ")  # from the first column: there is a prompt already when lines were typed ahead

    async def show(self, message: str | bytes) -> None:
        """See `Screen`."""
        if self._is_terminal:
            _write(self._inserted(f"{self._looks.clock()}< {self._looks.for_people(message)}"))
            return
        # In a thread: if the reader is slow, Pings must be answered all the same.
        await anyio.to_thread.run_sync(self._print, message, abandon_on_cancel=True)

    def note(self, text: str) -> None:
        """Print a line to stderr, in the place of the prompt."""
        if self._has_prompt:
            self._has_prompt = False
            _write(self._clear_line)
        note(text)

    def latency(self, seconds: float) -> None:
        """See `Screen`."""
        had_prompt = self._has_prompt
        self.note(f"latency: {seconds * 1000:.3f} ms")
        if had_prompt:
            self.prompt()

    async def finish(self) -> None:
        """See `Screen`."""
        if self._is_terminal and termios is not None:
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)

    def _print(self, message: str | bytes) -> None:
        if self._is_read_by_people:
            _write(f"{self._looks.clock()}{self._looks.for_people(message)}\n")
        elif self._output == "line":
            _write(f"{self._looks.for_programs(message)}\n")
        elif sys.stdout is not None:
            sys.stdout.buffer.write(framed(message.encode() if isinstance(message, str) else message, self._output))
            sys.stdout.buffer.flush()

    def _inserted(self, text: str) -> str:
        """Return what inserts a text above the line of the prompt, where the cursor stays."""
        width, height = shutil.get_terminal_size()
        first, *others = text.split("\n")
        # Only what begins a message stands in the first column.
        lines = [line.expandtabs() for line in (first, *(f"  {other}" for other in others))]
        rows = sum(max(1, -(-_width(line) // width)) for line in lines)
        whole = "\r\n".join(lines)
        if not self._has_prompt:
            return f"{whole}\r\n"
        if self._is_dumb or rows >= height:
            return f"{self._clear_line}{whole}\r\n> "
        # Save the cursor; scroll, if need be, so that there is room below; insert lines and fill them; go back.
        room = "\n" * rows + f"\x1b[{rows}A\r\x1b[{rows}L"
        return f"\x1b7{room}{whole}\x1b8\x1b[{rows}B"


def _width(text: str) -> int:
    """Return how many columns a line takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "FW" else 1
        for character in text
    )


def _write(text: str) -> None:
    print(text, end="", flush=True)
