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

__all__ = ["Failed", "State", "check_flat", "check_gone", "has_gone", "has_settled", "memory", "settled", "steady"]

_JITTER_ON_TRIO = 6  # objects: trio removes expired and changed deadlines when it next sorts them
SETTLING = 30.0  # seconds until the last resources of a connection must be released

_MOMENT = 0.1  # seconds
_STRAY_OBJECTS = 300  # asyncio keeps up to 100 cancelled timers; caches and the samples of a run add some
_STRAY_ON_TRIO = 8000  # trio keeps up to 1,000 cancel scopes whose deadlines no longer apply


class Failed(Exception):
    """A run found a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The resources of a process after garbage collection.

    Attributes:
        memory: the unique set size, which no other process shares, in KiB, once glibc has returned its free memory to
            the system.
        descriptors: the number of open files and sockets.
        tasks: the number of tasks in the event loop.
        objects: the number of objects known to the garbage collector.
        ours: the number of these that are instances of anyws classes.
        is_trio: whether the event loop is trio's.
    """

    memory: int
    descriptors: int
    tasks: int
    objects: int
    ours: int
    is_trio: bool

    @classmethod
    def now(cls) -> State:
        """Return the state of this process; call it within the event loop."""
        gc.collect()
        objects = gc.get_objects()
        _trim()
        return cls(
            memory=memory(),
            descriptors=len(os.listdir("/proc/self/fd")),
            tasks=len(anyio.get_running_tasks()),
            objects=len(objects),
            ours=sum(str(type(each).__module__).startswith("anyws") for each in objects),
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


async def steady() -> State:
    """Wait until the numbers of descriptors and tasks no longer change."""
    before, now = None, State.now()
    while before is None or (before.descriptors, before.tasks) != (now.descriptors, now.tasks):
        await anyio.sleep(_MOMENT)
        before, now = now, State.now()
    return now


async def settled(before: State) -> State:
    """Wait until all connections are released, for up to half a minute."""
    previous, now = before, State.now()
    with anyio.move_on_after(SETTLING):
        while not has_settled(before, previous, now):
            await anyio.sleep(0.02)
            previous, now = now, State.now()
    return now


def has_settled(before: State, previous: State, now: State) -> bool:
    """Return whether everything is released. The event loop may keep references to a task for one more iteration."""
    jitter = _JITTER_ON_TRIO if now.is_trio else 0
    return has_gone(before, now) and (now.objects == before.objects or abs(now.objects - previous.objects) <= jitter)


def has_gone(before: State, after: State) -> bool:
    """Return whether there are no more descriptors and tasks than before."""
    return after.descriptors <= before.descriptors and after.tasks <= before.tasks


def check_gone(before: State, after: State) -> None:
    """Check that everything is released.

    Raises:
        Failed: there are more descriptors, tasks or objects than before.
    """
    if not has_gone(before, after) or after.ours > before.ours:
        raise Failed(f"not everything was released: {before} before, {after} after")
    if after.objects > before.objects + (_STRAY_ON_TRIO if after.is_trio else _STRAY_OBJECTS):
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
