"""Watching source files for changes, using watchfiles from the extra "cli"; without it, by polling twice a second."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.to_thread

__all__ = ["source_changes"]

_POLL_INTERVAL = 0.5  # seconds
_DEBOUNCE = 400  # milliseconds over which changes are collected, because an editor may save several files


async def source_changes(folders: Sequence[Path]) -> AsyncGenerator[list[str], None]:
    """Yield the paths of Python files that were changed, created or deleted in some directories."""
    if importlib.util.find_spec("watchfiles") is None:
        async with aclosing(_poll(folders)) as found:
            async for paths in found:
                yield paths
        return
    from watchfiles import PythonFilter, awatch

    async with aclosing(
        awatch(*folders, watch_filter=PythonFilter(), debounce=_DEBOUNCE, raise_interrupt=False)
    ) as changes:
        async for change in changes:
            yield sorted({path for _, path in change})


async def _poll(folders: Sequence[Path]) -> AsyncGenerator[list[str], None]:
    seen = await anyio.to_thread.run_sync(_modification_times, folders)
    while True:
        await anyio.sleep(_POLL_INTERVAL)
        found = await anyio.to_thread.run_sync(_modification_times, folders)
        if found != seen:
            yield sorted({path for path, _ in seen.items() ^ found.items()})
        seen = found


def _modification_times(folders: Sequence[Path]) -> dict[str, int]:
    """Return the modification time of each Python file."""
    times: dict[str, int] = {}
    for folder in folders:
        for root, names, files in os.walk(folder):
            names[:] = [
                name for name in names if not name.startswith(".") and name not in {"__pycache__", "node_modules"}
            ]
            for path in (os.path.join(root, file) for file in files if file.endswith((".py", ".pyx", ".pyd"))):
                try:
                    times[path] = os.stat(path).st_mtime_ns
                except OSError:  # just deleted
                    continue
    return times
