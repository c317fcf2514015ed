"""Measures what importing a library costs: the CPU time of a fresh interpreter, minus that of an empty one.

An interpreter imports some modules for itself, depending on how packages are installed: all those of `site`, and of the
finder of a package in development. They would cost nothing to whoever needs them. So the interpreters run without
`site`, and find the same packages on their path. All of them use bytecode that was written before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

__all__ = ["STATEMENTS", "measure_imports"]

STATEMENTS: Mapping[str, str] = {
    "anyws": "import anyws",
    "anyws, client and server": "from anyws import connect, serve",
    "websockets": "import websockets",
    "websockets, client and server": "import websockets.asyncio.client, websockets.asyncio.server",
    "aiohttp": "import aiohttp",
    "aiohttp, client and server": "import aiohttp.web",
    "picows": "import picows",
    "picows-websockets": "import picows.websockets",
    "floor": "import anyio, h11, ssl",
    "floor with asyncio": "import anyio, asyncio, h11, ssl",
}
"""What is imported, by name. Some load parts of themselves when they are used; these are measured as well.

The floor is what anyws needs of other packages; programs on asyncio also need asyncio.
"""

_ROOT = Path(__file__).parent.parent
_EMPTY = "pass"


def measure_imports(rounds: int, statements: Mapping[str, str] = STATEMENTS) -> dict[str, float]:
    """Return the CPU time of each import in milliseconds: the median over the rounds, in which all take turns."""
    programs = [_EMPTY, *statements.values()]
    times: dict[str, Sequence[float]] = {program: [] for program in programs}
    with tempfile.TemporaryDirectory() as folder:
        environment = _environment(folder)
        for program in programs:  # writes the bytecode
            _cpu_time(program, environment)
        for _ in range(rounds):
            times = {program: [*found, _cpu_time(program, environment)] for program, found in times.items()}
    empty = median(times[_EMPTY])
    return {name: (median(times[program]) - empty) * 1000 for name, program in statements.items()}


def _environment(folder: str) -> dict[str, str]:
    """Return the environment of the interpreters, which write bytecode to a folder."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = [str(_ROOT), *(each for each in sys.path if each.endswith("site-packages"))]
    return {**others, "PYTHONPATH": os.pathsep.join(path), "PYTHONPYCACHEPREFIX": folder}


def _cpu_time(program: str, environment: Mapping[str, str]) -> float:
    """Run a program in a fresh interpreter, and return its CPU time in seconds."""
    with subprocess.Popen([sys.executable, "-S", "-c", program], env=environment) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"failed: {program}")
    return used.ru_utime + used.ru_stime
