"""What all commands share: help, version, missing packages, interruption."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys

import pytest

import anyws
from anyws import __main__
from anyws._cli.parser import parse_arguments

from .commands import run_anyws, run_main, start

WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from anyws.__main__ import main
sys.exit(main())
"""


def run_without(packages: str, *arguments: str) -> tuple[int, str, str]:
    """Run a command as if some packages were not installed."""
    with start([sys.executable, "-c", WITHOUT, packages, *arguments]) as process:
        return process.finish()


@pytest.mark.parametrize("command", [[], ["connect"], ["serve"], ["ping"], ["load"], ["demo"]])
def test_help_needs_no_optional_package(command: list[str]) -> None:
    status, out, err = run_without("prompt_toolkit,pygments,rich,trio,trustme,uvloop,watchfiles", *command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(" ".join(["usage: anyws", *command]))
    assert "examples:" in out or "exit status:" in out


def test_version() -> None:
    status, out, _ = run_anyws("--version")
    assert status == 0
    assert out.startswith(f"anyws {anyws.__version__} (Python ")


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("trio", "demo", "demo"),
        ("trustme", "demo", "demo"),
        ("trio", "demo", "serve --backend trio"),
        ("trustme", "demo", "serve --self-signed"),
        ("uvloop", "uvloop", "serve --backend uvloop"),
        ("uvloop", "uvloop", "connect --backend uvloop ws://localhost"),
        ("trio", "demo", "ping --backend trio ws://localhost"),
        ("trio", "demo", "load --backend trio ws://localhost"),
    ],
)
def test_a_missing_extra_is_one_line_and_status_2(package: str, extra: str, command: str) -> None:
    problem = f"anyws: this requires {package}, which is not installed: pip install 'anyio-websocket[{extra}]'\n"
    assert run_without(package, *command.split()) == (2, "", problem)


@pytest.mark.parametrize("arguments", ["dance", "--dance serve", "serve --dance", "connect --dance ws://localhost"])
def test_wrong_usage_is_one_line_and_status_2(arguments: str) -> None:
    status, out, err = run_anyws(*arguments.split())
    assert (status, out) == (2, "")
    assert re.fullmatch(r"anyws(?: serve| connect)?: .*dance.* \(see anyws(?: serve| connect)? --help\)\n", err)


def test_without_a_command_the_help_is_shown() -> None:
    status, out, err = run_anyws()
    assert (status, out) == (2, "")
    assert err.startswith("usage: anyws")


@pytest.mark.parametrize("command", [[], ["connect"], ["serve"], ["ping"], ["load"], ["demo"], ["completion"]])
@pytest.mark.parametrize("columns", [80, 200])
def test_help_fits_in_the_terminal(
    command: list[str], columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, _ = run_main(capsys, *command, "--help")
    assert status == 0
    assert max(map(len, out.splitlines())) <= columns


@pytest.mark.parametrize(("command", "expected"), [("--help", 0), ("--version", 0), ("connect --help", 0), ("demo", 1)])
def test_a_reader_that_exits_ends_a_command_quietly(command: str, expected: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with start([sys.executable, "-m", "anyws", *command.split()], stdout=writing) as process:
        os.close(writing)
        status, _, err = process.finish()
    assert (status, err) == (expected, "")


def test_an_interruption_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "parse_arguments", lambda arguments: argparse.Namespace(run=interrupt))
    assert __main__.main([]) == 128 + signal.SIGINT


@pytest.mark.parametrize("arguments", [["-v", "serve"], ["serve", "--verbose"]])
def test_verbose_before_and_after_the_command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("anyws")
    monkeypatch.setattr(logger, "level", logging.WARNING)
    monkeypatch.setattr(logging, "basicConfig", lambda **keywords: None)
    assert parse_arguments(arguments).verbose
    assert logger.level == logging.DEBUG
    assert not parse_arguments(["serve"]).verbose
