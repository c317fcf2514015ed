"""The command ``anyws demo``."""

from __future__ import annotations

import argparse
import functools
import textwrap

from .backends import is_missing, run
from .certificates import Certificates, make_certificates
from .examples import EXAMPLES, HOST, Example
from .exit_status import ExitStatus
from .printing import print_line
from .stopping import stop_signals

__all__ = ["add_arguments"]

DESCRIPTION = """\
Run the examples of the node:websocket proposal: a client and a server, with TLS
and without, on trio and on asyncio, and check that they behave as expected. The
certificates are created for this run.

The client in the proposal does not mask its frames, contrary to RFC 6455. Most
examples use a server that was configured to accept this; the others demonstrate
that a server refuses it by default, by closing the connection with 1002.

Requires the extra "demo": pip install 'anyio-websocket[demo]'"""

EPILOG = """\
exit status:
  0  all examples ran as expected
  1  some did not
  2  the extra is missing"""

_BACKENDS = ("trio", "asyncio")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if is_missing("trio", "trustme"):
        return ExitStatus.USAGE
    certificates = make_certificates(HOST)
    successes = []
    for backend in _BACKENDS:
        for example in EXAMPLES:
            report = _Report()
            run(backend, functools.partial(_run_example, example, backend, certificates, report))
            if not report.is_read:
                return ExitStatus.FAILED
            successes.append(report.reported == example.expected)
    is_read = print_line(f"{sum(successes)} of {len(successes)} examples ran as expected")
    return ExitStatus.OK if is_read and all(successes) else ExitStatus.FAILED


class _Report:
    """What client and server of one example did; it is printed as it happens."""

    def __init__(self) -> None:
        self.reported: dict[str, list[str]] = {"server": [], "client": []}
        self.is_read = True  # whether somebody still reads the output

    def log(self, who: str, what: str, more: object = "", /) -> None:
        """See `anyws._cli.examples.Log`. It raises nothing: it is called by hooks of connections."""
        self.reported[who].append(what)
        self.print(f"    {who}  {what}" + (f" ({more})" if more else ""))

    def print(self, text: str) -> None:
        """Print a line."""
        self.is_read = self.is_read and print_line(text)


async def _run_example(example: Example, backend: str, certificates: Certificates, report: _Report) -> None:
    report.print(f"{backend}: {example.title}")
    report.print(f"{textwrap.indent(example.description, '  ')}\n")
    has_ended = False
    async with stop_signals():
        await example.run(report.log, certificates)
        has_ended = True
    if not has_ended:
        raise KeyboardInterrupt
    for who, expected in example.expected.items():
        if report.reported[who] != expected:
            report.print(f"    UNEXPECTED: the {who} should have reported: {'; '.join(expected)}")
    report.print(f"\n  {'As' if report.reported == example.expected else 'NOT as'} expected.\n")
