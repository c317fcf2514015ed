"""The history file, at its place in the XDG Base Directory Specification."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["history_file"]


def history_file() -> Path | None:
    """Return the path of the history file, readable only by the user; None if it cannot be created."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        # The specification says to ignore a relative path.
        folder = (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "anyws"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "history"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600))
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return path
