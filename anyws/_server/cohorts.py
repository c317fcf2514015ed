"""Task groups of a few dozen tasks each: `Cohorts`.

To cancel a scope resumes all its tasks in one iteration of the event loop. With thousands of connections, that takes
hundreds of milliseconds. Cohorts can be cancelled one after the other.
"""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

__all__ = ["Cohort", "Cohorts"]

_SIZE = 200  # cancelling so many takes some 10 ms; the task of a cohort takes 5 KiB, 25 bytes for each member


class Cohort:
    """Some tasks.

    Attributes:
        tasks: the group in which its tasks run.
        has_ended: whether its group accepts no more tasks: it was cancelled, or it is not needed any more.
    """

    __slots__ = ("_cohorts", "_done", "_size", "has_ended", "tasks")

    tasks: TaskGroup

    def __init__(self, cohorts: Cohorts) -> None:
        self._cohorts = cohorts
        self._done = anyio.Event()
        self._size = 0
        self.has_ended = False

    @property
    def has_room(self) -> bool:
        """Whether another task may join."""
        return self._size < _SIZE and not self.has_ended

    def join(self) -> None:
        """Count a task that is about to start."""
        self._size += 1

    def leave(self) -> None:
        """Stop counting a task that is about to end."""
        self._size -= 1
        self.end_if_unused()

    def end_if_unused(self) -> None:
        """End the group if it has no tasks and gets no more."""
        if not self._size and self._cohorts.remove(self):
            self._done.set()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Own the tasks until the last one has left."""
        async with anyio.create_task_group() as self.tasks:
            task_status.started()
            try:
                await self._done.wait()
            finally:
                self.has_ended = True


class Cohorts:
    """All cohorts of a server.

    Args:
        tasks: where they run.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._cohorts: dict[Cohort, None] = {}  # in their order
        self._filling: Cohort | None = None  # gets the next tasks
        self._is_closed = False

    async def make_room(self) -> None:
        """Make sure that another task may `join`."""
        if self._filling is not None and self._filling.has_room:
            return
        cohort = next((cohort for cohort in self._cohorts if cohort.has_room), None)
        if cohort is None:
            cohort = Cohort(self)
            await self._tasks.start(cohort.run, name="anyws.connections")
            self._cohorts[cohort] = None
        before, self._filling = self._filling, cohort
        if before is not None:
            before.end_if_unused()

    def join(self) -> Cohort | None:
        """Return the cohort in which to start a task, and count that task. Call `make_room` first.

        Return None if the server has been cancelled since: then the task belongs into the server's own group.
        """
        assert self._filling is not None
        if self._filling.has_ended:
            return None
        self._filling.join()
        return self._filling

    def remove(self, cohort: Cohort) -> bool:
        """Forget a cohort without tasks, unless it gets the next ones; return whether it ends."""
        if cohort is self._filling and not self._is_closed:
            return False
        self._cohorts.pop(cohort, None)
        return True

    def close(self) -> None:
        """End each cohort once its tasks have ended: there are no more to come."""
        self._is_closed = True
        for cohort in list(self._cohorts):
            cohort.end_if_unused()

    async def cancel(self) -> None:
        """Cancel all tasks, cohort by cohort; other tasks run in between. If cancelled, leaves the others out."""
        for cohort in list(self._cohorts):
            cohort.tasks.cancel_scope.cancel()
            await checkpoint()
