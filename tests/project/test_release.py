"""The part of ``nox -s release`` that needs no build."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import anyws
from release import agreement, archives
from tests.cli.commands import ROOT

CHANGES = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-12-31\n\n### Added\n"
CITATION = "cff-version: 1.2.0\nversion: 0.1.0\ndate-released: 2026-12-31\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is compared, for faults."""
    for name in (*agreement._FILES, "pyproject.toml", "noxfile.py", "anyws/_version.py"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(agreement, "ROOT", tmp_path)
    return tmp_path


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(tree: Path) -> None:
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new, 1))

    return change


def test_all_agrees() -> None:
    assert list(agreement.disagreements()) == []
    assert agreement.version() == anyws.__version__


def test_the_installed_package_has_the_version_of_its_one_place() -> None:
    assert importlib.metadata.version("anyio-websocket") == agreement.version()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (edit("anyws/_version.py", "0.1.0", "0.2.0"), "CITATION.cff has version 0.1.0, but the package has 0.2.0"),
        (edit("anyws/_version.py", "0.1.0", "0.1"), "the version 0.1 is not X.Y.Z"),
        (edit("CITATION.cff", "version: 0.1.0", "version: 1.0.0"), "CITATION.cff has version 1.0.0"),
        (edit("CHANGELOG.md", "## [Unreleased]", "## [0.1.0]"), "does not start with [Unreleased]"),
        (edit("CHANGELOG.md", "## [Unreleased]", "## [Unreleased]\n\n## [0.0.9]"), "[0.0.9] has no date"),
        (edit("CHANGELOG.md", "### Added", "### New"), "New is not one of Added"),
        (edit("noxfile.py", '"3.13"]', '"3.13", "3.14"]'), "differs from the versions of the nox session tests"),
        (edit("pyproject.toml", ">=3.11", ">=3.12"), "requires-python is >=3.12"),
        (edit("pyproject.toml", "keywords =", "words ="), "no keywords"),
        (lambda tree: (tree / "CODE_OF_CONDUCT.md").unlink(), "CODE_OF_CONDUCT.md is missing"),
    ],
)
def test_what_does_not_agree_is_told(tree: Path, change: Callable[[Path], object], told: str) -> None:
    change(tree)
    assert any(told in fault for fault in agreement.disagreements())


def test_what_a_release_needs(tree: Path) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
        subprocess.run(command, cwd=tree, check=True, capture_output=True)

    git("init", "-q")
    faults = "\n".join(agreement.unfinished())
    assert "CHANGELOG.md has no section [0.1.0]" in faults
    assert "the working tree is not clean" in faults

    (tree / "CHANGELOG.md").write_text(CHANGES)
    (tree / "CITATION.cff").write_text(CITATION)
    with (tree / "pyproject.toml").open("a") as file:
        file.write('\n[project.urls]\nSource = "https://example.com/anyws"\n')
    git("add", "-A")
    git("commit", "-qm", "0.1.0")
    assert list(agreement.unfinished()) == []
    assert list(agreement.disagreements()) == []

    git("tag", "v0.1.0")
    assert list(agreement.unfinished()) == ["the tag v0.1.0 already exists"]
    (tree / "CITATION.cff").write_text(CITATION.replace("12-31", "12-30"))
    assert "date-released 2026-12-30, but the changelog has 2026-12-31" in "\n".join(agreement.unfinished())


def test_a_wheel_must_hold_all_modules_and_types_and_no_more(tmp_path: Path) -> None:
    def make(name: str, *, without: str = "", more: tuple[str, ...] = ()) -> list[str]:
        wheel = tmp_path / name
        with zipfile.ZipFile(wheel, "w") as archive:
            for path in (ROOT / "anyws").rglob("*"):
                name_inside = str(path.relative_to(ROOT))
                if path.suffix in (".py", ".pyi", ".typed") and name_inside != without:
                    archive.write(path, name_inside)
            for extra in (
                *more,
                "anyws/",
                "anyio_websocket-0.1.0.dist-info/licenses/LICENSE",
                "anyio_websocket-0.1.0.dist-info/entry_points.txt",
            ):
                archive.writestr(extra, "")
        return list(archives.wheel_faults(wheel, compiled="-cp" in name))

    twin = "anyws/protocol/_speedups.cpython-311-x86_64-linux-gnu.so"
    pure, compiled = "anyio_websocket-0.1.0-py3-none-any.whl", "anyio_websocket-0.1.0-cp311-cp311-linux_x86_64.whl"
    assert make(pure) == make(compiled, more=(twin,)) == []
    assert make(pure, without="anyws/py.typed") == [f"{pure} lacks anyws/py.typed"]
    assert make(pure, without="anyws/protocol/_speedups.pyi") == [f"{pure} lacks anyws/protocol/_speedups.pyi"]
    assert make(pure, more=("tests/__init__.py",)) == [f"{pure} has tests/__init__.py"]
    assert make(pure, more=(twin,)) == [f"{pure} has 1 compiled extensions"]
    assert make(compiled) == [f"{compiled} has 0 compiled extensions"]


def test_an_sdist_must_hold_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["git", "init", "-q", tree], check=True)
    (tree / "tests.py").touch()
    (tree / "ignored").touch()
    subprocess.run(["git", "add", "tests.py"], cwd=tree, check=True)
    monkeypatch.setattr(archives, "ROOT", tree)
    sdist = tmp_path / "anyio_websocket-0.1.0.tar.gz"

    def make(*names: str) -> list[str]:
        with tarfile.open(sdist, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"anyio_websocket-0.1.0/{name}"))
        return list(archives.sdist_faults(sdist))

    assert make("tests.py", "PKG-INFO", "anyio_websocket.egg-info/SOURCES.txt") == []
    assert make("PKG-INFO") == [f"{sdist.name} lacks tests.py"]
    assert make("tests.py", "secret") == [f"{sdist.name} has secret"]


def test_the_manifest_names_every_folder() -> None:
    """What is new in the repository is not forgotten in the sdist."""
    grafted = {line.split()[1] for line in (ROOT / "MANIFEST.in").read_text().splitlines() if line.startswith("graft")}
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.split(
        "\n"
    )
    assert {name.partition("/")[0] for name in listed if "/" in name} == grafted | {"anyws"}


def test_the_command_has_help() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "release", "--help"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert "--final" in said.stdout
