"""The server process of a run."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import resources
from .resources import Failed, Resources, is_settled

__all__ = ["ROOT", "ServerProcess", "serving"]

ROOT = Path(__file__).parent.parent
_STOPPING = 30.0


class ServerProcess(subprocess.Popen[str]):
    """`soak.server` in a separate process."""

    def resources(self, meanwhile: Callable[[], object] | None = None) -> Resources:
        """Ask the server for its resources.

        Args:
            meanwhile: called repeatedly until the server responds.
        """
        assert self.stdout is not None
        self.send_signal(signal.SIGUSR2)
        while meanwhile is not None and not select.select([self.stdout], [], [], 0)[0]:
            meanwhile()
        return Resources(**json.loads(self.read_line()))

    def wait_until_released(self, before: Resources) -> Resources:
        """Wait until all connections are released, for up to half a minute."""
        end = time.monotonic() + resources.RELEASE_TIMEOUT
        previous, now = before, self.resources()
        while not is_settled(before, previous, now) and time.monotonic() < end:
            time.sleep(0.05)
            previous, now = now, self.resources()
        return now

    def finish(self) -> None:
        """Stop the server.

        Raises:
            Failed: the exit status is not 0, or there is output on stderr.
        """
        self.terminate()
        _, errors = self.communicate(timeout=_STOPPING)
        if self.returncode or errors:
            raise Failed(f"the server exited with status {self.returncode}: {errors[-4000:]}")

    def read_line(self) -> str:
        """Return the next line that the server prints.

        Raises:
            Failed: the server has exited.
        """
        assert self.stdout is not None
        line = self.stdout.readline()
        if not line:
            _, errors = self.communicate(timeout=_STOPPING)
            raise Failed(f"the server exited with status {self.returncode}: {errors[-4000:]}")
        return line


@contextmanager
def serving(backend: str, *, max_connections: int | None = None) -> Iterator[tuple[ServerProcess, int]]:
    """Run the server during a block, and stop it on exit.

    Args:
        backend: the event loop.
        max_connections: the option of the server.

    Yields:
        The process, and the port on which it listens.
    """
    command = [sys.executable, "-m", "soak.server", "--backend", backend]
    if max_connections is not None:
        command += ["--max-connections", str(max_connections)]
    with ServerProcess(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.read_line())
            process.finish()
        finally:
            process.kill()
