"""The contestants as server processes, and the loads that they support."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .loads import Load, Setting

__all__ = ["CONTESTANTS", "ROOT", "Contestant", "Running", "environment_of", "module_of", "started"]

ROOT = Path(__file__).parent.parent
# The compression settings of the contestants, if not their defaults; see `contestants/compression.py`.
_COMPRESSIONS = {
    "anyws": "equal",
    "anyws-pure": "equal",
    "anyws-zlib-ng": "equal-zlib-ng",
    "anyws-speed": "speed",
    "websockets": "equal",
}
_ONLY_COMPRESS = ("anyws-zlib-ng", "anyws-speed")
_SOCKET_BUFFER = 65536  # bytes that a socket always accepts without waiting


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server.

    Attributes:
        name: the name of the library. ``anyws-callbacks`` uses the callback API of anyws, ``anyws-pure`` is anyws
            without its compiled extension, ``anyws-topics`` broadcasts by a topic, ``anyws-zlib-ng`` compresses with
            zlib-ng, ``anyws-speed`` uses the preset "speed", ``picows-websockets`` is `picows.websockets`, and
            ``bare-`` has no WebSocket. ``uvicorn`` is uvicorn with its default WebSocket implementation,
            ``uvicorn-wsproto`` with wsproto, and ``anyws-uvicorn`` with anyws, each with a bare ASGI application.
        loop: asyncio, uvloop or trio.
    """

    name: str
    loop: str

    @property
    def is_bare(self) -> bool:
        """Whether it only echoes bytes."""
        return self.name.startswith("bare-")

    @property
    def is_asgi(self) -> bool:
        """Whether it is an ASGI application, served by uvicorn."""
        return "uvicorn" in self.name

    @property
    def is_peer(self) -> bool:
        """Whether it is another library."""
        return not self.is_bare and not self.name.startswith("anyws")

    def unsupported_reason(self, load: Load) -> str:
        """Return why it does not support a load; empty if it does."""
        if self.is_asgi and load.mode == "client":
            return "only a server"
        if self.is_bare and (load.mode != "echo" or load.setting.compression):
            return "no WebSocket"
        if self.name == "bare-await" and (load.setting.tls or load.size * load.in_flight > _SOCKET_BUFFER):
            return "only for small messages"
        if load.setting.compression and self.name in ("picows", "trio-websocket"):
            return "no compression"
        if self.name == "anyws-topics" and not load.setting.broadcast:
            return "the same as anyws"
        if self.name == "anyws-callbacks" if load.setting.compression else self.name in _ONLY_COMPRESS:
            return "the same as anyws"
        return ""

    def command(self, setting: Setting, certificates: Path) -> list[str]:
        """Return the command line."""
        command = [sys.executable, "-m", f"benchmarks.contestants.{module_of(self)}", "--loop", self.loop]
        if setting.compression:
            command += ["--compression", _COMPRESSIONS.get(self.name, "default")]
        if setting.tls:
            command += ["--tls", str(certificates / "certificate.pem"), str(certificates / "key.pem")]
        if setting.max_size is not None:
            command += ["--max-size", str(setting.max_size)]
        if setting.broadcast:
            command += ["--broadcast"]
        if self.name == "anyws-topics":
            command += ["--topics"]
        return command


CONTESTANTS = [
    Contestant(name, loop)
    for name, loops in {
        "bare-asyncio": ("asyncio", "uvloop"),
        "bare-await": ("asyncio", "uvloop"),
        "bare-anyio": ("asyncio", "uvloop", "trio"),
        "bare-trio": ("trio",),
        "anyws": ("asyncio", "uvloop", "trio"),
        "anyws-callbacks": ("asyncio", "uvloop", "trio"),
        "anyws-pure": ("asyncio", "uvloop", "trio"),
        "anyws-topics": ("asyncio", "uvloop", "trio"),
        "anyws-zlib-ng": ("asyncio", "uvloop", "trio"),
        "anyws-speed": ("asyncio", "uvloop", "trio"),
        "picows": ("asyncio", "uvloop"),
        "picows-websockets": ("asyncio", "uvloop"),
        "aiohttp": ("asyncio", "uvloop"),
        "websockets": ("asyncio", "uvloop", "trio"),
        "trio-websocket": ("trio",),
        "anyws-uvicorn": ("asyncio", "uvloop"),
        "uvicorn": ("asyncio", "uvloop"),
        "uvicorn-wsproto": ("asyncio", "uvloop"),
    }.items()
    for loop in loops
]


def module_of(contestant: Contestant) -> str:
    """Return the name of its module, in `contestants` and in `clients`."""
    same = ("anyws-pure", "anyws-topics", *_ONLY_COMPRESS)
    return "anyws" if contestant.name in same else contestant.name.replace("-", "_")


def environment_of(contestant: Contestant) -> dict[str, str]:
    """Return the environment variables of its process."""
    environment = {key: value for key, value in os.environ.items() if key != "ANYWS_NO_EXTENSION"}
    return environment | ({"ANYWS_NO_EXTENSION": "1"} if contestant.name == "anyws-pure" else {})


@dataclass(frozen=True, slots=True)
class Running:
    """A listening server: its process ID and its port."""

    pid: int
    port: int


@contextmanager
def started(
    contestant: Contestant, setting: Setting, certificates: Path, core: int | None, log: IO[bytes]
) -> Iterator[Running]:
    """Start a server on a core, and stop it at the end of the block.

    Args:
        contestant: the server.
        setting: its configuration.
        certificates: the folder with its certificate.
        core: the core to run on; None for any.
        log: the file for its stderr.
    """
    command = contestant.command(setting, certificates)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment_of(contestant), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
    ) as process:
        assert process.stdout is not None
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            said = process.stdout.readline().split()
            if said[:3] != [b"listening", b"on", b"port"]:
                raise RuntimeError(f"{contestant} did not start to listen")
            yield Running(process.pid, int(said[3]))
        finally:
            process.kill()
