"""`anyws connect`."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyws

from .arguments import count, positive_seconds, seconds
from .backends import add_backend, is_missing, run
from .conversation import Conversation, Message, Terms
from .framing import INPUTS, OUTPUTS, splitter
from .history import history_file
from .looks import Looks
from .notes import note
from .reading import Chunks, decoded, messages
from .screen import PlainScreen, Screen, is_terminal
from .statuses import CommandError, Status
from .stopping import Stop, stop_signals
from .target import Target, add_target, open_target, read_target

__all__ = ["add_arguments"]

DESCRIPTION = """\
Connect to a WebSocket server: send lines, print messages.

In a terminal, lines are edited as in a shell, with a history (arrow up), and lines that start with a
slash are commands: /ping, /hex, /file, /close, /help; //x sends the text /x. What comes is printed
above the line, text with its control characters written out, binary as a hex dump. This needs the
extra "cli": pip install 'anyio-websocket[cli]'; without it lines are typed as the terminal takes them.

In a pipe, lines of stdin are sent as text messages; messages that come are printed on stdout: text as
it is, binary as [binary, 3 bytes] 00ff10. --input, --output and --binary change that. All else, such
as the close code, goes to stderr.

The end of the input (Ctrl-D in a terminal) begins the close; what was on its way is still printed.
So that a pipe gets its answers, anyws first waits for the Pong to a Ping (then the peer has read all
of the input), and then until nothing has come for --wait seconds. Ctrl-C begins the close at once; a
second one cuts."""

EPILOG = """\
framing of --input and --output:
  line     a newline behind each message
  nul      a zero byte behind each message, as for xargs -0
  length   4 bytes before each message: its length, the most significant byte first
  whole    --input only: all of stdin is one message, sent piece by piece
  raw      --output only: nothing between messages

examples:
  anyws connect ws://localhost:8765/
  echo hello | anyws connect ws://localhost:8765/
  anyws connect --one --timeout 5 wss://example.com/status < /dev/null   one message, within 5 seconds
  anyws connect --wait inf --json wss://example.com/feed < subscriptions.txt  print until the server closes
  anyws connect --binary --input whole --output raw ws://localhost:8765/ < a.png > b.png
  anyws connect --header "Authorization: Bearer 1234" --subprotocol chat wss://example.com/
  anyws connect ws+unix:/tmp/echo.sock

exit status:
  0  a clean close: 1000, 1001, no code, or the code of our own /close
  1  failed on our side (cannot read or print), interrupted, or closed before -n messages had come
  2  the command line is wrong
  3  not connected: no such host, nobody listens, TLS failed, or --connect-timeout
  4  refused: the server answered another HTTP status, or with no valid opening handshake
  5  an abnormal end: closed with another code, the connection was lost, or the peer broke the protocol
  6  --timeout"""

_SILENCE = 0.5  # seconds
_MEASURING = 5.0  # seconds between two Pings of --latency


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_target(parser)
    pipes = parser.add_argument_group("pipes")
    pipes.add_argument(
        "-b", "--binary", action="store_true", help="send what stdin has as binary messages, instead of text"
    )
    pipes.add_argument("--input", choices=INPUTS, help="how stdin is cut into messages; default: line")
    pipes.add_argument("--output", choices=OUTPUTS, default="line", help="how messages are printed; default: line")
    end = parser.add_argument_group("end")
    many = end.add_mutually_exclusive_group()
    many.add_argument("-n", "--count", type=count, metavar="N", help="close after N messages have come")
    many.add_argument("-1", "--one", action="store_const", const=1, dest="count", help="the same as -n 1")
    end.add_argument(
        "--timeout",
        type=positive_seconds,
        default=math.inf,
        metavar="SECONDS",
        help="close after so long, with exit status 6",
    )
    end.add_argument(
        "--wait",
        type=seconds,
        metavar="SECONDS",
        help="how long nothing may come before the end of the input closes the connection; 'inf' for ever; "
        "default: 0 if the input is a terminal, inf with -n, else 0.5",
    )
    looks = parser.add_argument_group("looks")
    looks.add_argument("--json", action="store_true", help="print text that is a JSON object or array on several lines")
    looks.add_argument("--timestamps", action="store_true", help="print the time before each message")
    looks.add_argument(
        "--latency", action="store_true", help="ping every 5 seconds, or --ping-interval, and show how long it took"
    )
    looks.add_argument("--plain", action="store_true", help="no line editing and no colours in a terminal")
    looks.add_argument("--no-history", action="store_true", help="neither read nor keep what was typed")
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend):
        return Status.USAGE
    if arguments.output != "line" and sys.stdout is not None and sys.stdout.isatty():
        parser.error("argument --output: only line is fit for a terminal")
    return run(arguments.backend, functools.partial(_connect, arguments, read_target(parser, arguments)))


async def _connect(arguments: argparse.Namespace, target: Target) -> int:
    async with stop_signals() as stop, open_target(target) as websocket:
        return await _talk(arguments, target, websocket, stop)
    raise CommandError(Status.FAILED, "interrupted")


async def _talk(arguments: argparse.Namespace, target: Target, websocket: anyws.WebSocket, stop: Stop) -> int:
    is_typed = is_terminal() and not arguments.binary and arguments.input is None
    patience = arguments.wait
    if patience is None:
        patience = 0 if is_terminal() else _SILENCE if arguments.count is None else math.inf
    terms = Terms(
        is_typed=is_typed,
        patience=patience,
        count=arguments.count,
        timeout=arguments.timeout,
        ping_interval=(arguments.ping_interval or _MEASURING) if arguments.latency else None,
    )
    async with _open_screen(arguments, target, stop, is_typed=is_typed) as (screen, source):
        agreed = "" if websocket.subprotocol is None else f", subprotocol {websocket.subprotocol}"
        screen.note(f"connected to {target}{agreed}")
        return await Conversation(websocket, screen, source, terms).run(stop)


@asynccontextmanager
async def _open_screen(
    arguments: argparse.Namespace, target: Target, stop: Stop, *, is_typed: bool
) -> AsyncGenerator[tuple[Screen, AsyncIterator[Message] | None], None]:
    looks = Looks(timestamps=arguments.timestamps, json=arguments.json)
    if is_typed and not arguments.plain and _can_edit():
        from .editing import editing_screen

        history = None if arguments.no_history else history_file()
        async with editing_screen(looks, history, str(target), stop.ask) as screen:
            yield screen, screen.lines
    elif sys.stdin is None:
        yield PlainScreen(looks, arguments.output), None
    else:
        async with aclosing(_input(arguments)) as source:
            yield PlainScreen(looks, arguments.output), source


def _can_edit() -> bool:
    if os.environ.get("TERM") in (None, "", "dumb") and sys.platform != "win32":
        return False
    if all(importlib.util.find_spec(package) is not None for package in ("prompt_toolkit", "pygments")):
        return True
    note("anyws: for line editing, history and colours: pip install 'anyio-websocket[cli]'; --plain does without them")
    return False


def _input(arguments: argparse.Namespace) -> AsyncGenerator[Message, None]:
    chunks = Chunks(sys.stdin.fileno())
    framing = arguments.input or "line"
    if framing == "whole":
        return _whole(chunks, None if arguments.binary else sys.stdin.encoding)
    return messages(chunks, splitter(framing), None if arguments.binary else sys.stdin.encoding)


async def _whole(chunks: Chunks, encoding: str | None) -> AsyncGenerator[Message, None]:
    # One message, whose pieces are sent as they are read.
    yield chunks if encoding is None else decoded(chunks, encoding)
