"""Measures the contestants as clients of a fast echo server: `serve.c`."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .cpu import usage
from .generator import Outcome, compiled
from .loads import Load
from .results import Result
from .servers import ROOT, Contestant, environment_of, module_of

__all__ = ["measure_clients"]

_WARM_SECONDS = 0.1


@contextmanager
def _server(cache: Path, core: int | None) -> Iterator[tuple[int, int]]:
    with subprocess.Popen([compiled("serve.c", cache)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            yield process.pid, int(process.stdout.readline().split()[3])
        finally:
            process.kill()


@contextmanager
def _client(contestant: Contestant, load: Load, port: int, core: int | None) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"benchmarks.clients.{module_of(contestant)}", "--loop", contestant.loop]
    for name, value in (("port", port), ("connections", load.connections), ("in-flight", load.in_flight)):
        command += [f"--{name}", str(value)]
    command += ["--size", str(load.size), *(["--text"] if load.text else [])]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment_of(contestant),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{contestant} did not connect")
            yield process
        finally:
            process.kill()


def _run(process: subprocess.Popen[str], server: int, seconds: float) -> Result:
    assert process.stdin is not None
    assert process.stdout is not None
    before, server_before = usage(process.pid), usage(server)
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    messages, took = process.stdout.readline().split()
    used = usage(process.pid) - before
    outcome = Outcome(
        messages=int(messages),
        seconds=float(took),
        latencies=(math.nan, math.nan, math.nan),
        pings=(math.nan, math.nan, math.nan),
        generator=usage(server) - server_before,
    )
    process.stdout.readline()
    return Result.of(outcome, used)


def measure_clients(
    load: Load,
    contestants: Sequence[Contestant],
    *,
    cache: Path,
    cores: tuple[int | None, int | None],
    rounds: int,
    seconds: float,
    add: Callable[[Load, Contestant, Result], None],
) -> None:
    """Run a load with all clients in turn, for several rounds.

    Args:
        load: the load; its mode is ``client``.
        contestants: the contestants that have a client.
        cache: the folder for the compiled server.
        cores: the cores of the client and of the server.
        rounds: the number of rounds, after one round to warm up.
        seconds: the duration of one measurement.
        add: called with each result.
    """
    with ExitStack() as stack:
        server, port = stack.enter_context(_server(cache, cores[1]))
        clients = {each: stack.enter_context(_client(each, load, port, cores[0])) for each in contestants}
        for number in range(-1, rounds):
            for contestant, process in clients.items():
                result = _run(process, server, seconds if number >= 0 else _WARM_SECONDS)
                if number >= 0:
                    add(load, contestant, result)
