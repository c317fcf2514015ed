"""The programs of a run. Each writes to a log, including the port on which it listens, and is killed with its block."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process

__all__ = ["port_of", "running"]

_PORT = re.compile(r"^listening on port (\d+)$", re.MULTILINE)


@asynccontextmanager
async def running(
    command: Sequence[str | Path], log: Path, *, cwd: Path, env: dict[str, str] | None = None
) -> AsyncGenerator[Process, None]:
    """Run a program during the block, and kill it on exit."""
    with log.open("wb") as output:
        process = await anyio.open_process(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
        )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                try:
                    process.kill()
                except ProcessLookupError:
                    pass
            await process.wait()


async def port_of(process: Process, log: Path) -> int:
    """Wait until a program reports the port on which it listens.

    Raises:
        RuntimeError: the program exited before.
    """
    while True:
        ended = process.returncode is not None
        match = _PORT.search(await anyio.Path(log).read_text(errors="replace"))
        if match is not None:
            return int(match[1])
        if ended:
            raise RuntimeError(f"the program exited before it listened; see {log}")
        await anyio.sleep(0.02)
