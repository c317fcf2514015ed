"""The resources of a process, according to Linux, the event loop and the garbage collector."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel

__all__ = [
    "Failed",
    "Resources",
    "check_flat",
    "check_released",
    "is_released",
    "is_settled",
    "memory",
    "wait_until_released",
    "wait_until_steady",
]

_JITTER_ON_TRIO = 6  # objects: trio removes expired and changed deadlines when it next sorts them
RELEASE_TIMEOUT = 30.0  # seconds until the last resources of a connection must be released

_POLL_INTERVAL = 0.1  # seconds
_ALLOWED_OBJECTS = 300  # asyncio keeps up to 100 cancelled timers; caches and the samples of a run add some
_ALLOWED_OBJECTS_ON_TRIO = 8000  # trio keeps up to 1,000 cancel scopes whose deadlines no longer apply


class Failed(Exception):
    """A run found a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The resources of a process after garbage collection.

    Attributes:
        memory: the unique set size, which no other process shares, in KiB, once glibc has returned its free memory to
            the system.
        descriptors: the number of open files and sockets.
        tasks: the number of tasks in the event loop.
        objects: the number of objects known to the garbage collector.
        anyws_objects: the number of these that are instances of anyws classes.
        is_trio: whether the event loop is trio's.
    """

    memory: int
    descriptors: int
    tasks: int
    objects: int
    anyws_objects: int
    is_trio: bool

    @classmethod
    def now(cls) -> Resources:
        """Return the resources of this process; call it within the event loop."""
        gc.collect()
        objects = gc.get_objects()
        _trim()
        return cls(
            memory=memory(),
            descriptors=len(os.listdir("/proc/self/fd")),
            tasks=len(anyio.get_running_tasks()),
            objects=len(objects),
            anyws_objects=sum(str(type(each).__module__).startswith("anyws") for each in objects),
            is_trio=anyio.lowlevel.current_token().backend_class.__module__.endswith("trio"),
        )


def _trim() -> None:
    """Make glibc return free memory to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def memory() -> int:
    """Return the unique set size of this process, in KiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


async def wait_until_steady() -> Resources:
    """Wait until the numbers of descriptors and tasks no longer change."""
    before, now = None, Resources.now()
    while before is None or (before.descriptors, before.tasks) != (now.descriptors, now.tasks):
        await anyio.sleep(_POLL_INTERVAL)
        before, now = now, Resources.now()
    return now


async def wait_until_released(before: Resources) -> Resources:
    """Wait until all connections are released, for up to half a minute."""
    previous, now = before, Resources.now()
    with anyio.move_on_after(RELEASE_TIMEOUT):
        while not is_settled(before, previous, now):
            await anyio.sleep(0.02)
            previous, now = now, Resources.now()
    return now


def is_settled(before: Resources, previous: Resources, now: Resources) -> bool:
    """Return whether everything is released. The event loop may keep references to a task for one more iteration."""
    jitter = _JITTER_ON_TRIO if now.is_trio else 0
    return is_released(before, now) and (now.objects == before.objects or abs(now.objects - previous.objects) <= jitter)


def is_released(before: Resources, after: Resources) -> bool:
    """Return whether there are no more descriptors and tasks than before."""
    return after.descriptors <= before.descriptors and after.tasks <= before.tasks


def check_released(before: Resources, after: Resources) -> None:
    """Check that everything is released.

    Raises:
        Failed: there are more descriptors, tasks or objects than before.
    """
    if not is_released(before, after) or after.anyws_objects > before.anyws_objects:
        raise Failed(f"not everything was released: {before} before, {after} after")
    if after.objects > before.objects + (_ALLOWED_OBJECTS_ON_TRIO if after.is_trio else _ALLOWED_OBJECTS):
        raise Failed(f"objects: {before.objects} before, {after.objects} after")


def check_flat(steps: Sequence[float], memories: Sequence[int], *, bound: float) -> float:
    """Check that memory does not grow.

    Args:
        steps: the seconds or cycles of each sample.
        memories: the memory of each sample, in KiB.
        bound: the allowed growth, in KiB.

    Returns:
        The growth from the first to the last step along the regression line, in KiB.

    Raises:
        Failed: memory grew by more than the bound.
    """
    growth = statistics.linear_regression(steps, memories).slope * (steps[-1] - steps[0])
    if growth > bound:
        raise Failed(f"memory grew by {growth:.0f} KiB, more than {bound:.0f}: {list(memories)}")
    return growth
