"""Measures what importing a library costs: the CPU time of a fresh interpreter, minus that of an empty one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from statistics import median

__all__ = ["STATEMENTS", "measure_imports"]

STATEMENTS: Mapping[str, str] = {
    "anyws": "import anyws",
    "websockets": "import websockets",
    "websockets, client and server": "import websockets.asyncio.client, websockets.asyncio.server",
    "aiohttp": "import aiohttp",
    "aiohttp, client and server": "import aiohttp.web",
    "picows": "import picows",
    "picows-websockets": "import picows.websockets",
}
"""What is imported, by name. websockets and aiohttp load some of their parts later; these are measured as well."""

_EMPTY = "pass"


def measure_imports(rounds: int, statements: Mapping[str, str] = STATEMENTS) -> dict[str, float]:
    """Return the CPU time of each import in milliseconds: the median over the rounds, in which all take turns."""
    programs = [_EMPTY, *statements.values()]
    for program in programs:  # writes the bytecode
        _cpu_time(program)
    times: dict[str, Sequence[float]] = {program: [] for program in programs}
    for _ in range(rounds):
        times = {program: [*found, _cpu_time(program)] for program, found in times.items()}
    empty = median(times[_EMPTY])
    return {name: (median(times[program]) - empty) * 1000 for name, program in statements.items()}


def _cpu_time(program: str) -> float:
    """Run a program in a fresh interpreter, and return its CPU time in seconds."""
    # In another folder, so that only installed packages are found.
    with subprocess.Popen([sys.executable, "-c", program], cwd=tempfile.gettempdir()) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"failed: {program}")
    return used.ru_utime + used.ru_stime
