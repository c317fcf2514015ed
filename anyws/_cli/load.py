"""The command ``anyws load``."""

from __future__ import annotations

import argparse
import functools
import itertools
import json

from .arguments import count, positive_rate, positive_seconds, size
from .backends import add_backend, is_missing, run
from .exit_status import CommandError, ExitStatus
from .load_generator import LoadResult, LoadTest
from .opening import connect_error, connected
from .printing import print_line
from .progress import progress_bar
from .stopping import stop_signals
from .target import Target, read_target
from .target_options import add_target

__all__ = ["add_arguments"]

DESCRIPTION = """\
Load-test a WebSocket server that echoes messages: open connections, send
messages on all of them, and measure the latency. Each message received counts
as the response to the oldest unanswered message on its connection.

Without --rate, each connection sends its next message when the previous one was
answered, so the server sets the pace. With --rate, messages are sent on
schedule, whether or not responses have arrived, and the latency is measured
from the scheduled time, so it shows when the server falls behind."""

EPILOG = """\
examples:
  anyws serve --workers 2 &

  # 10 connections for 10 seconds, as fast as possible
  anyws load ws://127.0.0.1:8765/

  # 1000 connections for a minute, 5000 messages of 1 KiB per second
  anyws load -c 1000 -r 5000 -d 60 --size 1K ws://127.0.0.1:8765/

  # the results as JSON, with times in seconds
  anyws load --json ws://127.0.0.1:8765/ | jq .latency.p99

exit status:
  0  all connections were opened, and all messages answered
  1  some messages were not answered in time, some connections could not be
     opened, or the test was interrupted
  2  invalid command line
  3  no connection could be opened: unknown host, connection refused, TLS
     failure or timeout
  4  no connection could be opened: the server rejected the handshake
  5  the server closed a connection, or a connection was lost"""

_PERCENTILES = {"min": 0, "p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_target(parser)
    load = parser.add_argument_group("load")
    load.add_argument(
        "-c", "--connections", type=count, default=10, metavar="N", help="number of connections; default: 10"
    )
    load.add_argument(
        "-r",
        "--rate",
        type=positive_rate,
        metavar="N",
        help="messages per second, over all connections; default: as fast as responses arrive",
    )
    load.add_argument("--size", type=size, default=100, metavar="BYTES", help="size of each message; default: 100")
    load.add_argument(
        "-d",
        "--duration",
        type=positive_seconds,
        default=10.0,
        metavar="SECONDS",
        help="duration of the test; default: 10",
    )
    load.add_argument("-b", "--binary", action="store_true", help="send binary messages instead of text")
    load.add_argument(
        "--connecting",
        type=count,
        default=50,
        metavar="N",
        help="number of connections to open at the same time; default: 50",
    )
    load.add_argument("--json", action="store_true", help="print the results as JSON, with times in seconds")
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend):
        return ExitStatus.USAGE
    target = read_target(parser, arguments)
    result = run(arguments.backend, functools.partial(_load, arguments, target))
    if not result.opened and result.failure is not None:
        raise connect_error(target, result.failure)
    if not print_line(_report(result, as_json=arguments.json)):
        return ExitStatus.FAILED
    if result.lost:
        return ExitStatus.ABNORMAL
    return (
        ExitStatus.FAILED if result.failed or result.sent > result.received or result.is_interrupted else ExitStatus.OK
    )


async def _load(arguments: argparse.Namespace, target: Target) -> LoadResult:
    # With -v, the handshake of the first connection is shown: the others are like it.
    is_verbose = itertools.chain([arguments.verbose], itertools.repeat(False))
    load = LoadTest(
        connect=lambda: connected(target, is_verbose=next(is_verbose)),
        connections=arguments.connections,
        connecting=arguments.connecting,
        rate=arguments.rate,
        duration=arguments.duration,
        message=b"x" * arguments.size if arguments.binary else "x" * arguments.size,
    )
    async with stop_signals() as stop:
        with progress_bar(f"load on {target}", arguments.duration) as show:
            return await load.run(stop, show)
    raise CommandError(ExitStatus.FAILED, "interrupted")


def _report(result: LoadResult, *, as_json: bool) -> str:
    latencies = dict(zip(_PERCENTILES, result.times.percentiles(list(_PERCENTILES.values())), strict=True))
    latencies["mean"] = result.times.mean
    rate = result.received / result.seconds if result.seconds else 0.0
    if as_json:
        figures = {
            "connections": {"opened": result.opened, "failed": result.failed, "lost": result.lost},
            "messages": {"sent": result.sent, "received": result.received, "per_second": rate},
            "seconds": result.seconds,
            "latency": latencies if result.received else None,
        }
        return json.dumps(figures)
    lines = [
        f"connections  {result.opened} opened, {result.failed} failed, {result.lost} lost",
        f"messages     {result.sent} sent, {result.received} received in {result.seconds:.3f} s: {rate:.0f}/s",
    ]
    if result.received:
        shown = "  ".join(f"{name} {seconds * 1000:.3f}" for name, seconds in latencies.items())
        lines.append(f"latency      {shown} ms")
    return "\n".join(lines)
