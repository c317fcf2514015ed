"""Reads the CPU time and the page faults of a process from ``/proc/PID`` (Linux)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "usage"]

_MINOR_FAULTS = 7  # its place in /proc/PID/stat, counted from the state of the process; see proc(5)


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU use of a process, in seconds.

    Attributes:
        running: the CPU time.
        waiting: how long it could have run, but other processes used the core.
        faults: the number of minor page faults: how often the kernel had to supply memory on first use.
    """

    running: float
    waiting: float
    faults: int

    def __sub__(self, other: Usage) -> Usage:
        """Return the difference."""
        return Usage(self.running - other.running, self.waiting - other.waiting, self.faults - other.faults)


def usage(pid: int) -> Usage:
    """Return the CPU use of a process so far, over all its threads."""
    running = waiting = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        fields = path.read_text().split()
        running += int(fields[0])
        waiting += int(fields[1])
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name may contain spaces
    return Usage(running / 1e9, waiting / 1e9, int(after_name[_MINOR_FAULTS]))
