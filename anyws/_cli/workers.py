"""Worker processes: starting and stopping them, and restarting them after a crash or a change of their source.

How this works: a worker is the same command with two extra pipes. On one it announces that it is listening, and where
(`announce`). The other is its stdin, which never carries data: its end means that the parent has exited, for whatever
reason, and the worker stops (`stop_orphaned`).
The parent waits for a worker's announcement and its exit, but never for the end of a pipe, because a child process
started by a handler's module may have inherited it.
Only the parent passes on signals: the workers run in their own sessions, so that Ctrl-C does not reach them twice.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from .exit_status import ExitStatus
from .notes import note
from .processes import ChildProcess, open_child
from .reading import Chunks
from .stopping import Stop, exit_within

__all__ = ["Backoff", "Workers", "announce", "stop_orphaned"]

_GRACE = 10.0  # seconds to wait for workers to stop
_END_MARK = b"\0"  # ends an announcement


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays before restarting a crashed worker, in seconds.

    Attributes:
        initial_delay: the delay after the first crash; it doubles with each further crash.
        max_delay: the maximum delay.
        reset_after: the delay is reset after a worker has run for this long.
    """

    initial_delay: float = 0.5
    max_delay: float = 30.0
    reset_after: float = 10.0


def announce(descriptor: int, text: str) -> None:
    """Tell the parent that this worker is listening, and where."""
    with open(descriptor, "wb") as pipe:
        pipe.write(text.encode() + _END_MARK)


async def stop_orphaned(stop: Stop) -> None:
    """Wait until this worker's parent has exited, and then stop, because nobody else would stop it."""
    async for _ in Chunks(sys.stdin.fileno()):
        pass
    exit_within(_GRACE)
    stop.request()


class Workers:
    """Several processes running the same command."""

    def __init__(self, command: Callable[[int], Sequence[str]], count: int, backoff: Backoff | None = None) -> None:
        """Create the workers, without starting them.

        Args:
            command: returns the command of a worker for a file descriptor to `announce` on.
            count: number of workers.
            backoff: see `Backoff`.
        """
        self._command = command
        self._count = count
        self._backoff = backoff or Backoff()
        self._running: set[ChildProcess] = set()
        self._announced: dict[int, str] = {}
        self._first = anyio.Event()  # set when the first worker is listening, or when stopping
        self._was_ready = False
        self._is_stopping = False
        self._is_reloading = False
        self._changed = anyio.Event()
        self._status = ExitStatus.OK

    async def run(
        self, stop: Stop, ready: Callable[[str], object], changes: AsyncIterator[list[str]] | None = None
    ) -> ExitStatus:
        """Run the workers until a stop is requested; return the exit status.

        Args:
            stop: the first signal is passed on to the workers.
            ready: called with the announcement once all workers are listening for the first time.
            changes: all workers are restarted at each change. None: no restarts, and if a worker exits before the
                workers were first listening, all are stopped.
        """
        self._ready = ready
        self._is_reloading = changes is not None
        async with anyio.create_task_group() as tasks:

            async def run_all() -> None:
                async with anyio.create_task_group() as workers:
                    workers.start_soon(self._keep_running, 1)
                    await self._first.wait()  # so that an error common to all is reported once
                    for number in range(2, self._count + 1):
                        workers.start_soon(self._keep_running, number)
                tasks.cancel_scope.cancel()

            async def stop_on_signal() -> None:
                await stop.wait()
                await self._stop()

            tasks.start_soon(run_all)
            tasks.start_soon(stop_on_signal)
            if changes is not None:
                tasks.start_soon(self._restart_on, changes)
        return self._status

    async def _keep_running(self, number: int) -> None:
        delay = self._backoff.initial_delay
        while not self._is_stopping:
            changed = self._changed
            begin = anyio.current_time()
            status, listened = await self._run_once(number, changed)
            if self._is_stopping:
                return
            if changed.is_set():
                continue
            if not listened and not self._was_ready and not self._is_reloading:
                self._status = (
                    ExitStatus.USAGE if status == ExitStatus.USAGE else ExitStatus.FAILED
                )  # it has printed why
                await self._stop()
                return
            if anyio.current_time() - begin > self._backoff.reset_after:
                delay = self._backoff.initial_delay
            wait = None if self._is_reloading and not listened else delay
            until = "when a file changes" if wait is None else f"in {wait:g} s"
            note(f"anyws: worker {number} exited ({_reason(status)}); restarting {until}")
            with anyio.move_on_after(wait):
                await changed.wait()
            delay = min(2 * delay, self._backoff.max_delay)

    async def _run_once(self, number: int, changed: anyio.Event) -> tuple[int, bool]:
        """Run a worker until it exits; return its exit status and whether it was ever listening."""
        reading, writing = os.pipe()
        try:
            async with open_child(self._command(writing), pass_fds=[writing]) as process:
                self._running.add(process)
                if self._is_stopping or changed.is_set():
                    process.send_signal(signal.SIGTERM)
                try:
                    text = await _read_announcement(reading, process)
                    if text is not None:
                        self._handle_announcement(number, text)
                    return await process.wait(), text is not None
                finally:
                    self._running.discard(process)
        finally:
            os.close(reading)
            os.close(writing)

    def _handle_announcement(self, number: int, text: str) -> None:
        self._announced[number] = text
        self._first.set()
        if len(self._announced) == self._count and not self._was_ready:
            self._was_ready = True
            self._ready(text)

    async def _restart_on(self, changes: AsyncIterator[list[str]]) -> None:
        async for paths in changes:
            note(f"anyws: changed: {', '.join(map(os.path.basename, paths))}; restarting the workers")
            self._changed.set()
            self._changed = anyio.Event()
            await self._terminate_all()

    async def _stop(self) -> None:
        self._is_stopping = True
        self._first.set()
        self._changed.set()
        if not await self._terminate_all():
            self._status = ExitStatus.FAILED

    async def _terminate_all(self) -> bool:
        """Stop the running processes, and return whether they stopped in time."""
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
    """Return a worker's announcement; None if it exits before."""
    os.set_blocking(descriptor, False)
    text = b""
    while not text.endswith(_END_MARK):
        has_ended = process.has_ended
        try:
            text += os.read(descriptor, 4096)
        except BlockingIOError:
            if has_ended:
                return None
            await _wait_for_either(descriptor, process)
    return text.removesuffix(_END_MARK).decode()


async def _wait_for_either(descriptor: int, process: ChildProcess) -> None:
    async with anyio.create_task_group() as tasks:

        async def cancel_after(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(cancel_after, process.wait)
        tasks.start_soon(cancel_after, functools.partial(anyio.wait_readable, descriptor))


def _reason(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
