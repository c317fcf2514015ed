"""Parsing the lines that a user types."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyws._cli.commands import Action, Close, Help, Ping, Send, SendFile, parse_line


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("", Send("")),
        ("hello /ping", Send("hello /ping")),
        ("//ping x", Send("/ping x")),
        ("///", Send("//")),
        ("/hex", Send(b"")),
        ("/hex 00ff 1:0", None),
        ("/hex 00ff 10:0A", Send(b"\x00\xff\x10\x0a")),
        ("/hex 0", None),
        ("/hex zz", None),
        ("/ping", Ping(None)),
        ("/ping are you there", Ping(b"are you there")),
        ("/ping " + "é" * 62, Ping("é".encode() * 62)),
        ("/ping " + "é" * 63, None),
        ("/file a b", SendFile(Path("a b"))),
        ("/file 'a b'", SendFile(Path("a b"))),
        ("/file a'b", SendFile(Path("a'b"))),
        ("/file ~/a", SendFile(Path.home() / "a")),
        ("/file", None),
        ("/close", Close(1000, "")),
        ("/close 4000", Close(4000, "")),
        ("/close 4000  good bye ", Close(4000, "good bye")),
        ("/close now", None),
        ("/help", Help()),
        ("/", None),
        ("/helpme", None),
    ],
)
def test_lines(line: str, action: Action | None) -> None:
    if action is None:
        with pytest.raises(ValueError, match=r"^/"):
            parse_line(line)
    else:
        assert parse_line(line) == action
