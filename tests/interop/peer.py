"""A handle on a peer, a process that talks WebSocket by another library: see peers/puppet.py."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread

__all__ = ["Peer", "run_peer"]

ROOT = Path(__file__).parents[2]
# Seconds. A peer that takes longer is broken.
_ANSWER = 15
_END = 5


class Peer:
    """A running peer. Its methods are for one task at a time; the event loop may be another each time.

    Attributes:
        ports: where it listens: without TLS, and with it.
        lacks: what cannot be tested with it.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reports: dict[str, dict[str, Any]] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        start = self._next_line()
        self.ports: tuple[int, int] = (start["port"], start["tls_port"])
        self.lacks: list[str] = start["lacks"]

    def uri(self, path: str, *, tls: bool = False) -> str:
        """Return the URI of its server."""
        return f"{'wss' if tls else 'ws'}://127.0.0.1:{self.ports[tls]}{path}"

    def connect(self, uri: str, subprotocols: Sequence[str] = ()) -> None:
        """Tell it to connect."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"uri": uri, "subprotocols": subprotocols}) + "\n")
        self._process.stdin.flush()

    async def report(self, path: str) -> dict[str, Any]:
        """Wait for what it has to say about the connection with this path, which must be unique."""
        while path not in self._reports:
            await anyio.to_thread.run_sync(self._take_report, abandon_on_cancel=True)
        return self._reports.pop(path)

    def end(self) -> None:
        """End it: it ends by itself when its standard input does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END)
        finally:
            self._process.kill()
            self._process.wait()
            self._thread.join()
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _take_report(self) -> None:
        report = self._next_line()
        self._reports[report.pop("path")] = report

    def _next_line(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=_ANSWER)
        except queue.Empty:
            raise TimeoutError(f"the peer said nothing for {_ANSWER} s") from None
        if not line:
            self._lines.put("")
            raise EOFError("the peer has ended")
        values: dict[str, Any] = json.loads(line)
        return values


@contextmanager
def run_peer(command: Sequence[str]) -> Iterator[Peer]:
    """Run a peer, and end it."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        peer = Peer(process)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    try:
        yield peer
    finally:
        peer.end()
