"""What a process holds, as Linux, the event loop and the garbage collector tell it."""

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

_JITTER_ON_TRIO = 6  # objects: time limits that were passed or moved go when trio next sorts them
SETTLING = 30.0  # seconds that the last traces of a connection may take

_MOMENT = 0.1  # seconds
_STRAY_OBJECTS = 300  # asyncio keeps up to 100 timers that were cancelled; caches, and the samples of a run, add some
_STRAY_ON_TRIO = 8000  # trio keeps up to 1,000 cancel scopes whose deadlines were given up


class Failed(Exception):
    """A run has found what must not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a process holds after its garbage was collected.

    Attributes:
        memory: the unique set size, that is what nobody else shares, in KiB; glibc has returned to the system what it
            had kept for later.
        descriptors: open files and sockets.
        tasks: of the event loop.
        objects: that the garbage collector knows.
        ours: those of them that are instances of classes of anyws.
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
        """Look at this process, from within its event loop."""
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
    """Let glibc return memory that is free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def memory() -> int:
    """Return the unique set size of this process, in KiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


async def steady() -> State:
    """Wait until two looks, a moment apart, show as many descriptors and tasks."""
    before, now = None, State.now()
    while before is None or (before.descriptors, before.tasks) != (now.descriptors, now.tasks):
        await anyio.sleep(_MOMENT)
        before, now = now, State.now()
    return now


async def settled(before: State) -> State:
    """Wait until all has gone that has come, and what held it, half a minute at most."""
    previous, now = before, State.now()
    with anyio.move_on_after(SETTLING):
        while not has_settled(before, previous, now):
            await anyio.sleep(0.02)
            previous, now = now, State.now()
    return now


def has_settled(before: State, previous: State, now: State) -> bool:
    """Whether all has gone, and no more goes: the event loop may hold for one more pass what held a task."""
    jitter = _JITTER_ON_TRIO if now.is_trio else 0
    return has_gone(before, now) and (now.objects == before.objects or abs(now.objects - previous.objects) <= jitter)


def has_gone(before: State, after: State) -> bool:
    """Whether there are no more descriptors and tasks than before."""
    return after.descriptors <= before.descriptors and after.tasks <= before.tasks


def check_gone(before: State, after: State) -> None:
    """Check that all is gone that has come.

    Raises:
        Failed: there are more descriptors, tasks or objects than before.
    """
    if not has_gone(before, after) or after.ours > before.ours:
        raise Failed(f"not all is gone: {before} before, {after} after")
    if after.objects > before.objects + (_STRAY_ON_TRIO if after.is_trio else _STRAY_OBJECTS):
        raise Failed(f"objects: {before.objects} before, {after.objects} after")


def check_flat(steps: Sequence[float], memories: Sequence[int], *, bound: float) -> float:
    """Check that memory does not grow.

    Args:
        steps: seconds or cycles, at each sample.
        memories: in KiB, at each sample.
        bound: by how much it may grow, in KiB.

    Returns:
        By how much it grew from the first to the last step, along the line that fits the samples best, in KiB.

    Raises:
        Failed: it grew by more.
    """
    growth = statistics.linear_regression(steps, memories).slope * (steps[-1] - steps[0])
    if growth > bound:
        raise Failed(f"memory grew by {growth:.0f} KiB, more than {bound:.0f}: {list(memories)}")
    return growth
