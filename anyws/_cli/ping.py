"""The command ``anyws ping``."""

from __future__ import annotations

import argparse
import functools
import itertools
import math

import anyio

import anyws

from .arguments import count, payload_size, positive_seconds, seconds
from .backends import add_backend, is_missing, run
from .exit_status import CommandError, ExitStatus
from .notes import note
from .opening import open_target
from .printing import print_line
from .statistics import Times
from .stopping import Stop, stop_signals
from .target import Target, read_target
from .target_options import add_target

__all__ = ["add_arguments"]

DESCRIPTION = """\
Send Pings to a WebSocket server and show their latency. After Ctrl-C, or -c
Pings, print a summary: the minimum, average and maximum latency, and the
standard deviation."""

EPILOG = """\
examples:
  anyws ping ws://localhost:8765/
  anyws ping -c 3 -i 0.2 wss://example.com/chat

exit status:
  0  all Pings were answered
  1  a Ping was not answered within --pong-timeout, or interrupted while
     connecting
  2  invalid command line
  3  cannot connect: unknown host, connection refused, TLS failure or timeout
  4  the server rejected the handshake, for example with HTTP 404, or sent an
     invalid response
  5  the server closed the connection, or the connection was lost"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_target(parser)
    pings = parser.add_argument_group("pings")
    pings.add_argument("-c", "--count", type=count, metavar="N", help="stop after N Pings; default: never")
    pings.add_argument(
        "-i", "--interval", type=seconds, default=1.0, metavar="SECONDS", help="time between Pings; default: 1"
    )
    pings.add_argument(
        "--size", type=payload_size, default=8, metavar="BYTES", help="size of the payload, 0 to 125; default: 8"
    )
    pings.add_argument(
        "-W",
        "--pong-timeout",
        type=positive_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for each Pong; default: 10",
    )
    pings.add_argument("-q", "--quiet", action="store_true", help="print only the summary")
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend):
        return ExitStatus.USAGE
    return run(arguments.backend, functools.partial(_connect, arguments, read_target(parser, arguments)))


async def _connect(arguments: argparse.Namespace, target: Target) -> int:
    async with stop_signals() as stop, open_target(target, is_verbose=arguments.verbose) as websocket:
        return await _Pinging(websocket, arguments).run(target, stop)
    raise CommandError(ExitStatus.FAILED, "interrupted")


class _Pinging:
    def __init__(self, websocket: anyws.WebSocket, arguments: argparse.Namespace) -> None:
        self._websocket = websocket
        self._arguments = arguments
        self._times = Times()
        self._sent = 0
        self._status = ExitStatus.OK

    async def run(self, target: Target, stop: Stop) -> ExitStatus:
        if not print_line(f"PING {target}: {self._arguments.size} bytes of payload"):
            return ExitStatus.FAILED
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:

            async def stop_on_signal() -> None:
                await stop.wait()
                tasks.cancel_scope.cancel()

            async def drop_messages() -> None:
                try:
                    async for _ in self._websocket:  # otherwise they fill the buffer and block Pongs
                        pass
                except anyws.ConnectionClosed:
                    pass

            tasks.start_soon(stop_on_signal)
            tasks.start_soon(drop_messages)
            await self._ping_all()
            tasks.cancel_scope.cancel()
        self._summarize(target, anyio.current_time() - start)
        return self._status

    async def _ping_all(self) -> None:
        begin = -math.inf
        for number in itertools.count(1) if self._arguments.count is None else range(1, self._arguments.count + 1):
            begin = max(anyio.current_time(), begin + self._arguments.interval)
            await anyio.sleep_until(begin)
            try:
                is_read = await self._ping(number)
            except anyws.ConnectionClosed as exc:
                note(f"anyws: {exc}")
                self._status = ExitStatus.ABNORMAL
                return
            if not is_read:
                self._status = ExitStatus.FAILED
                return

    async def _ping(self, number: int) -> bool:
        """Send a Ping and print its latency; return whether somebody reads the output."""
        payload = f"{number:08}".encode().ljust(self._arguments.size, b".")[: self._arguments.size]
        with anyio.move_on_after(self._arguments.pong_timeout):
            self._sent += 1
            latency = await self._websocket.ping(payload)
            self._times.add(latency)
            return self._arguments.quiet or print_line(f"pong: number {number}, {latency * 1000:.3f} ms")
        self._status = ExitStatus.FAILED
        note(f"anyws: no Pong to number {number} within {self._arguments.pong_timeout:g} s")
        return True

    def _summarize(self, target: Target, seconds: float) -> None:
        sent, received = self._sent, len(self._times)
        # A Ping interrupted by Ctrl-C does not count as lost.
        lost = (sent - received) / sent if sent else 0
        lines = [f"--- {target}", f"{sent} pings sent, {received} pongs received, {lost:.0%} lost, in {seconds:.3f} s"]
        if received:
            least, greatest = self._times.percentiles([0, 100])
            figures = (least, self._times.mean, greatest, self._times.deviation)
            lines.append(f"min/avg/max/mdev = {'/'.join(f'{figure * 1000:.3f}' for figure in figures)} ms")
        if not print_line("\n".join(lines)):
            self._status = ExitStatus.FAILED
