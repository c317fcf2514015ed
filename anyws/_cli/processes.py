"""Child processes, waiting only for their exit.

AnyIO's processes do not fit: on asyncio, they also wait for the end of their pipes, which a grandchild may have
inherited.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

__all__ = ["ChildProcess", "open_child"]


class ChildProcess:
    """A running command, from `open_child`."""

    def __init__(self, command: Sequence[str], pass_fds: Sequence[int]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=pass_fds, start_new_session=True)
        self._ended = anyio.Event()
        threading.Thread(target=self._watch, args=[current_token()], name="child", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has exited."""
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Wait for the process to exit; return its exit status, or a negative number for a signal."""
        await self._ended.wait()
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; does nothing if the process has exited."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Close the pipe to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _watch(self, token: EventLoopToken) -> None:
        self._process.wait()
        try:
            run_sync(self._ended.set, token=token)
        except RuntimeError:  # the event loop has already ended
            return


@asynccontextmanager
async def open_child(command: Sequence[str], *, pass_fds: Sequence[int]) -> AsyncGenerator[ChildProcess, None]:
    """Run a command in its own session for the duration of a block. It is killed if it is still running at the end.

    Its stdin is a pipe that is closed when this process exits.

    Args:
        command: the program and its arguments.
        pass_fds: file descriptors that it inherits.
    """
    child = ChildProcess(command, pass_fds)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await child.wait()
        child.close()
