"""Parsing the lines typed in a terminal: text to send, or a command that starts with a slash."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from anyws.protocol.closing import CloseCode

__all__ = ["COMMANDS", "HELP", "Action", "Close", "Help", "Ping", "Send", "SendFile", "parse_line"]

HELP = """\
/ping [TEXT]            send a Ping and show its latency
/hex DIGITS             send a binary message: /hex 00 ff 10
/file PATH              send a file as one binary message
/close [CODE [REASON]]  close the connection, by default with 1000
/help                   show this help
//TEXT                  send text that starts with a slash: //ping sends /ping
Ctrl-D, Ctrl-C          close the connection"""

COMMANDS = ("/close", "/file", "/help", "/hex", "/ping")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message."""

    message: str | bytes


@dataclass(frozen=True, slots=True)
class SendFile:
    """Send a file as one binary message."""

    path: Path


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a Ping; None for a unique payload."""

    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Help:
    """Show the commands."""


Action = Send | SendFile | Ping | Close | Help


def parse_line(line: str) -> Action:
    """Return the action for a line.

    Raises:
        ValueError: the command is unknown or invalid; the message says why.
    """
    if not line.startswith("/"):
        return Send(line)
    if line.startswith("//"):
        return Send(line[1:])
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    if name == "/ping":
        return Ping(_payload(rest))
    if name == "/hex":
        return Send(_bytes(rest))
    if name == "/file":
        return SendFile(_path(rest))
    if name == "/close":
        return _close(rest)
    if name == "/help":
        return Help()
    raise ValueError(f"{name}: unknown command; see /help, or type //{name[1:]} to send it as text")


def _payload(text: str) -> bytes | None:
    payload = text.encode()
    if len(payload) > 125:  # RFC 6455, section 5.5
        raise ValueError(f"/ping: {len(payload)} bytes; a Ping may have at most 125")
    return payload or None


def _bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits.replace(":", " "))
    except ValueError:
        raise ValueError("/hex: expected pairs of hexadecimal digits, such as 00 ff 10") from None


def _path(text: str) -> Path:
    try:
        names = shlex.split(text)
    except ValueError:  # for example, the path contains an apostrophe
        names = [text]
    if not text:
        raise ValueError("/file: expected a path")
    return Path(names[0] if len(names) == 1 else text).expanduser()


def _close(text: str) -> Close:
    code, _, reason = text.partition(" ")
    if not code:
        return Close(int(CloseCode.NORMAL_CLOSURE), "")
    if not (code.isascii() and code.isdecimal()):
        raise ValueError(f"/close: {code!r} is not a close code; expected a number such as 1000")
    return Close(int(code), reason.strip())
