"""`anyws load`, as a process."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness import free_port

from .commands import run_anyws, run_main, start_anyws
from .tmux import needs_tmux, open_window

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])


def load(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Run it with ``--json``; return the exit status and the figures."""
    status, out, err = run_anyws("load", "--json", *arguments)
    assert err == ""
    figures: dict[str, Any] = json.loads(out)
    return status, figures


@backends
def test_as_fast_as_responses_arrive(server: str, backend: str) -> None:
    status, figures = load("--backend", backend, "-c", 3, "-d", 0.3, server)
    assert status == 0
    assert figures["connections"] == {"opened": 3, "failed": 0, "lost": 0}
    messages = figures["messages"]
    assert messages["sent"] == messages["received"] > 3
    assert messages["per_second"] == pytest.approx(messages["received"] / figures["seconds"])
    latency = figures["latency"]
    ordered = [latency[name] for name in ("min", "p50", "p90", "p99", "p99.9", "max")]
    assert ordered[0] > 0
    assert ordered == sorted(ordered)


@backends
def test_at_a_rate(server: str, backend: str) -> None:
    status, figures = load("--backend", backend, "-c", 4, "-r", 100, "-d", 0.5, "--binary", "--size", "1K", server)
    assert status == 0
    assert figures["messages"]["sent"] == figures["messages"]["received"] == 50


def test_a_server_that_falls_behind_shows_in_the_latency(server: str) -> None:
    """It answers after 0.2 s, one message after the other, and is asked ten times in a second."""
    status, figures = load("-c", 1, "-r", 10, "-d", 0.5, f"{server}/late")
    assert status == 0
    assert figures["messages"]["received"] == 5
    assert figures["latency"]["max"] > 0.5


def test_the_handshake_of_the_first_connection_is_shown(server: str) -> None:
    status, _out, err = run_anyws("load", "-v", "-c", 3, "-d", 0.1, server)
    assert status == 0
    assert err.count("> GET / HTTP/1.1") == err.count("< HTTP/1.1 101 Switching Protocols") == 1


def test_for_people(server: str) -> None:
    status, out, err = run_anyws("load", "-c", 2, "-d", 0.1, server)
    assert (status, err) == (0, "")
    assert re.fullmatch(
        r"connections  2 opened, 0 failed, 0 lost\n"
        r"messages     (\d+) sent, \1 received in \d+\.\d{3} s: \d+/s\n"
        r"latency      min \d.* p50 \d.* p90 \d.* p99 \d.* p99.9 \d.* max \d.* mean \d.* ms\n",
        out,
    ), out


def test_lost_connections_are_status_5(server: str) -> None:
    status, figures = load("-c", 2, "-d", 0.2, f"{server}/close/1000")
    assert status == 5
    assert figures["connections"] == {"opened": 2, "failed": 0, "lost": 2}
    assert figures["latency"] is None


def test_connection_refused_is_status_3() -> None:
    port = free_port()
    status, out, err = run_anyws("load", "-c", 3, f"ws://127.0.0.1:{port}/")
    assert (status, out) == (3, "")
    assert err.startswith("anyws: cannot connect to ")


@backends
def test_a_signal_ends_it_with_the_figures(backend: str) -> None:
    with start_anyws("-v", "serve", "--port", 0) as serving:
        uri = serving.expect_line("ws://")
        with start_anyws("load", "--backend", backend, "-c", 1, "-d", 30, uri) as process:
            assert serving.stderr is not None
            while "open" not in serving.stderr.readline():  # it is at work
                pass
            status, out, err = process.stop(signal.SIGINT)
        assert (status, err) == (1, "")
        assert "connections  1 opened" in out
        assert serving.stop()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "the following arguments are required: URI"),
        ("-c 0 ws://x", "expected a number of at least 1"),
        ("-r 0 ws://x", "expected a number greater than 0"),
        ("-r inf ws://x", "expected a number greater than 0"),
        ("-d 0 ws://x", "expected a number of seconds greater than 0"),
    ],
)
def test_wrong_usage_is_status_2(arguments: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "load", *arguments.split())
    assert (status, out) == (2, "")
    assert problem in err


@needs_tmux
@pytest.mark.skipif(importlib.util.find_spec("rich") is None, reason="rich is not installed")
def test_in_a_terminal_there_is_a_progress_bar(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "load", "-c", 1, "-d", 30, server, columns=120) as window:
        window.expect(f"load on {server}/ ", "%", " messages/s")
        window.type("C-c")
        screen = window.expect("latency      min", "status 1")
        assert "messages/s" not in screen  # the bar has gone


@needs_tmux
def test_without_the_extra_there_is_no_progress_bar(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "load", "-c", 1, "-d", 0.5, server, without="rich") as window:
        assert "%" not in window.expect("connections  1 opened", "status 0")
