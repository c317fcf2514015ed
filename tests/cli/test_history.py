"""Where the history is stored."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from anyws._cli.history import history_file


def test_it_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = history_file()
    assert path == tmp_path / "state" / "anyws" / "history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("kept")
    assert history_file() == path
    assert path.read_text() == "kept"


@pytest.mark.parametrize("state", ["", "relative/path"])
def test_without_xdg_it_is_in_the_home_directory(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert history_file() == tmp_path / ".local" / "state" / "anyws" / "history"


def test_no_history_if_it_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert history_file() is None
