"""Check that the version, the changelog, the citation, the metadata and the nox sessions agree."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

__all__ = ["DISTRIBUTION", "ROOT", "disagreements", "unfinished", "version"]

ROOT = Path(__file__).parent.parent
DISTRIBUTION = "anyio-websocket"

_FILES = (
    *("README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CITATION.cff"),
    *(".github/pull_request_template.md", ".github/ISSUE_TEMPLATE/bug_report.yml", "anyws/py.typed"),
)
_KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")  # Keep a Changelog


def version() -> str:
    """Return the version, without importing the package."""
    (assigned,) = (node.value for node in ast.parse(_text("anyws/_version.py")).body if isinstance(node, ast.Assign))
    return str(ast.literal_eval(assigned))


def disagreements() -> Iterator[str]:
    """Yield violations of what must hold at all times."""
    yield from (f"{name} is missing" for name in _FILES if not (ROOT / name).is_file())
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version()):
        yield f"the version {version()} is not X.Y.Z, optionally with aN, bN or rcN (PEP 440)"
    if (cited := _cited("version")) != version():
        yield f"CITATION.cff has version {cited}, but the package has {version()}"
    yield from _changelog()
    yield from _metadata()


def unfinished() -> Iterator[str]:
    """Yield what is missing for a release, but not needed in a working tree."""
    sections = _sections()
    released = next((day for name, day in sections if name == version()), None)
    if released is None:
        yield f"CHANGELOG.md has no section [{version()}] with its date"
    if (cited := _cited("date-released")) != released:
        yield f"CITATION.cff has date-released {cited}, but the changelog has {released}"
    if not _project().get("urls"):
        yield "pyproject.toml has no [project.urls] for the repository, the changelog and the documentation"
    if changed := _git("status", "--porcelain"):
        yield f"the working tree is not clean:\n{changed}"
    if f"v{version()}" in _git("tag").split():
        yield f"the tag v{version()} already exists"


def _changelog() -> Iterator[str]:
    sections = _sections()
    if not sections or sections[0][0] != "Unreleased":
        yield "CHANGELOG.md does not start with [Unreleased]"
    for name, day in sections[1:]:
        try:
            date.fromisoformat(day or "")
        except ValueError:
            yield f"CHANGELOG.md: [{name}] has no date; expected [{name}] - 2026-12-31"
    for kind in re.findall(r"^### (.+)$", _text("CHANGELOG.md"), re.MULTILINE):
        if kind not in _KINDS:
            yield f"CHANGELOG.md: {kind} is not one of {', '.join(_KINDS)}"


def _metadata() -> Iterator[str]:
    project = _project()
    if project.get("name") != DISTRIBUTION:
        yield f"pyproject.toml has the name {project.get('name')}, not {DISTRIBUTION}"
    if "version" not in project["dynamic"]:
        yield "pyproject.toml must not define a version; anyws/_version.py does"
    for field in ("description", "readme", "license", "license-files", "authors", "keywords", "classifiers"):
        if not project.get(field):
            yield f"pyproject.toml has no {field}"
    prefix = "Programming Language :: Python :: 3."
    named = [name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(prefix)]
    tested = re.search(r"^@nox\.session\(python=(\[.*\])\)\ndef tests\(", _text("noxfile.py"), re.MULTILINE)
    if tested is None or ast.literal_eval(tested[1]) != [f"3.{minor}" for minor in named]:
        yield f"the classifiers name 3.{', 3.'.join(named)}, which differs from the versions of the nox session tests"
    if project["requires-python"] != f">=3.{named[0]}":
        yield f"requires-python is {project['requires-python']}, but the first classifier is 3.{named[0]}"


def _sections() -> list[tuple[str, str | None]]:
    found = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", _text("CHANGELOG.md"), re.MULTILINE)
    return [(name, day or None) for name, day in found]


def _cited(key: str) -> str | None:
    found = re.search(rf"^{key}: \"?([^\"\n]+)\"?$", _text("CITATION.cff"), re.MULTILINE)
    return None if found is None else found[1]


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(_text("pyproject.toml"))["project"]
    return project


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, text=True).stdout.rstrip()
