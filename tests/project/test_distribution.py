"""The name under which users install anyws: on PyPI, ``anyws`` is somebody else's package."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# pip install anyws, pip install -U 'anyws[cli]', and likewise with other installers.
INSTALLS = re.compile(
    r"(?:pip|pipx|uv|poetry)\s+(?:install|add|tool install)[^\n`#]*?(?<![\w./\-])anyws(?=\[|['\"\s]|==|>=|$)"
)


def texts() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True)
    suffixes = {".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".service", ".html", ".txt", ""}
    paths = [ROOT / name for name in listing.stdout.splitlines()]
    return [path for path in paths if path.suffix in suffixes and path.is_file() and path != Path(__file__)]


def test_no_text_tells_a_user_to_install_somebody_elses_package() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        for match in INSTALLS.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text", ["pip install anyws", "pip install -U 'anyws[cli]'", "uv add anyws", "pip install anyws trustme"]
)
def test_the_test_finds_what_it_looks_for(text: str) -> None:
    assert INSTALLS.search(text)


@pytest.mark.parametrize("text", ["pip install anyio-websocket", "pip install '.[cli]'", "pip install -e . # anyws"])
def test_and_nothing_else(text: str) -> None:
    assert not INSTALLS.search(text)


def test_the_distribution_has_a_name_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "anyio-websocket"
    assert list(project["scripts"]) == ["anyws"]
