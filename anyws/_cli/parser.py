"""The command line as a whole: which commands there are, and what they have in common."""

from __future__ import annotations

import argparse
import logging
import platform
import re
from importlib.metadata import version as version_of
from typing import NoReturn

from anyws._version import __version__

from . import connect, demo, load, ping, serve

__all__ = ["parse_arguments"]

EPILOG = """\
examples:
  anyws demo                                        see it work, on trio and on asyncio
  anyws serve                                       an echo on ws://127.0.0.1:8765/
  anyws connect ws://127.0.0.1:8765/                talk to it
  echo hello | anyws connect ws://127.0.0.1:8765/
  anyws ping ws://127.0.0.1:8765/                   how long a Ping takes
  anyws load ws://127.0.0.1:8765/                   how much a server takes
  anyws connect --help                              all about one command"""

# Of a URI: what stands before its host, and its query.
_SECRETS = re.compile(r"(?<=://)\S*@|\?\S+")

_COMMANDS = {
    "connect": (connect.add_arguments, "connect to a server: send lines, print messages"),
    "serve": (serve.add_arguments, "serve an echo, a broadcast or a handler of yours"),
    "ping": (ping.add_arguments, "send Pings, and show how long the Pongs take"),
    "load": (load.add_arguments, "put load on a server that echoes, and measure"),
    "demo": (demo.add_arguments, "run the four examples of the document, and check what happens"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with the message of a wrong command line, which quotes it: without credentials and queries."""
        super().error(_SECRETS.sub("", message))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse a command line; ``run(namespace)`` of the result runs the command.

    Raises:
        SystemExit: after ``--help`` and ``--version``; with status 2 when the command line is wrong.
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
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (add_arguments, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        add_arguments(command)
        _add_verbose(command, default=argparse.SUPPRESS)  # of the command, or before it
    parsed = parser.parse_args(arguments)
    if parsed.verbose:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("anyws").setLevel(logging.DEBUG)
    return parsed


def _add_verbose(parser: argparse.ArgumentParser, *, default: object) -> None:
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=default, help="log what the connections do, to stderr"
    )
