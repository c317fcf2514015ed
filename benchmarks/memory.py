"""Memory of a server per connection: ``python -m benchmarks.memory [--connections N] [--rounds N] [NAME ...]``.

Each contestant runs in a process of its own, all of them in turn, several times; the medians are printed as a table in
Markdown. What counts is the unique set size, that is the memory that nobody else shares (``/proc/PID/smaps_rollup``,
Linux). Buffers of the kernel are not part of it. See docs/memory.md.
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

from .load import Load, json_messages

_ROOT = Path(__file__).parent.parent
_WS = _ROOT / "tests" / "interop" / "node_modules" / "ws" / "package.json"
_WARM = 20  # connections that are open before the first reading
_MESSAGES, _MESSAGE_SIZE = 16, 8192  # 128 KiB: the largest window is full, twice over
_TIME_LIMIT = 300  # seconds for one contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A server with its settings.

    Attributes:
        name: the distribution, or "ws" for the one from npm.
        loop: what it runs on.
        compression: ``off``, or the name of a setting.
        tls: whether it speaks TLS.
    """

    name: str
    loop: str
    compression: str = "off"
    tls: bool = False

    @property
    def command(self) -> list[str]:
        """The server's command line, without that for TLS."""
        options = ["--loop", self.loop, "--compression", self.compression]
        if self.name == "ws":
            return ["node", "--expose-gc", "benchmarks/contestants/ws.mjs", *options]
        return [sys.executable, "-m", f"benchmarks.contestants.{self.name.replace('-', '_')}", *options]

    @property
    def version(self) -> str | None:
        """The version of what is installed; None if nothing is."""
        if self.name != "ws":
            try:
                return importlib.metadata.version(self.name)
            except importlib.metadata.PackageNotFoundError:
                return None
        return json.loads(_WS.read_text())["version"] if _WS.exists() and shutil.which("node") else None


_SETTINGS = {
    ("anyws", "asyncio"): ("off", "memory", "default", "ratio"),
    ("anyws", "uvloop"): ("off", "memory", "default", "ratio"),
    ("anyws", "trio"): ("off", "memory", "default", "ratio"),
    ("websockets", "asyncio"): ("off", "memory", "default"),
    ("aiohttp", "asyncio"): ("off", "default"),
    ("picows", "asyncio"): ("off", "default"),
    ("trio-websocket", "trio"): ("off",),
    ("ws", "node"): ("off", "memory", "default"),
}
CONTESTANTS = [
    *(Contestant(name=name, loop=loop, compression=each) for (name, loop), all_ in _SETTINGS.items() for each in all_),
    *(Contestant(name=name, loop=loop, tls=True) for name, loop in _SETTINGS),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one run gave, in KiB per connection.

    Attributes:
        idle: after the opening handshake.
        used: after the messages.
        agreed: the extensions that the server agreed to.
    """

    idle: float
    used: float
    agreed: str


def unique_set_size(pid: int) -> int:
    """Return the memory of a process that is its own, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


async def settled(process: asyncio.subprocess.Process) -> int:
    """Let a server collect its garbage; return its memory once two readings nearly agree, in KiB."""
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
    """Start a contestant, load it, read its memory before and after, and end it."""
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
                raise RuntimeError(f"{contestant} does not listen")
            messages = json_messages(_MESSAGES, _MESSAGE_SIZE)
            loads = [
                Load(int(said[3]), compress=contestant.compression != "off", ssl_context=context) for _ in range(2)
            ]
            warm, load = loads
            await warm.open(_WARM)
            await warm.exchange(messages)
            before = await settled(process)
            await load.open(connections)
            idle = await settled(process)
            await load.exchange(messages)
            used = await settled(process)
            for each in loads:
                each.close()
            return Reading(idle=(idle - before) / connections, used=(used - before) / connections, agreed=load.agreed)
    finally:
        process.kill()
        await process.wait()


def write_certificates(folder: Path) -> None:
    """Write an authority, and a certificate of 127.0.0.1 with its key, as PEM."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(folder / "certificate.pem", append=number > 0)


def table(readings: dict[Contestant, list[Reading]]) -> str:
    """Return the medians in Markdown."""
    lines = ["| Server | On | Compression | Idle, KiB | Used, KiB | Agreed |", "|---|---|---|--:|--:|---|"]
    for contestant, runs in readings.items():
        setting = "TLS, off" if contestant.tls else contestant.compression
        idle, used = median(run.idle for run in runs), median(run.used for run in runs)
        agreed = runs[0].agreed.removeprefix("permessage-deflate").strip("; ") or ("15 bits" if runs[0].agreed else "")
        lines.append(f"| {contestant.name} | {contestant.loop} | {setting} | {idle:.1f} | {used:.1f} | {agreed} |")
    return "\n".join(lines)


def versions() -> str:
    """Return what was measured, in one line."""
    found = {contestant.name: contestant.version for contestant in CONTESTANTS}
    found |= {name: importlib.metadata.version(name) for name in ("anyio", "trio", "uvloop")}
    programs = [f"Python {platform.python_version()}", f"zlib {zlib.ZLIB_RUNTIME_VERSION}"]
    if found["ws"]:
        node = subprocess.run(["node", "--version"], capture_output=True, check=True, text=True)
        programs.append(f"Node {node.stdout.strip().removeprefix('v')}")
    return ", ".join([*(f"{name} {version}" for name, version in found.items() if version), *programs])


async def main(names: list[str], connections: int, rounds: int) -> None:
    """Measure, with a line on stderr for each run; print the table."""
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
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all installed")
    parser.add_argument("--connections", type=int, default=1000, help="per server (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of all contestants (default: %(default)s)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    needed = options.connections + _WARM + 100
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else min(needed, hard), hard))
    asyncio.run(main(options.names, options.connections, options.rounds))
