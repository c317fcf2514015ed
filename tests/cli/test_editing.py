"""`anyws connect` in a real terminal: editing, history, colours, resizing, keys that end it."""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from .commands import start_anyws
from .tmux import needs_tmux, open_window

pytestmark = [
    needs_tmux,
    pytest.mark.skipif(importlib.util.find_spec("prompt_toolkit") is None, reason="prompt_toolkit is not installed"),
]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])


@backends
@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_lines_are_sent_and_keys_end_it(server: str, tmp_path: Path, backend: str, key: str) -> None:
    with open_window(tmp_path, "connect", "--backend", backend, server) as window:
        window.expect(f"connected to {server}/", "Ctrl-D closes")
        window.type_text("hello")
        window.expect("> hello", "< hello")
        window.type(key)
        screen = window.expect("closed: 1000", "status 0")
        assert "Traceback" not in screen
        assert "Ctrl-D closes" not in screen  # it has taken its last line away


def test_a_line_is_edited(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", server) as window:
        window.expect("Ctrl-D closes")
        window.type("wrld", "Left", "Left", "Left", "o", "C-a", "hello ", "C-e", "!", "Enter")
        window.expect("> hello world!", "< hello world!")
        window.type("ab", "Left", "C-d", "C-d", "c", "Enter")  # Ctrl-D deletes; only on an empty line it ends
        window.expect("> ac", "< ac")


def test_messages_do_not_disturb_the_line_being_edited(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", f"{server}/late") as window:
        window.expect("Ctrl-D closes")
        window.type_text("first")
        window.type("half of the sec")
        window.expect("> first", "< first", "> half of the sec")
        window.type("ond", "Enter")
        window.expect("< half of the second")


def test_the_history_is_saved_and_readable_only_by_the_user(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", server) as window:
        window.expect("Ctrl-D closes")
        for line in ("one", "two"):
            window.type_text(line)
            window.expect(f"< {line}")
        window.type("Up", "Up", "Enter")
        window.expect("< two", "< one")
        window.type("C-d")
        window.expect("status 0")
    history = tmp_path / "anyws" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    with open_window(tmp_path, "connect", server) as window:
        window.expect("Ctrl-D closes")
        window.type("Up", "Up", "!", "Enter")
        window.expect("< two!")
    with open_window(tmp_path, "connect", "--no-history", server) as window:
        window.expect("Ctrl-D closes")
        window.type("Up", "x", "Enter")
        window.expect("> x", "< x")
    assert "two!" in history.read_text()
    assert "+x" not in history.read_text().splitlines()


def test_commands_are_completed(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", server) as window:
        window.expect("Ctrl-D closes")
        window.type("/pi", "Tab")
        window.expect("> /ping")
        window.type("Enter")
        window.expect("pong: ", " ms")


def test_commands(server: str, tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_bytes(bytes(range(40)))
    with open_window(tmp_path, "connect", server, columns=100) as window:
        window.expect("Ctrl-D closes")
        for line, shown in {
            "/hex 00 ff:10": "< [binary, 3 bytes] 00ff10",
            f'/file "{file}"': "|................|",
            "//ping": "< /ping",
            "/dance": "/dance: unknown command",
            "/hex 0": "/hex: expected pairs",
            "/file /none": "No such file",
            "/help": "send text that starts with a slash",
            "/close 1006": "anyws: /close: ",
            "/close 4321 good bye": "closed: 4321 (good bye)",
        }.items():
            window.type_text(line)
            window.expect(shown)
        screen = window.expect("status 0")
        assert "  00000020  20 21 22 23 24 25 26 27 " in screen
        assert "sent 40 bytes" in screen


def test_colours(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", "--json", "--timestamps", server) as window:
        window.expect("Ctrl-D closes")
        window.type_text('{"name": [1, "two", null]}')
        screen = window.expect('    "name": [', "      1,", '      "two",', "      null", "  }")
        assert any(line[:2].isdigit() and line[12:] == " < {" for line in screen.splitlines())
        coloured = window.screen(with_colours=True)
        for wanted in ('\x1b[34m"name"', "\x1b[35m1", '\x1b[32m"two"', "\x1b[33mnull", "\x1b[36m< "):
            assert wanted in coloured


def test_no_colours(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", "--json", server, NO_COLOR="1") as window:
        window.expect("Ctrl-D closes")
        window.type_text('[1, "two"]')
        window.expect("    1,")
        assert "\x1b[3" not in window.screen(with_colours=True)


def test_a_dumb_terminal_gets_plain_lines(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", server, TERM="dumb") as window:
        screen = window.expect("connected to", "\n>")
        assert "pip install" not in screen
        window.type_text("hello")
        window.expect("< hello")


def test_a_peer_cannot_control_the_terminal(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", f"{server}/greet") as window:
        window.expect("< grüße", "< [binary, 3 bytes] 00ff10", "< two", "  lines \\x1b[31mred")
        assert "\x1b[31m" not in window.screen(with_colours=True)


def test_a_terminal_that_is_resized(server: str, tmp_path: Path) -> None:
    def is_wrapped_at(columns: int) -> Callable[[str], bool]:
        return lambda screen: f"> {'b' * (columns - 2)}\n{'b' * min(columns, 122 - columns)}" in screen

    with open_window(tmp_path, "connect", server, columns=80, rows=12) as window:
        window.expect("Ctrl-D closes")
        for columns, rows in ((50, 10), (100, 30), (70, 20)):
            window.run("resize-window", "-x", str(columns), "-y", str(rows))
            window.type("b" * 120)
            # It looks twice a second, and at each key.
            window.wait_until(is_wrapped_at(columns), "c", "BSpace")
            window.type("C-u")


def test_ctrl_c_works_during_a_flood(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", f"{server}/flood") as window:
        window.expect("< xxxx")
        window.type("C-c")
        window.wait_until(lambda screen: "closed: " in screen[-1000:] or "status " in screen[-1000:])
        window.type("C-c")  # what was on its way may be much
        window.wait_until(lambda screen: "status " in screen[-1000:])


def test_a_close_by_the_peer_restores_the_terminal(server: str, tmp_path: Path) -> None:
    with start_anyws("serve", "--port", 0) as serving:
        uri = serving.expect_line("ws://")
        with open_window(tmp_path, "connect", uri) as window:
            window.expect("Ctrl-D closes")
            window.type("half a line")
            window.expect("> half a line")
            assert serving.stop()[0] == 0
            screen = window.expect("closed: 1001", "status 0")
            assert "half a line" not in screen
            window.type_text("to the shell")
            window.expect("to the shell\nto the shell")  # echoed by the terminal, and by cat


def test_log_output_is_printed_above_the_line(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "-v", "connect", server, columns=120) as window:
        window.expect("Ctrl-D closes")
        window.type("half a line")
        window.expect("> half a line")
        window.type("C-c")
        window.expect("\nDEBUG anyws.client: [127.0.0.1:", "] sent Close 1000\n", "\nclosed: 1000\n", "status 0")


def test_the_latency_is_shown_below_the_line(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", "--latency", "--ping-interval", "0.1", server) as window:
        window.expect(f"{server}/  latency ", " ms  /help")


@pytest.mark.parametrize(("key", "without"), [("C-c", "prompt_toolkit"), ("C-d", "pygments")])
def test_without_the_extra_there_is_no_line_editing(server: str, tmp_path: Path, key: str, without: str) -> None:
    with open_window(tmp_path, "connect", server, without=without) as window:
        screen = window.expect(f"connected to {server}/", ">")
        assert screen.count("pip install 'anyio-websocket[cli]'") == 1
        window.type_text("hello")
        window.expect("> hello", "< hello")
        window.type_text("/ping")
        window.expect("pong: ")
        window.type(key)
        window.expect("closed: 1000", "status 0")


def test_many_lines_come_back_in_order(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "connect", server, rows=100) as window:
        window.expect("Ctrl-D closes")
        for number in range(20):
            window.type_text(f"line {number}")
        screen = window.expect("< line 19")
        assert [line for line in screen.splitlines() if line.startswith("< ")] == [f"< line {n}" for n in range(20)]
