"""`anyws ping`, as a process."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.harness import free_port

from .commands import run_anyws, run_main, start_anyws
from .tmux import needs_tmux, open_window

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])


@backends
def test_pings_are_answered(server: str, backend: str) -> None:
    status, out, err = run_anyws("ping", "--backend", backend, "-c", 3, "-i", 0.01, server)
    assert (status, err) == (0, "")
    wanted = "".join(rf"pong: number {number}, \d+\.\d{{3}} ms\n" for number in (1, 2, 3))
    found = re.fullmatch(
        rf"PING {server}/: 8 bytes of payload\n{wanted}--- {server}/\n"
        r"3 pings sent, 3 pongs received, 0% lost, in \d+\.\d{3} s\n"
        r"min/avg/max/mdev = ([0-9.]+)/([0-9.]+)/([0-9.]+)/[0-9.]+ ms\n",
        out,
    )
    assert found, out
    least, average, greatest = map(float, found.groups())
    assert 0 < least <= average <= greatest


@pytest.mark.parametrize("size", ["0", "1", "125"])
def test_payloads(server: str, size: str) -> None:
    status, out, _ = run_anyws("ping", "-q", "-c", 2, "-i", 0, "--size", size, server)
    assert status == 0
    assert out.startswith(f"PING {server}/: {size} bytes of payload\n---")


@backends
def test_a_signal_ends_it_with_the_summary(server: str, backend: str) -> None:
    with start_anyws("ping", "--backend", backend, "-i", 0, server) as process:
        process.expect_line("number 2,")
        status, out, err = process.stop(signal.SIGINT)
    assert (status, err) == (0, "")
    assert "min/avg/max/mdev" in out


def test_messages_do_not_delay_pongs(server: str) -> None:
    status, out, _ = run_anyws("ping", "-c", 2, "-i", 0, f"{server}/flood")
    assert (status, "2 pongs received" in out) == (0, True)


def test_the_end_of_the_connection_is_status_5(server: str) -> None:
    status, out, err = run_anyws("ping", f"{server}/close/1000")
    assert status == 5
    assert err.startswith("anyws: ")
    assert "% lost" in out


def test_connection_refused_is_status_3() -> None:
    status, out, err = run_anyws("ping", f"ws://127.0.0.1:{free_port()}/")
    assert (status, out) == (3, "")
    assert err.startswith("anyws: cannot connect to ")


def test_a_server_that_answers_no_ping_is_status_1(tmp_path: Path) -> None:
    # A server that never reads: its event loop is blocked.
    (tmp_path / "asleep.py").write_text("import time\nasync def handler(websocket):\n    time.sleep(30)\n")
    with start_anyws("serve", "--port", 0, "asleep:handler", cwd=tmp_path) as serving:
        uri = serving.expect_line("ws://")
        with start_anyws("ping", "-c", 1, "-W", 0.2, uri) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "anyws: no Pong to number 1 within 0.2 s\n"
            process.stop(signal.SIGINT)
            process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "the following arguments are required: URI"),
        ("--size 126 ws://x", "at most 125 bytes"),
        ("-c 0 ws://x", "expected a number of at least 1"),
        ("-i=-1 ws://x", "expected a number of seconds"),
    ],
)
def test_wrong_usage_is_status_2(arguments: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "ping", *arguments.split())
    assert (status, out) == (2, "")
    assert problem in err


@needs_tmux
def test_in_a_terminal_ctrl_c_ends_it(server: str, tmp_path: Path) -> None:
    with open_window(tmp_path, "ping", "-i", 0.05, server) as window:
        window.expect("pong: number 2,")
        window.type("C-c")
        window.expect("min/avg/max/mdev", "status 0")
