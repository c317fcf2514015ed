"""Measure the engine of topics over Redis or Valkey: ``python -m benchmarks.engine [--backend trio]``.

It starts a server of its own on loopback. Absolute figures depend on the machine and on what else runs on it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

from anyws.exceptions import EngineUnavailable
from anyws.topics.engine import Position
from anyws.topics.history import History
from anyws.topics.redis import RedisEngine
from tests.topics.servers import PROGRAMS, RedisServer, find_program

BACKENDS = ("asyncio", "uvloop", "trio")
TOPIC = "news"
_STAMP = struct.Struct("!d")


class Receiver:
    """Counts messages, and how old each was when it arrived."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.expected = sys.maxsize
        self.all = anyio.Event()
        self.restored_at = 0.0

    def arrived(self, topic: str, position: Position, payload: bytes) -> None:
        """Take a message."""
        self.ages.append(time.monotonic() - _STAMP.unpack_from(payload)[0])
        if len(self.ages) >= self.expected:
            self.all.set()

    async def drain(self) -> None:
        """Let the engine read on."""

    def interrupted(self, reason: BaseException) -> None:
        """Do nothing."""

    def restored(self) -> None:
        """Note when the engine was connected again."""
        self.restored_at = time.monotonic()


async def rate(publish: Callable[[], Awaitable[object]], tasks: int, seconds: float) -> float:
    """Return how many messages several tasks publish in a second, each after the reply to the one before."""
    count = 0
    end = time.monotonic() + seconds

    async def work() -> None:
        nonlocal count
        while time.monotonic() < end:
            await publish()
            count += 1

    start = time.monotonic()
    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(work)
    return count / (time.monotonic() - start)


async def measure_publishing(url: str, seconds: float) -> None:
    """Print how fast a process publishes."""
    for history in (None, History()):
        engine = RedisEngine(url, history=history)
        async with anyio.create_task_group() as group:
            await group.start(engine.run, Receiver())
            for tasks in (1, 64, 1000):
                found = await rate(lambda engine=engine: engine.publish(TOPIC, b"x" * 64), tasks, seconds)  # type: ignore[misc]
                print(f"publish, {tasks} tasks, history {'on' if history else 'off'}: {found:.0f}/s", flush=True)
            group.cancel_scope.cancel()


async def receive(url: str, count: int) -> None:
    """Receive in a process of its own, and print the ages of the messages and the CPU time."""
    receiver, engine = Receiver(), RedisEngine(url)
    receiver.expected = count
    async with anyio.create_task_group() as group:
        await group.start(engine.run, receiver)
        await engine.follow([TOPIC])
        print("ready", flush=True)
        cpu = time.process_time()
        await receiver.all.wait()
        cpu = time.process_time() - cpu
        group.cancel_scope.cancel()
    ages = statistics.quantiles(receiver.ages, n=100)
    print(f"p50 {1000 * ages[49]:.2f} ms, p99 {1000 * ages[98]:.2f} ms, CPU {1e6 * cpu / count:.2f} us a message")


async def measure_receiving(url: str, backend: str, per_second: float, seconds: float) -> None:
    """Print how old messages are that another process receives at a rate, and what they cost.

    At an infinite rate, 64 tasks publish as fast as they can.
    """
    count = 20_000 if per_second == math.inf else int(per_second * seconds)
    command = [sys.executable, "-m", "benchmarks.engine", "--backend", backend, "--receive", url, str(count)]
    engine = RedisEngine(url)
    async with await anyio.open_process(command, stderr=None) as process, anyio.create_task_group() as group:
        assert process.stdout is not None
        await group.start(engine.run, Receiver())
        lines = BufferedByteReceiveStream(process.stdout)
        await lines.receive_until(b"\n", 1000)
        start = time.monotonic()
        sent = 0

        async def publish_share() -> None:
            for _ in range(count // 64 + 1):
                await engine.publish(TOPIC, _STAMP.pack(time.monotonic()) + b"x" * 56)

        if per_second == math.inf:
            async with anyio.create_task_group() as publishers:
                for _ in range(64):
                    publishers.start_soon(publish_share)
            sent = count
        while sent < count:
            due = min(count, int((time.monotonic() - start) * per_second) + 1)
            async with anyio.create_task_group() as publishers:
                for _ in range(due - sent):
                    publishers.start_soon(engine.publish, TOPIC, _STAMP.pack(time.monotonic()) + b"x" * 56)
            sent = due
            await anyio.sleep(0.0005)
        took = time.monotonic() - start
        report = (await lines.receive_until(b"\n", 1000)).decode()
        print(f"received at {count / took:.0f}/s: {report}", flush=True)
        group.cancel_scope.cancel()


async def measure_restart(server: RedisServer) -> None:
    """Print how long a process is without the engine once the server accepts connections again."""
    receiver, engine = Receiver(), RedisEngine(server.url)
    waits: list[float] = []
    async with anyio.create_task_group() as group:
        await group.start(engine.run, receiver)
        for _ in range(5):
            server.kill()
            await anyio.sleep(3)
            receiver.restored_at = 0
            await to_thread.run_sync(server.start)
            ready = time.monotonic()
            while True:
                try:
                    await engine.follow([TOPIC])
                    await engine.publish(TOPIC, b"x" * 64)
                    break
                except EngineUnavailable:
                    await anyio.sleep(0.005)
            waits.append(time.monotonic() - ready)
        group.cancel_scope.cancel()
    print(f"live again after a restart: {', '.join(f'{wait:.2f}' for wait in sorted(waits))} s", flush=True)


async def measure(server: RedisServer, backend: str, seconds: float) -> None:
    """Measure all."""
    await measure_publishing(server.url, seconds)
    for per_second in (500, 5000):
        await measure_receiving(server.url, backend, per_second, 3 * seconds)
    await measure_receiving(server.url, backend, math.inf, 0)
    await measure_restart(server)


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--server", choices=PROGRAMS, default=PROGRAMS[0])
    parser.add_argument("--seconds", type=float, default=2, help="for each measurement (2)")
    parser.add_argument("--receive", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    backend: dict[str, Any] = {
        "backend": "trio" if arguments.backend == "trio" else "asyncio",
        "backend_options": {"use_uvloop": True} if arguments.backend == "uvloop" else {},
    }
    if arguments.receive:
        url, count = arguments.receive
        anyio.run(receive, url, int(count), **backend)
        return 0
    program = find_program(arguments.server)
    if program is None:
        print(f"{arguments.server} is not installed", file=sys.stderr)
        return 77
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, Path(folder))
        server.start()
        try:
            anyio.run(measure, server, arguments.backend, arguments.seconds, **backend)
        finally:
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
