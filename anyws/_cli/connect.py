"""The command ``anyws connect``."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, nullcontext

import anyws

from .arguments import count, positive_seconds, seconds
from .backends import add_backend, is_missing, run
from .conversation import Conversation, ConversationOptions, Message
from .exit_status import CommandError, ExitStatus
from .formatting import Formatter
from .framing import INPUTS, OUTPUTS, splitter
from .history import history_file
from .notes import note
from .opening import open_target
from .reading import Chunks, decoded, messages
from .reconnecting import ReconnectingConversation
from .replay import replayable
from .screen import PlainScreen, Screen, is_terminal
from .stopping import Stop, stop_signals
from .target import Target, read_target
from .target_options import add_target

__all__ = ["add_arguments"]

DESCRIPTION = """\
Connect to a WebSocket server, send lines and print messages.

In a terminal, you edit lines as in a shell, with a history (arrow up). Lines
that start with a slash are commands: /ping, /hex, /file, /close, /help; type
//x to send the text /x. Messages are printed above the line that you edit: text
with control characters escaped, binary as a hex dump. Line editing requires the
extra "cli": pip install 'anyio-websocket[cli]'

In a pipe, each line of stdin is sent as a text message, and messages are
printed to stdout: text unchanged, binary as [binary, 3 bytes] 00ff10. You can
change this with --input, --output and --binary. Everything else, such as the
close code, goes to stderr.

At the end of the input (Ctrl-D in a terminal), the connection is closed;
messages that are already on their way are still printed. In a pipe, to get the
responses as well, anyws first waits for the Pong to a Ping, which shows that
the server has read all of the input, and then until nothing has been received
for --wait seconds. Ctrl-C closes the connection; a second Ctrl-C aborts it."""

EPILOG = """\
framing (--input and --output):
  line     a newline after each message
  nul      a zero byte after each message, as for xargs -0
  length   a 4-byte length before each message, most significant byte first
  whole    --input only: all of stdin is one message, sent piece by piece
  raw      --output only: no separator between messages

examples:
  anyws connect localhost:8765
  anyws connect ws+unix:/tmp/echo.sock
  anyws connect -H "Authorization: Bearer 1234" -s chat wss://example.com/
  echo hello | anyws connect localhost:8765

  # send one message, and receive one within 5 seconds
  anyws connect --send status --one --timeout 5 wss://example.com/

  # print messages until the server closes the connection
  anyws connect --wait inf --json wss://example.com/feed < subscriptions.txt

  # send a file and save the response
  anyws connect -b --input whole --output raw ws://localhost/ < a.png > b.png

