"""The command ``anyws demo``."""

from __future__ import annotations

import argparse
import functools
import textwrap

from .backends import is_missing, run
from .certificates import Certificates, make_certificates
from .examples import EXAMPLES, HOST, Example
from .exit_status import ExitStatus
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
    successes = [
        run(backend, functools.partial(_run_example, example, backend, certificates))
        for backend in _BACKENDS
        for example in EXAMPLES
    ]
    print(f"{sum(successes)} of {len(successes)} examples ran as expected")
    return ExitStatus.OK if all(successes) else ExitStatus.FAILED


async def _run_example(example: Example, backend: str, certificates: Certificates) -> bool:
    print(f"{backend}: {example.title}")
    print(textwrap.indent(example.description, "  "), end="\n\n")
    reported: dict[str, list[str]] = {"server": [], "client": []}

    def log(who: str, what: str, more: object = "", /) -> None:
        reported[who].append(what)
        print(f"    {who}  {what}" + (f" ({more})" if more else ""), flush=True)

    has_ended = False
    async with stop_signals():
        await example.run(log, certificates)
        has_ended = True
    if not has_ended:
        raise KeyboardInterrupt
    for who, expected in example.expected.items():
        if reported[who] != expected:
            print(f"    UNEXPECTED: the {who} should have reported: {'; '.join(expected)}")
    is_success = reported == example.expected
    print("\n  As expected.\n" if is_success else "\n  NOT as expected.\n")
    return is_success
