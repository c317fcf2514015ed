"""A real terminal: a tmux window in which tests type keys and read the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from .commands import LIMIT, ROOT

__all__ = ["Window", "needs_tmux", "open_program", "open_window"]

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

_PAUSE = 0.05  # seconds between two looks at the screen


class Window:
    """A window in which a command runs; behind it, ``status N`` is printed, and then what is typed is echoed."""

    def __init__(self, tmux: list[str]) -> None:
        self._tmux = tmux

    def run(self, *arguments: str) -> str:
        """Run a command of tmux itself."""
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout

    def type(self, *keys: str) -> None:
        """Press keys: names of tmux, such as ``Enter``, ``Up`` and ``C-c``, or text."""
        self.run("send-keys", *keys)

    def type_text(self, text: str) -> None:
        """Press the keys of a text, and Enter."""
        self.run("send-keys", "-l", text)
        self.type("Enter")

    def screen(self, *, with_colours: bool = False) -> str:
        """Return what the window shows, and what has left it at the top."""
        return self.run("capture-pane", "-p", "-S", "-", *(["-e"] if with_colours else []))

    def expect(self, *texts: str) -> str:
        """Wait until the window shows these texts in this order, and return all it shows."""

        def is_there(screen: str) -> bool:
            rest = screen
            for text in texts:
                _, found, rest = rest.partition(text)
                if not found:
                    return False
            return True

        return self.wait_until(is_there)

    def wait_until(self, is_there: Callable[[str], bool], *keys: str) -> str:
        """Wait until what the window shows is as it should be, and return it; meanwhile, press keys again and again."""
        for _ in range(int(LIMIT / _PAUSE)):
            screen = self.screen()
            if is_there(screen):
                return screen
            if keys:
                self.type(*keys)
            time.sleep(_PAUSE)
        raise AssertionError(f"the window shows:\n{self.screen()}")


def open_window(
    folder: Path, *arguments: object, without: str = "", columns: int = 80, rows: int = 24, **variables: str
) -> AbstractContextManager[Window]:
    """Run a command of anyws in a window.

    Args:
        folder: where the history of lines is kept.
        arguments: of anyws.
        without: packages that are to seem missing, set apart by commas.
        columns: of the window.
        rows: of the window.
        variables: of the environment, besides what is there.
    """
    program = [sys.executable, "-m", "anyws"]
    if without:
        hide = f"import sys; sys.modules.update(dict.fromkeys({without.split(',')}))"
        program = [sys.executable, "-c", f"{hide}; from anyws.__main__ import main; sys.exit(main())"]
    return open_program(folder, *program, *arguments, columns=columns, rows=rows, **variables)


@contextmanager
def open_program(
    folder: Path, *program: object, columns: int = 80, rows: int = 24, **variables: str
) -> Iterator[Window]:
    """Run any program in a window; see `open_window`."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    command = shlex.join(map(str, ["env", *settings, *program]))
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TMUX"}},
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "XDG_STATE_HOME": str(folder),
    }
    tmux = ["tmux", "-u", "-f", os.devnull, "-L", f"anyws-{uuid.uuid4()}"]
    size = ["-x", str(columns), "-y", str(rows)]
    script = f"trap : INT; {command}; echo status $?; while :; do cat; done"
    subprocess.run([*tmux, "new-session", "-d", *size, "-c", str(ROOT), script], check=True, env=environment)
    try:
        yield Window(tmux)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
