"""Worker processes: started, started anew when they crash, told to stop, restarted when their source changes.

How this works: a worker is a command with two pipes more. On one it says that it listens, and where (`announce`). The
other is its stdin, on which nothing ever comes: its end says that the parent has gone, however that ended, and the
worker stops (`stop_orphaned`).
The parent waits for what a worker says and for its end, never for that of a pipe: a child that a handler's module made
has inherited it.
Signals are passed on by the parent alone; the workers are in sessions of their own, lest Ctrl-C gets to them twice.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from .notes import note
from .processes import ChildProcess, open_child
from .reading import Chunks
from .statuses import Status
from .stopping import Stop, end_within

__all__ = ["BackOff", "Workers", "announce", "stop_orphaned"]

_GRACE = 10.0  # seconds that workers may take to stop
_END = b"\0"  # of what a worker announces


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
    with open(descriptor, "wb") as pipe:
        pipe.write(text.encode() + _END)


async def stop_orphaned(stop: Stop) -> None:
    """Wait until the parent of this worker has gone, and then stop; there is nobody left who could make it."""
    async for _ in Chunks(sys.stdin.fileno()):
        pass
    end_within(_GRACE)
    stop.ask()


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
        self._running: set[ChildProcess] = set()
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
            async with open_child(self._command(writing), pass_fds=[writing]) as process:
                self._running.add(process)
                if self._is_stopping or changed.is_set():
                    process.send_signal(signal.SIGTERM)
                try:
                    text = await _read_announcement(reading, process)
                    if text is not None:
                        self._take_announcement(number, text)
                    return await process.wait(), text is not None
                finally:
                    self._running.discard(process)
        finally:
            os.close(reading)
            os.close(writing)

    def _take_announcement(self, number: int, text: str) -> None:
        self._announced[number] = text
        self._first.set()
        if len(self._announced) == self._count and not self._was_ready:
            self._was_ready = True
            self._ready(text)

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
            process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(_GRACE):
            for process in processes:
                await process.wait()
            return True
        for process in self._running.intersection(processes):
            process.send_signal(signal.SIGKILL)
        return False


async def _read_announcement(descriptor: int, process: ChildProcess) -> str | None:
    """Return what a worker announces; None if it ends before."""
    os.set_blocking(descriptor, False)
    text = b""
    while not text.endswith(_END):
        has_ended = process.has_ended
        try:
            text += os.read(descriptor, 4096)
        except BlockingIOError:
            if has_ended:
                return None
            await _wait_for_either(descriptor, process)
    return text.removesuffix(_END).decode()


async def _wait_for_either(descriptor: int, process: ChildProcess) -> None:
    async with anyio.create_task_group() as tasks:

        async def until(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(until, process.wait)
        tasks.start_soon(until, functools.partial(anyio.wait_readable, descriptor))


def _reason(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
