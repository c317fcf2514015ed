"""Reads the CPU time of a process from ``/proc/PID/task/*/schedstat`` (Linux)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU use of a process, in seconds.

    Attributes:
        running: the CPU time.
        waiting: how long it could have run, but other processes used the core.
    """

    running: float
    waiting: float

    def __sub__(self, other: Usage) -> Usage:
        """Return the difference."""
        return Usage(self.running - other.running, self.waiting - other.waiting)


def usage(pid: int) -> Usage:
    """Return the CPU use of a process so far, over all its threads."""
    running = waiting = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        fields = path.read_text().split()
        running += int(fields[0])
        waiting += int(fields[1])
    return Usage(running / 1e9, waiting / 1e9)
