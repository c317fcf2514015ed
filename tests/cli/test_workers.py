"""Worker processes of ``anyws serve --workers`` and ``--reload``."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

import anyws
from anyws._cli.exit_status import ExitStatus
from anyws._cli.stopping import Stop
from anyws._cli.workers import Backoff, Workers

from .commands import LIMIT, Process, run_anyws, start, start_anyws
from .tmux import needs_tmux, open_window

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are for POSIX systems")

backends = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])

HANDLER = """\
import os

async def handler(websocket):
    async for message in websocket:
        if message == "crash":
            os._exit(3)
        await websocket.send(f"{os.getpid()} %s")
"""


async def ask(uri: str, message: str = "who") -> str:
    async with anyws.connect(uri, max_connecting=None) as websocket:
        await websocket.send(message)
        answer = await websocket.receive()
        assert isinstance(answer, str)
        return answer


async def ask_until(uri: str, is_wanted: Callable[[set[str]], bool]) -> set[str]:
    """Ask on new connections until the answers are as they should be."""
    answers: set[str] = set()
    with anyio.fail_after(LIMIT):
        while not is_wanted(answers):
            try:
                answers.add(await ask(uri))
            except (OSError, anyws.WebSocketError):  # there is no worker just now
                await anyio.sleep(0.02)
    return answers


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def crash(uri: str) -> None:
    """Let the worker that answers crash."""

    async def send() -> None:
        with pytest.raises(anyws.ConnectionClosedError):
            await ask(uri, "crash")

    anyio.run(send)


@backends
def test_several_processes_serve_and_a_crashed_one_is_restarted(backend: str, tmp_path: Path) -> None:
    (tmp_path / "who.py").write_text(HANDLER % "")
    arguments = ("--port", 0, "--workers", 2, "--backend", backend, "who:handler")
    with start_anyws("serve", *arguments, cwd=tmp_path) as process:
        uri = process.expect_line("ws://127.0.0.1:")
        first = anyio.run(ask_until, uri, lambda answers: len(answers) == 2)
        crash(uri)
        both = anyio.run(ask_until, uri, lambda answers: len(answers) == 2 and answers != first)
        assert len(first & both) == 1
        status, out, err = process.stop(signal.SIGTERM)
    assert (status, out) == (0, "")
    assert re.fullmatch(r"anyws: worker [12] exited \(status 3\); restarting in 0\.5 s\n", err)
    assert not any(is_alive(int(answer)) for answer in first | both)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_connections_of_all_workers_with_1001(number: int) -> None:
    async def talk(process: Process) -> None:
        uri = process.expect_line("ws://")
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:

                async def use_one(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                    async with anyws.connect(uri) as websocket:
                        task_status.started()
                        with pytest.raises(anyws.ConnectionClosedOK):
                            await websocket.receive()
                        assert websocket.close_code == 1001

                for _ in range(6):
                    await tasks.start(use_one)
                process.send_signal(number)

    with start_anyws("serve", "--port", 0, "--workers", 2) as process:
        anyio.run(talk, process)
        assert process.finish() == (0, "", "")


def test_workers_exit_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "who.py").write_text(HANDLER % "")
    with start_anyws("serve", "--port", 0, "--workers", 2, "who:handler", cwd=tmp_path) as process:
        uri = process.expect_line("ws://")
        pids = {int(answer) for answer in anyio.run(ask_until, uri, lambda answers: len(answers) == 2)}
        process.kill()
        process.wait()
    for _ in range(LIMIT * 50):
        if not any(map(is_alive, pids)):
            break
        time.sleep(0.02)
    else:
        raise AssertionError("a worker outlived its parent")


@pytest.mark.parametrize(
    ("without", "backend"),
    [("", "asyncio"), ("", "trio"), ("", "uvloop"), ("watchfiles", "asyncio"), ("watchfiles", "trio")],
)
def test_a_change_restarts_the_workers_and_after_a_syntax_error_the_next_change_does(
    without: str, backend: str, tmp_path: Path
) -> None:
    source = tmp_path / "who.py"
    source.write_text(HANDLER % "one")
    hide = f"import sys; sys.modules.update(dict.fromkeys({without.split(',')}))"
    program = [sys.executable, "-c", f"{hide}; from anyws.__main__ import main; sys.exit(main())"]
    with start(
        [*program, "serve", "--port", 0, "--reload", "--backend", backend, "who:handler"], cwd=tmp_path
    ) as process:
        uri = process.expect_line("ws://")
        assert anyio.run(ask, uri).endswith("one")
        source.write_text(HANDLER % "the second")
        anyio.run(ask_until, uri, lambda answers: any(answer.endswith("the second") for answer in answers))
        source.write_text("no Python")
        assert process.stderr is not None
        for line in process.stderr:
            if "restarting when a file changes" in line:
                break
        source.write_text(HANDLER % "number 3")
        anyio.run(ask_until, uri, lambda answers: any(answer.endswith("number 3") for answer in answers))
        status, out, err = process.stop()
    assert (status, out) == (0, "")
    assert "anyws: changed: who.py; restarting the workers\n" in err


@pytest.mark.parametrize("arguments", [["--workers", "2"], ["--workers", "1"]])
def test_an_invalid_handler_is_reported_once(arguments: list[str]) -> None:
    status, out, err = run_anyws("serve", *arguments, "--port", 0, "no_such_module:x")
    assert (status, out) == (2, "")
    assert err.count("No module named 'no_such_module'") == 1


def test_a_port_in_use_is_one_line_and_status_1() -> None:
    with start_anyws("serve", "--port", 0, "--workers", 2) as first:
        port = first.expect_line("ws://").rstrip("/").rpartition(":")[2]
        for arguments in (["--workers", "2"], ["--reload"]):
            status, out, err = run_anyws("serve", "--port", port, *arguments)
            assert (status, out) == (1, "")
            assert re.fullmatch(r"anyws: cannot listen: .*in use.*\n", err)
        assert first.stop()[0] == 0


@needs_tmux
def test_in_a_terminal_ctrl_c_stops_the_workers_gracefully(tmp_path: Path) -> None:
    with open_window(tmp_path, "serve", "--port", 0, "--workers", 2) as window:
        window.expect("ws://127.0.0.1:", "\n")
        window.type("C-c")
        screen = window.expect("status 0")
        assert "Traceback" not in screen


FORKS = """\
import os, time

