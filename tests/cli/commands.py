"""Starts commands as processes, with time limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from anyws.__main__ import main

__all__ = ["LIMIT", "ROOT", "Process", "run_anyws", "run_main", "start", "start_anyws"]

ROOT = Path(__file__).parents[2]
LIMIT = 30  # seconds, for what should take one


class Process(subprocess.Popen[str]):
    """A process that was started, with text pipes."""

    def expect_line(self, wanted: str) -> str:
        """Read stdout up to a line that has this text, and return that line."""
        assert self.stdout is not None
        for line in self.stdout:
            if wanted in line:
                return line.rstrip("\n")
        raise AssertionError(f"the process ended before it printed {wanted!r}")

    def write_line(self, line: str) -> None:
        """Write one line to stdin."""
        assert self.stdin is not None
        self.stdin.write(f"{line}\n")
        self.stdin.flush()

    def wait_until_it_waits(self) -> None:
        """Wait until the process uses no more time, where the system tells (Linux); it is given up after a while."""
        before, quiet = "", 0
        for _ in range(500):
            try:
                state, now = self._state()
            except OSError:
                return
            quiet = quiet + 1 if state == "S" and now == before else 0
            if quiet == 5:
                return
            before = now
            time.sleep(0.01)

    def _state(self) -> tuple[str, str]:
        """Return the state of the process, and the time that it has run, in nanoseconds."""
        folder = Path(f"/proc/{self.pid}")
        return (folder / "stat").read_text().rpartition(")")[2].split()[0], (folder / "schedstat").read_text().split()[
            0
        ]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Send a signal, and wait for the end."""
        self.send_signal(number)
        return self.finish()

    def finish(self) -> tuple[int, str, str]:
        """Close stdin, wait for the end, and return the exit status and what else came on stdout and stderr."""
        out, err = self.communicate(timeout=LIMIT)
        return self.returncode, out, err or ""


@contextmanager
def start(command: Sequence[object], **options: Any) -> Iterator[Process]:
    """Run a process beside a block; it must end within the block, or is killed."""
    settings: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "cwd": ROOT,
    } | options
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm"}
    with Process(list(map(str, command)), text=True, encoding="utf-8", env=environment, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def start_anyws(*arguments: object, **options: Any) -> AbstractContextManager[Process]:
    """Run a command of anyws beside a block."""
    return start([sys.executable, "-m", "anyws", *arguments], **options)


def run_anyws(*arguments: object, input: str = "", **options: Any) -> tuple[int, str, str]:
    """Run a command of anyws to its end; return the exit status, stdout and stderr."""
    with start_anyws(*arguments, **options) as process:
        out, err = process.communicate(input, timeout=LIMIT)
        return process.returncode, out, err


def run_main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command of anyws in this process; for a command line that is refused, which needs no process of its own."""
    with pytest.raises(SystemExit) as exited:
        main(list(map(str, arguments)))
    return (int(str(exited.value.code)), *capsys.readouterr())
