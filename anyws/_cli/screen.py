"""The output of ``anyws connect``: messages on stdout and, in a terminal, a prompt that they do not disturb."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from typing import Protocol

import anyio

from .formatting import Formatter
from .framing import framed
from .notes import note

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

__all__ = ["PlainScreen", "Screen", "is_terminal"]


class Screen(Protocol):
    """Shows a conversation."""

    def prompt(self) -> None:
        """Show the prompt, in a terminal."""

    async def show(self, message: str | bytes) -> None:
        """Print a message.

        Raises:
            OSError: the message cannot be written; `BrokenPipeError` if nobody reads the output anymore.
        """

    def note(self, text: str) -> None:
        """Print a line about the connection."""

    def latency(self, seconds: float) -> None:
        """Show the latency of a Ping sent to measure it."""

    async def finish(self) -> None:
        """Remove the prompt, and discard what was typed but not sent, so that the shell does not read it."""


def is_terminal() -> bool:
    """Return whether both stdin and stdout are terminals."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


class PlainScreen:
    """A screen that requires no extra package, for terminals, pipes and files.

    In a terminal, a message is inserted above the line that the user is typing, marked with ``<`` and with control
    characters escaped. Otherwise text is printed unchanged.
    """

    def __init__(
        self,
        formatter: Formatter = Formatter(),  # noqa: B008, it is immutable
        output: str = "line",
        *,
        is_typed: bool = True,
    ) -> None:
        """Create a screen.

        Args:
            formatter: how to show messages.
            output: how to separate messages in pipes and files, see `framing`.
            is_typed: whether the user types the input, if stdin is a terminal.
        """
        self._formatter = formatter
        self._output = output
        self._is_terminal = is_typed and is_terminal()
        self._is_output_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._is_dumb = os.environ.get("TERM") in (None, "", "dumb")
        self._clear_line = "\n" if self._is_dumb else "\r\x1b[K"
        self._has_prompt = False
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the output encoding lacks

    def prompt(self) -> None:
        """See `Screen`."""
        if self._is_terminal:
            self._has_prompt = True
            _write("\r> ")  # at the first column: lines typed ahead leave an old prompt there

    async def show(self, message: str | bytes) -> None:
        """See `Screen`."""
        if self._is_terminal:
            line = f"{self._formatter.time_prefix()}< {self._formatter.for_terminal(message)}"
            _write(self._insertion(line))
            return
        # In a thread, so that Pings are answered even if the reader of stdout is slow.
        await anyio.to_thread.run_sync(self._print, message, abandon_on_cancel=True)

    def note(self, text: str) -> None:
        """Print a line to stderr, in place of the prompt."""
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
        if self._is_output_terminal:
            _write(f"{self._formatter.time_prefix()}{self._formatter.for_terminal(message)}\n")
        elif self._output == "line":
            _write(f"{self._formatter.for_pipe(message)}\n")
        elif sys.stdout is not None:
            sys.stdout.buffer.write(framed(message.encode() if isinstance(message, str) else message, self._output))
            sys.stdout.buffer.flush()

    def _insertion(self, text: str) -> str:
        """Return the output that inserts a text above the prompt and leaves the cursor where it is."""
        width, height = shutil.get_terminal_size()
        first, *others = text.split("\n")
        # Indent further lines, so that only the start of a message is in the first column.
        lines = [line.expandtabs() for line in (first, *(f"  {other}" for other in others))]
        rows = sum(max(1, -(-_width(line) // width)) for line in lines)
        whole = "\r\n".join(lines)
        if not self._has_prompt:
            return f"{whole}\r\n"
        if self._is_dumb or rows >= height:
            return f"{self._clear_line}{whole}\r\n> "
        # Save the cursor, scroll if necessary to make room below, insert and fill the lines, and restore the cursor.
        room = "\n" * rows + f"\x1b[{rows}A\r\x1b[{rows}L"
        return f"\x1b7{room}{whole}\x1b8\x1b[{rows}B"


def _width(text: str) -> int:
    """Return how many columns a line occupies."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "FW" else 1
        for character in text
    )


def _write(text: str) -> None:
    print(text, end="", flush=True)