if os.fork() == 0:  # as a pool does; it has all that the worker has inherited
    print(os.getpid(), file=open("child", "w"), flush=True)
    time.sleep(60)
    os._exit(0)

async def handler(websocket):
    async for _ in websocket:
        await websocket.send("here")
"""


@backends
def test_a_child_process_of_a_handler_s_module_does_not_block_the_restart(backend: str, tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(FORKS)
    arguments = ("--port", 0, "--workers", 1, "--backend", backend, "forks:handler")
    output = tmp_path / "output"
    # What is printed goes to files: a pipe of ours the child would hold open as well.
    with output.open("w") as file, start_anyws("serve", *arguments, cwd=tmp_path, stdout=file, stderr=file) as process:
        deadline = time.monotonic() + LIMIT
        while "ws://" not in output.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert anyio.run(ask, output.read_text().strip()) == "here"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(LIMIT) == 0
        finally:
            os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


IGNORES = """\
import anyio, os
from anyws._cli import workers

workers._GRACE = 0.5

async def handler(websocket):
    await websocket.send(str(os.getpid()))
    while True:
        try:
            await anyio.sleep(60)
        except BaseException:
            pass
"""


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + LIMIT
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def test_an_orphaned_worker_exits_even_if_its_handler_ignores_cancellation(tmp_path: Path) -> None:
    """Nobody is left who could kill it."""
    (tmp_path / "stubborn.py").write_text(IGNORES)

    async def talk() -> None:
        with anyio.fail_after(LIMIT):
            async with anyws.connect(uri) as websocket:
                pid = int(await websocket.receive())
                process.kill()
                await anyio.to_thread.run_sync(wait_for_end, pid)

    arguments = ("--port", 0, "--workers", 1, "stubborn:handler")
    with start_anyws("serve", *arguments, cwd=tmp_path) as process:
        uri = process.expect_line("ws://")
        anyio.run(talk)


# -- with commands that are no servers ---------------------------------------------------------------------------------

CRASHES = "import os, sys; os.write({pipe}, b'here\\0'); os.close({pipe}); sys.exit(7)"
STUBBORN = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "os.write({pipe}, b'here\\0'); os.close({pipe}); time.sleep(60)"
)


def python(code: str) -> Callable[[int], list[str]]:
    return lambda pipe: [sys.executable, "-c", code.format(pipe=pipe)]


async def test_the_backoff_grows(capsys: pytest.CaptureFixture[str]) -> None:
    with anyio.CancelScope() as scope:
        stop = Stop(scope)
        workers = Workers(python(CRASHES), 1, Backoff(initial_delay=0.01, max_delay=0.04, reset_after=100))
        ready: list[str] = []
        async with anyio.create_task_group() as tasks:

            async def stop_after_four() -> None:
                seen = ""
                while seen.count("\n") < 4:
                    await anyio.sleep(0.01)
                    seen += capsys.readouterr().err
                stop.request()
                waits = [float(line.rpartition(" in ")[2].removesuffix(" s")) for line in seen.splitlines()]
                assert waits[:4] == [0.01, 0.02, 0.04, 0.04]

            tasks.start_soon(stop_after_four)
            assert await workers.run(stop, ready.append) is ExitStatus.OK
        assert ready == ["here"]


async def test_a_worker_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws._cli.workers._GRACE", 0.1)
    with anyio.CancelScope() as scope:
        stop = Stop(scope)
        assert await Workers(python(STUBBORN), 2).run(stop, lambda text: stop.request()) is ExitStatus.FAILED


async def test_a_second_signal_kills() -> None:
    is_over = False
    with anyio.CancelScope() as scope:
        stop = Stop(scope)
        async with anyio.create_task_group() as tasks:

            async def ask_twice() -> None:
                stop.request()
                await anyio.wait_all_tasks_blocked()
                stop.request()

            def ready(text: str) -> None:
                tasks.start_soon(ask_twice)

            await Workers(python(STUBBORN), 1).run(stop, ready)
            is_over = True
    assert scope.cancelled_caught
    assert not is_over


async def test_a_change_ends_the_wait(capsys: pytest.CaptureFixture[str]) -> None:
    class Changes(AsyncIterator[list[str]]):
        async def __anext__(self) -> list[str]:
            seen = ""
            while "when a file changes" not in seen:
                await anyio.sleep(0.01)
                seen += capsys.readouterr().err
            self.count += 1
            if self.count == 3:
                stop.request()
                await anyio.sleep_forever()
            return ["/folder/source.py"]

        count = 0

    with anyio.CancelScope() as scope:
        stop = Stop(scope)
        changes = Changes()
        assert await Workers(python("raise SystemExit(1)"), 1).run(stop, print, changes) is ExitStatus.OK
        assert changes.count == 3
