"""Worker processes: started, started anew when they crash, told to stop, restarted when their source changes.

How this works: a worker is a command with two pipes more. On one it says that it listens, and where (`announce`). The
other is its stdin, on which nothing ever comes: its end says that the parent has gone, however that ended (`orphaned`).
Signals are passed on by the parent alone; the workers are in sessions of their own, lest Ctrl-C gets to them twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import Process

from .notes import note
from .reading import Chunks
from .statuses import Status
from .stopping import Stop

__all__ = ["BackOff", "Workers", "announce", "orphaned"]

_GRACE = 10.0  # seconds that workers may take to stop


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before a worker that crashed is started anew, in seconds.

    Attributes:
        first: after the first crash; twice as long after each further one.
        longest: the most.
        steady: a worker that lived for so long begins at ``first`` again.
    """

    first: float = 0.5
    longest: float = 30.0
    steady: float = 10.0


def announce(descriptor: int, text: str) -> None:
    """Tell the parent that this worker listens, and where."""
    with open(descriptor, "w", encoding="utf-8") as pipe:
        pipe.write(text)


async def orphaned() -> None:
    """Wait until the parent of this worker has gone."""
    async for _ in Chunks(sys.stdin.fileno()):
        pass


class Workers:
    """Some processes of the same command."""

    def __init__(self, command: Callable[[int], Sequence[str]], count: int, back_off: BackOff | None = None) -> None:
        """Prepare them.

        Args:
            command: returns the command of a worker; it takes the descriptor for `announce`.
            count: how many.
            back_off: see `BackOff`.
        """
        self._command = command
        self._count = count
        self._back_off = back_off or BackOff()
        self._running: set[Process] = set()
        self._announced: dict[int, str] = {}
        self._first = anyio.Event()  # the first worker listens, or we stop
        self._was_ready = False
        self._is_stopping = False
        self._is_reloading = False
        self._changed = anyio.Event()
        self._status = Status.OK

    async def run(
        self, stop: Stop, ready: Callable[[str], None], changes: AsyncIterator[list[str]] | None = None
    ) -> Status:
        """Keep them running until they are told to stop; return the exit status.

        Args:
            stop: its first signal is passed on.
            ready: called with what was announced when all listen for the first time.
            changes: at each of them, all workers are stopped and started anew. None: a worker that ends before it
                listens for the first time ends all.
        """
        self._ready = ready
        self._is_reloading = changes is not None
        async with anyio.create_task_group() as tasks:

            async def keep_all() -> None:
                async with anyio.create_task_group() as workers:
                    workers.start_soon(self._keep, 1)
                    await self._first.wait()  # what is wrong with all of them is said once
                    for number in range(2, self._count + 1):
                        workers.start_soon(self._keep, number)
                tasks.cancel_scope.cancel()

            async def stop_when_asked() -> None:
                await stop.wait()
                await self._stop()

            tasks.start_soon(keep_all)
            tasks.start_soon(stop_when_asked)
            if changes is not None:
                tasks.start_soon(self._restart_at, changes)
        return self._status

    async def _keep(self, number: int) -> None:
        delay = self._back_off.first
        while not self._is_stopping:
            changed = self._changed
            begin = anyio.current_time()
            status, listened = await self._run_once(number, changed)
            if self._is_stopping:
                return
            if changed.is_set():
                continue
            if not listened and not self._was_ready and not self._is_reloading:
                self._status = Status.USAGE if status == Status.USAGE else Status.FAILED  # it has said why
                await self._stop()
                return
            if anyio.current_time() - begin > self._back_off.steady:
                delay = self._back_off.first
            wait = None if self._is_reloading and not listened else delay
            until = "when a file changes" if wait is None else f"in {wait:g} s"
            note(f"anyws: worker {number} ended: {_reason(status)}; it is started anew {until}")
            with anyio.move_on_after(wait):
                await changed.wait()
            delay = min(2 * delay, self._back_off.longest)

    async def _run_once(self, number: int, changed: anyio.Event) -> tuple[int, bool]:
        """Run a worker to its end; return its exit status, and whether it ever listened."""
        reading, writing = os.pipe()
        try:
            process = await anyio.open_process(
                self._command(writing),
                stdin=subprocess.PIPE,
                stdout=None,
                stderr=None,
                pass_fds=[writing],
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        async with process:
            self._running.add(process)
            if self._is_stopping or changed.is_set():
                _send(process, signal.SIGTERM)
            try:
                listened = await self._wait_until_ready(number, reading)
                return await process.wait(), listened
            finally:
                os.close(reading)
                self._running.discard(process)

    async def _wait_until_ready(self, number: int, descriptor: int) -> bool:
        text = b""
        while True:
            await anyio.wait_readable(descriptor)
            data = os.read(descriptor, 4096)
            if not data:
                break
            text += data
        if text:
            self._announced[number] = text.decode()
            self._first.set()
            if len(self._announced) == self._count and not self._was_ready:
                self._was_ready = True
                self._ready(self._announced[number])
        return bool(text)

    async def _restart_at(self, changes: AsyncIterator[list[str]]) -> None:
        async for paths in changes:
            note(f"anyws: changed: {', '.join(map(os.path.basename, paths))}; the workers are started anew")
            self._changed.set()
            self._changed = anyio.Event()
            await self._end_all()

    async def _stop(self) -> None:
        self._is_stopping = True
        self._first.set()
        self._changed.set()
        if not await self._end_all():
            self._status = Status.FAILED

    async def _end_all(self) -> bool:
        """End the processes that run now, and say whether they stopped in time."""
        processes = list(self._running)
        for process in processes:
            _send(process, signal.SIGTERM)
        with anyio.move_on_after(_GRACE):
            for process in processes:
                await process.wait()
            return True
        for process in self._running.intersection(processes):
            _send(process, signal.SIGKILL)
        return False


def _send(process: Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:  # it has ended just now
        return


def _reason(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
