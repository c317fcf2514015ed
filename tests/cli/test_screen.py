"""The screen of `anyws connect`: the output for a terminal and for a pipe."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from anyws._cli.screen import PlainScreen


class FakeTerminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def open_screen(monkeypatch: pytest.MonkeyPatch, kind: str = "xterm") -> tuple[PlainScreen, FakeTerminal]:
    """Return the screen in a terminal of 20 columns and 5 rows, and what this terminal gets."""
    stream = FakeTerminal()
    monkeypatch.setattr(sys, "stdin", FakeTerminal())
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr("anyws._cli.screen.shutil", SimpleNamespace(get_terminal_size=lambda: (20, 5)))
    monkeypatch.setenv("TERM", kind)
    return PlainScreen(), stream


@pytest.mark.parametrize(
    ("message", "rows", "lines"),
    [
        ("hi", 1, "< hi"),
        ("x" * 18, 1, "< " + "x" * 18),
        ("x" * 19, 2, "< " + "x" * 19),
        ("日" * 10, 2, "< " + "日" * 10),
        ("e\u0301" * 18, 1, "< " + "e\u0301" * 18),
        ("a\nb\n", 3, "< a\r\n  b\r\n  "),
        ("\x07\t|", 1, "< \\x07  |"),
        (b"\x00\xff", 2, "< [binary, 2 bytes] 00ff"),
    ],
)
async def test_a_message_is_inserted_above_the_prompt(
    message: str | bytes, rows: int, lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, shown = open_screen(monkeypatch)
    screen.prompt()
    await screen.show(message)
    newlines = "\n" * rows
    assert shown.getvalue() == f"\r> \x1b7{newlines}\x1b[{rows}A\r\x1b[{rows}L{lines}\x1b8\x1b[{rows}B"


async def test_a_message_that_is_larger_than_the_terminal_scrolls(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, shown = open_screen(monkeypatch)
    screen.prompt()
    await screen.show("a\n\n\n\nb")
    assert shown.getvalue() == "\r> \r\x1b[K< a\r\n  \r\n  \r\n  \r\n  b\r\n> "


async def test_a_dumb_terminal_gets_no_escape_sequences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen, shown = open_screen(monkeypatch, "dumb")
    await screen.show("first")
    screen.prompt()
    await screen.show("second")
    screen.note("the \x1b end")
    assert shown.getvalue() == "< first\r\n\r> \n< second\r\n> \n"
    assert capsys.readouterr().err == "the \\x1b end\n"


async def test_text_is_unchanged_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", pipe)
    screen = PlainScreen()
    screen.prompt()
    await screen.show("\x1b é")
    await screen.finish()
    pipe.seek(0)
    assert pipe.read().splitlines() == ["\x1b \\xe9"]


async def test_without_standard_streams_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    screen = PlainScreen()
    screen.prompt()
    await screen.show("hello")
    screen.note("hello")


async def test_without_termios_unsent_input_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws._cli.screen.termios", None)
    screen, shown = open_screen(monkeypatch)
    await screen.finish()
    assert shown.getvalue() == ""
