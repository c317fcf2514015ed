"""The command-line parser: the commands and their common options."""

from __future__ import annotations

import argparse
import logging
import platform
import re
import sys
from importlib.metadata import version as version_of
from typing import NoReturn

from anyws._version import __version__

from . import completion, connect, demo, load, ping, serve
from .exit_status import ExitStatus
from .notes import note

__all__ = ["parse_arguments"]

EPILOG = """\
examples:
  anyws demo                           run the examples on trio and asyncio
  anyws serve                          run an echo server on port 8765
  anyws connect ws://127.0.0.1:8765/   connect to it
  anyws ping ws://127.0.0.1:8765/      measure its latency
  anyws load ws://127.0.0.1:8765/      load-test it
  anyws connect --help                 show the help of a command"""

# The parts of a URI that may be secret: the user information and the query.
_SECRETS = re.compile(r"(?<=://)\S*@|\?\S+")

_COMMANDS = {
    "connect": (connect.add_arguments, "connect to a server, send lines and print messages"),
    "serve": (serve.add_arguments, "run an echo server, a broadcast server or your own handler"),
    "ping": (ping.add_arguments, "send Pings and show their latency"),
    "load": (load.add_arguments, "load-test an echo server"),
    "demo": (demo.add_arguments, "run the examples of the node:websocket proposal"),
}
_COMPLETION = "print a script for the completion of bash, zsh or fish"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one line about an invalid command line, with credentials and queries removed from its URIs."""
        note(f"{self.prog}: {_SECRETS.sub('', message)} (see {self.prog} --help)")
        self.exit(ExitStatus.USAGE)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse a command line; ``run(namespace)`` of the result runs the command.

    Raises:
        SystemExit: after ``--help`` and ``--version``; with status 2 if the command line is invalid.
    """
    parser = _Parser(
        prog="anyws",
        description="WebSocket client and server for trio and asyncio.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"anyws {__version__} (Python {platform.python_version()}, AnyIO {version_of('anyio')})"
    parser.add_argument("--version", action="version", version=version)
    _add_verbose(parser, default=False)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (add_arguments, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        add_arguments(command)
        _add_verbose(command, default=argparse.SUPPRESS)  # accepted before and after the command
    command = commands.add_parser("completion", help=_COMPLETION, formatter_class=argparse.RawDescriptionHelpFormatter)
    summaries = {name: summary for name, (_, summary) in _COMMANDS.items()}
    completion.add_arguments(command, parser, summaries | {"completion": _COMPLETION})
    parsed = parser.parse_args(arguments)
    if not hasattr(parsed, "run"):
        parser.print_help(sys.stderr)
        parser.exit(ExitStatus.USAGE)
    if parsed.verbose:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("anyws").setLevel(logging.DEBUG)
    return parsed


def _add_verbose(parser: argparse.ArgumentParser, *, default: object) -> None:
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default,
        help="log connection events to stderr; clients also show the opening handshake",
    )
