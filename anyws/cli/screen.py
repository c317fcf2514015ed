"""What `anyws connect` shows: messages on stdout; in a terminal, with a prompt that they do not disturb."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata

import anyio

from .notes import escape, note

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

__all__ = ["Screen"]


class Screen:
    """The output of a conversation.

    In a terminal, a message is inserted above the line that the user is typing, marked ``<``, with control characters
    written out. Otherwise text comes as it is.
    """

    def __init__(self) -> None:
        self._is_terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        self._is_dumb = os.environ.get("TERM") in (None, "", "dumb")
        self._clear_line = "\n" if self._is_dumb else "\r\x1b[K"
        self._has_prompt = False
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # what the encoding of the output does not have

    def prompt(self) -> None:
        """Ask for a line, if there is somebody to ask."""
        if self._is_terminal:
            self._has_prompt = True
            _write("\r> ")  # from the first column: there is a prompt already when lines were typed ahead

    async def show(self, message: str | bytes) -> None:
        """Print one message: text as it is, binary as hexadecimal digits after a mark.

        Raises:
            OSError: it cannot be written; `BrokenPipeError` when nobody reads any more.
        """
        if isinstance(message, bytes):
            message = f"[binary, {len(message)} bytes] {message.hex()}"
        if self._is_terminal:
            _write(self._inserted(escape(message)))
        else:
            # In a thread: if the reader is slow, Pings must be answered all the same.
            await anyio.to_thread.run_sync(_write, f"{message}\n", abandon_on_cancel=True)

    def note(self, text: str) -> None:
        """Print a status line to stderr, in the place of the prompt."""
        if self._has_prompt:
            self._has_prompt = False
            _write(self._clear_line)
        note(text)

    def forget_typed(self) -> None:
        """Drop what was typed and not sent, lest the shell takes it."""
        if self._is_terminal and termios is not None:
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)

    def give_up(self) -> None:
        """Send what is still to be written nowhere: Python must not complain of a closed pipe when it ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

    def _inserted(self, text: str) -> str:
        """Return what inserts a text above the line of the prompt, where the cursor stays."""
        width, height = shutil.get_terminal_size()
        lines = [line.expandtabs() for line in f"< {text}".split("\n")]
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
