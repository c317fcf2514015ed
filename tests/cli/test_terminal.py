"""`anyws connect --plain` in a terminal, byte by byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from .commands import LIMIT, Process, start_anyws

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")


class Terminal:
    """The user's end of a pseudo-terminal of 80 x 24, in which a command runs."""

    def __init__(self) -> None:
        self.user, self.command = pty.openpty()
        self.seen = ""

    def expect(self, text: str) -> str:
        """Read until this text has come; return all that came since the last call, up to it."""
        while text not in self.seen:
            self.seen += os.read(self.user, 65536).decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        r"""Type; ``\x04`` is Ctrl-D and ``\x03`` Ctrl-C."""
        os.write(self.user, text.encode())


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Yield a terminal."""
    terminal = Terminal()
    yield terminal
    os.close(terminal.user)
    os.close(terminal.command)


def start_in(terminal: Terminal, uri: str) -> AbstractContextManager[Process]:
    end = terminal.command
    return start_anyws("connect", "--plain", uri, stdin=end, stdout=end, stderr=end)


def test_what_is_not_typed_has_no_prompt(server: str, terminal: Terminal) -> None:
    end = terminal.command
    with start_anyws("connect", "--send", "hello", server, stdin=end, stdout=end, stderr=end) as process:
        assert terminal.expect("closed: 1000\r\n") == f"connected to {server}/\r\nhello\r\n"
        assert process.wait(LIMIT) == 0


def test_the_prompt_stays_below_the_messages(server: str, terminal: Terminal) -> None:
    with start_in(terminal, server) as process:
        terminal.expect(f"connected to {server}/\r\n\r> ")
        terminal.type("hello\n")
        terminal.expect("hello\r\n")
        shown = terminal.expect("< hello")
        assert shown in ("", "\r> \x1b7\r\n\x1b[1A\r\x1b[1L")
        terminal.type("\x04")
        assert terminal.expect("closed: 1000\r\n").endswith("\r\x1b[K")
        assert process.wait(LIMIT) == 0


def test_messages_do_not_disturb_the_prompt_or_control_the_terminal(server: str, terminal: Terminal) -> None:
    with start_in(terminal, f"{server}/greet") as process:
        terminal.expect("< grüße")
        terminal.expect("< [binary, 3 bytes] 00ff10")
        assert "\x1b[31m" not in terminal.expect("lines \\x1b[31mred")
        terminal.type("\x04")
        terminal.expect("closed: 1000")
        assert process.wait(LIMIT) == 0


def test_unsent_input_is_not_passed_to_the_shell(server: str, terminal: Terminal) -> None:
    with start_anyws("serve", "--port", 0) as serving, start_in(terminal, serving.expect_line("ws://")) as process:
        terminal.expect("> ")
        terminal.type("half a line")
        terminal.expect("half a line")
        assert serving.stop()[0] == 0
        terminal.expect("closed: 1001")
        assert process.wait(LIMIT) == 0
    os.write(terminal.user, b"next\n")
    assert os.read(terminal.command, 100) == b"next\n"
