"""Measure CPU time, throughput and latency: ``python -m benchmarks.speed [--loads ...] [--contestants ...]``.

Every contestant runs in a separate process on one core, and the load generator (`load.c`) on another. All servers of a
setting run at the same time and are measured in turn, round by round; the results are medians over the rounds. Before
the first round, each server has handled connections. Linux only. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import memory
from .client_side import measure_clients
from .cpu import usage
from .generator import NoGenerator, compiled, generator
from .imports import measure_imports
from .loads import GROUPS, LOADS, Load, Setting
from .page import PAGE, RESULTS, write_page
from .plots import draw
from .results import Result, Results
from .servers import CONTESTANTS, Contestant, Running, started
from .tables import report, write_report

_ROOT = Path(__file__).parent.parent
_WARM_CONNECTIONS, _WARM_SECONDS = 4, 0.1
_IMPORTS = 7  # for each round, because they vary more


class Bench:
    """The state shared by all measurements of a run.

    Args:
        folder: a temporary folder for files and certificates.
        cache: the folder for the compiled generator.
        seconds: the duration of one measurement.
    """

    def __init__(self, folder: Path, cache: Path, seconds: float) -> None:
        memory.write_certificates(folder)
        self._folder, self._cache, self._seconds = folder, cache, seconds
        cores = sorted(os.sched_getaffinity(0))
        self._server_core = cores[0] if len(cores) > 1 else None
        self._generator_core = cores[1] if len(cores) > 1 else None
        self.results = Results()

    def run(self, setting: Setting, loads: Sequence[Load], contestants: Sequence[Contestant], rounds: int) -> None:
        """Start the servers of a setting, and run its loads."""
        program = compiled("load.c", self._cache, tls=setting.tls)
        with ExitStack() as stack, (self._folder / "log").open("wb") as log:
            servers: dict[Contestant, Running] = {}
            for each in contestants:
                if all(map(each.unsupported_reason, loads)):
                    for load in loads:
                        self.results.skip(load.name, f"{each.name} on {each.loop}", each.unsupported_reason(load))
                    continue
                server = started(each, setting, self._folder, self._server_core, log)
                servers[each] = stack.enter_context(server)
            for load in loads:
                self._run_load(program, load, servers, rounds)

    def run_clients(self, load: Load, contestants: Sequence[Contestant], rounds: int) -> None:
        """Run a load with the clients."""
        measure_clients(
            load,
            [each for each in contestants if not each.unsupported_reason(load)],
            cache=self._cache,
            cores=(self._server_core, self._generator_core),
            rounds=rounds,
            seconds=self._seconds,
            add=self._add,
        )

    def run_memory(self, load: Load, contestants: Sequence[Contestant]) -> None:
        """Measure the memory of idle connections once, like benchmarks/memory.py."""
        for each in contestants:
            if each.is_bare or each.unsupported_reason(load) or each.name == "anyws-pure":
                continue
            contestant = memory.Contestant(name=each.name, loop=each.loop)
            reading = asyncio.run(memory.measure(contestant, load.connections, self._folder))
            self.results.add_memory(each, reading.idle)
            print(load.name, each.name, each.loop, f"{reading.idle:.1f} KiB", file=sys.stderr, flush=True)

    def run_imports(self, rounds: int) -> None:
        """Measure the imports."""
        self.results.imports = measure_imports(rounds * _IMPORTS)
        for name, time in self.results.imports.items():
            print("import", name, f"{time:.1f} ms", file=sys.stderr, flush=True)

    def _add(self, load: Load, contestant: Contestant, result: Result) -> None:
        self.results.add(load, contestant, result)
        print(load.name, contestant.name, contestant.loop, result.line(), file=sys.stderr, flush=True)

    def _run_load(self, program: Path, load: Load, servers: dict[Contestant, Running], rounds: int) -> None:
        files = load.write(self._folder)
        running = dict(servers)
        for number in range(-1, rounds):  # the first round only warms up
            for contestant, server in list(running.items()):
                reason = contestant.unsupported_reason(load)
                try:
                    result = None if reason else self._measure(program, load, contestant, server, files, number < 0)
                except RuntimeError as error:
                    reason, result = str(error), None
                if reason:
                    self.results.skip(load.name, f"{contestant.name} on {contestant.loop}", reason)
                    del running[contestant]
                elif number >= 0 and result is not None:
                    self._add(load, contestant, result)
        for file in files:
            file.unlink()

    def _measure(
        self, program: Path, load: Load, contestant: Contestant, server: Running, files: Iterable[Path], warms: bool
    ) -> Result:
        frames, raw, request = files
        mode = "raw" if contestant.is_bare else load.mode
        connections, seconds = load.connections, self._seconds
        if warms:
            connections, seconds = min(connections, _WARM_CONNECTIONS), _WARM_SECONDS
            for _ in range(_WARM_CONNECTIONS):  # asyncio frees a whole read buffer when a peer disconnects
                socket.create_connection(("127.0.0.1", server.port)).close()
        command = [program, mode, server.port, connections, load.in_flight, seconds, raw if mode == "raw" else frames]
        command += [request, *(["tls"] if load.setting.tls else [])]
        with generator(list(map(str, command)), self._generator_core) as ready:
            before = usage(server.pid)
            outcome = ready.run()
            used = usage(server.pid) - before
        return Result.of(outcome, used)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description="Measure CPU time, throughput and latency.")
    names = list(dict.fromkeys(each.name for each in CONTESTANTS))
    known = [*GROUPS, *LOADS]
    parser.add_argument(
        "--loads", nargs="+", choices=known, metavar="LOAD", help=f"load or group: {', '.join(known)} (default: all)"
    )
    parser.add_argument(
        "--contestants", nargs="+", choices=names, metavar="NAME", help=f"contestant: {', '.join(names)} (default: all)"
    )
    parser.add_argument("--loops", nargs="+", choices=("asyncio", "uvloop", "trio"), metavar="LOOP")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1, help="duration of one measurement (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep earlier results of what is not measured now")
    parser.add_argument("--output", type=Path, default=RESULTS.parent, help="folder for the results")
    parser.add_argument("--plots", type=Path, default=_ROOT / "docs" / "_static", help="folder for the plots")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "anyws-benchmarks")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, print the tables, and write the results and plots."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the servers as well
    chosen: dict[str, Load] = {}
    for name in options.loads or GROUPS:
        chosen |= {each.name: each for each in GROUPS.get(name, [LOADS[name]] if name in LOADS else [])}
    contestants = [
        each
        for each in CONTESTANTS
        if (not options.contestants or each.name in options.contestants)
        and (not options.loops or each.loop in options.loops)
    ]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.cache, options.seconds)
        shown, everybody = list(chosen.values()), contestants
        if options.keep:
            shown, everybody = list(LOADS.values()), CONTESTANTS
            bench.results.read(options.output / "speed.json")
            for load, each in itertools.product(chosen.values(), contestants):
                bench.results.discard(load, each)
        for setting in dict.fromkeys(load.setting for load in chosen.values()):
            loads = [load for load in chosen.values() if load.setting == setting]
            try:
                if servers := [load for load in loads if load.mode not in ("client", "memory", "import")]:
                    bench.run(setting, servers, contestants, options.rounds)
                for load in loads:
                    if load.mode == "client":
                        bench.run_clients(load, contestants, options.rounds)
                    elif load.mode == "memory":
                        bench.run_memory(load, contestants)
                    elif load.mode == "import":
                        bench.run_imports(options.rounds)
            except NoGenerator as error:
                for load in loads:
                    bench.results.skip(load.name, "all", str(error))
            finally:  # write partial results in case the run is interrupted
                bench.results.write(options.output / RESULTS.name)
                write_report(options.output / "speed.md", bench.results, shown, everybody)
                draw(options.plots, bench.results, shown, everybody)
    if options.output == RESULTS.parent:
        write_page(PAGE, RESULTS)
    print(report(bench.results, shown, everybody))


if __name__ == "__main__":
    main()
