"""`anyws completion`, in real shells."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .commands import run_anyws, run_main
from .tmux import Window, needs_tmux, open_program

SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}


def prepare(window: Window, shell: str, script: Path) -> None:
    """Load the script, as the startup file of a user does."""
    if shell == "zsh":
        window.type_text("autoload -Uz compinit && compinit -D")
    window.type_text(f"source {script}; echo re''ady")
    window.expect("ready")


def complete(window: Window, text: str, expected: str) -> None:
    """Type a text and Tab, wait for what the shell makes of it, and empty the line."""
    window.type("-l", text)
    window.type("Tab")
    window.expect(expected)
    window.type("C-u")
    window.type_text("clear")
    window.wait_until(lambda screen: expected not in screen)


@needs_tmux
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_values(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    status, out, err = run_anyws("completion", shell)
    assert (status, err) == (0, "")
    script = tmp_path / "script"
    script.write_text(out)
    (tmp_path / "the-certificate.pem").touch()
    with open_program(tmp_path, *SHELLS[shell], HOME=str(tmp_path)) as window:
        prepare(window, shell, script)
        window.type_text(f"cd {tmp_path}")
        for text, expected in (
            ("anyws conn", "anyws connect"),
            ("anyws --vers", "anyws --version"),
            ("anyws -v connect --inp", "anyws -v connect --input"),
            ("anyws connect --input wh", "anyws connect --input whole"),
            ("anyws connect --input=wh", "anyws connect --input=whole"),
            ("anyws connect -H 'a: b' --insec", "anyws connect -H 'a: b' --insecure"),
            ("anyws serve --cert the-", "anyws serve --cert the-certificate.pem"),
            ("anyws completion fi", "anyws completion fish"),
        ):
            complete(window, text, expected)


def test_an_unknown_shell_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "completion", "tcsh")
    assert (status, out) == (2, "")
    assert "invalid choice: 'tcsh'" in err


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_known(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, script, _ = run_anyws("completion", shell)
    for command in ("connect", "serve", "ping", "load", "demo", "completion"):
        _, out, _ = run_main(capsys, command, "--help")
        assert command in script
        for word in out.replace(",", " ").split():
            if word.startswith("--") and word[2:].isalpha():
                assert (f"-l {word[2:]}" if shell == "fish" else word) in script, word