exit status:
  0  normal closure: 1000, 1001, no code, or the code of your own /close
  1  cannot read or print, interrupted, or closed before -n messages arrived
  2  invalid command line
  3  cannot connect: unknown host, connection refused, TLS failure or timeout
  4  the server rejected the handshake, for example with HTTP 404, or sent an
     invalid response
  5  closed with another code, connection lost, or protocol violation
  6  --timeout has passed"""

_IDLE_TIMEOUT = 0.5  # seconds
_LATENCY_INTERVAL = 5.0  # seconds between two Pings of --latency


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_target(parser)
    streams = parser.add_argument_group("input and output")
    streams.add_argument("-b", "--binary", action="store_true", help="send stdin as binary messages instead of text")
    streams.add_argument(
        "--send", action="append", metavar="TEXT", help="send this text instead of stdin; may be repeated"
    )
    streams.add_argument("--input", choices=INPUTS, help="how to split stdin into messages; default: line")
    streams.add_argument("--output", choices=OUTPUTS, default="line", help="how to print messages; default: line")
    exits = parser.add_argument_group("exit conditions")
    count_group = exits.add_mutually_exclusive_group()
    count_group.add_argument("-n", "--count", type=count, metavar="N", help="close after receiving N messages")
    count_group.add_argument("-1", "--one", action="store_const", const=1, dest="count", help="same as -n 1")
    exits.add_argument(
        "--timeout",
        type=positive_seconds,
        default=math.inf,
        metavar="SECONDS",
        help="close after this many seconds, with exit status 6",
    )
    exits.add_argument(
        "--wait",
        type=seconds,
        metavar="SECONDS",
        help="after the end of the input, close once nothing has been received for this many seconds; 'inf' waits "
        "until the server closes; default: 0 if the input is a terminal, inf with -n, otherwise 0.5",
    )
    exits.add_argument(
        "--reconnect",
        action="store_true",
        help="connect again, after a delay, when the server closes the connection, it is lost, or it cannot be opened",
    )
    display = parser.add_argument_group("display")
    display.add_argument("--json", action="store_true", help="pretty-print JSON objects and arrays")
    display.add_argument("--timestamps", action="store_true", help="print the time before each message")
    display.add_argument(
        "--latency", action="store_true", help="send a Ping every 5 seconds, or --ping-interval, and show its latency"
    )
    display.add_argument("--plain", action="store_true", help="disable line editing and colours in a terminal")
    display.add_argument("--no-history", action="store_true", help="do not read or save the history")
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend):
        return ExitStatus.USAGE
    if arguments.send is not None and (arguments.binary or arguments.input is not None):
        parser.error("argument --send: not allowed with arguments --binary and --input, which are about stdin")
    if arguments.reconnect and arguments.input == "whole":
        parser.error("argument --reconnect: not allowed with argument --input whole, which is sent as it is read")
    if arguments.output != "line" and sys.stdout is not None and sys.stdout.isatty():
        parser.error("argument --output: stdout is a terminal, which allows only line")
    return run(arguments.backend, functools.partial(_connect, arguments, read_target(parser, arguments)))


async def _connect(arguments: argparse.Namespace, target: Target) -> int:
    async with stop_signals() as stop:
        if arguments.reconnect:
            return await _converse(arguments, target, None, stop)
        async with open_target(target, is_verbose=arguments.verbose) as websocket:
            return await _converse(arguments, target, websocket, stop)
    raise CommandError(ExitStatus.FAILED, "interrupted")


async def _converse(
    arguments: argparse.Namespace, target: Target, websocket: anyws.WebSocket | None, stop: Stop
) -> int:
    # Without a connection, this connects and reconnects.
    is_typed = is_terminal() and arguments.send is None
    is_interactive = is_typed and not arguments.binary and arguments.input is None
    idle_timeout = arguments.wait
    if idle_timeout is None:
        idle_timeout = 0 if is_typed else _IDLE_TIMEOUT if arguments.count is None else math.inf
    options = ConversationOptions(
        is_interactive=is_interactive,
        idle_timeout=idle_timeout,
        count=arguments.count,
        timeout=arguments.timeout,
        ping_interval=(arguments.ping_interval or _LATENCY_INTERVAL) if arguments.latency else None,
    )
    async with _open_screen(arguments, target, stop, is_interactive=is_interactive) as (screen, source):
        if websocket is not None:
            screen.note(target.connected_text(websocket.subprotocol))
            status = await Conversation(websocket, screen, source, options).run(stop)
        else:
            async with nullcontext() if source is None else replayable(source) as replay:
                reconnecting = ReconnectingConversation(target, screen, replay, options, is_verbose=arguments.verbose)
                status = await reconnecting.run(stop)
        await screen.finish()
        return status


@asynccontextmanager
async def _open_screen(
    arguments: argparse.Namespace, target: Target, stop: Stop, *, is_interactive: bool
) -> AsyncGenerator[tuple[Screen, AsyncIterator[Message] | None], None]:
    formatter = Formatter(timestamps=arguments.timestamps, json=arguments.json)
    if is_interactive and not arguments.plain and _can_edit():
        from .editing import editing_screen

        history = None if arguments.no_history else history_file()
        async with editing_screen(formatter, history, str(target), stop.request) as screen:
            yield screen, screen.lines
    elif sys.stdin is None and arguments.send is None:
        yield PlainScreen(formatter, arguments.output), None
    else:
        async with aclosing(_input(arguments)) as source:
            yield PlainScreen(formatter, arguments.output, is_typed=arguments.send is None), source


def _can_edit() -> bool:
    if os.environ.get("TERM") in (None, "", "dumb") and sys.platform != "win32":
        return False
    if all(importlib.util.find_spec(package) is not None for package in ("prompt_toolkit", "pygments")):
        return True
    note("anyws: for line editing, history and colours, pip install 'anyio-websocket[cli]'; or use --plain")
    return False


def _input(arguments: argparse.Namespace) -> AsyncGenerator[Message, None]:
    if arguments.send is not None:
        return _each(arguments.send)
    chunks = Chunks(sys.stdin.fileno())
    framing = arguments.input or "line"
    if framing == "whole":
        return _as_one_message(chunks, None if arguments.binary else sys.stdin.encoding)
    return messages(chunks, splitter(framing), None if arguments.binary else sys.stdin.encoding)


async def _each(texts: list[str]) -> AsyncGenerator[Message, None]:
    for text in texts:
        yield text


async def _as_one_message(chunks: Chunks, encoding: str | None) -> AsyncGenerator[Message, None]:
    # One message, sent piece by piece as it is read.
    yield chunks if encoding is None else decoded(chunks, encoding)
