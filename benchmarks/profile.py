"""Show where the anyws server spends its time: ``python -m benchmarks.profile LOAD [--loop LOOP]``.

Runs a load of `benchmarks.speed` against a server under cProfile, which makes Python calls look more expensive than
they are. System calls, the event loop, AnyIO, h11 and anyws itself are distinguished by file.
"""

from __future__ import annotations

import argparse
import os
import pstats
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from . import memory
from .generator import compiled, generator
from .loads import LOADS
from .servers import CONTESTANTS, ROOT

_SECONDS = 2
_CALLS = ("of '_socket.socket'", "'poll' of", "of 'select", "method accept", "method '_accept'")
_PLACES = {
    "h11": ("/h11/",),
    "AnyIO": ("/anyio/", "/sniffio/", "contextlib.py"),
    "event loop": ("/asyncio/", "/trio/", "selectors.py", "uvloop", "weakref", "_contextvars", "_asyncio", "outcome"),
    "anyws": ("/anyws/", "/contestants/", "_speedups"),
}


def _place(file: str, function: str) -> str:
    if file == "~" and any(call in function for call in _CALLS):
        return "system calls"
    for place, signs in _PLACES.items():
        if any(sign in f"{file} {function}" for sign in signs):
            return place
    return "built-in functions and others"


def _profile(load_name: str, loop: str, cache: Path, folder: Path) -> tuple[pstats.Stats, int]:
    """Run the load against a profiled server, and return the profile and the number of messages."""
    load = LOADS[load_name]
    contestant = next(each for each in CONTESTANTS if (each.name, each.loop) == ("anyws", loop))
    memory.write_certificates(folder)
    _, module, *arguments = contestant.command(load.setting, folder)[1:]
    output = folder / "profile"
    command = [sys.executable, "-m", "cProfile", "-o", str(output), "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[3]
        cores = sorted(os.sched_getaffinity(0))
        frames, _, request = load.write(folder)
        work = [compiled("load.c", cache, tls=load.setting.tls), load.mode, port, load.connections, load.in_flight]
        with generator(
            [*map(str, [*work, _SECONDS, frames, request]), *(["tls"] if load.setting.tls else [])], cores[-1]
        ) as ready:
            messages = ready.run().messages
        server.send_signal(signal.SIGINT)
        server.wait()
    return pstats.Stats(str(output)), messages


def main() -> None:
    """Print two tables: time by package, and the most expensive functions."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.profile", description="Show where the anyws server spends its time."
    )
    parser.add_argument("load", choices=[load.name for load in LOADS.values() if load.mode in ("echo", "handshakes")])
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    parser.add_argument("--functions", type=int, default=20, help="number of functions to show (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "anyws-benchmarks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stats, messages = _profile(options.load, options.loop, options.cache, Path(folder))
    functions = {
        key: (calls, time)
        for key, (_, calls, time, _, _) in stats.stats.items()  # type: ignore[attr-defined]
        if calls >= messages / 4  # skip the startup
    }
    places: Counter[str] = Counter()
    called: Counter[str] = Counter()
    for (file, _, name), (calls, time) in functions.items():
        places[_place(file, name)] += time
        called[_place(file, name)] += calls
    whole = sum(places.values())
    print(f"{LOADS[options.load].title}, on {options.loop}: {messages} under cProfile\n")
    print("| Where | Share | Calls for each |\n|---|--:|--:|")
    for place, time in places.most_common():
        print(f"| {place} | {time / whole:.0%} | {called[place] / messages:.1f} |")
    print("\n| Function | Share | Calls for each |\n|---|--:|--:|")
    slowest = sorted(functions.items(), key=lambda each: -each[1][1])[: options.functions]
    for (file, line, name), (calls, time) in slowest:
        where = name if file == "~" else f"{name} ({Path(file).parent.name}/{Path(file).name}:{line})"
        print(f"| {where} | {time / whole:.1%} | {calls / messages:.1f} |")


if __name__ == "__main__":
    main()
