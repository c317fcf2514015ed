"""docs/cli.md says what the commands do."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from anyws._cli import connect, demo, load, ping, serve
from tests.cli.commands import ROOT, run_anyws, run_main

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [connect, demo, load, ping, serve], ids=lambda command: command.__name__)
def test_every_option_is_documented(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="anyws")
    command.add_arguments(parser)  # type: ignore[attr-defined]
    options = re.findall(r"(?<![\w-])--?[a-z0-9][a-z-]*", parser.format_help().partition(parser.epilog or "")[0], re.I)
    assert options
    for option in {*options} - {"-h", "--help"}:
        assert f"`{option}" in PAGE or f" {option}" in PAGE, option


@pytest.mark.parametrize("line", re.findall(r"^\$ (anyws (?!serve --reload).*)\nanyws.*: .*$", PAGE, re.MULTILINE))
def test_errors_are_quoted_exactly(line: str) -> None:
    status, _, err = run_anyws(*shlex.split(line)[1:])
    assert status != 0
    assert f"$ {line}\n{err}" in PAGE


def test_the_lines_for_startup_files_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_main(capsys, "completion", "--help")
    for shell, line in re.findall(r"^  (bash|zsh|fish) .* {2,}(\S.*)$", out, re.MULTILINE):
        assert f"`{line}`".replace("|", "\\|") in PAGE, shell
