"""Measure memory per connection: ``python -m benchmarks.memory [--connections N] [--rounds N] [NAME ...]``.

Each contestant runs in a separate process. All of them are measured in turn, several times, and the medians are printed
as a table in Markdown. The measured quantity is the unique set size: the memory that no other process shares
(``/proc/PID/smaps_rollup``, Linux). It excludes kernel buffers. See docs/memory.md.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import platform
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import trustme

import anyws

from .load import Load, json_messages

_ROOT = Path(__file__).parent.parent
_WS = _ROOT / "tests" / "interop" / "node_modules" / "ws" / "package.json"
_WARM = 20  # connections opened before the first reading
_MESSAGES, _MESSAGE_SIZE = 16, 8192  # 128 KiB: fills the largest window
_TIME_LIMIT = 300  # seconds for one contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A server with its settings.

    Attributes:
        name: the name of the library; "ws" is from npm.
        loop: the event loop.
        compression: ``off``, or the name of a setting.
        tls: whether to use TLS.
    """

    name: str
    loop: str
    compression: str = "off"
    tls: bool = False

    @property
    def command(self) -> list[str]:
        """The command line of the server, without options for TLS."""
        options = ["--loop", self.loop, "--compression", self.compression]
        if self.name == "ws":
            return ["node", "--expose-gc", "benchmarks/contestants/ws.mjs", *options]
        return [sys.executable, "-m", f"benchmarks.contestants.{self.name.replace('-', '_')}", *options]

    @property
    def version(self) -> str | None:
        """The installed version; None if it is not installed."""
        if self.name.startswith("anyws"):
            return anyws.__version__
        if self.name != "ws":
            try:
                return importlib.metadata.version(self.name.removesuffix("-websockets"))
            except importlib.metadata.PackageNotFoundError:
                return None
        return json.loads(_WS.read_text())["version"] if _WS.exists() and shutil.which("node") else None


_SETTINGS = {
    ("anyws", "asyncio"): ("off", "memory", "default", "ratio"),
    ("anyws", "uvloop"): ("off", "memory", "default", "ratio"),
    ("anyws", "trio"): ("off", "memory", "default", "ratio"),
    ("websockets", "asyncio"): ("off", "memory", "default"),
    ("aiohttp", "asyncio"): ("off", "default"),
    ("picows", "asyncio"): ("off",),
    ("picows-websockets", "asyncio"): ("off", "default"),
    ("trio-websocket", "trio"): ("off",),
    ("ws", "node"): ("off", "memory", "default"),
}
CONTESTANTS = [
    *(Contestant(name=name, loop=loop, compression=each) for (name, loop), all_ in _SETTINGS.items() for each in all_),
    *(Contestant(name=name, loop=loop, tls=True) for name, loop in _SETTINGS),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The result of one run, in KiB per connection.

    Attributes:
        idle: the memory after the opening handshake.
        used: the memory after the messages.
        agreed: the extensions that the server accepted.
    """

    idle: float
    used: float
    agreed: str


def unique_set_size(pid: int) -> int:
    """Return the unique set size of a process, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


async def wait_until_settled(process: asyncio.subprocess.Process) -> int:
    """Make a server collect garbage, and return its memory in KiB once two readings nearly agree."""
    before = -1
    for _ in range(10):
        process.send_signal(signal.SIGUSR2)
        await asyncio.sleep(0.2)
        now = unique_set_size(process.pid)
        if abs(now - before) < 64:
            break
        before = now
    return now


async def measure(contestant: Contestant, connections: int, certificates: Path) -> Reading:
    """Start a contestant, read its memory before and after the load, and stop it."""
    command, context = contestant.command, None
    if contestant.tls:
        command += ["--tls", str(certificates / "certificate.pem"), str(certificates / "key.pem")]
        context = ssl.create_default_context(cafile=str(certificates / "authority.pem"))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_TIME_LIMIT):
            said = (await process.stdout.readline()).split()
            if said[:3] != [b"listening", b"on", b"port"]:
                raise RuntimeError(f"{contestant} did not start to listen")
            messages = json_messages(_MESSAGES, _MESSAGE_SIZE)
            loads = [
                Load(int(said[3]), compress=contestant.compression != "off", ssl_context=context) for _ in range(2)
            ]
            warm, load = loads
            await warm.open(_WARM)
            await warm.exchange(messages)
            before = await wait_until_settled(process)
            await load.open(connections)
            idle = await wait_until_settled(process)
            await load.exchange(messages)
            used = await wait_until_settled(process)
            for each in loads:
                each.close()
            return Reading(idle=(idle - before) / connections, used=(used - before) / connections, agreed=load.agreed)
    finally:
        process.kill()
        await process.wait()


def write_certificates(folder: Path) -> None:
    """Write a CA certificate, and a certificate for 127.0.0.1 with its key, as PEM files."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(folder / "certificate.pem", append=number > 0)


def table(readings: dict[Contestant, list[Reading]]) -> str:
    """Return the medians as a table in Markdown."""
    lines = ["| Server | On | Compression | Idle, KiB | Used, KiB | Agreed |", "|---|---|---|--:|--:|---|"]
    for contestant, runs in readings.items():
        setting = "TLS, off" if contestant.tls else contestant.compression
        idle, used = median(run.idle for run in runs), median(run.used for run in runs)
        agreed = runs[0].agreed.removeprefix("permessage-deflate").strip("; ") or ("15 bits" if runs[0].agreed else "")
        lines.append(f"| {contestant.name} | {contestant.loop} | {setting} | {idle:.1f} | {used:.1f} | {agreed} |")
    return "\n".join(lines)


def versions() -> str:
    """Return the versions of everything measured, in one line."""
    found = {contestant.name: contestant.version for contestant in CONTESTANTS}
    found |= {name: importlib.metadata.version(name) for name in ("anyio", "trio", "uvloop")}
    programs = [f"Python {platform.python_version()}", f"zlib {zlib.ZLIB_RUNTIME_VERSION}"]
    if found["ws"]:
        node = subprocess.run(["node", "--version"], capture_output=True, check=True, text=True)
        programs.append(f"Node {node.stdout.strip().removeprefix('v')}")
    return ", ".join([*(f"{name} {version}" for name, version in found.items() if version), *programs])


async def main(names: list[str], connections: int, rounds: int) -> None:
    """Measure, print a line on stderr for each run, and print the table."""
    contestants = [each for each in CONTESTANTS if each.version and (not names or each.name in names)]
    readings: dict[Contestant, list[Reading]] = {each: [] for each in contestants}
    with tempfile.TemporaryDirectory() as folder:
        write_certificates(Path(folder))
        for _ in range(rounds):
            for contestant in contestants:
                reading = await measure(contestant, connections, Path(folder))
                print(contestant, reading, file=sys.stderr, flush=True)
                readings[contestant].append(reading)
    print(f"{connections} connections, medians of {rounds} rounds: {versions()}.\n\n{table(readings)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description="Measure memory per connection.")
    known = list(dict.fromkeys(each.name for each in CONTESTANTS))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"library: {', '.join(known)} (default: all installed)"
    )
    parser.add_argument("--connections", type=int, default=1000, help="connections per server (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: %(default)s)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    needed = options.connections + _WARM + 100
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else min(needed, hard), hard))
    asyncio.run(main(options.names, options.connections, options.rounds))
