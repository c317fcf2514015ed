"""The file with the lines that were typed, as the XDG Base Directory Specification places it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["history_file"]


def history_file() -> Path | None:
    """Return the path of a file that only we can read and that we can write to; None where there can be none."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        # A relative path is to be ignored, the specification says.
        folder = (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "anyws"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "history"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600))
    except (OSError, RuntimeError):  # there is no home
        return None
    return path
