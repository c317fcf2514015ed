"""Run a chat of three processes over an engine that fails all the time: ``python -m tests.topics --minutes 10``.

One process uses asyncio, one trio and one uvloop, which is behind a network that fails. Each publishes numbers,
subscribes to those of all, and serves a chat; and each has a client of the chat that goes from process to process with
its last position. At the end, each subscription and each client must have received every number that the engine has
accepted, once and in one order; where messages are missing, a loss must have been told of exactly these positions. The
exit status is 1 if that does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from .faulty_network import FaultyNetwork, faulty_network
from .observing import wrong_in
from .servers import PROGRAMS, RedisServer, find_program

BACKENDS = ("asyncio", "trio", "uvloop")
PUBLISH_LIMIT = 7.0  # seconds: the timeout of 5, and what a busy machine adds


class Faults:
    """What can happen to a server and to the network before it."""

    def __init__(self, server: RedisServer, network: FaultyNetwork) -> None:
        self._server = server
        self._network = network
        self.all: dict[str, Callable[[], Awaitable[None]]] = {
            "killed, back with its data": self._restart,
            "killed, back without data": self._restart_empty,
            "frozen for 12 seconds": self._freeze,
            "subscribers killed every 100 ms for 5 seconds": self._kill_subscribers,
            "network cut 20 times": self._cut,
            "partition of 12 seconds": self._partition,
        }

    async def _restart(self) -> None:
        self._server.kill()
        await anyio.sleep(random.uniform(0, 2))
        await to_thread.run_sync(self._server.start)

    async def _restart_empty(self) -> None:
        self._server.kill()
        for path in self._server.folder.glob("appendonly*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        await to_thread.run_sync(self._server.start)

    async def _freeze(self) -> None:
        self._server.freeze()
        await anyio.sleep(12)
        self._server.thaw()

    async def _kill_subscribers(self) -> None:
        for _ in range(50):
            await to_thread.run_sync(self._server.command, "CLIENT", "KILL", "TYPE", "pubsub")
            await anyio.sleep(0.1)

    async def _cut(self) -> None:
        for _ in range(20):
            self._network.cut_within(b"message", random.randrange(8))
            await anyio.sleep(random.uniform(0, 0.3))
            self._network.cut()

    async def _partition(self) -> None:
        self._network.freeze()
        await anyio.sleep(12)
        self._network.thaw()


class Processes:
    """The processes of the run."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._outputs = [TextReceiveStream(process.stdout) for process in processes if process.stdout is not None]
        self._texts = [""] * len(processes)

    async def tell(self, line: str) -> None:
        """Write a line to each of them."""
        for process in self._processes:
            assert process.stdin is not None
            await process.stdin.send(line.encode() + b"\n")

    async def hear(self) -> list[str]:
        """Return the next line of each of them."""
        return [await self._line(number) for number in range(len(self._processes))]

    async def _line(self, number: int) -> str:
        while "\n" not in self._texts[number]:
            self._texts[number] += await self._outputs[number].receive()
        line, _, self._texts[number] = self._texts[number].partition("\n")
        return line


def show(reports: Sequence[dict[str, Any]]) -> None:
    """Print what has happened."""
    for number, report in enumerate(reports):
        print(
            f"process {number} ({BACKENDS[number]}): {len(report['accepted'])} accepted, {len(report['refused'])} not, "
            f"the slowest after {report['slowest']:.1f} s; {report['interruptions']} interruptions"
        )
        for name, events in report["observed"].items():
            received = sum(len(event) == 2 for event in events)
            print(f"    {name}: {received} received, {len(events) - received - 1} losses told")


async def act(program: str, minutes: float, only: Sequence[str]) -> int:
    """Run the processes and the faults; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, Path(folder), {"appendonly": "yes"})
        server.start()
        try:
            async with faulty_network(server.port) as network:
                reports = await observe(server, network, minutes, only)
        finally:
            server.kill()
    show(reports)
    found = wrong_in(reports)
    for report in reports:
        if report["slowest"] > PUBLISH_LIMIT:
            found.append(f"a call of publish() took {report['slowest']:.1f} s")
    for text in found[:100]:
        print(text, file=sys.stderr)
    print("nothing is wrong" if not found else f"{len(found)} things are wrong")
    return 1 if found else 0


async def observe(
    server: RedisServer, network: FaultyNetwork, minutes: float, only: Sequence[str]
) -> list[dict[str, Any]]:
    """Run the processes and the faults; return the reports."""
    started: list[Process] = []
    try:
        for number, backend in enumerate(BACKENDS):
            url = f"redis://127.0.0.1:{network.port if number == len(BACKENDS) - 1 else server.port}"
            command = [sys.executable, "-m", "tests.topics.worker", str(number), url, "--backend", backend]
            started.append(await anyio.open_process(command, stdin=subprocess.PIPE, stderr=None))
        processes = Processes(started)
        await processes.tell(json.dumps([int(line) for line in await processes.hear()]))
        faults = {
            name: act for name, act in Faults(server, network).all.items() if not only or any(o in name for o in only)
        }
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            for name in random.sample(list(faults), len(faults)):
                print(f"{end - time.monotonic():.0f} seconds left: {name}", flush=True)
                await faults[name]()
                await anyio.sleep(3)
                if time.monotonic() > end:
                    break
        await processes.tell("stop")
        await processes.hear()
        await processes.tell("report")
        reports = [json.loads(line) for line in await processes.hear()]
        for process in started:
            await process.wait()
        return reports
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.aclose()


def main() -> int:
    """Run as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.topics", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--server", choices=PROGRAMS, default=PROGRAMS[0])
    parser.add_argument(
        "--faults", nargs="*", default=(), help="only the faults whose names contain one of these words"
    )
    arguments = parser.parse_args()
    program = find_program(arguments.server)
    if program is None:
        print(f"{arguments.server} is not installed", file=sys.stderr)
        return 77
    return anyio.run(act, program, arguments.minutes, arguments.faults)


if __name__ == "__main__":
    sys.exit(main())
